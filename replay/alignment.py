"""Two traces side by side, step by step. Pure: tapes in, an `Alignment` out.

In a replay of the left trace, a step pairs with the recorded step that answered it. All other steps are
aligned within their lane (a line of control is named by how it was spawned, not by when it ran): equal
requests first, then steps of one kind and name whose requests are alike. What is left over is tried once
more across lanes. Work grows with the length of the traces, not with its square.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from rashomon import views
from rashomon.canonical import canonical_url
from rashomon.model import Grade, Lane, Step, Tape, Trace
from rashomon.replay.causes import Followed, follow
from rashomon.replay.differences import Content, same_answered, same_asked
from rashomon.replay.ends import EndDifference, end_differences
from rashomon.replay.likeness import LIKE, Sketch, overlap, sketch
from rashomon.replay.sequences import IndexPair, common, gaps, increasing, pair_in_order

_SERVED = (Grade.EXACT, Grade.EXPLAINED, Grade.DRIFTED, Grade.STUBBED)


class Mark(StrEnum):
    """How the two steps of a pair stand to each other."""

    SAME = "same"
    OUTPUT = "output changed"
    INPUT = "input changed"
    BOTH = "both"
    MISSING = "missing"
    EXTRA = "extra"
    MOVED = "moved"


class Pair(NamedTuple):
    """A step of the left trace and its counterpart in the right one.

    `left` is None for an extra step, `right` for a missing one. `yours`: the replay was told to change
    this step (a stub, or a live call in place of a recorded one). `cause`: the index of the pair whose
    changed output explains every change of this one's input; None when nothing does.
    """

    mark: Mark
    left: Step | None
    right: Step | None
    yours: bool = False
    cause: int | None = None


class Alignment(NamedTuple):
    """Two traces paired: in the left one's order, extra steps behind the step they came after.

    `first` is the index of the first pair that is not the same, or None. `ends`: what differs beside the steps.
    """

    left: Trace
    right: Trace
    pairs: tuple[Pair, ...]
    first: int | None
    ends: tuple[EndDifference, ...] = ()

    @property
    def same(self) -> bool:
        """True where neither a step differs nor an end, but for what is told in passing."""
        return self.first is None and all(end.passing for end in self.ends)


class Row(NamedTuple):
    """A line of a folded alignment: the pair at index `pair`, or `folded` same pairs from there on."""

    pair: int
    folded: int = 0


def align(left: Tape, right: Tape) -> Alignment:
    """Pair the steps of two traces."""
    table = _Table(left.steps, right.steps)
    if right.trace.parent == left.trace.id:
        table.pair_served()
    for lane in dict.fromkeys(step.lane for step in left.steps):
        table.pair_lane(lane)
    table.pair_rest()
    pairs = _with_causes(_in_order(table))
    first = next((n for n, pair in enumerate(pairs) if pair.mark != Mark.SAME), None)
    return Alignment(left.trace, right.trace, tuple(pairs), first, end_differences(left, right))


def fold(alignment: Alignment, context: int = 2) -> list[Row]:
    """The alignment with runs of same pairs folded; `context` of them stay on either side of a change."""
    pairs = alignment.pairs
    shown = [False] * len(pairs)
    for index, pair in enumerate(pairs):
        if pair.mark != Mark.SAME or pair.yours:
            shown[max(0, index - context) : index + context + 1] = [True] * len(
                pairs[max(0, index - context) : index + context + 1]
            )
    rows: list[Row] = []
    index = 0
    while index < len(pairs):
        end = index
        while end < len(pairs) and not shown[end]:
            end += 1
        if end - index > 1:
            rows.append(Row(index, end - index))
            index = end
        else:  # a fold of one line hides as much as it saves
            rows.append(Row(index))
            index += 1
    return rows


class _Table:
    """Who is paired with whom so far, by position in the two traces."""

    def __init__(self, left: Sequence[Step], right: Sequence[Step]) -> None:
        self.left, self.right = left, right
        self.right_of: dict[int, int] = {}
        self.left_of: dict[int, int] = {}
        self._sketches: dict[tuple[bool, int], Sketch] = {}

    def put(self, i: int, j: int) -> None:
        self.right_of[i] = j
        self.left_of[j] = i

    def pair_served(self) -> None:
        """Pair each replayed step with the recorded one that answered it, or that was named as nearest."""
        positions = {step.id: i for i, step in enumerate(self.left)}
        for served in (True, False):
            for j, step in enumerate(self.right):
                match = step.match
                if match is None or (match.grade in _SERVED) is not served or j in self.left_of:
                    continue
                i = positions.get(match.recorded or "")
                if i is not None and i not in self.right_of and self._fits(i, j):
                    self.put(i, j)

    def pair_lane(self, lane: Lane) -> None:
        """Pair what is free in one lane, between the pairs that it already has."""
        lefts = [i for i, step in enumerate(self.left) if step.lane == lane]
        rights = [j for j, step in enumerate(self.right) if step.lane == lane]
        self._pair_between(lefts, rights)

    def pair_rest(self) -> None:
        """Pair what is still free, wherever it ran."""
        lefts = [i for i in range(len(self.left)) if i not in self.right_of]
        rights = [j for j in range(len(self.right)) if j not in self.left_of]
        self._pair_free(lefts, rights)
        lefts = [i for i in lefts if i not in self.right_of]
        rights = [j for j in rights if j not in self.left_of]
        self._pair_displaced(lefts, rights)

    def _pair_between(self, lefts: list[int], rights: list[int]) -> None:
        place = {j: n for n, j in enumerate(rights)}
        fixed = [(n, place[self.right_of[i]]) for n, i in enumerate(lefts) if self.right_of.get(i) in place]
        for gap_a, gap_b in gaps(increasing(fixed), len(lefts), len(rights)):
            free_a = [lefts[n] for n in gap_a if lefts[n] not in self.right_of]
            free_b = [rights[n] for n in gap_b if rights[n] not in self.left_of]
            self._pair_free(free_a, free_b)

    def _pair_free(self, lefts: list[int], rights: list[int]) -> None:
        """Equal requests in order; between them, alike ones in order."""
        if not lefts or not rights:
            return
        equal = common([_key(self.left[i]) for i in lefts], [_key(self.right[j]) for j in rights])
        for a, b in equal:
            self.put(lefts[a], rights[b])
        for gap_a, gap_b in gaps(equal, len(lefts), len(rights)):
            if gap_a and gap_b:
                self._pair_alike([lefts[n] for n in gap_a], [rights[n] for n in gap_b])

    def _pair_alike(self, lefts: list[int], rights: list[int]) -> None:
        for a, b in pair_in_order(len(lefts), len(rights), lambda a, b: self._score(lefts[a], rights[b]), LIKE):
            self.put(lefts[a], rights[b])

    def _pair_displaced(self, lefts: list[int], rights: list[int]) -> None:
        """Equal requests that stand elsewhere: they moved."""
        waiting: dict[Hashable, list[int]] = {}
        for j in reversed(rights):
            waiting.setdefault(_key(self.right[j]), []).append(j)
        for i in lefts:
            found = waiting.get(_key(self.left[i]))
            if found:
                self.put(i, found.pop())

    def _fits(self, i: int, j: int) -> bool:
        a, b = self.left[i], self.right[j]
        return a.kind == b.kind and a.name == b.name

    def _score(self, i: int, j: int) -> float:
        if not self._fits(i, j):
            return 0.0
        alike = overlap(self._sketch(False, i), self._sketch(True, j))
        # between equally like requests, the same answer decides
        same = self.left[i].response.pieces == self.right[j].response.pieces
        return alike + 0.01 * same if alike >= LIKE else 0.0

    def _sketch(self, right: bool, position: int) -> Sketch:
        found = self._sketches.get((right, position))
        if found is None:
            step = (self.right if right else self.left)[position]
            found = self._sketches[right, position] = sketch(views.request_view(step))
        return found


def _key(step: Step) -> Hashable:
    """Equal for requests with equal bytes; equal values in another spelling are found by their likeness."""
    head = step.request.head
    url = canonical_url(step.kind, str(head.get("url", "")))
    return step.kind, step.name, head.get("method", ""), url, step.request.body


def _in_order(table: _Table) -> Iterator[_Read]:
    moved = _moved(table)
    after: dict[int, list[_Read]] = {}  # position on the right -> the extra steps behind it
    previous = -1
    for j, step in enumerate(table.right):
        if j in table.left_of:
            previous = j
        else:
            extra = Pair(Mark.EXTRA, None, step, _is_yours(step, False))
            after.setdefault(previous, []).append(_Read(extra, None, Content(step)))
    yield from after.get(-1, ())
    for i, step in enumerate(table.left):
        other = table.right_of.get(i)
        if other is None:
            yield _Read(Pair(Mark.MISSING, step, None), Content(step), None)
            continue
        yield _compared(Content(step), Content(table.right[other]), i in moved)
        yield from after.pop(other, ())


class _Read(NamedTuple):
    """A pair, and its steps as far as they are read. It is let go before the next: bodies may be long."""

    pair: Pair
    left: Content | None
    right: Content | None


def _compared(left: Content, right: Content, moved: bool) -> _Read:
    asked, answered = same_asked(left, right), same_answered(left, right)
    match = right.step.match
    if match is not None and match.grade == Grade.MISSED:
        answered = True  # it was refused: there is no answer to compare
    if asked and answered:
        mark = Mark.MOVED if moved else Mark.SAME
    elif asked:
        mark = Mark.OUTPUT
    else:
        mark = Mark.INPUT if answered else Mark.BOTH
    return _Read(Pair(mark, left.step, right.step, _is_yours(right.step, asked)), left, right)


def _is_yours(step: Step, asked_the_same: bool) -> bool:
    """A stubbed step, or one that went live though the tape had its answer."""
    grade = None if step.match is None else step.match.grade
    return grade == Grade.STUBBED or (grade == Grade.LIVE and asked_the_same)


def _moved(table: _Table) -> set[int]:
    """Positions on the left whose pair runs in another lane, or out of its lane's order."""
    moved: set[int] = set()
    lanes: dict[Lane, list[IndexPair]] = {}
    for i, step in enumerate(table.left):
        j = table.right_of.get(i)
        if j is None:
            continue
        if table.right[j].lane != step.lane:
            moved.add(i)
        else:
            lanes.setdefault(step.lane, []).append((i, j))
    for pairs in lanes.values():
        kept = set(increasing(pairs))
        moved.update(i for i, j in pairs if (i, j) not in kept)
    return moved


def _with_causes(compared: Iterable[_Read]) -> list[Pair]:
    pairs: list[Pair] = []
    causes = follow(_followed(compared, pairs))
    return [pair._replace(cause=cause) for pair, cause in zip(pairs, causes, strict=True)]


def _followed(compared: Iterable[_Read], pairs: list[Pair]) -> Iterator[Followed]:
    """What is followed, pair by pair; each is kept in `pairs`."""
    changed_in = (Mark.INPUT, Mark.BOTH, Mark.EXTRA, Mark.MISSING)
    changed_out = (Mark.OUTPUT, Mark.BOTH, Mark.EXTRA, Mark.MISSING)
    for pair, left, right in compared:
        pairs.append(pair)
        yield Followed(left, right, pair.mark in changed_in, pair.mark in changed_out)
