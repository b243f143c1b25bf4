"""Steps with their bodies, put together from rows and parts.

The rows of a trace lie together in the file, and so do most of its parts: a part that an earlier trace brought lies
with that one. One scan finds the rows, one join on integers the parts; each part is fetched once, however many steps
are made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from rashomon.errors import UsageError
from rashomon.model import Step
from rashomon.store.engine import duckdb
from rashomon.store.restored import step_from

COLUMNS = (
    "position, id, kind, name, lane, started_us, duration_us, ended, failure_type, failure_message, failure_values,"
    " grade, recorded, match_detail, within, marks, request_head, response_head, request_parts, response_part,"
    " layout, piece_offsets_us, piece_sizes, exact"
)
"""The columns of `steps` that a step is made of."""

_FEW = 50
"""So many parts are named one by one: for a list, DuckDB loads modules of Python's, and reads more of the table."""

Row = dict[str, Any]


def read(
    reader: duckdb.DuckDBPyConnection,
    trace: str,
    positions: Sequence[int] | None = None,
    columns: str = COLUMNS,
) -> list[tuple[Step, Row]]:
    """The steps of one trace, all or those at some positions, each with its row of `steps`, in order.

    `columns` may name more than `COLUMNS`, or `*`. Raises KeyError, with its number, for a part that is not there.
    """
    condition, parameters = "trace = ?", list[Any]([trace])
    if positions is not None:
        first, last = min(positions, default=0), max(positions, default=-1)
        condition += " AND position BETWEEN ? AND ?"
        parameters += [first, last]
        if len(set(positions)) <= last - first:  # only then: all columns of what is joined are read of many more steps
            condition += " AND position IN (SELECT unnest(?))"
            parameters.append(list(positions))
    return _whole(reader, _rows(reader, condition, parameters, columns))


def at(reader: duckdb.DuckDBPyConnection, rowid: int) -> Step:
    """The step in a row of `steps`. Raises as `read`."""
    return _whole(reader, _rows(reader, "rowid = ?", [rowid], COLUMNS))[0][0]


def no_step(trace: str, reference: str, count: int) -> UsageError:
    """What is wrong with a reference to a step of a trace that has so many."""
    there = f"0 to {count - 1}" if count else "none"
    return UsageError(f"Trace {trace} has no step {reference!r}.", f"Its steps: {there}.")


def _whole(reader: duckdb.DuckDBPyConnection, found: list[Row]) -> list[tuple[Step, Row]]:
    contents = parts(reader, _wanted(found))
    return [(step_from(row, contents), row) for row in found]


def _rows(reader: duckdb.DuckDBPyConnection, condition: str, parameters: list[Any], columns: str) -> list[Row]:
    """Rows of `steps`, in order: to sort whole rows takes the database longer than to find them."""
    cursor = reader.execute(f"SELECT {columns} FROM steps WHERE {condition}", parameters)
    names = [column[0] for column in cursor.description or ()]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    found.sort(key=itemgetter("position"))
    return found


def _wanted(found: Iterable[Row]) -> set[int]:
    wanted: set[int] = set()
    for row in found:
        wanted.update(row["request_parts"] or ())
        if row["response_part"] is not None:
            wanted.add(row["response_part"])
    return wanted


def parts(reader: duckdb.DuckDBPyConnection, numbers: Iterable[int]) -> dict[int, bytes]:
    """The contents of parts by their numbers; those that are not there are not in it."""
    wanted = sorted(numbers)
    if not wanted:
        return {}
    if len(wanted) <= _FEW:
        cursor = reader.execute(
            f"SELECT id, text, body FROM parts WHERE id IN ({', '.join('?' * len(wanted))})", wanted
        )
    else:
        sql = "SELECT id, text, body FROM parts SEMI JOIN (SELECT unnest(?)::INTEGER AS wanted) ON wanted = parts.id"
        cursor = reader.execute(sql, [wanted])
    return {number: body if text is None else text.encode() for number, text, body in cursor.fetchall()}
