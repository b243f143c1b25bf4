"""Which item of a `queue.Queue` each thread got: workers that share a queue would meet otherwise in a replay.

An item is named by who put it there: a lane, and the how many-th of that lane in this queue. (A queue may outlive many
lanes, and traces: it counts for those that are still there.) What a thread got is
recorded where the program's own code asks; in a replay it waits for that item, and leaves the others to those who got
them. Only queues that keep the order of `Queue` itself: `PriorityQueue` and `LifoQueue` have their own.
"""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from itertools import count
from threading import get_ident
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, ref

from rashomon import boundary, real
from rashomon.model import Lane
from rashomon.recorders import lanes
from rashomon.recorders.ambient.looks import looked
from rashomon.recorders.ambient.sites import REAL, USER, asker
from rashomon.recorders.ambient.waits import PATIENCE, limited, nothing, stand_for

Counts: TypeAlias = "WeakKeyDictionary[lanes.Line, count[int]]"
"""How many items each line has put into a queue."""

WHAT = "queue.Queue.get"
_getframe = sys._getframe
_local = boundary._local.get
_got: dict[int, Any] = {}
"""By thread: the name of the item that it has just taken; None for one that has no name."""
_SHUT = -1
"""What is recorded in place of an item's name where the queue had been shut down."""
_POLLS = 100
"""So many looks in a row that found nothing are recorded."""
_hasty: ref[Any] | None = None
"""The conductor of the replay that has waited once for an item that did not come, as long as that lives: it waits no
more."""


def patch(module: Any) -> None:
    """`Queue` (`queue`)."""
    queue = module.Queue
    shut = getattr(module, "ShutDown", ())  # Python 3.13
    made = {
        "_put": _naming(queue._put),
        "_get": _named(queue._get),
        "get": _recorded(queue.get, module.Empty, shut, queue.get_nowait.__code__),
        "put": _puts(queue.put, module.Full, queue.put_nowait.__code__),
        "empty": _looked(queue.empty),
        "full": _told(queue.full),
        "qsize": _told(queue.qsize),
    }
    for name, function in made.items():
        stand_for(getattr(queue, name), function)
        function.__name__ = name
        setattr(queue, name, function)


def _naming(original: Any) -> Any:
    def _put(self: Any, item: Any) -> None:
        original(self, item)
        if (_local() is None and boundary._process is None) or type(self.queue) is not deque:
            return
        names = _names(self, len(self.queue) - 1)
        lane, number = put_here(self._rashomon_counts)
        names.append([list(lane), number])
        if boundary.conductor is not None and self.mutex.locked():  # who waits for it may not be the first who waits
            self.not_empty.notify_all()

    return _put


def put_here(counts: Counts) -> tuple[Lane, int]:
    """The name of an item that the running code puts into the queue that counts so."""
    line, lane = lanes.putting()
    return lane, next(counts.setdefault(line, count()))


def _named(original: Any) -> Any:
    def _get(self: Any) -> Any:
        item = original(self)
        if "_rashomon_names" in self.__dict__:
            _got[get_ident()] = _names(self, len(self.queue) + 1).popleft()
        return item

    return _get


def _names(queue: Any, length: int) -> Any:
    """The names of the items of a queue, of which there are so many; none of what came or went behind our back."""
    names = queue.__dict__.get("_rashomon_names")
    if names is None:
        queue._rashomon_counts = WeakKeyDictionary()
    if names is None or len(names) != length:
        names = queue._rashomon_names = deque([None] * length)
    return names


def _recorded(original: Any, empty: Any, shut: Any, get_nowait: Any) -> Any:
    def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:
        if _local() is None and boundary._process is None:
            return original(self, block, timeout)
        if timeout == 0:
            block, timeout = False, None
        caller: Any = _getframe(1)
        frame, who = asker(caller.f_back if caller.f_code is get_nowait else caller)
        timed = block and timeout is not None and 0 < timeout < 1e9
        # what a library does with queues of its own may be spread over threads otherwise in a replay
        guard = boundary.guard_here() if who == USER or (timed and who != REAL) else None
        endless = block and timeout is None
        if guard is None or (block and timeout is not None and not timed) or (endless and not lanes.here()[1]):
            return original(self, block, timeout)
        taking = _Taking(self, original, (empty, shut), block, who == USER)
        if block or not _is_polling(self, guard):
            came = guard.read("sleep", WHAT, lambda: taking.live(timeout), frame)
        elif (came := taking.live(None)) is not False:
            guard.read("sleep", WHAT, lambda: came, frame)
        if came and not taking.is_over():
            taking.played(came, timeout, getattr(guard, "conductor", None))
        _polls(self, bool(taking.items), guard)
        if taking.items:
            return taking.items[0]
        if taking.ended:
            raise taking.ended[0]
        if block and timeout is not None:
            guard.sleep(timeout, nothing, frame)
        raise empty

    return get


class _Taking:
    """One `get`. `items` holds what it gives, or `ended` what it raises, where the queue was shut down."""

    def __init__(self, queue: Any, original: Any, errors: tuple[Any, Any], block: bool, named: bool) -> None:
        self._queue, self._original, self._block, self._named = queue, original, block, named
        self._empty, self._shut = errors
        self.items: list[Any] = []
        self.ended: list[Exception] = []

    def live(self, limit: float | None) -> Any:
        """Take an item: its name, or True for one that has none; False when none came."""
        _got.pop(get_ident(), None)
        try:
            self.items.append(self._original(self._queue, self._block, limit))
        except self._empty:
            return False
        except self._shut as error:
            self.ended.append(error)
            return _SHUT
        name = _got.pop(get_ident(), None)
        return (name or True) if self._named else True

    def is_over(self) -> bool:
        """True when it has been made."""
        return bool(self.items or self.ended)

    def played(self, came: Any, limit: float | None, conductor: Any) -> None:
        """In a replay: wait for what came when it was recorded."""
        if came == _SHUT:
            _await_end(self._queue)
        elif _take(self._queue, came, self.items, conductor):
            return
        self.live(None if limit is None else max(limit, PATIENCE))


def _await_end(queue: Any) -> None:
    """In a replay: wait for a queue that was shut down when somebody asked for an item."""
    until = real.monotonic() + PATIENCE
    with queue.not_empty:
        while not queue.is_shutdown and (left := until - real.monotonic()) > 0:
            queue.not_empty.wait(left)


def _puts(original: Any, full: Any, put_nowait: Any) -> Any:
    def put(self: Any, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if self.maxsize <= 0 or (block and timeout is None) or (_local() is None and boundary._process is None):
            return original(self, item, block, timeout)  # type: ignore[no-any-return]
        if getattr(self, "is_shutdown", False) or (block and timeout is not None and timeout < 0):  # it raises
            return original(self, item, block, timeout)  # type: ignore[no-any-return]

        def found_room(limit: float | None) -> bool:
            try:
                original(self, item, limit is not None, limit)
            except full:
                return False
            return True

        caller: Any = _getframe(1)
        caller = caller.f_back if caller.f_code is put_nowait else caller
        if block and timeout:
            came = limited("queue.Queue.put", timeout, found_room, caller)
            if came is None:
                return original(self, item, block, timeout)  # type: ignore[no-any-return]
        else:
            what, await_it = "queue.Queue.put_nowait", lambda _: found_room(PATIENCE)
            came = looked(self, what, caller, False, lambda: found_room(None), await_it)
        if not came:
            raise full
        return None

    return put


def _told(original: Any) -> Any:
    """`full` or `qsize`: what the program was told, it is told again, whatever is in the queue by now."""
    what = f"queue.Queue.{original.__name__}"

    def tell(self: Any) -> Any:
        if _local() is None and boundary._process is None:
            return original(self)
        told = self.__dict__.setdefault("_rashomon_told", {})
        who = what, get_ident()
        find = partial(original, self)
        said = told[who] = looked(self, what, _getframe(1), told.get(who), find, lambda _: None)
        return said

    return tell


def _looked(original: Any) -> Any:
    def empty(self: Any) -> bool:
        if _local() is None and boundary._process is None:
            return original(self)  # type: ignore[no-any-return]
        frame, who = asker(_getframe(1))
        guard = boundary.guard_here() if who == USER else None
        if guard is None or (_is_polling(self, guard) and original(self)):
            return original(self)  # type: ignore[no-any-return]
        found: bool = guard.read("sleep", "queue.Queue.empty", lambda: original(self), frame)
        _polls(self, not found, guard)
        return found

    return empty


def _polls(queue: Any, found: bool, guard: Any) -> None:
    """Count how often in a row a thread has found nothing, within one trace."""
    counts = queue.__dict__.setdefault("_rashomon_polls", {})
    if found:
        counts.pop(get_ident(), None)
    else:
        of, polls = counts.get(get_ident(), (None, 0))
        counts[get_ident()] = (of, polls + 1) if of is not None and of() is guard else (ref(guard), 1)


def _is_polling(queue: Any, guard: Any) -> bool:
    """True for a thread that does nothing else: what it finds is written down no more, until it finds something."""
    counts = queue.__dict__.get("_rashomon_polls")
    if not counts or guard.isolates:
        return False
    of, polls = counts.get(get_ident(), (None, 0))
    return polls >= _POLLS and of is not None and of() is guard


def _take(queue: Any, name: Any, items: list[Any], conductor: Any) -> bool:
    """In a replay: wait for the item of this name, and take it. False when it does not come.

    `conductor` is that of the thread's own replay: another one may have begun in the process while it waited.
    """
    if not isinstance(name, list):
        return False
    until = real.monotonic() + patience(conductor)
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
                be_hasty(conductor)
                return False
            queue.not_empty.wait(left)


def patience(conductor: Any) -> float:
    """Seconds to wait for an item that came when it was recorded."""
    return 0 if _hasty is not None and conductor is not None and _hasty() is conductor else PATIENCE


def be_hasty(conductor: Any) -> None:
    """One has not come: this replay is not the recording any more."""
    global _hasty
    _hasty = None if conductor is None else ref(conductor)
