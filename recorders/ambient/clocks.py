"""The clocks of `time`, which the program reads through functions of ours from now on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from rashomon import boundary
from rashomon.recorders.ambient.sites import LIBRARY, REAL, USER, ask, asker, file_known, replace, restore

_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
           "process_time_ns", "thread_time", "thread_time_ns")  # fmt: skip
_getframe = sys._getframe
_UNHEARD: tuple[int | None, ...] = (REAL, LIBRARY)
_local = boundary._local.get
_inside = boundary.inside.get


def patch() -> None:
    """Put our functions in the places of `time`'s own. `withdraw` takes them back."""
    for name in _CLOCKS:
        replace(time, name, _clock)
    for name in ("clock_gettime", "clock_gettime_ns"):
        replace(time, name, _numbered_clock)
    real_localtime, real_asctime = time.localtime, time.asctime
    for name in ("localtime", "gmtime"):
        replace(time, name, _broken_down)
    replace(time, "asctime", lambda real: _text_of_now(real, real_localtime, real))
    replace(time, "ctime", lambda real: _text_of_now(real, real_localtime, real_asctime))
    replace(time, "strftime", lambda real: _formatted(real, real_localtime))
    replace(time, "sleep", _sleep)


def withdraw() -> None:
    """Put the clocks' originals back, for a tool that patches them in C and would take ours for one of them."""
    restore(time, keep="sleep")


def _clock(real: Callable[[], float]) -> Callable[[], float]:
    what = f"time.{real.__name__}"

    def read() -> float:
        guard = _local() or boundary._process
        if guard is None:
            return real()
        # what no recorder writes down is settled here: an event loop and libraries look many times during one call,
        # and to ask for a frame is an audit event, the dearest part of all this
        enclosing = _inside()
        if enclosing is not None and enclosing.leaf:
            return real()
        frame = _getframe(1)
        if not guard.isolates and file_known(frame.f_globals.get("__file__", "")) in _UNHEARD:
            return real()  # a recording is of the program's own reads; to ask for a frame's code is another such event
        known = file_known(frame.f_code.co_filename)
        if known == REAL or (known == LIBRARY and not guard.isolates):
            return real()
        if known == USER:
            return guard.read("clock", what, real, frame)  # type: ignore[no-any-return]
        return ask("clock", what, real, frame)  # type: ignore[no-any-return]

    return read


def _numbered_clock(real: Callable[[int], float]) -> Callable[[int], float]:
    name = f"time.{real.__name__}"

    def read(clk_id: int, /) -> float:
        if _local() is None and boundary._process is None:
            return real(clk_id)
        return ask("clock", f"{name}({clk_id})", lambda: real(clk_id), _getframe(1))  # type: ignore[no-any-return]

    return read


def _fields(moment: time.struct_time) -> list[Any]:
    """A broken-down time as values: nine fields, the zone's name, its offset in seconds."""
    return [*moment, moment.tm_zone, moment.tm_gmtoff]


def _broken_down(real: Callable[..., time.struct_time]) -> Callable[..., time.struct_time]:
    what = f"time.{real.__name__}"

    def read(seconds: float | None = None, /) -> time.struct_time:
        if seconds is not None or (_local() is None and boundary._process is None):
            return real(seconds)
        return time.struct_time(ask("clock", what, lambda: _fields(real()), _getframe(1)))

    return read


def _text_of_now(real: Any, localtime: Any, text: Any) -> Callable[..., str]:
    what = f"time.{real.__name__}"

    def read(*when: Any) -> str:
        if (when and when != (None,)) or (_local() is None and boundary._process is None):
            return real(*when)  # type: ignore[no-any-return]
        if when and real is text:  # asctime(None) is an error
            return real(None)  # type: ignore[no-any-return]
        moment = ask("clock", what, lambda: _fields(localtime()), _getframe(1))
        return text(time.struct_time(moment))  # type: ignore[no-any-return]

    return read


def _formatted(real: Any, localtime: Any) -> Callable[..., str]:
    def read(*args: Any) -> str:
        if len(args) != 1 or (_local() is None and boundary._process is None):
            return real(*args)  # type: ignore[no-any-return]
        moment = ask("clock", "time.strftime", lambda: _fields(localtime()), _getframe(1))
        return real(args[0], time.struct_time(moment))  # type: ignore[no-any-return]

    return read


def _sleep(real: Callable[[float], None]) -> Callable[[float], None]:
    def sleep(seconds: float, /) -> None:
        guard = None if _local() is None and boundary._process is None else boundary.guard_here()
        # a sleep of nothing lets another thread run, which it must in a replay too; nonsense raises
        if guard is None or not _is_number(seconds) or not 0 < seconds < 1e9:
            return real(seconds)
        frame, who = asker(_getframe(1))
        if who == REAL:
            return real(seconds)
        return guard.sleep(seconds, lambda: real(seconds), frame)

    return sleep


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))
