"""Locks that are not waited for without end: `Lock.acquire(timeout=5)`, `acquire(blocking=False)`, `locked()`.

Whether such a lock was got is up to the pace of threads: it is recorded, and in a replay what was got is waited for.
A lock is a type of C, whose methods cannot be replaced: the program's own code gets locks of ours, with the built-in's
methods for all that waits without end, so that `with lock:` costs nothing more.
"""

from __future__ import annotations

import _thread
import sys
import threading
from typing import Any

from rashomon import boundary
from rashomon.recorders.ambient import sites
from rashomon.recorders.ambient.looks import looked
from rashomon.recorders.ambient.owned import Owned, is_for_program
from rashomon.recorders.ambient.waits import PATIENCE, limited

_getframe = sys._getframe
_local = boundary._local.get
_ENDLESS = -1


def _acquired(lock: Any, what: str, acquire: Any, blocking: Any, timeout: Any, caller: Any) -> bool:
    """`acquire` of a lock, where it may not be got. `acquire(blocking, timeout)` is the built-in's."""
    if blocking and timeout != 0:
        came = limited(what, timeout, lambda limit: acquire(True, limit), caller)
        return bool(acquire(blocking, timeout)) if came is None else came
    if timeout not in (0, _ENDLESS):  # it raises
        return bool(acquire(blocking, timeout))
    got: list[bool] = []

    def await_it(_: object) -> None:
        got.append(acquire(True, PATIENCE))

    came = looked(lock, what, caller, False, lambda: acquire(False), await_it)
    return got[0] if got else came


class Lock(metaclass=Owned):
    """Stands for `threading.Lock`."""

    __slots__ = ("__dict__", "__enter__", "__exit__", "__weakref__", "_lock", "release")

    builtin = _thread.allocate_lock
    made = _thread.LockType

    def __init__(self) -> None:
        lock = self._lock = _thread.allocate_lock()
        self.release, self.__enter__, self.__exit__ = lock.release, lock.__enter__, lock.__exit__

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking and timeout == _ENDLESS:
            return self.__enter__()
        if _local() is None and boundary._process is None:
            return self._lock.acquire(blocking, timeout)
        what = "threading.Lock.acquire"
        return _acquired(self, what, self._lock.acquire, blocking, timeout, _getframe(1))

    acquire_lock = acquire

    def locked(self) -> bool:
        lock = self._lock
        if _local() is None and boundary._process is None:
            return lock.locked()

        def await_it(_: object) -> None:
            if lock.acquire(True, PATIENCE):
                lock.release()

        return looked(self, "threading.Lock.locked", _getframe(1), True, lock.locked, await_it)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)

    def __repr__(self) -> str:
        return repr(self._lock)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._lock.__reduce_ex__(protocol)  # it raises

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return _thread.LockType


class _RLock(_thread.RLock):  # type: ignore[misc]  # final in the stubs alone
    """What the program's own code gets of `threading.RLock`."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        acquire = super().acquire
        if (blocking and timeout == _ENDLESS) or (_local() is None and boundary._process is None):
            return acquire(blocking, timeout)
        return _acquired(self, "threading.RLock.acquire", acquire, blocking, timeout, _getframe(1))


def _rlock(original: Any) -> Any:
    def make(*args: Any, **named: Any) -> Any:
        return (_RLock if is_for_program(_getframe(1)) else original)(*args, **named)

    return make


def patch() -> None:
    """`Lock` and `RLock` of `threading`."""
    original = threading.Lock
    if original is not _thread.allocate_lock and original is not _thread.LockType:  # somebody else's: gevent's
        return
    Lock.__module__, Lock.__name__, Lock.__qualname__, Lock.__doc__ = "_thread", "lock", "lock", original.__doc__
    sites.stand_in(threading, "Lock", Lock)
    if type(threading.RLock()) is _thread.RLock:
        _RLock.__module__, _RLock.__name__, _RLock.__qualname__ = "_thread", "RLock", "RLock"
        sites.replace(threading, "RLock", _rlock)
