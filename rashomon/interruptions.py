"""What interrupts a program in the middle of our own code, and is the program's: exceptions of its signal handlers (a
time limit by `signal.alarm`, a worker's soft limit), and those that it raises in another thread
(`PyThreadState_SetAsyncExc`).

Whatever else is raised in our code is a bug of ours, and is not told to the program.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

_OWN = frozenset({"builtins", "msgpack", "rashomon"})
"""What our code may raise by itself is of these packages, or of the standard library."""


def is_one(error: BaseException) -> bool:
    """Whether an exception that was caught in our code is the program's."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    if not frames:
        return False
    handlers = _handlers()
    if handlers and any(frame.f_code in handlers for frame in frames):
        return True
    ours = str(frames[-1].f_globals.get("__name__")).startswith("rashomon.")
    package = type(error).__module__.partition(".")[0]
    return ours and package not in _OWN and package not in sys.stdlib_module_names


def pass_on(error: BaseException) -> None:
    """Raise it again, if it is the program's."""
    if is_one(error):
        raise error


def _handlers() -> set[CodeType]:
    """The code of the program's signal handlers."""
    signal = sys.modules.get("signal")
    if signal is None:
        return set()
    found = (signal.getsignal(number) for number in signal.valid_signals())
    return {code for handler in found if callable(handler) and (code := _code(handler)) is not None}


def _code(handler: Any) -> CodeType | None:
    handler = getattr(handler, "func", handler)  # a partial
    function = getattr(handler, "__func__", handler)
    if not hasattr(function, "__code__"):  # an object that can be called
        function = vars(type(handler)).get("__call__")
    return getattr(function, "__code__", None)
