"""The process's own numbers, as the program asks for them; and what is known to be beyond control."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from rashomon import boundary
from rashomon.recorders.ambient import chance
from rashomon.recorders.ambient.sites import USER, asker, replace
from rashomon.recorders.imports import when_imported

_getframe = sys._getframe
_local = boundary._local.get
_seen_as: dict[int, Callable[[], int]] = {}
"""By a number that a replay has shown the program for this process or its parent: what gives the real one."""

_BEYOND_CONTROL = {
    "torch": "what runs on a GPU may add in another order each time; torch.use_deterministic_algorithms(True) helps",
    "tensorflow": "what runs on a GPU may add in another order each time; enable_op_determinism() helps",
    "jax": "what runs on a GPU may add in another order each time",
    "cryptography": "keys and nonces made with it come from OpenSSL's own chance",
    "nacl": "keys and nonces made with it come from libsodium's own chance",
}
_FOR_REAL = {
    ("select", "select"): "which file is ready, and when, is up to the system; a limit is waited for",
    ("signal", "alarm"): "the signal comes after so much real time, wherever the program is by then",
    ("signal", "setitimer"): "the signals come after so much real time, wherever the program is by then",
}
_notes: dict[tuple[str, str], None] = {}


def patch() -> None:
    """Put our functions in the places of those of `os`, and wait for the modules that are beyond control."""
    replace(os, "getpid", _own_number)
    replace(os, "getppid", _own_number)
    for name in ("kill", "killpg"):
        if hasattr(os, name):
            replace(os, name, _to_process)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_seen_as.clear)
    when_imported("psutil", _patch_psutil)
    for name, reason in _BEYOND_CONTROL.items():
        when_imported(name, lambda _, name=name, reason=reason: note(name, reason))  # type: ignore[misc]
    for home in dict.fromkeys(module for module, _ in _FOR_REAL):
        when_imported(home, _patch_for_real)


def _patch_for_real(module: Any) -> None:
    for home, name in _FOR_REAL:
        if home == module.__name__ and hasattr(module, name):
            replace(module, name, partial(_noticed, f"{home}.{name}", _FOR_REAL[home, name]))


def _noticed(what: str, reason: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is left as it is; that the program's own code uses it is told."""

    def call(*args: Any, **named: Any) -> Any:
        if _local() is not None or boundary._process is not None:
            frame, who = asker(_getframe(1))
            guard = boundary.guard_here() if who == USER else None
            told = getattr(guard, "uncontrolled", None)
            if told is not None:
                told(what, reason, frame)
        return original(*args, **named)

    return call


def note(what: str, reason: str) -> None:
    """Something that a replay cannot control has been met: told to the trace that is on, and to those to come."""
    if (what, reason) not in _notes:
        _notes[what, reason] = None
        _tell(boundary.current(), what, reason)


def announce(guard: Any) -> None:
    """Tell a trace that begins what was met before it."""
    for what, reason in list(_notes):
        _tell(guard, what, reason)
    if not chance.is_seeded() and "numpy.random.mtrand" in sys.modules:
        _tell(guard, "numpy.random", "its generators were seeded before the trace began")
    if sys.flags.hash_randomization and os.environ.get("PYTHONHASHSEED", "random") in ("", "random"):
        _tell(guard, "set order", "PYTHONHASHSEED is not set: sets of strings have another order in each process")


def _tell(guard: Any, what: str, reason: str) -> None:
    told = getattr(guard, "uncontrolled", None)
    if told is not None:
        told(what, reason, None)


def _own_number(original: Callable[[], int]) -> Callable[[], int]:
    what = f"os.{original.__name__}"

    def read() -> int:
        if _local() is None and boundary._process is None:
            return original()
        frame, who = asker(_getframe(1))
        if frame.f_code.co_name == "ident" and frame.f_back is not None:  # `multiprocessing.current_process().pid`
            frame, who = asker(frame.f_back)
        guard = boundary.guard_here() if who == USER else None
        if guard is None:  # a library compares it with what the system says
            return original()
        number: int = guard.read("process", what, original, frame)
        if number != original():
            _seen_as[number] = original
        return number

    return read


def actual_number(number: Any, frame: FrameType) -> Any:
    """The process that the program means by a number: its own or its parent, where a replay has shown it another.

    Only where `frame` is the program's own code: a library has the number of a real process.
    """
    if _seen_as and isinstance(number, int) and abs(number) in _seen_as and asker(frame)[1] == USER:
        actual = _seen_as[abs(number)]()
        return actual if number > 0 else -actual
    return number


def _to_process(original: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """In a replay the program's own number is another process's by now: a signal must not go there."""

    def send(pid: int, signal: int, /) -> None:
        return original(actual_number(pid, _getframe(1)) if _seen_as else pid, signal)

    return send


def _patch_psutil(module: Any) -> None:
    original = module.Process.__init__

    def of_process(self: Any, pid: int | None = None) -> None:
        original(self, actual_number(pid, _getframe(1)))

    module.Process.__init__ = of_process
