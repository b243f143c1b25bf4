"""When groups of rows are merged: DuckDB writes rows in groups, and merges neighbours that are not full at checkpoints.

Of a batch with little in it that is cheap, and keeps tables from falling into thousands of pieces, each of which takes
memory while the store is open for writing. Contents of 30 kB make a group of a hundred megabytes, which took seconds,
and four times the memory, to be merged with what came next. So rows are merged at the end of an ingestion only, a few
groups at a time, and where enough batches came since the last time to pay for it.
"""

from __future__ import annotations

from typing import NamedTuple

from rashomon.store.connection import ROW_GROUP
from rashomon.store.engine import duckdb

KEY = "unmerged"
"""Key of `meta` that tells what is in groups that are not full; empty where the file was written anew."""

BYTES_A_BATCH = 1 << 20
"""Contents of so many bytes may be merged for each batch since they were merged last: some 30 ms."""

_TASKS = 2
"""So many full groups at most are made of others in each table at a time."""

_AT_ONCE = _TASKS * ROW_GROUP


class Unmerged(NamedTuple):
    """Parts in groups that are not full: how many, their bytes, and how many batches came since rows were merged."""

    rows: int = 0
    size: int = 0
    batches: int = 0

    def after(self, rows: int, size: int) -> Unmerged:
        """The same behind one more batch, of so many parts and bytes; full groups of it are done with."""
        loose = rows % ROW_GROUP
        return Unmerged(self.rows + loose, self.size + _share(size, loose, rows), self.batches + 1)

    def merged(self) -> Unmerged:
        """The same when some have been merged; when all, one group is left that is not full."""
        loose = max(self.rows - _AT_ONCE, self.rows % ROW_GROUP)
        return Unmerged(loose, _share(self.size, loose, self.rows), 0)

    @property
    def is_due(self) -> bool:
        """Whether one more batch is to merge what it can."""
        return _share(self.size, min(self.rows, _AT_ONCE), self.rows) <= BYTES_A_BATCH * (self.batches + 1)


def _share(size: int, some: int, of: int) -> int:
    return size * some // of if of else 0


def read(connection: duckdb.DuckDBPyConnection) -> Unmerged:
    """What a store tells of it; where it does not, its last rows, which are in a group that is not full."""
    found = connection.execute("SELECT value FROM meta WHERE key = ?", [KEY]).fetchall()
    told = found[0][0].split() if found else []
    if len(told) == len(Unmerged._fields) and all(map(str.isdecimal, told)):  # else nobody knows: it is but a hint
        return Unmerged(*map(int, told))
    count = connection.execute("SELECT count(*) FROM parts").fetchall()[0][0] % ROW_GROUP
    size = connection.execute(
        "SELECT coalesce(sum(coalesce(strlen(text), octet_length(body))), 0)::BIGINT"
        " FROM (SELECT text, body FROM parts WHERE id > (SELECT max(id) FROM parts) - ?)", [count]
    ).fetchall()[0][0]  # fmt: skip
    return Unmerged(count, size)


def note(connection: duckdb.DuckDBPyConnection, before: Unmerged, rows: int, size: int, merges: bool) -> None:
    """Have the store tell what is in such groups behind a batch of so many parts and bytes."""
    unmerged = before.after(rows, size)
    _write(connection, unmerged.merged() if merges else unmerged)


def _write(connection: duckdb.DuckDBPyConnection, unmerged: Unmerged) -> None:
    value = " ".join(map(str, unmerged))
    changed = connection.execute("UPDATE meta SET value = ? WHERE key = ? RETURNING 1", [value, KEY]).fetchall()
    if not changed:
        connection.execute("INSERT INTO meta VALUES (?, ?)", [KEY, value])


def allow(connection: duckdb.DuckDBPyConnection, allowed: bool) -> None:
    """Have checkpoints merge rows from now on, or not."""
    connection.execute(f"SET max_vacuum_tasks = {_TASKS if allowed else 0}")
