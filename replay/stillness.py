"""Whether anything else in this process can still move: other threads, child processes, real connections.

A replay that waits its turn must know when the turn cannot come. On Linux the kernel says of each thread how
long it has run and how long it has been ready to run; while neither grows, it waits for something.
Elsewhere the processor time of the whole process has to do.
"""

from __future__ import annotations

import os
import threading
import time as _time
from collections.abc import Collection

from rashomon import boundary, real

_SAMPLES = 3
"""So many looks in a row must find nothing moving."""
_CHILD_SAMPLES = 7
"""The same for child processes, which load from a disk what they are to run."""
_starting: dict[threading.Thread, threading.Thread] = threading._limbo  # type: ignore[attr-defined]
"""The threads that have been started, and have not yet run far enough to be listed as running."""

_STILL_S = 0.007
"""A thread that has not run for so long waits for something: longer than it may have to wait for the interpreter."""
_STARVED_S = 3 * _STILL_S
"""Who looks again only after so long had to wait for a processor. So had others, which then have not stood still."""
_LITTLE = 0.25
"""What such a look counts for."""
_LONGEST_S = 10.0
"""For so long a thread may compute before the next one is released."""


class Stillness:
    """Watches the threads of this process but those that are known to wait."""

    def __init__(self) -> None:
        self._seen: object = None
        self._same = 0.0
        self._since = real.monotonic()
        self._looked = 0.0

    def reset(self) -> None:
        """Something has happened: begin to watch anew."""
        self._seen, self._same, self._since = None, 0.0, real.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been since the last reset."""
        return real.monotonic() - self._since

    def reached(self, waiting: Collection[int]) -> bool:
        """True when no thread but those waiting (by `threading.get_ident()`) can move. To be asked again and again."""
        if _starting:
            self._seen, self._same = None, 0.0
            return False
        others = [thread.native_id for ident, thread in list(boundary.threads.items()) if ident not in waiting]
        if not others:
            return True
        now = real.monotonic()
        gap = now - self._looked
        if gap < _STILL_S:
            return self._same >= _SAMPLES
        self._looked = now
        measured = _measure([number for number in others if number is not None])
        worth = 1.0 if gap < _STARVED_S else _LITTLE
        self._same = self._same + worth if measured == self._seen else 0.0
        self._seen = measured
        return self._same >= _SAMPLES


class Turn:
    """Which thread has been released last. It runs alone until it waits, ends or can move no more."""

    def __init__(self) -> None:
        self._ident: int | None = None
        self._seen: object = None
        self._looked = self._since = 0.0

    def give(self, ident: int) -> None:
        """Released now."""
        self._ident, self._seen = ident, None
        self._looked = self._since = real.monotonic()

    def rest(self, ident: int) -> bool:
        """This thread has finished what it was released for. True if it was its turn."""
        if self._ident != ident:
            return False
        self._ident = None
        return True

    def taken(self, waiting: Collection[int]) -> bool:
        """True while the one released last is still on its way."""
        ident = self._ident
        if ident is None:
            return False
        thread = boundary.threads.get(ident)
        now = real.monotonic()
        if thread is None or thread.native_id is None or ident in waiting or now - self._since > _LONGEST_S:
            self._ident = None
            return False
        if self._seen is None or now - self._looked >= _STILL_S:
            measured = _measure([thread.native_id])
            if measured == self._seen:
                self._ident = None
                return False
            self._seen, self._looked = measured, now
        return True


def _measure(numbers: list[int], process: str = "self") -> object:
    """Changes whenever one of these threads runs, or wants to."""
    found = []
    for number in numbers:
        try:
            with open(f"/proc/{process}/task/{number}/schedstat", "rb") as file:
                ran, waited, _ = file.read().split()
            # a thread that waits for a processor counts its waiting only when it has got one
            with open(f"/proc/{process}/task/{number}/stat", "rb") as file:
                if file.read().rpartition(b")")[2].split()[0] in b"RD":
                    return object()
        except (OSError, ValueError):
            if not os.path.exists("/proc/self/schedstat"):
                return round(_process_time(), 4)
            continue  # it has ended
        found.append((number, ran, waited))
    return found


class Children:
    """Waits until the processes that a replay runs have come to where they wait for something, or have ended.

    Time costs the program nothing: who gives up on a process, or ends it, would do so before it has even begun.
    """

    def __init__(self, strangers: frozenset[bytes]) -> None:
        self._strangers = strangers
        self._still: object = None
        self._left_s = _LONGEST_S
        """So long those that go on and on may still be waited for, in all of the replay."""

    def wait(self) -> None:
        """At once where none has moved since they stood still last."""
        begun, same = real.monotonic(), 0
        seen = self._measured()
        if seen == self._still:
            return
        while same < _CHILD_SAMPLES:
            if real.monotonic() - begun > self._left_s:
                self._left_s = 0.0
                return
            real.sleep(_STILL_S)
            measured = self._measured()
            same = same + 1 if measured == seen else 0
            seen = measured
        self._still = seen

    def _measured(self) -> object:
        left = [*(children() - self._strangers)]
        found: list[object] = []
        for process in left:  # it grows: their children too
            try:
                threads = [int(name) for name in os.listdir(b"/proc/%b/task" % process)]
            except OSError:
                continue
            found.append((process, _measure(threads, os.fsdecode(process))))
            left += sorted(children(os.fsdecode(process)))
        return found


_process_time = _time.process_time  # the real one: this module is loaded before a replay patches anything


def children(process: str = "self") -> frozenset[bytes]:
    """The process ids of the child processes that have not been waited for; empty where they are not to be had."""
    found: set[bytes] = set()
    try:
        for name in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{name}/children", "rb") as file:
                found.update(file.read().split())
    except OSError:
        pass  # not Linux, or without this file, or a thread has just ended
    return frozenset(found)
