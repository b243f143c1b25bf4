"""Limits on the processes of `multiprocessing`, on what they send and on the jobs of its pools; and looks at them.

Whether something came in time is recorded, and what a look found. Which of several processes was first to put into a
queue that they share is not: that is between processes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType, SimpleNamespace
from typing import Any

from rashomon import boundary
from rashomon.recorders.ambient.looks import CHILD_PATIENCE, behind_children, looked
from rashomon.recorders.ambient.sites import USER, asker, replace
from rashomon.recorders.ambient.waits import limited, nothing, stand_for

_getframe = sys._getframe
_local = boundary._local.get
_everywhere = SimpleNamespace()
"""Looks at several things at once are at this one."""


def patch(module: Any) -> None:
    """One of the modules of `multiprocessing`."""
    _PATCHES[module.__name__](module)


def _put(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make(original)` gives in the place of a method."""
    original = getattr(owner, name)
    function = make(original)
    function.__name__ = name
    stand_for(original, function)
    setattr(owner, name, function)


def _limited(what: str, limit: Any, wait: Callable[[float], bool], caller: FrameType) -> bool | None:
    return limited(f"multiprocessing.{what}", limit, wait, caller, behind_children, CHILD_PATIENCE)


# ---------------------------------------------------------------- processes


def _patch_process(module: Any) -> None:
    base = module.BaseProcess
    _put(base, "join", _joins)
    _put(base, "is_alive", partial(_lives, module))
    for name in ("kill", "terminate"):
        _put(base, name, _ends)
    code = base.exitcode.fget
    base.exitcode = property(_told_how(code), doc=base.exitcode.__doc__)


def _joins(original: Any) -> Any:
    def join(self: Any, timeout: float | None = None) -> None:
        if timeout is None or self._popen is None or (_local() is None and boundary._process is None):
            return original(self, timeout)  # type: ignore[no-any-return]

        def ended(limit: float) -> bool:
            original(self, limit)
            return self._popen.returncode is not None

        if _limited("Process.join", timeout, ended, _getframe(1)) is None:
            original(self, timeout)
        return None

    return join


def _lives(module: Any, original: Any) -> Any:
    def is_alive(self: Any) -> bool:
        off = _local() is None and boundary._process is None
        if off or self._popen is None or self is module._current_process:
            return original(self)  # type: ignore[no-any-return]
        what, look = "multiprocessing.Process.is_alive", partial(original, self)
        return looked(self, what, _getframe(1), True, look, lambda _: _await(self))  # type: ignore[no-any-return]

    return is_alive


def _told_how(original: Any) -> Any:
    def exitcode(self: Any) -> int | None:
        """Return exit code of process or `None` if it has yet to stop"""
        if (_local() is None and boundary._process is None) or self._popen is None:
            return original(self)  # type: ignore[no-any-return]
        what, look = "multiprocessing.Process.exitcode", partial(original, self)
        return looked(self, what, _getframe(1), None, look, lambda _: _await(self))  # type: ignore[no-any-return]

    return exitcode


def _await(process: Any) -> None:
    """In a replay: wait for a process that had ended."""
    process._popen.wait(CHILD_PATIENCE)


def _ends(original: Any) -> Any:
    def end(self: Any) -> None:
        guard: Any = None if _local() is None and boundary._process is None else boundary.guard_here()
        if guard is not None and guard.isolates and asker(_getframe(1))[1] == USER:
            behind_children(nothing)
        original(self)

    return end


# ---------------------------------------------------------------- what they send


def _patch_queues(module: Any) -> None:
    queue = module.Queue
    _put(queue, "get", lambda original: _gets(original, module.Empty, queue.get_nowait.__code__))
    _put(queue, "empty", _is_empty)


def _gets(original: Any, empty: Any, get_nowait: Any) -> Any:
    def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:
        off = _local() is None and boundary._process is None
        if off or (block and timeout is None) or self._closed:
            return original(self, block, timeout)
        items: list[Any] = []

        def came(limit: float | None) -> bool:
            try:
                items.append(original(self, limit is not None, limit))
            except empty:
                return False
            return True

        caller: Any = _getframe(1)
        caller = caller.f_back if caller.f_code is get_nowait else caller
        if not block or timeout is None or timeout <= 0:
            what = "multiprocessing.Queue.get_nowait"
            looked(self, what, caller, False, lambda: came(None), lambda _: came(CHILD_PATIENCE))
        elif _limited("Queue.get", timeout, came, caller) is None:
            return original(self, block, timeout)
        if items:
            return items[0]
        raise empty

    return get


def _is_empty(original: Any) -> Any:
    def is_empty(self: Any) -> bool:
        if (_local() is None and boundary._process is None) or self._closed:
            return original(self)  # type: ignore[no-any-return]
        what, look = "multiprocessing.Queue.empty", partial(original, self)
        await_it = lambda _: self._poll(CHILD_PATIENCE)  # noqa: E731
        return looked(self, what, _getframe(1), True, look, await_it)  # type: ignore[no-any-return]

    return is_empty


def _patch_connection(module: Any) -> None:
    _put(module._ConnectionBase, "poll", _polls)
    replace(module, "wait", _waits)


def _polls(original: Any) -> Any:
    def poll(self: Any, timeout: float | None = 0.0) -> bool:
        if timeout is None or self.closed or (_local() is None and boundary._process is None):
            return original(self, timeout)  # type: ignore[no-any-return]
        wait = partial(original, self)
        if timeout > 0:
            came = _limited("Connection.poll", timeout, wait, _getframe(1))
            return wait(timeout) if came is None else came
        what, look = "multiprocessing.Connection.poll", partial(wait, 0.0)
        await_it = lambda _: wait(CHILD_PATIENCE)  # noqa: E731
        return looked(self, what, _getframe(1), False, look, await_it)  # type: ignore[no-any-return]

    return poll


def _waits(original: Any) -> Any:
    def wait(object_list: Any, timeout: float | None = None) -> list[Any]:
        caller = None if _local() is None and boundary._process is None else _getframe(1)
        frame, who = (None, None) if caller is None else asker(caller)
        guard: Any = boundary.guard_here() if who == USER else None
        if guard is None or frame is None:
            return original(object_list, timeout)  # type: ignore[no-any-return]
        listed = list(object_list)
        live: list[Any] = []

        def ready() -> str:
            live[:] = original(listed, timeout)
            return " ".join(str(next(at for at, one in enumerate(listed) if one is found)) for found in live)

        def await_them(numbers: str) -> None:
            live[:] = [listed[int(number)] for number in numbers.split() if int(number) < len(listed)]
            for one in live:
                original([one], CHILD_PATIENCE)

        what = "multiprocessing.connection.wait"
        if timeout is not None and timeout <= 0:
            looked(_everywhere, what, frame, "", ready, await_them)
            return live
        numbers = guard.read("sleep", what, ready, frame)
        if guard.isolates:  # what is ready is so at once
            await_them(numbers)
        if timeout is not None and not live:
            aside = behind_children if guard.isolates else _at_once
            aside(lambda: guard.sleep(timeout, nothing, frame))
        return live

    return wait


def _at_once(wait: Callable[[], None]) -> None:
    wait()


def _patch_synchronize(module: Any) -> None:
    _put(module.Event, "wait", _event_waits)


def _event_waits(original: Any) -> Any:
    def wait(self: Any, timeout: float | None = None) -> bool:
        if timeout is None or (_local() is None and boundary._process is None):
            return original(self, timeout)  # type: ignore[no-any-return]
        came = _limited("Event.wait", timeout, partial(original, self), _getframe(1))
        return original(self, timeout) if came is None else came

    return wait


# ---------------------------------------------------------------- pools


def _patch_pool(module: Any) -> None:
    result = module.ApplyResult
    waits = result.wait
    _put(result, "get", lambda original: _results(module, original, waits))
    _put(result, "wait", _results_waits)
    _put(result, "ready", lambda original: _are_ready(original, waits))
    _put(module.IMapIterator, "next", lambda original: _next(module, original))


def _ended(result: Any, wait: Any, limit: float) -> bool:
    wait(result, limit)
    return result._event.is_set()  # type: ignore[no-any-return]


def _results(module: Any, original: Any, wait: Any) -> Any:
    def get(self: Any, timeout: float | None = None) -> Any:
        if timeout is None or (_local() is None and boundary._process is None):
            return original(self, timeout)
        came = _limited("pool.AsyncResult.get", timeout, partial(_ended, self, wait), _getframe(1))
        if came is False:
            raise module.TimeoutError
        return original(self, timeout if came is None else None)

    return get


def _results_waits(original: Any) -> Any:
    def wait(self: Any, timeout: float | None = None) -> None:
        if timeout is None or (_local() is None and boundary._process is None):
            return original(self, timeout)  # type: ignore[no-any-return]
        if _limited("pool.AsyncResult.wait", timeout, partial(_ended, self, original), _getframe(1)) is None:
            original(self, timeout)
        return None

    return wait


def _are_ready(original: Any, wait: Any) -> Any:
    def ready(self: Any) -> bool:
        if _local() is None and boundary._process is None:
            return original(self)  # type: ignore[no-any-return]
        what, look = "multiprocessing.pool.AsyncResult.ready", partial(original, self)
        await_it = lambda _: wait(self, CHILD_PATIENCE)  # noqa: E731
        return looked(self, what, _getframe(1), False, look, await_it)  # type: ignore[no-any-return]

    return ready


def _next(module: Any, original: Any) -> Any:
    def next_one(self: Any, timeout: float | None = None) -> Any:
        if timeout is None or (_local() is None and boundary._process is None):
            return original(self, timeout)
        items: list[Any] = []

        def came(limit: float) -> bool:
            try:
                items.append(original(self, limit))
            except module.TimeoutError:
                return False
            return True

        if _limited("pool.IMapIterator.next", timeout, came, _getframe(1)) is None:
            return original(self, timeout)
        if items:
            return items[0]
        raise module.TimeoutError

    return next_one


_PATCHES: dict[str, Callable[[Any], None]] = {
    "multiprocessing.process": _patch_process,
    "multiprocessing.queues": _patch_queues,
    "multiprocessing.connection": _patch_connection,
    "multiprocessing.pool": _patch_pool,
    "multiprocessing.synchronize": _patch_synchronize,
}
