"""Reckoning again what calls cost: with the prices of today's package and settings, from the bytes of each call.

A price is looked up when a trace is taken into the store; whoever corrects one afterwards has it hold for what is there
too. Traces are dealt with in small groups, each in a transaction of its own, so that readers and ingestions get their
turn; one that is killed leaves some costs new and some old, and may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from rashomon import home as homes
from rashomon.errors import DamagedData
from rashomon.store import columns, contents, step_rows, turns
from rashomon.store import connection as connections
from rashomon.store.engine import duckdb
from rashomon.store.ingestion import Progress
from rashomon.store.migrate import UNPRICED
from rashomon.store.portions import Price
from rashomon.store.taking import pricing

_CALLS = 2_000
"""So many calls are put together and written at a time: about a second."""

_WINDOW = 64
"""So many steps of one trace are in memory at a time."""


class Repriced(NamedTuple):
    """How many LLM calls there are and how many cost something else now; what all cost before and after, in dollars."""

    calls: int
    changed: int
    before: float
    after: float


class _Call(NamedTuple):
    trace: str
    position: int
    step: str
    response: int | None
    cost: float | None


def reprice(home: Path | str, progress: Progress | None = None, wait_s: float = connections.WAIT_S) -> Repriced:
    """Reckon all LLM calls of a home's store again.

    Raises `UsageError` when the settings are wrong, or when the store is in use for longer than `wait_s` seconds.
    """
    store, price = Path(homes.store_path(home)), pricing(home)
    with connections.open_reader(store, wait_s) as reader:
        todo = reader.execute(_TRACES).fetchall()
    calls = sum(count for _, count in todo)
    changed, before, after, done = 0, 0.0, 0.0, 0
    for group in _groups(todo):
        with connections.open_reader(store, wait_s) as reader:
            try:
                found = list(_reckoned(reader, group, price))
            except (KeyError, duckdb.Error) as error:
                raise DamagedData(
                    f"{store} cannot be read whole: {error}.", "`rashomon verify` says what is damaged."
                ) from error
        other = [(call, cost) for call, cost in found if cost != call.cost]
        if other:
            _write(store, other, wait_s)
        changed += len(other)
        before += sum(call.cost or 0.0 for call, _ in found)
        after += sum(cost or 0.0 for _, cost in found)
        done += len(found)
        if progress is not None:
            progress(done, max(calls, done))
    return Repriced(calls, changed, before, after)


def _groups(todo: list[tuple[str, int]]) -> Iterator[list[str]]:
    """Traces, as many at a time as have some thousand calls."""
    group, size = list[str](), 0
    for trace, count in todo:
        if group and size + count > _CALLS:
            yield group
            group, size = [], 0
        group.append(trace)
        size += count
    if group:
        yield group


def _reckoned(
    reader: duckdb.DuckDBPyConnection, traces: list[str], price: Price
) -> Iterator[tuple[_Call, float | None]]:
    """The LLM calls of some traces with their costs of now."""
    calls: dict[str, list[_Call]] = {}
    started = dict(reader.execute(_STARTED, [traces]).fetchall())
    for row in reader.execute(_CALLS_OF, [traces]).fetchall():
        calls.setdefault(row[0], []).append(_Call(*row))
    for trace, listed in calls.items():
        for start in range(0, len(listed), _WINDOW):
            some = listed[start : start + _WINDOW]
            steps = contents.read(reader, trace, [call.position for call in some])
            for call, (step, _) in zip(some, steps, strict=True):
                said = step_rows.summary(step, None)
                yield call, price(step, said, started.get(trace, 0) + step.started_us * 1000)


def _write(store: Path, found: list[tuple[_Call, float | None]], wait_s: float) -> None:
    """Write costs, of calls that are still what they were when they were read; and the sums of their traces."""
    arriving = pa.table({
        "trace": columns.texts([call.trace for call, _ in found]),
        "step": columns.texts([call.step for call, _ in found]),
        "response": columns.integers([call.response for call, _ in found], small=True),
        "cost": pa.array([cost for _, cost in found], pa.float64()),
    })  # fmt: skip
    with connections.open_writer(store, wait_s) as writer, connections.transaction(writer):
        writer.execute("UPDATE meta SET value = value::BIGINT + 1 WHERE key = 'generation'")  # an ingestion looks again
        writer.register("reckoned", arriving)
        writer.execute(_COSTS)
        writer.execute(_SUMS)
        writer.unregister("reckoned")
    turns.let_readers_in(store)


_TRACES = "SELECT trace, count(*) FROM steps WHERE kind = 'llm' GROUP BY trace ORDER BY trace"
_STARTED = "SELECT id, started_ns FROM traces WHERE id IN (SELECT unnest(?))"
_CALLS_OF = """
    SELECT trace, position, id, response_part, cost FROM steps
    WHERE kind = 'llm' AND trace IN (SELECT unnest(?)) ORDER BY trace, position
"""
_COSTS = """
    UPDATE steps SET cost = reckoned.cost FROM reckoned
    WHERE steps.trace = reckoned.trace AND steps.id = reckoned.step
        AND steps.response_part IS NOT DISTINCT FROM reckoned.response
"""
_SUMS = f"""
    UPDATE traces SET cost = sums.cost, unpriced = sums.unpriced
    FROM (
        SELECT
            trace,
            sum(cost) AS cost,
            count(*) FILTER ({UNPRICED}) AS unpriced
        FROM steps WHERE trace IN (SELECT trace FROM reckoned) GROUP BY trace
    ) AS sums
    WHERE traces.id = sums.trace
"""
