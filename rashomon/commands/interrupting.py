"""Ctrl-C while the database works: it stops the query, and not the program in the middle of a line that it prints."""

from __future__ import annotations

import _thread  # `threading` takes a millisecond to load
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
_AGAIN_S = 0.05
"""A query that has not begun when it is stopped does not notice: so it is told again."""


class Interruptible:
    """Within `with`, Ctrl-C stops what is run by calling this, and raises `KeyboardInterrupt` from there.

    What is printed meanwhile is printed whole. A second Ctrl-C ends the program as usual.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._before: Any = None

    def __enter__(self) -> Interruptible:
        try:
            self._before = signal.signal(signal.SIGINT, self._stop)
        except ValueError:  # not the main thread: no signal comes here
            pass
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __call__(self, work: Callable[[], T], stop: Callable[[], None]) -> T:
        """What `work` returns, which runs in a thread of its own; `stop` makes it end early."""
        jobs, found = [work], list[T]()  # nothing is left to the thread that it would free when all is over
        failed: list[BaseException] = []
        done = _thread.allocate_lock()
        done.acquire()

        def run() -> None:
            try:
                found.append(jobs.pop()())
            except BaseException as error:  # handed on to whoever waits
                failed.append(error)
            finally:
                done.release()

        self.check()
        _thread.start_new_thread(run, ())
        while not done.acquire(timeout=_AGAIN_S):
            if self.stopped:
                stop()
        self.check()
        if failed:
            raise failed[0]
        return found.pop()

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if Ctrl-C was pressed."""
        if self.stopped:
            raise KeyboardInterrupt
