"""Which item of a `queue.Queue` each thread got: workers that share a queue would meet otherwise in a replay.

An item is named by who put it there: a lane, and the how many-th of that lane in this queue. What a thread got is
recorded where the program's own code asks; in a replay it waits for that item, and leaves the others to those who got
them. Only queues that keep the order of `Queue` itself: `PriorityQueue` and `LifoQueue` have their own.
"""

from __future__ import annotations

import sys
from collections import deque
from threading import get_ident
from typing import Any
from weakref import ref

from rashomon import boundary, real
from rashomon.recorders import lanes
from rashomon.recorders.ambient.sites import REAL, USER, asker
from rashomon.recorders.ambient.waits import PATIENCE, nothing, stand_for

WHAT = "queue.Queue.get"
_getframe = sys._getframe
_local = boundary._local.get
_got: dict[int, Any] = {}
"""By thread: the name of the item that it has just taken; None for one that has no name."""
_POLLS = 100
"""So many looks in a row that found nothing are recorded."""
_hasty: ref[Any] | None = None
"""The conductor of the replay that has waited once for an item that did not come, as long as that lives: it waits no
more."""


def patch(module: Any) -> None:
    """`Queue` (`queue`)."""
    queue = module.Queue
    put, take, get, empty = queue._put, queue._get, queue.get, queue.empty
    queue._put, queue._get = _naming(put), _named(take)
    queue.get, queue.empty = _recorded(get, module.Empty, queue.get_nowait.__code__), _looked(empty)
    for original, function in ((put, queue._put), (take, queue._get), (get, queue.get), (empty, queue.empty)):
        stand_for(original, function)


def _naming(original: Any) -> Any:
    def _put(self: Any, item: Any) -> None:
        original(self, item)
        if (_local() is None and boundary._process is None) or type(self.queue) is not deque:
            return
        names = _names(self, len(self.queue) - 1)
        lane = lanes.here()[0]
        number = self._rashomon_counts[lane] = self._rashomon_counts.get(lane, -1) + 1
        names.append([list(lane), number])
        if boundary.conductor is not None and self.mutex.locked():  # who waits for it may not be the first who waits
            self.not_empty.notify_all()

    return _put


def _named(original: Any) -> Any:
    def _get(self: Any) -> Any:
        item = original(self)
        if "_rashomon_names" in self.__dict__:
            _got[get_ident()] = _names(self, len(self.queue) + 1).popleft()
        return item

    return _get


def _names(queue: Any, count: int) -> Any:
    """The names of the `count` items of a queue; none of what came or went behind our back."""
    names = queue.__dict__.get("_rashomon_names")
    if names is None:
        queue._rashomon_counts = {}
    if names is None or len(names) != count:
        names = queue._rashomon_names = deque([None] * count)
    return names


def _recorded(original: Any, empty: Any, get_nowait: Any) -> Any:
    def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:
        if _local() is None and boundary._process is None:
            return original(self, block, timeout)
        caller: Any = _getframe(1)
        frame, who = asker(caller.f_back if caller.f_code is get_nowait else caller)
        limited = block and timeout is not None and 0 < timeout < 1e9
        # what a library does with queues of its own may be spread over threads otherwise in a replay
        guard = boundary.guard_here() if who == USER or (limited and who != REAL) else None
        if guard is None or (block and timeout is not None and not limited):
            return original(self, block, timeout)
        items: list[Any] = []

        def taken(limit: float | None) -> Any:
            _got.pop(get_ident(), None)
            try:
                items.append(original(self, block, limit))
            except empty:
                return False
            name = _got.pop(get_ident(), None)
            return (name or True) if who == USER else True

        if block or not _is_polling(self, guard):
            came = guard.read("sleep", WHAT, lambda: taken(timeout), frame)
        elif (came := taken(None)) is not False:
            guard.read("sleep", WHAT, lambda: came, frame)
        if came and not items:
            conductor = getattr(guard, "conductor", None)
            _take(self, came, items, conductor) or taken(None if timeout is None else max(timeout, PATIENCE))
        _polls(self, bool(items))
        if items:
            return items[0]
        if block and timeout is not None:
            guard.sleep(timeout, nothing, frame)
        raise empty

    return get


def _looked(original: Any) -> Any:
    def empty(self: Any) -> bool:
        if _local() is None and boundary._process is None:
            return original(self)  # type: ignore[no-any-return]
        frame, who = asker(_getframe(1))
        guard = boundary.guard_here() if who == USER else None
        if guard is None or (_is_polling(self, guard) and original(self)):
            return original(self)  # type: ignore[no-any-return]
        found: bool = guard.read("sleep", "queue.Queue.empty", lambda: original(self), frame)
        _polls(self, not found)
        return found

    return empty


def _polls(queue: Any, found: bool) -> None:
    """Count how often in a row a thread has found nothing."""
    counts = queue.__dict__.setdefault("_rashomon_polls", {})
    if found:
        counts.pop(get_ident(), None)
    else:
        counts[get_ident()] = counts.get(get_ident(), 0) + 1


def _is_polling(queue: Any, guard: Any) -> bool:
    """True for a thread that does nothing else: what it finds is written down no more, until it finds something."""
    counts = queue.__dict__.get("_rashomon_polls")
    return bool(counts) and not guard.isolates and counts.get(get_ident(), 0) >= _POLLS


def _take(queue: Any, name: Any, items: list[Any], conductor: Any) -> bool:
    """In a replay: wait for the item of this name, and take it. False when it does not come.

    `conductor` is that of the thread's own replay: another one may have begun in the process while it waited.
    """
    global _hasty
    if not isinstance(name, list):
        return False
    hasty = _hasty is not None and conductor is not None and _hasty() is conductor
    until = real.monotonic() + (0 if hasty else PATIENCE)
    with queue.not_empty:
        while True:
            names = _names(queue, len(queue.queue))
            if name in names:
                place = names.index(name)
                items.append(queue.queue[place])
                del queue.queue[place], names[place]
                queue.not_full.notify()
                return True
            left = until - real.monotonic()
            if left <= 0:
                _hasty = None if conductor is None else ref(conductor)
                return False
            queue.not_empty.wait(left)
