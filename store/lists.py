"""The lines of lists of steps, without what they carried. Light, because a list must be there at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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


class Outline(NamedTuple):
    """A trace and the lines of its steps: what a `Tape` is, without what the steps carried."""

    trace: Trace
    steps: list[StepRow]


_COLUMN_OF = {
    "index": "position",
    "end": "ended",
    "pieces": "len(piece_sizes)",
    "marks": "CASE WHEN len(marks) > 0 THEN marks END",  # an empty list takes longer to make than all else of a row
}
STEP_ROW_COLUMNS = ", ".join([*(_COLUMN_OF.get(name, name) for name in StepRow._fields), "exact"])
"""The columns of `steps` that a `StepRow` is made of, in the order of its fields; last, the exact values."""

_KINDS, _ENDS = ({one.value: one for one in values} for values in (Kind, End))
_GRADES: dict[str | None, Grade | None] = {None: None, **{one.value: one for one in Grade}}
_KIND, _LANE, _END, _GRADE, _MARKS, _DETAIL = map(
    StepRow._fields.index, ("kind", "lane", "end", "grade", "marks", "match_detail")
)


def step_row_from(columns: Sequence[Any]) -> StepRow:
    """A line of a list from the columns of `STEP_ROW_COLUMNS`. There may be thousands: no name is looked up twice."""
    *fields, exact = columns
    fields[_MARKS] = fields[_MARKS] or []
    if exact is not None:
        found = restore({**dict(zip(StepRow._fields, fields, strict=True)), "exact": exact})
        fields = [found[name] for name in StepRow._fields]
    fields[_KIND] = _KINDS[fields[_KIND]]
    fields[_LANE] = lane_of(fields[_LANE]) if fields[_LANE] else ()
    fields[_END] = _ENDS[fields[_END]]
    fields[_GRADE] = _GRADES[fields[_GRADE]]
    fields[_MARKS] = tuple(fields[_MARKS]) if fields[_MARKS] else ()
    fields[_DETAIL] = fields[_DETAIL] or ""
    return StepRow._make(fields)
