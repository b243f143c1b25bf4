"""Rows of tables as the values that they were made of: what went in comes out equal."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rashomon.errors import UsageError
from rashomon.model import (
    Coverage,
    Divergence,
    End,
    Failure,
    Grade,
    Kind,
    Loss,
    Match,
    Piece,
    Process,
    Request,
    Response,
    Step,
    Trace,
)
from rashomon.store.engine import duckdb
from rashomon.store.exact import lane_of, restore

if TYPE_CHECKING:
    from rashomon.store.bodies import Hole
    from rashomon.store.reading import TraceStore

T = TypeVar("T")
Select = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
"""Asks the store: SQL and what its question marks stand for."""

RESPONSE = -1
"""`step_parts.position` of a response."""


def trace_from(row: dict[str, Any]) -> Trace:
    """A trace from its row of `traces`, without what the other tables say of it."""
    row = restore(row, "tags", "swaps", "entrypoint", "environ", "versions")
    return Trace(
        id=row["id"],
        name=row["name"],
        started_ns=row["started_ns"],
        ended_ns=row["ended_ns"],
        outcome=row["outcome"],
        exit_code=row["exit_code"],
        error=row["error"],
        tags=row["tags"],
        parent=row["parent"],
        within=row["within"],
        swaps=tuple(row["swaps"]),
        command=None if row["command"] is None else tuple(row["command"]),
        entrypoint=row["entrypoint"],
        cwd=row["cwd"],
        environ=row["environ"],
        versions=row["versions"],
        coverage=Coverage(row["connections"], tuple(row["missed"])),
        result=row["result"],
        provenance=json.loads(row["provenance"] or "{}"),
    )


class Named(NamedTuple):
    """Of a trace what stands beside one of its steps."""

    id: str
    name: str


def named(store: TraceStore, trace: str) -> Named | Trace:
    """A trace that there is, by its name. Raises as `TraceStore.trace` does."""
    quoted = trace.replace("'", "''")
    try:
        found = store.query(f"SELECT name, exact FROM traces WHERE id = '{quoted}'")
    except UsageError:  # damaged: the other way says so
        return store.trace(trace)
    return Named(trace, restore(dict(zip(found.columns, found.rows[0], strict=True)))["name"])


_FAMILY = """
    WITH RECURSIVE family(id) AS (
        SELECT id FROM traces WHERE id = ?
        UNION SELECT nested.id FROM family JOIN traces AS nested ON nested.within = family.id
    )
    SELECT traces.id FROM family JOIN traces USING (id) ORDER BY traces.id <> ?, started_ns, traces.id
"""


def family(select: Select, trace: str) -> list[str]:
    """A trace and the traces within it, by their start."""
    return [str(row["id"]) for row in select(_FAMILY, [trace, trace])] or [trace]


def whole_trace(row: dict[str, Any], select: Select) -> Trace:
    """A trace from its row of `traces`, with what the other tables say of it."""
    from rashomon.store import surroundings

    trace, others = row["id"], dict[str, Any]()
    makers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "losses": loss_from,
        "divergences": divergence_from,
        "uncontrolled": surroundings.uncontrolled_from,
        "launched": surroundings.launched_from,
    }
    # most traces are in none of these: to ask for all of them at once takes as long as to ask for one
    sql = " UNION ALL ".join(f"SELECT '{table}' AS name FROM {table} WHERE trace = $1" for table in makers)
    for table in {found["name"] for found in select(sql, [trace])}:
        others[table] = values(select, trace, table, makers[table])
    processes = values(select, trace, "processes", process_from, "number")
    return trace_from(row)._replace(processes=processes, **others)


def values(
    select: Select, trace: str, table: str, value_from: Callable[[dict[str, Any]], T], order: str = "position"
) -> tuple[T, ...]:
    """What a table has of a trace, in order."""
    found = select(f"SELECT * FROM {table} WHERE trace = ?", [trace])
    found.sort(key=itemgetter(order))  # a database that is to do it takes longer to plan that
    return tuple([value_from(row) for row in found])


def process_from(row: dict[str, Any]) -> Process:
    """A process from its row."""
    row = restore(row)
    started = row["ended"], lane_of(row["lane"]), row["epoch_ns"], row["monotonic_ns"]
    return Process(row["number"], row["pid"], tuple(row["argv"]), row["python"], *started)


def loss_from(row: dict[str, Any]) -> Loss:
    """A loss from its row."""
    row = restore(row)
    return Loss(row["reason"], row["steps"])


def divergence_from(row: dict[str, Any]) -> Divergence:
    """A divergence from its row."""
    row = restore(row)
    paths, detail = tuple(row["paths"]), tuple(row["detail"])
    return Divergence(row["kind"], row["summary"], row["step"], row["recorded"], paths, detail)


def rows_of_steps(reader: duckdb.DuckDBPyConnection, ids: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The rows of steps by trace and id; those that there are."""
    traces, names = [trace for trace, _ in ids], [name for _, name in ids]
    sql = "SELECT * FROM steps WHERE (trace, id) IN (SELECT (unnest(?::VARCHAR[]), unnest(?::VARCHAR[])))"
    cursor = reader.execute(sql, [traces, names])
    columns = [column[0] for column in cursor.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def steps_of(reader: duckdb.DuckDBPyConnection, rows: Sequence[dict[str, Any]]) -> list[Step]:
    """Whole steps from their rows. Raises KeyError with the number of a part that is not there."""
    wanted: set[int] = set()
    for row in rows:
        wanted.update(row["request_parts"])
        if row["response_part"] is not None:
            wanted.add(row["response_part"])
    contents = parts(reader, wanted)
    return [step_from(row, contents) for row in rows]


def bases(
    reader: duckdb.DuckDBPyConnection, process: Mapping[str, Any], numbers: Sequence[int], traces: Sequence[str]
) -> dict[int, bytes] | None:
    """The bodies of some steps of a process, by their numbers, in order; None unless all are there once.

    `process` is what its journal says of it, `traces` are those that it took part in.
    """
    found = reader.execute(
        "SELECT wanted.number, request_parts, layout FROM steps"
        " JOIN processes ON processes.trace = steps.trace AND epoch_ns = ? AND pid = ?"
        " JOIN (SELECT unnest(?::BIGINT[]) AS number) AS wanted"
        " ON steps.id = processes.number || '.' || wanted.number"
        " WHERE steps.trace IN (SELECT unnest(?::VARCHAR[]))",
        [process.get("started_ns", 0), process.get("pid", 0), list(numbers), list(traces)],
    ).fetchall()
    if sorted(row[0] for row in found) != sorted(numbers):
        return None
    from rashomon.store.bodies import put_together

    contents = parts(reader, {part for row in found for part in row[1]})
    bodies = {}
    for number, listed, layout in found:
        frame, *filling = [contents[part] for part in listed]
        bodies[number] = put_together(frame, holes_from(layout), filling)
    return {number: bodies[number] for number in numbers}


@functools.lru_cache(maxsize=4096)
def holes_from(layout: str) -> tuple[Hole, ...]:
    """The holes of a request's frame, from the column `layout`, which is the same for many steps."""
    from rashomon.store.bodies import Hole

    return tuple(Hole(**hole) for hole in json.loads(layout))


def parts(reader: duckdb.DuckDBPyConnection, numbers: Iterable[int]) -> dict[int, bytes]:
    """The contents of parts by their numbers; those that are not there are not in it."""
    sql = "SELECT id, text, body FROM parts SEMI JOIN (SELECT unnest(?::INTEGER[]) AS wanted) ON wanted = parts.id"
    found = reader.execute(sql, [sorted(numbers)]).fetchall()
    return {number: body if text is None else text.encode() for number, text, body in found}


def step_from(row: dict[str, Any], contents: Mapping[int, bytes]) -> Step:
    """A step from its row and the contents of parts, by their numbers."""
    from rashomon.store.bodies import put_together  # with all that takes bodies apart: a trace needs nothing of it

    row = restore(row, "request_head", "response_head")
    frame, *filling = [contents[number] for number in row["request_parts"]]
    body = put_together(frame, holes_from(row["layout"]), filling)
    answer = b"" if row["response_part"] is None else contents[row["response_part"]]
    failure = None
    if row["failure_type"] is not None:
        failure = Failure(row["failure_type"], row["failure_message"], row["failure_values"])
    response = Response(row["response_head"], _pieces(row, answer), End(row["ended"]), failure, row["duration_us"])
    match = Match(Grade(row["grade"]), row["recorded"], row["match_detail"]) if row["grade"] is not None else None
    return Step(
        row["id"],
        row["position"],
        Kind(row["kind"]),
        row["name"],
        lane_of(row["lane"]),
        row["started_us"],
        Request(row["request_head"], body),
        response,
        match,
        row["within"],
        tuple(row["marks"]),
    )


def _pieces(row: dict[str, Any], answer: bytes) -> tuple[Piece, ...]:
    at, pieces = 0, []
    for offset_us, size in zip(row["piece_offsets_us"], row["piece_sizes"], strict=True):
        pieces.append(Piece(offset_us, answer[at : at + size]))
        at += size
    return tuple(pieces)
