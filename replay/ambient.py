"""What a replayed program reads from its surroundings: the recorded values, in order, and virtual ones beyond them."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from threading import RLock
from typing import Any

from rashomon.boundary import inside
from rashomon.model import Lane, Read, Site, Tape
from rashomon.replay.clock import VirtualClock

_SHARED = ("random.random", "random.getrandbits")
"""Draws from the generator that all threads share: one that is served draws from it as well, and throws it away."""
_MAX_UNRECORDED = 1000
_NS = 1_000_000_000
_CLOCK_REALTIME = getattr(time, "CLOCK_REALTIME", 0)

Tuples = tuple[Any, ...]


class _Row:
    """The reads of one place, or of one lane, in the order in which they were made; served ones are skipped."""

    __slots__ = ("_left", "_served")

    def __init__(self, served: set[int]) -> None:
        self._left: deque[tuple[int, Read]] = deque()
        self._served = served

    def add(self, number: int, read: Read) -> None:
        self._left.append((number, read))

    def take(self) -> Read | None:
        while self._left:
            number, read = self._left.popleft()
            if number not in self._served:
                self._served.add(number)
                return read
        return None


class Ambient:
    """Answers reads of clock, chance and process from a tape; of one process's reads, where a number is given.

    Thread-safe. `unrecorded` lists what was asked for and not recorded, with the place, each once.
    """

    def __init__(self, tape: Tape, clock: VirtualClock, process: int | None = None) -> None:
        self._tape, self._clock = tape, clock
        self._lock = RLock()
        self.unrecorded: list[tuple[str, Site]] = []
        self.misses = 0
        """How many reads found nothing recorded."""
        self._noted: set[tuple[str, str, str]] = set()
        self._gone: dict[tuple[str, str], bool] = {}
        self._values: list[tuple[Read, Any]] = []
        self._looking: Any = None
        self._looks = self._shown_us = 0
        self._fill(process)

    def _fill(self, process: int | None) -> None:
        self._served: set[int] = set()
        self._rows: dict[Tuples, _Row] = {}
        self._lanes: dict[Tuples, list[tuple[int, Read]]] = {}
        self._orphans: dict[Tuples, _Row] = {}
        self._anchors: dict[str, tuple[int, int]] = {}
        self._drawn: dict[Lane, int] = {}
        own = {one.number: one.lane for one in self._tape.trace.processes}
        for number, read in enumerate(self._tape.reads):
            if process is not None and read.process != process and _is_own(read, own.get(read.process, ())):
                continue
            inner = read.within is not None
            self._lanes.setdefault((inner, read.lane, read.what), []).append((number, read))
            exact = inner, read.lane, read.what, read.site.file, read.site.function
            for key in (exact, _key(inner, read.lane, read.what, read.site)):
                self._rows.setdefault(key, _Row(self._served)).add(number, read)

    def after_fork(self, process: int | None) -> None:
        """In a forked child: go on with what the recorded process of this number read, or with nothing recorded."""
        self._lock = RLock()
        self._fill(-1 if process is None else process)

    def read(self, lane: Lane, kind: str, what: str, real: Callable[[], Any], site: Site) -> Any:
        """What the recording read there: next in this lane, file and function. A place that it does not know in this
        lane may have been renamed or moved: it gets what was read in places that the program no longer has. Beyond
        the recording a virtual value, or a real one of what has none."""
        with self._lock:
            found = self._take(lane, what, site)
            if found is not None:
                self._clock.advance_to(found.at_us)
                self._anchor(what, found)
                self._values.append((found, found.value))
            else:
                self.misses += 1
                self._note(what, site)
        if found is None:
            if kind == "clock":
                self._hurry((what, site), 20, 100_000)
            return self._beyond(lane, kind, what, real)
        if what.startswith(_SHARED):
            real()
        return found.value

    def library_read(self, lane: Lane, kind: str, what: str, real: Callable[[], Any]) -> Any:
        """A value of the virtual clock, or of a stream of chance that is the same in every replay."""
        if kind == "clock":
            self._hurry(None, 200, 1000)
        return self._beyond(lane, kind, what, real)

    def _beyond(self, lane: Lane, kind: str, what: str, real: Callable[[], Any]) -> Any:
        if kind == "clock":
            value = self._virtual(what)
            self._shown_us = self._clock.now_us
            return value
        if kind == "random":
            return self._chance(lane, what, real)
        return real()

    def values(self) -> Iterable[tuple[Read, Any]]:
        """What was served, in order: the recorded read, and the value that the program got."""
        with self._lock:
            return tuple(self._values)

    def _take(self, lane: Lane, what: str, site: Site) -> Read | None:
        """The most exact place that the recording knows decides, also when nothing is left of it.

        What a tool's own code read is for tools that run in the replay too: one that is served does not ask for it.
        """
        inner = inside.get() is not None
        exact = self._rows.get((inner, lane, what, site.file, site.function))
        row = exact or self._rows.get(_key(inner, lane, what, site))
        if row is not None:
            return row.take()
        orphans = self._orphans.get((inner, lane, what))
        if orphans is None:
            orphans = self._orphans[inner, lane, what] = _Row(self._served)
            for number, read in self._lanes.get((inner, lane, what), ()):
                if self._is_gone(read.site):
                    orphans.add(number, read)
        return orphans.take()

    def _is_gone(self, site: Site) -> bool:
        """Whether the program no longer has the function: nobody else will ask for what was read in it."""
        key = site.file, site.function
        if key not in self._gone:
            name = site.function.rpartition(".")[2]
            try:
                with open(site.file, encoding="utf-8", errors="replace") as source:
                    self._gone[key] = name.isidentifier() and re.search(rf"\bdef {name}\b", source.read()) is None
            except OSError:
                self._gone[key] = True
        return self._gone[key]

    def _note(self, what: str, site: Site) -> None:
        key = what, site.file, site.function
        if key not in self._noted and len(self.unrecorded) < _MAX_UNRECORDED:
            self._noted.add(key)
            self.unrecorded.append((what, site))

    def _anchor(self, what: str, read: Read) -> None:
        """Beyond the recording a clock goes on from the last value that it showed."""
        if read.kind == "clock" and isinstance(read.value, (int, float)):
            value = read.value if what.endswith("_ns") or "_ns(" in what else round(read.value * _NS)
            known = self._anchors.get(what)
            if known is None or value > known[0]:
                self._anchors[what] = (int(value), read.at_us)

    def _virtual(self, what: str) -> Any:
        """What the clock `what` shows, in its own form."""
        clock = self._clock
        name = what.partition("(")[0]
        if not what.startswith("time.") or name in ("time.localtime", "time.gmtime", "time.strftime", "time.ctime",
                                                    "time.asctime"):  # fmt: skip
            return _broken_down(what, clock.time_ns())
        wall = name in ("time.time", "time.time_ns") or what.endswith(f"({_CLOCK_REALTIME})")
        shown = clock.time_ns() if wall else clock.monotonic_ns()
        if name.startswith(("time.process_time", "time.thread_time")):
            shown = clock.look() * 1000
        with self._lock:
            anchor = self._anchors.get(what)
            if anchor is not None:
                shown = anchor[0] + max(1, clock.now_us - anchor[1]) * 1000
        return shown if name.endswith("_ns") else shown / _NS

    def _hurry(self, who: Any, patience: int, longest_us: int) -> None:
        """Who looks at the clock again and again, while nothing else moves it, waits for a moment to come: it comes
        in growing steps, or a loop that waits a little for something real each time would go on for hours."""
        with self._lock:
            if who != self._looking or self._clock.now_us != self._shown_us:
                self._looking, self._looks = who, 0
            self._looks += 1
            if self._looks > patience:
                self._clock.advance(min(longest_us, 1 << min(40, self._looks // patience)))
                self._shown_us = self._clock.now_us

    def _chance(self, lane: Lane, what: str, real: Callable[[], Any]) -> Any:
        """Bytes from the stream of this lane; a draw from a generator is made, for its seed is known."""
        name, _, size = what.partition("(")
        if name in ("os.urandom", "os.getrandom", "ssl.RAND_bytes"):
            return self._stream(lane, int(size.rstrip(")")))
        if name in ("process.entropy", "random.Random.seed"):
            return self._stream(lane, 32)
        if name == "uuid.getnode":
            return int.from_bytes(self._stream(lane, 6), "big") | 1 << 40
        if name == "uuid.uuid1":
            drawn = bytearray(self._stream(lane, 16))
            drawn[6], drawn[8] = drawn[6] & 0x0F | 0x10, drawn[8] & 0x3F | 0x80
            return [bytes(drawn), -1]
        return real()

    def _stream(self, lane: Lane, size: int) -> bytes:
        with self._lock:
            number = self._drawn[lane] = self._drawn.get(lane, -1) + 1
        return b"".join(_blocks(repr((self._tape.trace.id, lane, number)).encode(), size))[:size]


def _is_own(read: Read, lane: Lane) -> bool:
    """Whether a read belongs to the process that made it. A job of a pool may come to another worker in a replay."""
    return read.lane[: len(lane)] == lane


def _key(inner: bool, lane: Lane, what: str, site: Site) -> Tuples:
    """A place without its line, which moves with every edit, and without its folder, which may be another one now."""
    return inner, lane, what, None, site.file.replace("\\", "/").rpartition("/")[2], site.function


def _blocks(key: bytes, size: int) -> Iterator[bytes]:
    for number in range(-(-size // 32)):
        yield sha256(key + number.to_bytes(4, "big")).digest()


def _broken_down(what: str, wall_ns: int) -> list[Any]:
    """A moment as the numbers that the players of `time` and `datetime` build their objects from."""
    utc = what in ("time.gmtime", "datetime.datetime.utcnow", "datetime.datetime.now(tz)")
    seconds, rest = divmod(wall_ns, _NS)
    moment = time.gmtime(seconds) if utc else time.localtime(seconds)
    if what.startswith("time."):
        return [*moment, moment.tm_zone, moment.tm_gmtoff]
    if what == "datetime.date.today":
        return list(moment[:3])
    return [*moment[:6], rest // 1000, 0]
