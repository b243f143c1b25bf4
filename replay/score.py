"""What a process of a recording went through: its completions in their order, and which have been handed out."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from typing import Any

from rashomon.model import Event, Lane, Point, Tape

Key = tuple[Event, Any, int]
"""What somebody waits for: the event, of a step by its id or of a lane, and its number."""


class Score:
    """The completions of one process; `process` None: of all. Entries are named by their index."""

    def __init__(self, tape: Tape, process: int | None) -> None:
        own = [point for point in tape.points if process is None or point.process == process]
        self.begin = next((point for point in own if point.event is Event.BEGIN), None)
        limits = {point for point in own if point.event is Event.TIMER and point.delay_us < 0}
        self._at_once = {(point.lane, point.number) for point in limits}
        self.entries = _as_ready([point for point in own if point.event is not Event.BEGIN and point not in limits])
        self._index = {key_of(point): number for number, point in enumerate(self.entries)}
        self._done = bytearray(len(self.entries))
        self._by_loop: dict[int, deque[int]] = {}
        for number, point in enumerate(self.entries):
            if point.loop >= 0:
                self._by_loop.setdefault(point.loop, deque()).append(number)
        self._head = 0
        self._lanes = {step.id: step.lane for step in tape.steps}
        self._inside = _inside(tape, self.entries)
        self._answers = _answers(self.entries)
        self._lasted = _lasted(tape, self.entries)

    def find(self, key: Key) -> int | None:
        """The entry of this key, if there is one that has not been handed out."""
        index = self._index.get(key)
        return None if index is None or self._done[index] else index

    def at_once(self, lane: Lane, number: int) -> bool:
        """True for a time limit that had passed when it was set: it stands in the place of a timer of its line."""
        return (lane, number) in self._at_once

    def has(self, key: Key) -> bool:
        """True when the recording has this completion at all."""
        return key in self._index

    def is_mark(self, index: int) -> bool:
        """True for the end of an event loop: nothing hangs on it but what may come before it."""
        entry = self.entries[index]
        return entry.step is None and entry.event is Event.END

    def finish(self, index: int) -> None:
        """This entry has been handed out, or will not be asked for."""
        self._done[index] = 1

    def finish_all(self) -> None:
        """Nothing is waited for any more."""
        self._done = bytearray(b"\1" * len(self.entries))

    def head(self) -> int | None:
        """The first entry that has not been handed out."""
        while self._head < len(self.entries) and self._done[self._head]:
            self._head += 1
        return self._head if self._head < len(self.entries) else None

    def left(self) -> Iterable[int]:
        """The entries that have not been handed out."""
        return (index for index in range(self._head, len(self.entries)) if not self._done[index])

    def first_of_loop(self, loop: int) -> int | None:
        """The first entry of a recorded loop that has not been handed out."""
        own = self._by_loop.get(loop)
        while own and self._done[own[0]]:
            own.popleft()
        return own[0] if own else None

    def unclosed(self, closing: int, waiting: Container[int]) -> Key | None:
        """The last closing of another client by the line of this one, of those before it that nobody has asked for."""
        lane = self.entries[closing].lane
        for index in range(closing - 1, self._head - 1, -1):
            point = self.entries[index]
            if point.event is Event.CLOSE and point.step is None and point.lane == lane:
                return None if self._done[index] or index in waiting else key_of(point)
        return None

    def inside(self, step: str) -> Iterable[int]:
        """The entries of what happened inside a step, however deep."""
        return self._inside.get(step, ())

    def answer(self, step: str) -> Iterable[int]:
        """The entries of the answer to a step, but for that of its closing. Not all of its pieces have one."""
        return self._answers.get(step, ())

    def lane(self, index: int) -> Lane:
        """The lane that an entry belongs to."""
        point = self.entries[index]
        return point.lane if point.step is None else self._lanes.get(point.step, ())

    def lasted(self, index: int) -> int:
        """Microseconds from what came before in the same call, or its beginning, to an entry; the delay of a timer."""
        return self._lasted[index]

    def told(self, index: int) -> str:
        """An entry in words."""
        point = self.entries[index]
        return f"{point.event} of step {point.step}" if point.step else f"{point.event} of lane {point.lane}"


def loop_of(point: Point) -> int | None:
    """The loop in whose thread a completion was handed out."""
    return None if point.loop == -1 else max(point.loop, -2 - point.loop)


def key_of(point: Point) -> Key:
    """What somebody asks for who waits for this completion."""
    return (point.event, point.lane if point.step is None else point.step, point.number)


def _lasted(tape: Tape, entries: Iterable[Point]) -> list[int]:
    before = {step.id: step.started_us for step in tape.steps}
    found = []
    for point in entries:
        if point.step is None:
            found.append(max(0, point.delay_us))
        else:
            found.append(max(0, point.at_us - before.get(point.step, point.at_us)))
            before[point.step] = point.at_us
    return found


def _as_ready(points: list[Point]) -> list[Point]:
    """In the order in which they were due. A timer is ready when its tick begins and written when it runs: what threads
    and calls that block the loop came to in between stands behind it."""
    ready: list[Point] = []
    for point in points:
        at = len(ready)
        if point.event is Event.TIMER:
            while at and ready[at - 1].loop < 0 and ready[at - 1].at_us > point.at_us:
                at -= 1
        ready.insert(at, point)
    return ready


def _inside(tape: Tape, entries: Iterable[Point]) -> dict[str, list[int]]:
    """Of each step that others were made within: the entries of all that happened inside it."""
    above = {step.id: step.within for step in tape.steps}
    found: dict[str, list[int]] = {}
    for index, point in enumerate(entries):
        outer = point.within if point.step is None else above.get(point.step)
        while outer is not None:
            found.setdefault(outer, []).append(index)
            outer = above.get(outer)
    return found


def _answers(entries: Iterable[Point]) -> dict[str, list[int]]:
    """Of each step: the entries of its answer."""
    found: dict[str, list[int]] = {}
    for index, point in enumerate(entries):
        if point.step is not None and point.event is not Event.CLOSE:
            found.setdefault(point.step, []).append(index)
    return found
