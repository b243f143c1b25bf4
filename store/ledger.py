"""Which journals the store has read, and at which size: so that what did not change is not read again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from rashomon import journal
from rashomon.canonical import digest
from rashomon.journal import Damage
from rashomon.model import Divergence, Loss, Site, Uncontrolled
from rashomon.store import migrate
from rashomon.store.engine import duckdb
from rashomon.store.told import Member, Resume

READER = 1_000_000 * journal.VERSION + 4
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
    """The ledger at one generation of the store."""

    generation: str
    entries: dict[str, Entry]


NOTHING = Known("0", {})
"""What a new store holds."""


class About(NamedTuple):
    """What a journal says of its process, which all its traces show: `damage` counts damaged stretches."""

    process: dict[str, Any] = {}
    closed: bool = False
    loss: Loss | None = None
    damage: int = 0

    def pack(self) -> bytes:
        """The same as bytes."""
        return _pack(list(self))


SOME_DAMAGE = Damage(0, 0, "")


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


_ENTRY = "name, size, mtime_ns, reader, state, reason, whole, torn, damage, closed, traces"


def settled(found: dict[str, Stat]) -> bool:
    """True when a later change of any of these files will show."""
    return all(stat.mtime_ns for stat in found.values())


def read_known(connection: duckdb.DuckDBPyConnection) -> Known:
    """What the store holds."""
    rows = connection.execute(f"SELECT {_ENTRY} FROM journals").fetchall()
    return Known(generation(connection), {row[0]: _entry(row) for row in rows})


def _entry(row: tuple[Any, ...]) -> Entry:
    *start, damage, closed, traces = row
    found = tuple(Damage(one["offset"], one["size"], one["reason"]) for one in damage)
    return Entry._make([*start, found, closed, tuple(traces)])


def generation(connection: duckdb.DuckDBPyConnection) -> str:
    """The number that grows with each ingestion."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
    return str(row[0]) if row else "0"


# --------------------------------------------------------------------------------- what was told so far


def _pack(value: Any) -> bytes:
    return msgpack.packb(value, use_bin_type=True, unicode_errors="surrogatepass")  # type: ignore[no-any-return]


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, strict_map_key=False, unicode_errors="surrogatepass")


def pack_member(member: Member) -> bytes:
    """What a journal told of a trace, as bytes."""
    return _pack([*member[:-2], *(mark.to_bytes(16, "little") for mark in (member.mark, member.late))])


def unpack_member(data: bytes) -> Member:
    """The same again."""
    member = Member(*_unpack(data))
    divergences = tuple(
        Divergence(kind, summary, step, recorded, tuple(paths), tuple(detail))
        for kind, summary, step, recorded, paths, detail in member.divergences
    )
    return member._replace(
        missed=tuple(member.missed),
        divergences=divergences,
        uncontrolled=tuple(Uncontrolled(what, why, site and Site(*site)) for what, why, site in member.uncontrolled),
        foreign=tuple(member.foreign),
        mark=int.from_bytes(member.mark, "little"),  # type: ignore[arg-type]
        late=int.from_bytes(member.late, "little"),  # type: ignore[arg-type]
    )


def pack_resume(resume: Resume) -> bytes:
    """Where to read on, as bytes."""
    return _pack(list(resume))


def read_resume(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[Resume, dict[str, Member]] | None:
    """Where to read a journal on, and what it told of each trace; None when that is not known."""
    found = connection.execute("SELECT resume FROM journals WHERE name = ?", [name]).fetchall()
    if not found or found[0][0] is None:
        return None
    rows = connection.execute("SELECT trace, told FROM members WHERE journal = ?", [name]).fetchall()
    return Resume(*_unpack(found[0][0])), {trace: unpack_member(told) for trace, told in rows}


def read_about(connection: duckdb.DuckDBPyConnection, names: Iterable[str]) -> dict[str, About]:
    """What journals say of their processes, of those that the store knows."""
    rows = connection.execute(
        "SELECT name, process FROM journals WHERE process IS NOT NULL AND name IN (SELECT unnest(?::VARCHAR[]))",
        [sorted(names)],
    ).fetchall()
    found = {}
    for name, packed in rows:
        process, closed, loss, damage = _unpack(packed)
        found[name] = About(process, closed, loss and Loss(*loss), damage)
    return found


def traces_of_changed(connection: duckdb.DuckDBPyConnection, about: dict[str, About]) -> set[str]:
    """The traces that show something of a process that is not any more what the store has."""
    before = read_about(connection, about)
    changed = sorted(name for name, known in before.items() if known.pack() != about[name].pack())
    rows = connection.execute(
        "SELECT DISTINCT trace FROM members WHERE journal IN (SELECT unnest(?::VARCHAR[]))", [changed]
    ).fetchall()
    return {row[0] for row in rows}


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
