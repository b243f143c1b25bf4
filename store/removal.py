"""Deleting traces from a store: the one place that knows which rows belong to a trace.

A killed deletion leaves `compaction.DUE` in the store, by which the next one knows that parts may be left over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rashomon.errors import DamagedData
from rashomon.store import compaction
from rashomon.store import connection as connections
from rashomon.store.engine import duckdb, full, is_no_room

BATCH_STEPS = 20_000
"""About so many steps are deleted in one transaction: others wait for a fraction of a second."""

Progress = Callable[[int, int], None]


def remove_traces(
    store: Path,
    ids: Sequence[str],
    deleted: Sequence[str] = (),
    rewritten: Sequence[str] = (),
    progress: Progress | None = None,
    wait_s: float = connections.WAIT_S,
) -> int:
    """Delete traces; how many were there. What only they referred to is then deleted by `sweep`.

    `deleted` and `rewritten` are names of journals: the ledger lets go of the first, and of where reading of the second
    ended. Rows are gone for every query then; their space is given back by `compaction.compact`.
    """
    if not store.exists() or not (ids or deleted or rewritten):
        return 0
    done = 0
    try:
        with connections.open_writer(store, wait_s) as writer, connections.transaction(writer):
            delete_entries(writer, ids, deleted, rewritten)
        for batch in _batches(store, ids, wait_s):
            with connections.open_writer(store, wait_s) as writer, connections.transaction(writer):
                delete_rows(writer, batch)
            done += len(batch)
            if progress is not None:
                progress(done, len(ids))
    except duckdb.Error as error:
        if is_no_room(error):
            raise full(store) from error
        raise DamagedData(
            f"{store} cannot be written: {connections.first_line(error)}.",
            "`rashomon verify` says what is wrong; what was deleted so far is gone, and repeating goes on.",
        ) from error
    return done


def _batches(store: Path, ids: Sequence[str], wait_s: float) -> list[list[str]]:
    """The ids that are there, in groups of about `BATCH_STEPS` steps."""
    with connections.open_reader(store, wait_s) as reader:
        found = reader.execute(
            "SELECT id, coalesce(steps, 0) FROM traces WHERE id IN (SELECT unnest(?::VARCHAR[])) ORDER BY started_ns",
            [list(ids)],
        ).fetchall()
    batches: list[list[str]] = []
    room = 0
    for name, steps in found:
        if room <= 0:
            batches.append([])
            room = BATCH_STEPS
        batches[-1].append(name)
        room -= steps + 1
    return batches


def tables_by_trace(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The tables whose rows belong to the trace that their column `trace` names."""
    rows = connection.execute(
        "SELECT DISTINCT table_name FROM duckdb_columns() AS columns JOIN duckdb_tables() AS tables"
        " USING (database_name, schema_name, table_name)"
        " WHERE database_name = current_database() AND columns.column_name = 'trace' ORDER BY 1"
    ).fetchall()
    return [row[0] for row in rows]


def delete_rows(writer: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> None:
    """Delete traces, but for the parts that they are made of, within a transaction of the caller's."""
    writer.execute("CREATE OR REPLACE TEMP TABLE going AS SELECT unnest(?::VARCHAR[]) AS id", [list(ids)])
    for table in tables_by_trace(writer):
        writer.execute(f'DELETE FROM "{table}" WHERE trace IN (SELECT id FROM going)')
    writer.execute("DELETE FROM traces WHERE id IN (SELECT id FROM going)")
    writer.execute("DROP TABLE going")
    compaction.mark_due(writer)
    next_generation(writer)


def sweep(store: Path, wait_s: float = connections.WAIT_S) -> None:
    """Delete the parts that no step refers to any more. Once for all traces: it looks at every step there is."""
    try:
        with connections.open_writer(store, wait_s) as writer, connections.transaction(writer):
            writer.execute(
                "DELETE FROM parts WHERE id NOT IN (SELECT id FROM ("
                " SELECT unnest(request_parts) AS id FROM steps"
                " UNION SELECT response_part FROM steps UNION SELECT prompt_part FROM steps) WHERE id IS NOT NULL)"
            )
            next_generation(writer)
    except duckdb.Error as error:
        if is_no_room(error):
            raise full(store) from error
        raise


def delete_entries(
    writer: duckdb.DuckDBPyConnection, ids: Sequence[str], deleted: Sequence[str], rewritten: Sequence[str]
) -> None:
    """Delete what the ledger and the cohorts say of traces and files that are gone.

    A journal that was rewritten is read again from its beginning by the next ingestion.
    """
    for table, column in (("journals", "name"), ("members", "journal")):
        writer.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT unnest(?::VARCHAR[]))", [list(deleted)])
    writer.execute(
        "UPDATE journals SET mtime_ns = 0, reader = 0, resume = NULL WHERE name IN (SELECT unnest(?::VARCHAR[]))",
        [list(rewritten)],
    )
    for table in ("journals", "cohorts"):
        writer.execute(
            f"UPDATE {table} SET traces = list_filter(traces, lambda one: NOT list_contains($ids, one))"
            " WHERE list_has_any(traces, $ids)",
            {"ids": list(ids)},
        )
    next_generation(writer)


def next_generation(writer: duckdb.DuckDBPyConnection) -> None:
    """Tell whoever plans to write that what they know is out of date."""
    writer.execute("UPDATE meta SET value = (value::BIGINT + 1)::VARCHAR WHERE key = 'generation'")
