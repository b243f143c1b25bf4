"""Numbered migrations: from whatever schema a store has to the newest, in one transaction."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rashomon.store.engine import duckdb

APPLICATION = "rashomon"
_FOLDER = Path(__file__).parent
_NAME = re.compile(r"(\d{4})_\w+\.sql")
SUMS_SINCE = 12
"""The first schema whose stores surely have the sums of their traces as they are made now."""

UNPRICED = """
    kind = 'llm' AND cost IS NULL AND (
        coalesce(input_tokens, output_tokens) IS NOT NULL
        OR (status < 400 AND name NOT IN ('moderations', 'messages.count_tokens'))
    )
"""
"""A call whose price is not known: what it used is, or that it was answered, by an operation that has a price."""

_INDENTED = re.compile(r"^ +", re.MULTILINE)
"""Of no use in a store, which keeps the text of its views."""


class Migration(NamedTuple):
    """One step of the schema: its number and the SQL that takes the schema there."""

    number: int
    sql: str


def migrations(folder: Path = _FOLDER) -> list[Migration]:
    """All migrations, in order."""
    found = [(match, path) for path in folder.glob("*.sql") if (match := _NAME.fullmatch(path.name))]
    return sorted(
        Migration(int(match[1]), _INDENTED.sub("", path.read_text(encoding="utf-8"))) for match, path in found
    )


def newest() -> int:
    """The number of the schema that this version reads and writes."""
    return max(int(match[1]) for path in _FOLDER.glob("*.sql") if (match := _NAME.fullmatch(path.name)))


def schema_of(connection: duckdb.DuckDBPyConnection) -> int | None:
    """The schema's number; 0 for an empty database, None for one that somebody else made."""
    try:
        found = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        return int(found["schema"]) if found["application"] == APPLICATION else None
    except duckdb.CatalogException:
        # only now: a list of tables reads something of each
        tables = "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() LIMIT 1"
        return None if connection.execute(tables).fetchall() else 0
    except (duckdb.BinderException, KeyError, ValueError):
        return None


def migrate(connection: duckdb.DuckDBPyConnection, steps: Iterable[Migration] | None = None) -> int:
    """Bring the schema up to date, whole or not at all; the number it has then."""
    current = schema_of(connection) or 0  # before: a question that fails ends a transaction
    with _committed_to_the_file(connection):
        return _migrate(connection, current, migrations() if steps is None else steps)


@contextlib.contextmanager
def _committed_to_the_file(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """What is committed goes into the file itself before anything else happens: its log, that changes tables with
    computed columns, cannot be read by who opens the file directly. One who is killed in between leaves such a log, and
    `rashomon.store.connection` puts it into the file for the next who reads."""
    (before,) = connection.execute("SELECT current_setting('checkpoint_threshold')").fetchall()[0]
    connection.execute("SET checkpoint_threshold = '1B'")
    try:
        yield
    finally:
        connection.execute(f"SET checkpoint_threshold = '{before}'")


def _migrate(connection: duckdb.DuckDBPyConnection, current: int, steps: Iterable[Migration]) -> int:
    before = current
    connection.begin()
    try:
        for step in steps:
            if step.number > current:
                connection.execute(step.sql)
                current = step.number
        if 0 < before < SUMS_SINCE <= current:
            connection.execute(_SUMS)
        values = {"application": APPLICATION, "schema": str(current)}
        connection.execute("DELETE FROM meta WHERE key IN (SELECT unnest(?))", [list(values)])
        connection.executemany("INSERT INTO meta VALUES (?, ?)", list(values.items()))
        connection.execute(
            "INSERT INTO meta SELECT 'generation', '0' WHERE NOT EXISTS (FROM meta WHERE key = 'generation')"
        )
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return current


# as `rashomon.store.writing` makes them when journals are read: those of an older store may be gone
_SUMS = f"""
    UPDATE traces SET
        steps = sums.steps, llm_calls = sums.llm_calls, tool_calls = sums.tool_calls, failures = sums.failures,
        input_tokens = sums.input_tokens, output_tokens = sums.output_tokens, cost = sums.cost,
        unpriced = sums.unpriced, models = sums.models
    FROM (
        SELECT
            trace,
            count(*) AS steps,
            count(*) FILTER (kind = 'llm') AS llm_calls,
            count(*) FILTER (kind IN ('tool', 'mcp')) AS tool_calls,
            count(*) FILTER (
                failure_type IS NOT NULL OR status >= 400 OR error_type IS NOT NULL OR error_message IS NOT NULL
            ) AS failures,
            coalesce(sum(input_tokens), 0)::BIGINT AS input_tokens,
            coalesce(sum(output_tokens), 0)::BIGINT AS output_tokens,
            sum(cost) AS cost,
            count(*) FILTER ({UNPRICED}) AS unpriced,
            list_sort(coalesce(list(DISTINCT model) FILTER (model IS NOT NULL), [])) AS models
        FROM steps GROUP BY trace
    ) AS sums
    WHERE traces.id = sums.trace
"""
