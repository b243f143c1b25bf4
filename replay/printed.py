"""Whether a replayed program printed what the recorded one did: by digests, a line of control at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rashomon.model import Lane, Read, Tape
from rashomon.output_marks import MARK, MOST_LANES, OUTPUT, line_of

_FIELDS = 7


class Printed(NamedTuple):
    """What one line of control has printed. `loose`: without regard to digits that loggers write. `differs`: the first
    line that was not the recording's, by number and text, where that was seen. `look`: a terminal or not; its width."""

    lines: int
    exact: bytes
    loose: bytes
    exact_marks: bytes
    loose_marks: bytes
    differs: tuple[int, str] | None
    look: tuple[Any, ...]


class Sides(NamedTuple):
    """What the two are called that are compared."""

    left: str
    right: str


REPLAYED = Sides("the recording", "the replay")
ANY = Sides("the left trace", "the right one")


class OutputDifference(NamedTuple):
    """How two outputs differ. `passing`: only in digits that loggers wrote, or since one was a terminal: told, and no
    divergence."""

    summary: str
    detail: tuple[str, ...]
    passing: bool


def by_lane(reads: Iterable[Read]) -> dict[Lane, Printed]:
    """What each line of control has printed, but for those of tools, which a replay does not run. One by which two
    processes go is left out: it cannot be told apart."""
    found: dict[Lane, Printed] = {}
    process: dict[Lane, int] = {}
    twice = set()
    for read in reads:
        printed = _printed(read)
        if printed is not None and read.within is None:
            found[read.lane] = printed
            if process.setdefault(read.lane, read.process) != read.process:
                twice.add(read.lane)
    return {lane: printed for lane, printed in found.items() if lane not in twice}


def _printed(read: Read) -> Printed | None:
    value = read.value
    if read.kind != OUTPUT or not isinstance(value, (list, tuple)) or len(value) < _FIELDS:
        return None
    lines, exact, loose, marks, loose_marks, differs, look = value[:_FIELDS]
    rows = isinstance(differs, (list, tuple)) and isinstance(look, (list, tuple))
    if not (
        rows and isinstance(lines, int) and all(isinstance(one, bytes) for one in (exact, loose, marks, loose_marks))
    ):
        return None
    seen = (differs[0], differs[1]) if [type(one) for one in differs] == [int, str] else None
    return Printed(lines, exact, loose, marks, loose_marks or marks, seen, tuple(look))


def expected_marks(reads: Iterable[Read]) -> dict[Lane, bytes]:
    """What a replay is to compare its lines with while it prints them."""
    return {lane: printed.loose_marks for lane, printed in by_lane(reads).items()}


def is_known(tape: Tape) -> bool:
    """Whether it was written down what each process printed: not in an old trace, nor in one that was begun inside a
    program or imported, nor of a process that was killed."""
    told = {read.process for read in tape.reads if _printed(read) is not None}
    return bool(told) and {one.number for one in tape.trace.processes} <= told


def compare(recorded: Tape, replayed: Tape, sides: Sides = REPLAYED) -> OutputDifference | None:
    """How the output of a replay differs from its recording's; None where it does not, as far as it is known."""
    left, right = by_lane(recorded.reads), by_lane(replayed.reads)
    if not (is_known(recorded) and is_known(replayed)) or max(len(left), len(right)) >= MOST_LANES:
        left = {lane: printed for lane, printed in left.items() if lane in right}
        right = {lane: printed for lane, printed in right.items() if lane in left}
    apart = [lane for lane in sorted({*left, *right}) if _differ(left.get(lane), right.get(lane))]
    if not apart:
        if all(left[lane].exact == right[lane].exact for lane in left):
            return None
        return OutputDifference(f"Numbers or times in what loggers printed differ from {sides.left}.", (), True)
    if _unnamed(left) == _unnamed(right):  # tasks were started in another order: their names have changed hands
        return None
    main = {one.lane for one in recorded.trace.processes}
    cut = [_is_cut(lane in main, left.get(lane), right.get(lane)) for lane in apart]
    lane = next((lane for lane, is_cut in zip(apart, cut, strict=True) if not is_cut), apart[0])
    summary, detail = _told(lane, left.get(lane), right.get(lane), sides)
    looks = {printed.look for printed in (*left.values(), *right.values())}
    if len(looks) > 1:
        detail = (*detail, "One was printed into a terminal of another width, or into none: programs look at that.")
    return OutputDifference(summary, detail, len(looks) > 1 or all(cut))


def _is_cut(is_main: bool, left: Printed | None, right: Printed | None) -> bool:
    """Whether a thread or a task had come further at the program's end: how far is up to the operating system."""
    if is_main or left is None or right is None or left.lines == right.lines:
        return False
    return _first_mark(left.loose_marks, right.loose_marks) is None


def _unnamed(printed: Mapping[Lane, Printed]) -> Counter[bytes]:
    return Counter(one.loose for one in printed.values())


def _differ(left: Printed | None, right: Printed | None) -> bool:
    return (None if left is None else left.loose) != (None if right is None else right.loose)


def _told(lane: Lane, left: Printed | None, right: Printed | None, sides: Sides) -> tuple[str, tuple[str, ...]]:
    where = "the program" if not lane else "line of control " + ".".join(map(str, lane))
    if right is None or left is None:
        lines = _count((left or right).lines)  # type: ignore[union-attr]
        return f"In {sides.left if right is None else sides.right} alone {where} printed {lines}.", ()
    at = _first_mark(left.loose_marks, right.loose_marks)
    text = () if right.differs is None else (f"line {right.differs[0]} in {sides.right}: {right.differs[1]!r}",)
    if at is not None:
        return f"What {where} printed differs from {sides.left} {_between(at)}.", text
    if left.lines != right.lines:
        return f"In {sides.left} {where} printed {_count(left.lines)}, in {sides.right} {_count(right.lines)}.", text
    return f"What {where} printed last differs from {sides.left}, at line {right.lines}.", text


def _first_mark(left: bytes, right: bytes) -> int | None:
    """The number of the first mark that differs."""
    for number in range(min(len(left), len(right)) // MARK):
        if left[number * MARK : (number + 1) * MARK] != right[number * MARK : (number + 1) * MARK]:
            return number
    return None


def _between(mark: int) -> str:
    before, line = line_of(mark - 1) if mark else 0, line_of(mark)
    return f"at line {line}" if line == before + 1 else f"between lines {before + 1} and {line}"


def _count(lines: int) -> str:
    return "1 line" if lines == 1 else f"{lines} lines"
