"""Which item of a `queue.SimpleQueue` each thread got, as `queues` does it for `Queue`.

A simple queue is a type of C: the program's own code gets one of ours, whose items carry the name of who put them. As
with the built-in one, `put` may interrupt any other call of the same thread: it waits for nothing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from queue import Empty
from queue import SimpleQueue as BuiltIn
from threading import get_ident
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from rashomon import boundary
from rashomon.recorders.ambient.looks import looked
from rashomon.recorders.ambient.owned import Owned
from rashomon.recorders.ambient.queues import Counts, be_hasty, patience, put_here
from rashomon.recorders.ambient.sites import REAL, USER, asker, stand_in
from rashomon.recorders.ambient.waits import PATIENCE, nothing

T = TypeVar("T")
WHAT = "queue.SimpleQueue.get"
_getframe = sys._getframe
_local = boundary._local.get


class _Put:
    """An item, with the lane that put it and the how many-th of that lane in this queue."""

    __slots__ = ("item", "name")

    def __init__(self, item: Any, name: tuple[Any, int] | None) -> None:
        self.item, self.name = item, name


class SimpleQueue(BuiltIn[Any], metaclass=Owned):
    """Stands for `queue.SimpleQueue`."""

    builtin = made = BuiltIn
    _counts: Counts
    _aside: dict[Any, _Put]
    """Of a replay alone: what has come, by name."""
    _came: threading.Condition
    _waiting: int
    """How many threads wait at `_came`: some may still do so when the replay that made them has ended."""

    def __new__(cls, *args: Any, **named: Any) -> SimpleQueue:  # a subclass need not call `__init__`
        self = super().__new__(cls, *args, **named)
        self._counts, self._aside, self._came, self._waiting = WeakKeyDictionary(), {}, threading.Condition(), 0
        return self

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        name = None
        if _local() is not None or boundary._process is not None:
            name = put_here(self._counts)
        super().put(_Put(item, name))
        if self._waiting:
            with self._came:  # whose lock its thread may take again
                self._came.notify_all()

    def put_nowait(self, item: Any) -> None:
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        return _got(self, super().get, block, timeout, _getframe(1))

    def get_nowait(self) -> Any:
        return _got(self, super().get, False, None, _getframe(1))

    def empty(self) -> bool:
        if _local() is None and boundary._process is None:
            return self._size() == 0
        await_it = lambda _: _awaited(self, self._size, PATIENCE)  # noqa: E731
        what, find = "queue.SimpleQueue.empty", lambda: self._size() == 0
        return looked(self, what, _getframe(1), True, find, await_it)  # type: ignore[no-any-return]

    def qsize(self) -> int:
        if _local() is None and boundary._process is None:
            return self._size()
        what, who = "queue.SimpleQueue.qsize", get_ident()
        told = self.__dict__.setdefault("_rashomon_told", {})
        said: int = looked(self, what, _getframe(1), told.get(who), self._size, lambda _: None)
        told[who] = said
        return said

    def _size(self) -> int:
        return super().qsize() + len(self._aside)


def patch(module: Any) -> None:
    """`SimpleQueue` (`queue`)."""
    if BuiltIn.__module__ != "_queue":  # Python's own, where there is none of C
        return
    SimpleQueue.__module__, SimpleQueue.__qualname__, SimpleQueue.__doc__ = "_queue", "SimpleQueue", BuiltIn.__doc__
    stand_in(module, "SimpleQueue", SimpleQueue)


def _got(queue: Any, take: Any, block: bool, timeout: float | None, caller: Any) -> Any:
    """An item of a queue, for who asks for it. `take` is the built-in's `get`."""
    frame, who = asker(caller)
    guard: Any = None if who == REAL else boundary.guard_here()
    if timeout == 0 or (timeout is not None and not block):
        block, timeout = block and timeout != 0, None
    timed = isinstance(timeout, (int, float)) and 0 < timeout < 1e9
    if guard is None or who != USER or not (timed or timeout is None):  # or it raises
        return _any(queue, take, block, timeout).item
    live: list[_Put] = []

    def ask() -> Any:
        try:
            live.append(_any(queue, take, block, timeout))
        except Empty:
            return False
        name = live[0].name
        return True if name is None else [list(name[0]), name[1]]

    came = guard.read("sleep", WHAT, ask, frame)
    if came and not live:
        live.append(_named(queue, take, came, getattr(guard, "conductor", None)))
    if live:
        return live[0].item
    if timeout is not None:
        guard.sleep(timeout, nothing, frame)
    raise Empty


def _any(queue: Any, take: Any, block: bool, timeout: Any) -> _Put:
    """The next item. Raises `Empty`."""
    odd = timeout is not None and (not isinstance(timeout, (int, float)) or timeout < 0)
    if odd or (boundary.conductor is None and not queue._aside):
        return take(block, timeout)  # type: ignore[no-any-return]
    if not block:
        timeout = 0
    with queue._came:
        if _awaited(queue, lambda: _gathered(queue, take), timeout):
            return queue._aside.pop(next(iter(queue._aside)))  # type: ignore[no-any-return]
    raise Empty


def _named(queue: Any, take: Any, name: Any, conductor: Any) -> _Put:
    """In a replay: the item of this name, when it comes; else any. Raises `Empty`."""
    if isinstance(name, list):
        wanted = tuple(name[0]), name[1]
        with queue._came:
            if _awaited(queue, lambda: wanted in _gathered(queue, take), patience(conductor)):
                return queue._aside.pop(wanted)  # type: ignore[no-any-return]
        be_hasty(conductor)
    return _any(queue, take, True, PATIENCE)


def _awaited(queue: Any, found: Callable[[], T], timeout: float | None) -> T:
    """In a replay: wait until something is found in a queue, or the time is over."""
    with queue._came:
        queue._waiting += 1  # before it is looked: what is put from now on is told of
        try:
            return queue._came.wait_for(found, timeout)  # type: ignore[no-any-return]
        finally:
            queue._waiting -= 1


def _gathered(queue: Any, take: Any) -> dict[Any, _Put]:
    """In a replay: all that has come and nobody has got yet, by name."""
    aside: dict[Any, _Put] = queue._aside
    try:
        while True:
            put = take(False)
            aside[put.name or object()] = put
    except Empty:
        return aside
