"""The end of an event loop: `asyncio.run` cancels what its main task has left behind.

How far that had come by then is up to the main task, which may come to its end earlier in a replay: the body of a tool
does not run there, and a client that only the body made is not there to be closed. So the end has its place in the
order of completions, and a replay lets those before it come first.
"""

from __future__ import annotations

import functools
from typing import Any

from rashomon import boundary
from rashomon.model import Event
from rashomon.recorders import lanes, loops


def patch(module: Any) -> None:
    """Keep the place of the end (`asyncio.runners`)."""
    original = module._cancel_all_tasks
    all_tasks = module.tasks.all_tasks

    @functools.wraps(original)
    def _cancel_all_tasks(loop: Any) -> None:
        guard: Any = boundary.guard_here()
        state = getattr(loop, "_rashomon", None)
        if guard is not None and state is not None and not lanes.is_quiet():
            _come_to_end(guard, loop, state, bool(all_tasks(loop)))
        original(loop)

    module._cancel_all_tasks = _cancel_all_tasks


def _come_to_end(guard: Any, loop: Any, state: Any, left: bool) -> None:
    """Note the place; in a replay, let the tasks that are `left` go on until it has come."""
    line = lanes.current_line()
    key = (Event.END, line.lane, line.next_end())
    enclosing = boundary.inside.get()
    within = None if enclosing is None else enclosing.number

    def told(state: Any) -> None:
        loops.note(guard, *key, state.place(), within)

    conductor = boundary.conductor
    if conductor is None:
        told(state)
    elif not left:
        conductor.leave_out(key)
        told(state)
    elif conductor.has(key) and not conductor.has_come_in(state, key, told):
        with lanes.quietly():  # the task that waits is none of the program's
            waiting = loop.create_task(_until(conductor, key, told))
        loop.run_until_complete(waiting)


async def _until(conductor: Any, key: Any, told: Any) -> None:
    settling = conductor.settle(key, told)
    if settling is not None:
        await settling
