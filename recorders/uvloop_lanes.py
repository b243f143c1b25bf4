"""uvloop: its tasks and subprocesses get lanes too. In a replay, asyncio's own loop stands in for it.

uvloop reports no ticks, so that what is recorded on it is played back in the order of completions; only a selector
loop can be conducted. `uvloop.Loop` is a Python class over a compiled one, so that methods can be put on it.
"""

from __future__ import annotations

import functools
from typing import Any

from rashomon import boundary
from rashomon.model import Event
from rashomon.recorders import lanes, loops, processes, slots
from rashomon.recorders.coverage import user_frame

ORDER = "order of tasks on uvloop"
"""What a trace lists as uncontrolled when a loop of uvloop's is made in it."""


def patch(module: Any) -> None:
    """Patch the imported `uvloop`."""
    loop = module.Loop
    loop.create_task = lanes.task_lanes(loop.create_task)
    loop.call_later, loop.call_soon_threadsafe = _telling_timers(loop.call_later), _telling_wakes(loop)
    for name in ("subprocess_exec", "subprocess_shell"):
        setattr(loop, name, _with_environ(getattr(loop, name), name == "subprocess_shell"))
    _stand_in(module)


def _telling_timers(original: Any) -> Any:
    """Timers are completions; `call_at` of uvloop ends here too (https://github.com/MagicStack/uvloop, `loop.pyx`)."""

    @functools.wraps(original)
    def call_later(self: Any, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        guard = boundary.guard_here()
        if guard is None or lanes.is_quiet():
            return original(self, delay, callback, *args, context=context)
        return original(self, delay, loops.fired, loops.timer_key(guard, delay), callback, *args, context=context)

    return call_later


def _telling_wakes(loop: Any) -> Any:
    """So are wake-ups by other threads."""
    original = loop.call_soon_threadsafe

    @functools.wraps(original)
    def call_soon_threadsafe(self: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        key = loops.wake_key(self, args)
        if key is None:
            return original(self, callback, *args, context=context)
        return original(self, _woken, key, callback, *args, context=context)

    return call_soon_threadsafe


def _woken(key: Any, callback: Any, *args: Any) -> None:
    guard, lane, number, within = key
    loops.note(guard, Event.WAKE, lane, number, boundary.NOWHERE, within)
    callback(*args)


def _with_environ(original: Any, shell: bool) -> Any:
    """uvloop starts commands by itself, and not through `subprocess.Popen`."""

    @functools.wraps(original)
    async def start(self: Any, protocol_factory: Any, *args: Any, **kwargs: Any) -> Any:
        if boundary.current() is None:
            return await original(self, protocol_factory, *args, **kwargs)
        if slots.handed:
            kwargs["env"] = processes.environ_of(args[0] if shell else args, kwargs.get("env"))
        token = slots.executing.set(True)
        try:
            return await original(self, protocol_factory, *args, **kwargs)
        finally:
            slots.executing.reset(token)

    return start


def _stand_in(module: Any) -> None:
    original, original_run = module.Loop.__new__, module.run

    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if boundary.conductor is None or cls is not module.Loop:
            _tell(boundary.current())
            return original(cls, *args, **kwargs)
        import asyncio

        return asyncio.SelectorEventLoop()

    @functools.wraps(original_run)
    def run(main: Any, *, loop_factory: Any = module.new_event_loop, debug: Any = None, **more: Any) -> Any:
        if boundary.conductor is None:
            return original_run(main, loop_factory=loop_factory, debug=debug, **more)
        import asyncio

        with asyncio.Runner(loop_factory=loop_factory, debug=debug, **more) as runner:  # it asks for no uvloop
            return runner.run(main)

    module.Loop.__new__, module.run = new, run
    if boundary.conductor is not None:
        _default_policy(module)


def _tell(guard: Any) -> None:
    note = getattr(getattr(guard, "scribe", guard), "uncontrolled", None)
    if note is not None:
        note(ORDER, "it shows no turns: a replay keeps the order of completions, and not turn by turn", user_frame())


def _default_policy(module: Any) -> None:
    """uvloop's policy has no child watcher, which asyncio's own loop needs up to Python 3.11."""
    import asyncio
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module.EventLoopPolicy = asyncio.DefaultEventLoopPolicy
    module.install = lambda: None
