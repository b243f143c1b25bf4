"""Waits with a time limit: `Event.wait(5)` as a sleep that can be interrupted, `Queue.get(timeout=1)` in a worker.

Whether the limit was reached is recorded. Where it was, a replay does not wait, and goes on in the recorded order;
where it was not, a replay waits for what came, whatever its own pace.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from rashomon import boundary
from rashomon.recorders.ambient.sites import REAL, asker

_getframe = sys._getframe
_local = boundary._local.get
_THREADING = threading.Timer.run.__code__.co_filename
PATIENCE = 10.0
"""Seconds that a replay waits at least for what came in time when it was recorded: machines differ."""


def _limited(what: str, limit: Any, wait: Callable[[float], bool], caller: FrameType) -> bool | None:
    """Wait, and tell whether it came in time. None: nobody wants to know, the caller may wait by itself."""
    if not isinstance(limit, (int, float)) or not 0 < limit < 1e9:
        return None
    frame, who = asker(caller)
    timer = frame.f_code.co_filename == _THREADING  # `threading.Timer`, the only one there with a limit
    guard = None if who == REAL and not timer else boundary.guard_here()
    if guard is None:
        return None
    waited: list[bool] = []

    def real() -> bool:
        waited.append(wait(limit))
        return waited[0]

    came: bool = guard.read("sleep", what, real, frame)
    if came and not waited:
        came = wait(max(limit, PATIENCE))
    if not came:
        guard.sleep(limit, _nothing, frame)
    return came


def _nothing() -> None:
    """It has been waited already."""


def patch_events() -> None:
    """`threading.Event.wait`."""
    original = threading.Event.wait

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        if timeout is None or (_local() is None and boundary._process is None):
            return original(self, timeout)
        came = _limited("threading.Event.wait", timeout, lambda limit: original(self, limit), _getframe(1))
        return original(self, timeout) if came is None else came

    _stand_for(original, wait)
    threading.Event.wait = wait  # type: ignore[method-assign]


def patch_queues(module: Any) -> None:
    """`Queue.get` (`queue`)."""
    original = module.Queue.get

    def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:
        if not block or timeout is None or (_local() is None and boundary._process is None):
            return original(self, block, timeout)
        items: list[Any] = []

        def wait(limit: float) -> bool:
            try:
                items.append(original(self, True, limit))
            except module.Empty:
                return False
            return True

        came = _limited("queue.Queue.get", timeout, wait, _getframe(1))
        if came is None:
            return original(self, block, timeout)
        if not came:
            raise module.Empty
        return items[0]

    _stand_for(original, get)
    module.Queue.get = get


def _stand_for(original: Any, function: Any) -> None:
    function.__doc__, function.__module__ = original.__doc__, original.__module__
    function.__qualname__ = original.__qualname__
