"""Limits on subprocesses, and looks at them: `Popen.wait(5)`, `communicate(timeout=5)`, `poll()`, and what `subprocess`
makes of those (`run`, `call`).

A replay runs the same program, at another pace. What is known of it from the recording is whether it came to its end in
time. Once a limit has run out, or the program has sent it a signal, what it says and how it ends depends on the moment:
then that is recorded too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from rashomon import boundary
from rashomon.recorders.ambient.looks import CHILD_PATIENCE, behind_children, looked
from rashomon.recorders.ambient.sites import REAL, asker
from rashomon.recorders.ambient.waits import limited, nothing, stand_for

_getframe = sys._getframe
_local = boundary._local.get
_HELPERS = ("run", "call", "check_call", "check_output", "getoutput", "getstatusoutput")
_LOOSE = "_rashomon_loose"
"""Set on a process whose limit has run out, or to which a signal was sent: how it ends depends on the moment."""
_CODE = "_rashomon_code"
"""The exit code that the program was told of."""
_LARGEST = 1 << 16
"""So much of what a process said is recorded."""
_BEGINNING_S = 0.05
"""So long a replay sends what a process is to read, where the time ran out in the recording."""


def patch(module: Any) -> None:
    """`Popen` (`subprocess`)."""
    popen = module.Popen
    made = {
        "wait": _waits(module, popen.wait),
        "communicate": _communicates(module, popen.communicate),
        "poll": _polls(module, popen.poll, popen.wait),
        "send_signal": _signals(module, popen.send_signal),
    }
    for name, function in made.items():
        function.__name__ = name
        stand_for(getattr(popen, name), function)
        setattr(popen, name, function)


def _asking(module: Any, frame: FrameType | None) -> FrameType | None:
    """The frame that wants to know; None where `subprocess` does so for itself."""
    file = module.__file__
    while frame is not None and frame.f_code.co_filename == file:
        if frame.f_code.co_name not in _HELPERS:
            return None
        frame = frame.f_back
    return frame


def _guard_of(caller: FrameType) -> tuple[Any, FrameType]:
    frame, who = asker(caller)
    return None if who == REAL else boundary.guard_here(), frame


def _is_told(process: Any) -> bool:
    """True when the program knows how a process has ended, or it ended by itself and it can be known."""
    state = process.__dict__
    return process.returncode is not None and (_CODE in state or _LOOSE not in state)


def _waits(module: Any, original: Any) -> Any:
    look = module.Popen.poll

    def wait(self: Any, timeout: float | None = None) -> int:
        caller = None if _local() is None and boundary._process is None else _asking(module, _getframe(1))
        if caller is None or _is_told(self):
            return original(self, timeout)  # type: ignore[no-any-return]
        if timeout is None:
            return _ended(module, self, original, caller)
        if timeout <= 0:
            code = _looked(module, self, look, original, caller)
            if code is None:
                raise module.TimeoutExpired(self.args, timeout)
            return code

        def ended(limit: float) -> bool:
            try:
                original(self, limit)
            except module.TimeoutExpired:
                return False
            return True

        came = limited("subprocess.Popen.wait", timeout, ended, caller, behind_children, CHILD_PATIENCE)
        if came is not False:
            return original(self, timeout) if came is None else _ended(module, self, original, caller)
        self.__dict__[_LOOSE] = True
        raise module.TimeoutExpired(self.args, timeout)

    return wait


def _ended(module: Any, process: Any, wait: Any, caller: FrameType) -> int:
    """How a process has ended, which is waited for."""
    guard, frame = _guard_of(caller)
    if guard is None or _LOOSE not in process.__dict__:
        return wait(process)  # type: ignore[no-any-return]
    code: int = guard.read("sleep", "subprocess.Popen.returncode", lambda: wait(process), frame)
    _await(module, process, wait, code)
    return code


def _await(module: Any, process: Any, wait: Any, code: int) -> None:
    """The program is told that a process ended with this code; in a replay that is waited for."""
    if process.returncode is None:
        with suppress(module.TimeoutExpired):  # the program goes on as it did, and it with it
            wait(process, CHILD_PATIENCE)
    process.returncode = process.__dict__[_CODE] = code


def _polls(module: Any, original: Any, wait: Any) -> Any:
    def poll(self: Any) -> int | None:
        caller = None if _local() is None and boundary._process is None else _asking(module, _getframe(1))
        if caller is None or _is_told(self):
            return original(self)  # type: ignore[no-any-return]
        return _looked(module, self, original, wait, caller)

    return poll


def _looked(module: Any, process: Any, poll: Any, wait: Any, caller: FrameType) -> int | None:
    """What a look at a process finds: its exit code, or None while it goes on."""

    def await_it(code: int) -> None:
        _await(module, process, wait, code)

    code: int | None = looked(process, "subprocess.Popen.poll", caller, None, lambda: poll(process), await_it)
    if code is not None:
        process.__dict__[_CODE] = code
    return code


def _signals(module: Any, original: Any) -> Any:
    def send_signal(self: Any, sig: int) -> None:
        guard = None if _local() is None and boundary._process is None else boundary.guard_here()
        if guard is not None:
            self.__dict__[_LOOSE] = True
        if guard is None or not guard.isolates or self.returncode is not None:
            original(self, sig)
        else:  # it may have ended by now, where it had not in the recording: that the program is not to see
            with suppress(ProcessLookupError):
                behind_children(lambda: os.kill(self.pid, sig))

    return send_signal


# ---------------------------------------------------------------- what it said


def _communicates(module: Any, original: Any) -> Any:
    def communicate(self: Any, input: Any = None, timeout: float | None = None) -> Any:  # noqa: A002
        caller = None if _local() is None and boundary._process is None else _asking(module, _getframe(1))
        if caller is None or (timeout is None and _LOOSE not in self.__dict__):
            return original(self, input, timeout)
        guard, frame = _guard_of(caller)
        if guard is None:
            return original(self, input, timeout)
        talk = _Talk(module, self, original, input, timeout)
        value = guard.read("sleep", "subprocess.Popen.communicate", talk.live, frame)
        if not talk.outcome:
            talk.played(value)
        if talk.ran_out:
            self.__dict__[_LOOSE] = True
            if timeout is not None and timeout > 0:
                aside = behind_children if guard.isolates else _at_once
                aside(lambda: guard.sleep(timeout, nothing, frame))
        return talk.end()

    return communicate


def _at_once(wait: Callable[[], None]) -> None:
    wait()


class _Talk:
    """One `communicate`: as it is made, or as it was recorded. `outcome` holds what it gives, or what it raises."""

    def __init__(self, module: Any, process: Any, original: Any, given: Any, limit: float | None) -> None:
        self._module, self._process, self._original = module, process, original
        self._given, self._limit = given, limit
        self.outcome: list[Any] = []
        self.ran_out = False

    def live(self) -> Any:
        """Talk, and tell what is to be recorded: True for the answer of a process that ended by itself; what it had
        said as the time ran out; or all that it said, and how it ended, where that was a matter of the moment."""
        try:
            answer = self._original(self._process, self._given, self._limit)
        except self._module.TimeoutExpired as error:
            self._stop(error)
            return [False, *map(_short, (error.output, error.stderr))]
        except Exception as error:  # text that is none, say: it is raised again when a replay reads it
            self.outcome.append(error)
            return True
        self.outcome.append(answer)
        process = self._process
        if _LOOSE not in process.__dict__:
            return True
        process.__dict__[_CODE] = process.returncode
        return True if any(map(_is_long, answer)) else [True, *answer, process.returncode]

    def played(self, value: Any) -> None:
        """In a replay: come to what is recorded."""
        process, module = self._process, self._module
        if value is True:
            self._talk(None if self._limit is None else max(self._limit, CHILD_PATIENCE))
        elif value[0]:
            self._talk(CHILD_PATIENCE)
            _await(module, process, module.Popen.wait, value[3])
            self.ran_out, self.outcome = False, [(value[1], value[2])]
        else:
            if process.stdin is not None:  # it begins to send what there is to be sent
                self._talk(_BEGINNING_S)
            self._stop(module.TimeoutExpired(process.args, self._limit, output=value[1], stderr=value[2]))

    def _talk(self, limit: float | None) -> None:
        try:
            self.outcome.append(self._original(self._process, self._given, limit))
        except Exception as error:  # `end` raises it, when the replay has said what came of the wait
            if isinstance(error, self._module.TimeoutExpired):
                error.timeout, self.ran_out = self._limit, True
            self.outcome.append(error)

    def _stop(self, error: Exception) -> None:
        self.ran_out, self.outcome = True, [error]

    def end(self) -> Any:
        """What the program gets. Raises what it is to be told."""
        (outcome,) = self.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _is_long(said: bytes | str | None) -> bool:
    return said is not None and len(said) > _LARGEST


def _short(said: bytes | str | None) -> bytes | str | None:
    return said[:_LARGEST] if said is not None and _is_long(said) else said
