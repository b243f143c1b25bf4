"""Which journals the store has read, and at which size: so that what did not change is not read again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgpack

from rashomon.journal import Damage
from rashomon.model import Divergence, Loss, Site, Uncontrolled
from rashomon.store.engine import duckdb
from rashomon.store.folder import READER as READER
from rashomon.store.folder import Stat as Stat
from rashomon.store.told import Member, Resume


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


_ENTRY = "name, size, mtime_ns, reader, state, reason, whole, torn, damage, closed, traces"


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
    rows = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchall()
    return str(rows[0][0]) if rows else "0"


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
