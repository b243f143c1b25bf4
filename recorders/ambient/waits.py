"""Waits with a time limit: `Event.wait(5)`, `Future.result(30)` as a sleep that can be interrupted. And waits for the
first of several pooled jobs.

Whether the limit was reached is recorded. Where it was, a replay does not wait, and goes on in the recorded order;
where it was not, a replay waits for what came, whatever its own pace. Which jobs were done is recorded too: threads
that finish at nearly the same time would be seen in another order otherwise.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from rashomon import boundary, real
from rashomon.recorders.ambient.looks import looked
from rashomon.recorders.ambient.sites import REAL, asker, replace

T = TypeVar("T")
_getframe = sys._getframe
_local = boundary._local.get
_THREADING = threading.Timer.run.__code__.co_filename
PATIENCE = 10.0
"""Seconds that a replay waits at least for what came in time when it was recorded: machines differ."""
_RAN_OUT = -1
"""What is recorded where a job's number would be, and there was no time left for another job."""


def _call(function: Callable[[], None]) -> None:
    function()


def limited(
    what: str,
    limit: Any,
    wait: Callable[[float], bool],
    caller: FrameType,
    aside: Callable[[Callable[[], None]], None] = _call,
    patience: float = PATIENCE,
) -> bool | None:
    """Wait, and tell whether it came in time. None: nobody wants to know, the caller may wait by itself.

    `aside` is given the wait of a replay for what did not come, and makes it. `patience` is how long a replay waits at
    least for what came. Raises what `wait` raises.
    """
    if not isinstance(limit, (int, float)) or not 0 < limit < 1e9:
        return None
    frame, who = asker(caller)
    timer = frame.f_code.co_filename == _THREADING  # `threading.Timer`, the only one there with a limit
    guard = None if who == REAL and not timer else boundary.guard_here()
    if guard is None:
        return None
    waited: list[bool] = []
    raised: list[Exception] = []

    def real() -> bool:
        try:
            waited.append(wait(limit))
        except Exception as error:  # a predicate's, say: it raises it again when a replay waits for it
            raised.append(error)
            return True
        return waited[0]

    came: bool = guard.read("sleep", what, real, frame)
    if raised:
        raise raised[0]
    if came and not waited:
        came = wait(max(limit, patience))
    if not came and guard.isolates:
        aside(lambda: guard.sleep(limit, nothing, frame))
    elif not came:
        guard.sleep(limit, nothing, frame)
    return came


def nothing() -> None:
    """It has been waited already."""


def patch_events() -> None:
    """`wait` and `is_set` of `threading.Event`."""
    original, is_set = threading.Event.wait, threading.Event.is_set

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        if timeout is None or (_local() is None and boundary._process is None):
            return original(self, timeout)
        came = limited("threading.Event.wait", timeout, lambda limit: original(self, limit), _getframe(1))
        return original(self, timeout) if came is None else came

    def look(self: threading.Event) -> bool:
        if _local() is None and boundary._process is None:
            return is_set(self)
        await_it = lambda _: original(self, PATIENCE)  # noqa: E731
        what = "threading.Event.is_set"
        return looked(self, what, _getframe(1), False, partial(is_set, self), await_it)  # type: ignore[no-any-return]

    stand_for(original, wait)
    stand_for(is_set, look)
    threading.Event.wait, threading.Event.is_set = wait, look  # type: ignore[method-assign]


def patch_conditions() -> None:
    """`wait` and `wait_for` of `threading.Condition`."""
    original, original_for = threading.Condition.wait, threading.Condition.wait_for

    def without_lock(self: Any, sleep: Callable[[], None]) -> None:
        saved = self._release_save()
        try:
            sleep()
        finally:
            self._acquire_restore(saved)

    def wait(self: threading.Condition, timeout: float | None = None) -> bool:
        if timeout is None or (_local() is None and boundary._process is None):
            return original(self, timeout)
        caller = _getframe(1)
        if caller.f_code.co_filename == _THREADING:  # an event, a semaphore, a barrier, `wait_for`
            return original(self, timeout)
        if not self._is_owned():  # type: ignore[attr-defined]  # it raises: there is no wait
            return original(self, timeout)
        aside = partial(without_lock, self)
        came = limited("threading.Condition.wait", timeout, lambda limit: original(self, limit), caller, aside)
        return original(self, timeout) if came is None else came

    def wait_for(self: threading.Condition, predicate: Callable[[], T], timeout: float | None = None) -> T:
        if timeout is None or (_local() is None and boundary._process is None):
            return original_for(self, predicate, timeout)
        found: list[T] = []

        def live(limit: float) -> bool:
            found[:] = [original_for(self, predicate, limit)]
            return bool(found[0])

        what, caller = "threading.Condition.wait_for", _getframe(1)
        came = limited(what, timeout, live, caller, partial(without_lock, self))
        if came is None:
            return original_for(self, predicate, timeout)
        said = found[0] if found else predicate()
        return said if bool(said) == came else came  # type: ignore[return-value]  # it came, or not, as it did then

    for one, patched in ((original, wait), (original_for, wait_for)):
        stand_for(one, patched)
        setattr(threading.Condition, one.__name__, patched)


def patch_joins() -> None:
    """`join` and `is_alive` of `threading.Thread`."""
    original, is_alive = threading.Thread.join, threading.Thread.is_alive

    def join(self: threading.Thread, timeout: float | None = None) -> None:
        if timeout is None or (_local() is None and boundary._process is None):
            return original(self, timeout)

        def ended(limit: float) -> bool:
            original(self, limit)
            return not is_alive(self)

        came = limited("threading.Thread.join", timeout, ended, _getframe(1))
        return original(self, timeout) if came is None else None

    def look(self: threading.Thread) -> bool:
        if _local() is None and boundary._process is None:
            return is_alive(self)
        what, find = "threading.Thread.is_alive", partial(is_alive, self)
        return looked(self, what, _getframe(1), True, find, lambda _: ended_by_now(self))  # type: ignore[no-any-return]

    def ended_by_now(thread: threading.Thread) -> None:
        if is_alive(thread):  # one that has not been started cannot be waited for
            original(thread, PATIENCE)

    stand_for(original, join)
    stand_for(is_alive, look)
    threading.Thread.join, threading.Thread.is_alive = join, look  # type: ignore[method-assign]


def patch_semaphores() -> None:
    """`threading.Semaphore.acquire`."""
    original = threading.Semaphore.acquire

    def acquire(self: threading.Semaphore, blocking: bool = True, timeout: float | None = None) -> bool:
        if timeout is None or not blocking or (_local() is None and boundary._process is None):
            return original(self, blocking, timeout)
        what = "threading.Semaphore.acquire"
        came = limited(what, timeout, lambda limit: original(self, True, limit), _getframe(1))
        return original(self, blocking, timeout) if came is None else came

    stand_for(original, acquire)
    threading.Semaphore.acquire = acquire  # type: ignore[method-assign]


def patch_futures(module: Any) -> None:
    """`wait` and `as_completed` of `concurrent.futures` (`concurrent.futures._base`)."""
    waits = _waits_for(module)
    completed = _completes(module.wait)
    wait = module.wait
    for name, make in (("wait", waits), ("as_completed", completed)):
        replace(module, name, make)
        package = sys.modules.get("concurrent.futures")
        if hasattr(package, name):
            setattr(package, name, getattr(module, name))
    module.Future.cancel = _cancels(module)
    for name in ("result", "exception"):
        setattr(module.Future, name, _results(module, wait, getattr(module.Future, name)))
    module.Future.done = _looks(module.Future.done, lambda future: wait([future], PATIENCE))
    module.Future.running = _looks(module.Future.running, lambda future: _begun(module, future, PATIENCE / 10))


def _results(module: Any, wait: Callable[..., Any], original: Any) -> Callable[..., Any]:
    """`result` or `exception` of a `Future`, with a time limit."""

    def result(self: Any, timeout: float | None = None) -> Any:
        if timeout is None or (_local() is None and boundary._process is None):
            return original(self, timeout)
        what = f"concurrent.futures.Future.{original.__name__}"
        came = limited(what, timeout, lambda limit: bool(wait([self], limit).done), _getframe(1))
        if came is False:
            raise module.TimeoutError
        return original(self, timeout if came is None else None)

    result.__name__ = original.__name__
    stand_for(original, result)
    return result


def _cancels(module: Any) -> Callable[[Any], bool]:
    """`Future.cancel`: a job that had begun by then is waited for, until it has begun."""
    original = module.Future.cancel

    def cancel(self: Any) -> bool:
        guard = boundary.guard_here()
        if guard is None or self.cancelled():
            return original(self)  # type: ignore[no-any-return]
        live: list[bool] = []

        def stop() -> bool:
            live.append(original(self))
            return live[0]

        frame, _ = asker(_getframe(1))
        stopped = guard.read("sleep", "concurrent.futures.Future.cancel", stop, frame)
        if live:
            return live[0]
        if not stopped:
            _begun(module, self, PATIENCE / 10)
        return original(self)  # type: ignore[no-any-return]

    stand_for(original, cancel)
    return cancel


def _begun(module: Any, future: Any, patience: float) -> None:
    """In a replay: wait until a job has begun."""
    until = real.monotonic() + patience
    while future._state == module.PENDING and real.monotonic() < until:
        real.sleep(0.001)


def _looks(original: Any, await_it: Callable[[Any], object]) -> Callable[[Any], bool]:
    """`done` or `running` of a `Future`, as the program's own code asks."""
    what = f"concurrent.futures.Future.{original.__name__}"

    def look(self: Any) -> bool:
        if _local() is None and boundary._process is None:
            return original(self)  # type: ignore[no-any-return]
        find = partial(original, self)
        return looked(self, what, _getframe(1), False, find, lambda _: await_it(self))  # type: ignore[no-any-return]

    look.__name__ = original.__name__
    stand_for(original, look)
    return look


def _guard_of(caller: FrameType) -> tuple[Any, FrameType]:
    frame, who = asker(caller)
    return None if who == REAL else boundary.guard_here(), frame


def _waits_for(module: Any) -> Callable[[Any], Any]:
    known = (module.FIRST_COMPLETED, module.FIRST_EXCEPTION, module.ALL_COMPLETED)

    def make(original: Any) -> Any:
        def wait(fs: Any, timeout: float | None = None, return_when: str = module.ALL_COMPLETED) -> Any:
            every = return_when == module.ALL_COMPLETED
            if (_local() is None and boundary._process is None) or (every and timeout is None):
                return original(fs, timeout, return_when)
            if return_when not in known:  # it raises, or does not, as the jobs are
                return original(fs, timeout, return_when)
            guard, frame = _guard_of(_getframe(1))
            if guard is None:
                return original(fs, timeout, return_when)
            listed = list(dict.fromkeys(fs))
            live: list[Any] = []

            def real() -> list[int]:
                live.append(original(listed, timeout, return_when))
                return [number for number, future in enumerate(listed) if future in live[0].done]

            numbers = guard.read("sleep", "concurrent.futures.wait", real, frame)
            found = live[0] if live else _again(original, listed, numbers)
            if found is None:
                return original(listed, timeout, return_when)
            if timeout and len(found.done) < (len(listed) if every else 1):
                guard.sleep(timeout, nothing, frame)
            return found

        return wait

    def _again(original: Any, listed: list[Any], numbers: list[int]) -> Any:
        """The recorded jobs, when they are done; None when they do not come to an end here."""
        wanted = [listed[number] for number in numbers if number < len(listed)]
        done, late = original(wanted, PATIENCE)
        return None if late else module.DoneAndNotDoneFutures(done, set(listed) - done)

    return make


def _completes(wait: Any) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        def as_completed(fs: Any, timeout: float | None = None) -> Iterator[Any]:
            if boundary.guard_here() is None:
                return original(fs, timeout)  # type: ignore[no-any-return]
            listed = list(dict.fromkeys(fs))
            return _in_order(original(listed, timeout), listed, timeout)

        return as_completed

    def _in_order(live: Iterator[Any], listed: list[Any], limit: float | None) -> Iterator[Any]:
        left, begun = dict(enumerate(listed)), _now(boundary.guard_here())

        def real() -> int | None:
            try:
                future = next((one for one in live if one in left.values()), None)
            except TimeoutError:
                return _RAN_OUT
            return next((number for number, one in left.items() if one is future), None)

        while left:
            guard, frame = _guard_of(_getframe(1))
            number = real() if guard is None else guard.read("sleep", "concurrent.futures.as_completed", real, frame)
            if number not in left and (number != _RAN_OUT or limit is None):  # it waits for others than it did
                number = real()
            if number is None:
                return
            if number == _RAN_OUT:
                passed = _now(guard) - begun
                if guard is not None and limit is not None and limit > passed:
                    guard.sleep(limit - passed, nothing, frame)
                raise TimeoutError(f"{len(left)} (of {len(listed)}) futures unfinished")
            wait([left[number]], PATIENCE)
            yield left.pop(number)

    return make


def _now(guard: Any) -> float:
    """Seconds on the clock by which a limit runs out: in a replay the virtual one."""
    conductor = getattr(guard, "conductor", None)
    return real.monotonic() if conductor is None else conductor.clock.now_us / 1e6


def stand_for(original: Any, function: Any) -> None:
    """A function that looks like the one that it stands for."""
    function.__doc__, function.__module__ = original.__doc__, original.__module__
    function.__qualname__ = original.__qualname__
