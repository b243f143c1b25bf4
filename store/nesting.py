"""Rows of a trace and of the traces within it in one list, placed as `rashomon.nesting` places their steps."""

from __future__ import annotations

from collections.abc import Sequence

from rashomon.model import Trace
from rashomon.nesting import Placed, place
from rashomon.store.lists import StepRow


def rows_together(traces: Sequence[Trace], rows: Sequence[Sequence[StepRow]]) -> list[StepRow]:
    """The rows in the order, and under the ids, of the whole tape; each keeps where the store has it."""
    places = place(traces, [[row.id for row in own] for own in rows])
    moved = [_moved(row, where) for own, where in zip(rows, places, strict=True) for row in own]
    moved.sort(key=lambda row: (row.started_us, *map(int, row.id.split("."))))
    return [row._replace(index=index) for index, row in enumerate(moved)]


def _moved(row: StepRow, where: Placed) -> StepRow:
    return row._replace(
        id=where.step_id(row.id),
        started_us=where.step_us(row.started_us, row.id),
        within=where.optional_id(row.within),
    )
