"""What SQL sees of a lake: its tables, as views over Parquet files, and the store's own views over these.

The store's views go by what only a store has: numbers of parts, and lists of them beside each step. A lake has digests,
and one row for each part of a step. So where a view of the store reads `steps` and `parts`, it reads here what says the
same: digests stand for the numbers.
"""

from __future__ import annotations

import re
from typing import Any

from rashomon.errors import DamagedData
from rashomon.store.engine import duckdb
from rashomon.store.export_tables import TABLES, Table
from rashomon.store.lake import ALIKE, OTHERS, SCHEME, Lake

_STEPS = """(
    SELECT steps.*, made.request_parts, made.runs, made.response_part, made.prompt_part
    FROM steps LEFT JOIN (
        SELECT
            trace,
            step AS position,
            list(part ORDER BY position) FILTER (position >= 0) AS request_parts,
            list({'path': substring(path, 9), 'first': NULL::INTEGER, 'start': position, 'count': 1} ORDER BY position)
                FILTER (position > 0) AS runs,
            any_value(part) FILTER (position = -1) AS response_part,
            any_value(part) FILTER (position = -2) AS prompt_part
        FROM step_parts
        GROUP BY trace, step
    ) AS made USING (trace, position)
)"""
"""`steps` with the lists of parts that the store has; a path is that in `step_parts` without `request.` before it."""
_PARTS = "(SELECT digest AS id, * FROM parts)"
_LISTS = re.compile(r"\b(request_parts|runs|response_part|prompt_part)\b")
_READ = re.compile(r"\b(FROM|JOIN) (steps|parts)\b( AS \w+)?")


def _over_a_lake(sql: str) -> str:
    """A macro of the store that reads lists of parts, so that it finds them in a lake. Its query is a literal."""
    if _LISTS.search(sql) is None:
        return sql

    def instead(found: re.Match[str]) -> str:
        what, name, alias = found.groups()
        there = (_STEPS if name == "steps" else _PARTS).replace("'", "''")
        return f"{what} {there}{alias or f' AS {name}'}"

    return _READ.sub(instead, sql)


def make(made: duckdb.DuckDBPyConnection, lake: Lake, system: Any) -> None:
    """Attach a lake: its tables as views, then the store's own views over them.

    Raises `DamagedData` where files that it should have are not there, and DuckDB's errors.
    """
    lost = system.missing(lake.name, [table.name for table in TABLES])
    if lost:
        raise DamagedData(_lacking(lake, lost), f"{_PUT_BACK}, or detach the lake: rashomon lake detach {lake.name}")
    quoted = '"' + lake.name.replace('"', '""') + '"'
    made.execute(f"ATTACH ':memory:' AS {quoted}")
    made.execute(f"USE {quoted}")
    views = {table.name: _view(made, lake, table, system) for table in TABLES}
    for name, sql in views.items():
        made.execute(f"CREATE VIEW {name} AS {sql}")
    for name, sql in _stand_ins(made, lake.name).items():
        made.execute(f"CREATE OR REPLACE VIEW {name} AS {sql}")
    _derive(made)
    for name, sql in views.items():
        made.execute(f"CREATE OR REPLACE VIEW {name} AS {sql}")


def _view(made: duckdb.DuckDBPyConnection, lake: Lake, table: Table, system: Any) -> str:
    """The rows of a table, over all files of it."""
    files = f"/table={table.name}/day=*/*.parquet"
    alike, others = (f"{SCHEME}://{lake.name}/{sort}{files}" for sort in (ALIKE, OTHERS))
    found = [_READ_FILES.format(alike, "false")] if system.glob(alike) else []
    if not system.glob(others):
        return _rows(table, found[0], set(table.names)) if found else _nothing(made, table)
    found.append(_READ_FILES.format(others, "true"))
    sql = " UNION ALL BY NAME ".join(found)
    return _rows(table, sql, {row[0] for row in made.execute(f"DESCRIBE {sql}").fetchall()})


def _stand_ins(made: duckdb.DuckDBPyConnection, lake: str) -> dict[str, str]:
    """The lake's tables without any rows, with their columns' types: what is made of them is made without files."""
    columns: dict[str, list[str]] = {}
    for table, name, kind in made.execute(_COLUMNS, [lake]).fetchall():
        columns.setdefault(table, []).append(f'NULL::{kind} AS "{name}"')
    return {table: f"SELECT {', '.join(listed)} WHERE false" for table, listed in columns.items()}


_COLUMNS = (
    "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = ? AND NOT internal"
    " ORDER BY table_name, column_index"
)


def _derive(made: duckdb.DuckDBPyConnection) -> None:
    """Make the store's own views and macros, over the lake's tables."""
    waiting = made.execute(
        "SELECT view_name, sql FROM duckdb_views() WHERE database_name = 'store' AND NOT internal"
    ).fetchall()
    names = {table.name for table in TABLES}
    macros = [
        _over_a_lake(sql) for name, sql in made.execute(_MACROS).fetchall() if name.removesuffix("_rows") not in names
    ]
    missing = macros + [str(sql) for name, sql in waiting if name not in names]
    while missing:
        left = [sql for sql in missing if not _made(made, sql)]
        if len(left) == len(missing):  # they ask for tables that lakes do not have
            return
        missing = left


def _lacking(lake: Lake, lost: list[str]) -> str:
    """The sentence about files that are not there: read without them, a lake would give fewer rows in silence."""
    more = f" and {len(lost) - 1} other file{'s' * (len(lost) > 2)}" if len(lost) > 1 else ""
    return f"The lake {lake.name!r}, {lake.url}, lacks {lost[0]}{more}, which it should have."


_PUT_BACK = "Put it back, export that day again from its home, delete the day's file in _manifest to go on without it"
_MACROS = (
    "SELECT function_name, format('CREATE MACRO {}({}) AS {} {}', function_name, array_to_string(parameters, ', '),"
    " CASE function_type WHEN 'macro' THEN '' ELSE 'TABLE' END, macro_definition) FROM duckdb_functions()"
    " WHERE database_name = 'store' AND NOT internal AND function_type IN ('macro', 'table_macro')"
)
"""What makes the macros that the store's views are made of, in another database."""


def _made(made: duckdb.DuckDBPyConnection, sql: str) -> bool:
    try:
        made.execute(sql)
    except duckdb.Error:
        return False
    return True


_READ_FILES = "FROM read_parquet('{}', hive_partitioning = true, union_by_name = {}, hive_types = {{'day': DATE}})"


def _rows(table: Table, found: str, there: set[str]) -> str:
    """A table's rows; `found` is SQL that reads its files, which have the columns that are `there`."""
    if not table.trace:  # the same part may be in several days
        columns = ", ".join(
            f"any_value({name}) AS {name}" for name in table.names if name != "digest" and name in there
        )
        return f"SELECT digest, {columns} FROM ({found}) GROUP BY digest"
    json_columns = [f"{name}::JSON AS {name}" for name in table.json if name in there]
    replaced = f" REPLACE ({', '.join(json_columns)})" if json_columns else ""
    missing = [f", NULL AS {name}" for name in table.names if name not in there]
    return f'SELECT * EXCLUDE ("table"){replaced}{"".join(missing)} FROM ({found})'


def _nothing(made: duckdb.DuckDBPyConnection, table: Table) -> str:
    """A table without rows, with the store's own types where it has it."""
    try:
        there = {row[0] for row in made.execute(f"DESCRIBE store.{table.name}").fetchall()}
    except duckdb.Error:
        there = set()
    listed = [name if name in there else f"NULL AS {name}" for name in table.names]
    day = ", NULL::DATE AS day" if table.trace else ""
    return f"SELECT {', '.join(listed)}{day} FROM {f'store.{table.name}' if there else '(SELECT 1)'} WHERE false"
