"""The lines of lists of steps, without what they carried. Light, because a list must be there at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, overload

from rashomon.model import End, Grade, Kind, Lane, Trace


class StepRow(NamedTuple):
    """One line of a list of steps: everything but heads and bodies.

    `id`, `index`, `started_us` and `within` are those of the step in the tape that was asked for;
    `trace` and `position` say where the store has it. Sizes are in bytes; `pieces` is a count.
    """

    id: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    trace: str
    position: int
    kind: Kind
    name: str
    lane: Lane
    started_us: int
    duration_us: int
    end: End
    failure_type: str | None
    failure_message: str | None
    grade: Grade | None
    recorded: str | None
    within: str | None
    marks: tuple[str, ...]
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    status: int | None
    finish: str | None
    title: str
    request_digest: str
    response_digest: str | None
    request_size: int
    response_size: int
    pieces: int
    match_detail: str
    cost: float | None
    cached_tokens: int | None
    reasoning_tokens: int | None


class StepLine(NamedTuple):
    """What lists print of a `StepRow`, each under the same name; of a whole step, too."""

    id: str
    index: int  # type: ignore[assignment]
    kind: Kind
    name: str
    lane: Lane
    started_us: int
    duration_us: int
    end: End
    failure_type: str | None
    failure_message: str | None
    grade: Grade | None
    recorded: str | None
    within: str | None
    marks: tuple[str, ...]
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    status: int | None
    finish: str | None
    title: str
    match_detail: str


class ShownLine(NamedTuple):
    """What a table of steps shows of a `StepLine`, each under the same name."""

    id: str
    index: int  # type: ignore[assignment]
    kind: Kind
    lane: Lane
    duration_us: int
    end: End
    failure_type: str | None
    failure_message: str | None
    grade: Grade | None
    within: str | None
    marks: tuple[str, ...]
    input_tokens: int | None
    output_tokens: int | None
    status: int | None
    title: str
    match_detail: str


L = TypeVar("L", StepRow, StepLine, ShownLine)


class Outline(NamedTuple):
    """A trace and the lines of its steps: what a `Tape` is, without what the steps carried."""

    trace: Trace
    steps: Sequence[StepRow | StepLine]


class Shown(NamedTuple):
    """An `Outline` with no more than a table of it shows."""

    trace: Trace
    steps: Sequence[ShownLine]


_COLUMN_OF = {
    "index": "position",
    "end": "ended",
    "pieces": "len(piece_sizes)",
    "marks": "CASE WHEN len(marks) > 0 THEN marks END",  # an empty list takes longer to make than all else of a row
}


def _lane(lane: Any) -> Lane:
    from rashomon.store.exact import lane_of  # with what reads exact values, which hardly any step has

    return lane_of(lane)


def columns_of(line: type[StepRow] | type[StepLine] | type[ShownLine]) -> str:
    """The columns of `steps` that a line is made of, in the order of its fields; last, the exact values."""
    return ", ".join([*(_COLUMN_OF.get(name, name) for name in line._fields), "exact"])


_KINDS, _ENDS = ({one.value: one for one in values} for values in (Kind, End))
_GRADES: dict[str | None, Grade | None] = {None: None, **{one.value: one for one in Grade}}
_CHANGES: dict[str, Callable[[Any], Any]] = {
    "kind": _KINDS.__getitem__,
    "lane": lambda lane: _lane(lane) if lane else (),
    "end": _ENDS.__getitem__,
    "grade": _GRADES.__getitem__,
    "marks": lambda marks: tuple(marks) if marks else (),
    "match_detail": lambda detail: detail or "",
}
"""What becomes of columns that a line has otherwise."""


class Columns(Sequence[L]):
    """Lines whose columns hold all that there is of them. A line is made when it is asked for."""

    def __init__(self, line: type[L], columns: Sequence[Sequence[Any]]) -> None:
        self._line: type[L] = line
        self._columns = columns

    def column(self, name: str) -> Sequence[Any]:
        """What the store has for a field of all lines: texts in place of `kind`, `lane`, `end` and `grade`, and None
        for what is empty."""
        return self._columns[self._line._fields.index(name)]

    def lanes(self) -> list[list[int]]:
        """The lanes of all lines, as JSON has them."""
        return [list(_lane(lane)) if lane else [] for lane in self.column("lane")]

    def chosen(self, places: Sequence[int]) -> Columns[L]:
        """The lines at some places, in this order."""
        return Columns(self._line, [list(map(column.__getitem__, places)) for column in self._columns])

    def __len__(self) -> int:
        return len(self._columns[0])

    def __iter__(self) -> Iterator[L]:
        columns: list[Iterable[Any]] = list(self._columns)
        for name, change in _CHANGES.items():
            if name in self._line._fields:
                at = self._line._fields.index(name)
                columns[at] = map(change, columns[at])
        return map(self._line._make, zip(*columns, strict=True))

    @overload
    def __getitem__(self, at: int) -> L: ...

    @overload
    def __getitem__(self, at: slice) -> Columns[L]: ...

    def __getitem__(self, at: int | slice) -> L | Columns[L]:
        if isinstance(at, slice):
            return Columns(self._line, [column[at] for column in self._columns])
        one: L = next(iter(Columns(self._line, [[column[at]] for column in self._columns])))
        return one


def listed(line: type[L], rows: Sequence[Sequence[Any]]) -> Sequence[L]:
    """Lines of a list from the columns of `columns_of`: as `Columns`, where these hold all that there is of them.

    There may be thousands: whatever is done for each of them takes longer than to find them.
    """
    if not rows:
        return []
    *columns, exact = zip(*rows, strict=True)
    if exact.count(None) < len(exact):
        columns = list(zip(*[_restored(line._fields, row) for row in rows], strict=True))
        return list(Columns(line, columns))
    return Columns(line, columns)


def lines_from(line: type[L], rows: Sequence[Sequence[Any]]) -> list[L]:
    """The same, each line made."""
    return list(listed(line, rows))


def _restored(names: Sequence[str], row: Sequence[Any]) -> Sequence[Any]:
    if row[-1] is None:
        return row[:-1]
    from rashomon.store.exact import restore

    found = restore(dict(zip((*names, "exact"), row, strict=True)))
    return [found[name] for name in names]
