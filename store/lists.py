"""The lines of lists of steps, without what they carried. Light, because a list must be there at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from rashomon.model import End, Grade, Kind, Lane, Trace
from rashomon.store.exact import lane_of, restore


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


L = TypeVar("L", StepRow, StepLine)


class Outline(NamedTuple):
    """A trace and the lines of its steps: what a `Tape` is, without what the steps carried."""

    trace: Trace
    steps: Sequence[StepRow | StepLine]


_COLUMN_OF = {
    "index": "position",
    "end": "ended",
    "pieces": "len(piece_sizes)",
    "marks": "CASE WHEN len(marks) > 0 THEN marks END",  # an empty list takes longer to make than all else of a row
}


def columns_of(line: type[StepRow] | type[StepLine]) -> str:
    """The columns of `steps` that a line is made of, in the order of its fields; last, the exact values."""
    return ", ".join([*(_COLUMN_OF.get(name, name) for name in line._fields), "exact"])


_KINDS, _ENDS = ({one.value: one for one in values} for values in (Kind, End))
_GRADES: dict[str | None, Grade | None] = {None: None, **{one.value: one for one in Grade}}
_CHANGES: dict[str, Callable[[Any], Any]] = {
    "kind": _KINDS.__getitem__,
    "lane": lambda lane: lane_of(lane) if lane else (),
    "end": _ENDS.__getitem__,
    "grade": _GRADES.__getitem__,
    "marks": lambda marks: tuple(marks) if marks else (),
    "match_detail": lambda detail: detail or "",
}
"""What becomes of columns that a line has otherwise."""


def lines_from(line: type[L], rows: Sequence[Sequence[Any]]) -> list[L]:
    """Lines of a list from the columns of `columns_of`. There may be thousands: they are made column by column."""
    if not rows:
        return []
    whole = [row[:-1] if row[-1] is None else _restored(line._fields, row) for row in rows]
    columns: list[Sequence[Any]] = list(zip(*whole, strict=True))
    for name, change in _CHANGES.items():
        at = line._fields.index(name)
        columns[at] = list(map(change, columns[at]))
    return list(map(line._make, zip(*columns, strict=True)))


def _restored(names: Sequence[str], row: Sequence[Any]) -> list[Any]:
    found = restore(dict(zip((*names, "exact"), row, strict=True)))
    return [found[name] for name in names]
