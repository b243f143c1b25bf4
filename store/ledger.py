"""Which journals the store has read, and at which size: so that what did not change is not read again."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from rashomon import journal
from rashomon.canonical import digest
from rashomon.journal import Damage
from rashomon.store import migrate

READER = 1_000_000 * journal.VERSION + 3
"""Version of what is read out of a journal. Raise it, and every journal is read again once."""

_UNSETTLED_NS = 20_000_000
"""A file changed less than this before we looked may change again without a new time stamp: the
clock of file systems ticks every 1 to 10 ms."""


class Stat(NamedTuple):
    """What tells whether a file changed: its size in bytes and its time of last change."""

    size: int
    mtime_ns: int


class Entry(NamedTuple):
    """A row of the table `journals`."""

    name: str
    size: int
    mtime_ns: int
    reader: int
    state: str
    reason: str | None
    whole: int
    torn: int
    damage: tuple[Damage, ...]
    closed: bool
    traces: tuple[str, ...]

    def is_of(self, stat: Stat) -> bool:
        """True when the file is still the one that was read."""
        return self.mtime_ns != 0 and (self.size, self.mtime_ns, self.reader) == (*stat, READER)

    def row(self) -> tuple[object, ...]:
        """The entry as the database takes it."""
        damage = [one._asdict() for one in self.damage]
        return (*self[:8], damage, self.closed, list(self.traces))


class Known(NamedTuple):
    """What the store holds at one generation: the ledger, and (fingerprint, steps) of each trace."""

    generation: str
    entries: dict[str, Entry]
    traces: dict[str, tuple[str, int]]


NOTHING = Known("0", {}, {})
"""What a new store holds."""


def listing(folder: Path) -> dict[str, Stat]:
    """The journals of a folder. A name that is no UTF-8 is escaped; such a file cannot be opened by it."""
    found: dict[str, Stat] = {}
    now = time.time_ns()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.endswith(journal.SUFFIX):
                    continue
                try:
                    if not entry.is_file():
                        continue
                    stat = entry.stat()
                except OSError:  # it went away while we looked
                    continue
                settled = now - stat.st_mtime_ns > _UNSETTLED_NS
                found[entry.name] = Stat(stat.st_size, stat.st_mtime_ns if settled else 0)
    except FileNotFoundError:
        return {}
    return found


def settled(found: dict[str, Stat]) -> bool:
    """True when a later change of any of these files will show."""
    return all(stat.mtime_ns for stat in found.values())


def read_known(connection: duckdb.DuckDBPyConnection) -> Known:
    """What the store holds."""
    rows = connection.execute("SELECT * FROM journals").fetchall()
    entries = {row[0]: _entry(row) for row in rows}
    traces = connection.execute(
        "SELECT traces.id, any_value(fingerprint), count(steps.trace) FROM traces"
        " LEFT JOIN steps ON steps.trace = traces.id GROUP BY traces.id"
    ).fetchall()
    return Known(generation(connection), entries, {trace: (mark, steps) for trace, mark, steps in traces})


def _entry(row: tuple[Any, ...]) -> Entry:
    *start, damage, closed, traces = row
    found = tuple(Damage(one["offset"], one["size"], one["reason"]) for one in damage)
    return Entry._make([*start, found, closed, tuple(traces)])


def generation(connection: duckdb.DuckDBPyConnection) -> str:
    """The number that grows with each ingestion."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
    return str(row[0]) if row else "0"


# ---------------------------------------------------------------- the note beside the store: nothing is new


def _note(store: Path) -> Path:
    return store.with_name(f"{store.name}.seen")


def _state(store: Path, found: dict[str, Stat]) -> str | None:
    try:
        stat = store.stat()
    except OSError:
        return None
    if store.with_name(f"{store.name}.wal").exists():
        return None
    files = json.dumps([[name, *found[name]] for name in sorted(found)]).encode()
    parts = (READER, migrate.newest(), stat.st_ino, stat.st_size, stat.st_mtime_ns, digest(files))
    return " ".join(map(str, parts))


def nothing_new(store: Path, found: dict[str, Stat]) -> bool:
    """True when the store is known to hold all of these journals, by looking at files only."""
    state = _state(store, found)
    try:
        return state is not None and _note(store).read_text(encoding="ascii") == state
    except (OSError, UnicodeDecodeError):
        return False


def remember(store: Path, found: dict[str, Stat]) -> None:
    """Note that the store holds all of these journals."""
    state = _state(store, found) if settled(found) else None
    if state is None:
        return
    new = store.with_name(f"{store.name}.seen-{os.getpid()}")
    try:
        new.write_text(state, encoding="ascii")
        os.replace(new, _note(store))
    except OSError:  # a folder that cannot be written: the next reader looks into the store instead
        return
