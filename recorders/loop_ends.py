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

    def stop() -> None:
        loop.stop()
        loop.call_soon(loops.nothing)  # it waits for nothing more

    conductor = boundary.conductor
    if conductor is None or not left:
        told(state)
    elif conductor.is_to_come(state, key, told, stop):
        loop.run_forever()  # to the end of that turn, as the main task's end stops it
