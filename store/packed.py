"""Searching files that hold what they hold packed, so that their bytes do not show it: stores that were kept, bundles,
Parquet. What a file is, its first bytes say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rashomon.errors import RashomonError
from rashomon.store import bundle, compaction, searching
from rashomon.store.bundle_frames import Frames, trace_members
from rashomon.store.connection import first_line
from rashomon.store.engine import duckdb, unless_stopped

_HEADERS = 3 * 4096
"""A DuckDB file begins with three blocks of so many bytes together; a shorter one holds nothing."""

_EVERYTHING = 1 << 62
_READ: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "lock_configuration": "true",
}
_FOREIGN = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"\xfd7zXZ\0", b"BZh")
_FOREIGN_NAMES = (".gz", ".tgz", ".zst", ".zip", ".xz", ".bz2", ".br", ".7z")
_IS_STORE = (".damaged-", compaction.SALVAGE, compaction.BESIDE)
"""What follows a store's name in those of its copies; then comes what tells them apart."""


class Unsearchable(Exception):
    """A file cannot be searched; why, as the rest of a sentence."""


def is_foreign(path: Path) -> bool:
    """Whether a file was compressed by another tool: nobody looks into it here."""
    return path.suffix in _FOREIGN_NAMES or _start(path).startswith(_FOREIGN)


def is_ours(path: Path, store: Path) -> bool:
    """Whether a file is a packed one that is looked into: a copy of the store, a bundle, Parquet."""
    return _looking(path, store) is not None


def search(path: Path, store: Path, needles: Sequence[str]) -> str | None:
    """Where a packed file of ours holds any of these; None where it does not, and for every other file.

    Raises `Unsearchable` for one that cannot be read whole, such as a damaged store.
    """
    look = _looking(path, store)
    if look is None:
        return None
    try:
        return look(path, needles)
    except Unsearchable:
        raise
    except RashomonError as error:
        raise Unsearchable(error.problem.rstrip(".")) from error
    except duckdb.Error as error:
        unless_stopped(error)
        raise Unsearchable(first_line(error)) from error
    except Exception as error:  # whatever damaged rows hold
        unless_stopped(error)
        raise Unsearchable(f"{type(error).__name__}: {first_line(error)}") from error


def _looking(path: Path, store: Path) -> Callable[[Path, Sequence[str]], str | None] | None:
    """What looks into a file; None for one that shows what it holds."""
    if path == store:
        return None  # it was searched as the store
    start = _start(path)
    if start[8:12] == b"DUCK" or _is_copy(path, store):
        return _in_other_store
    if start.startswith(bundle.MAGIC):
        return _in_bundle
    return _in_parquet if start.startswith(b"PAR1") else None


def _is_copy(path: Path, store: Path) -> bool:
    """Whether a file is a copy of the store by its name, though its first bytes do not say so, and holds anything."""
    rest = path.name.removeprefix(store.name)
    named = path.parent == store.parent and rest != path.name and rest.startswith(_IS_STORE)
    return named and path.suffix not in (".wal", ".seen", ".list", ".folder") and path.stat().st_size > _HEADERS


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError:  # who reads it whole says why
        return b""


def _in_other_store(path: Path, needles: Sequence[str]) -> str | None:
    with duckdb.connect(str(path), read_only=True, config=_READ) as reader:
        found = _told(*searching.in_store(reader, needles))
        if found is None and compaction.holds_deleted(reader):
            raise Unsearchable("rows were deleted in it whose bytes are still there")
    return found


def _in_parquet(path: Path, needles: Sequence[str]) -> str | None:
    quoted = str(path).replace("'", "''")
    with duckdb.connect(":memory:") as reader:
        reader.execute(f"CREATE VIEW rows_of_file AS FROM read_parquet('{quoted}', hive_partitioning = false)")
        traces, others = searching.in_store(reader, needles, views=True)
    return _told(traces, []) or ("a column of it" if others else None)


def _told(traces: set[str], others: list[searching.Found]) -> str | None:
    """What was found in tables, in a few words."""
    if traces:
        more = f" and {len(traces) - 1:,} more" if len(traces) > 1 else ""
        return f"trace {min(traces)}{more}"
    return others[0].place if others else None


def _in_bundle(path: Path, needles: Sequence[str]) -> str | None:
    wanted = [needle.encode("utf-8", "surrogatepass") for needle in needles]
    with bundle.Bundle(path) as opened:
        frames = Frames(opened, _EVERYTHING, _EVERYTHING)
        for number, member in enumerate(trace_members(opened), 1):
            if any(searching.contains(data, wanted) for data in searching.texts(frames.of(member))):
                return f"trace number {number} of it"
        for kind, name in ((bundle.NOTES, "its notes"), (bundle.INDEX, "its index"), (bundle.PARTS, "its parts")):
            if any(searching.contains(opened.content(member), wanted) for member in opened.of_kind(kind)):
                return name
    return None
