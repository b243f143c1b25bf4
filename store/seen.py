"""Whether a folder of many journals holds anything new, without a look at each of them.

A file that is made, renamed or removed changes the time of its folder. A journal that grows does not; but one whose
process has said that it ended grows no more. So of a folder whose time is the same only the others are looked at, and
those that changed lately. The note of this lies beside the store, is made when all journals were looked at, and is
worth nothing as soon as the store's file is another. Only a change in the middle of an old, closed journal goes
unnoticed by it, until a journal is added or `rashomon ingest` or `rashomon verify` looks at all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

from rashomon.errors import RashomonError
from rashomon.store import connection as connections
from rashomon.store import migrate
from rashomon.store.engine import duckdb
from rashomon.store.folder import READER, SETTLED_NS, Stat

MANY = 500
"""Of fewer journals each is looked at."""

_LATELY_NS = 3600 * 1_000_000_000
"""A journal that changed within the last hour is looked at."""


def _note(store: Path) -> Path:
    return store.with_name(f"{store.name}.folder")


def drop(store: Path) -> None:
    """Remove the note: it names journals, also such as are gone, and names of imported ones hold ids of traces."""
    for left in store.parent.glob(f"{store.name}.folder*"):
        with contextlib.suppress(OSError):  # a folder that cannot be written: who searches it finds the note
            left.unlink()


def _stat(path: Path | str) -> list[int]:
    found = os.stat(path)
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def _marks(store: Path, folder: Path) -> list[object]:
    """What must be the same for the note to be worth anything. Raises OSError."""
    if store.with_name(f"{store.name}.wal").exists():
        raise FileExistsError(store)
    own = os.stat(folder)
    return [READER, migrate.newest(), _stat(store), own.st_ino, own.st_mtime_ns]


def nothing_changed(store: Path, folder: Path) -> bool:
    """True when the note says so: the store holds all that is in the folder."""
    try:
        note = json.loads(_note(store).read_bytes())
        return bool(note["marks"] == _marks(store, folder)) and all(
            _stat(f"{folder}{os.sep}{name}")[1:] == watched for name, watched in note["watched"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def remember(store: Path, folder: Path, found: dict[str, Stat]) -> None:
    """Write the note, of journals that were listed just now and are all in the store. Never fails."""
    if len(found) < MANY:
        return
    try:
        marks = _marks(store, folder)
        now = time.time_ns()
        if not _settled(marks[-1], now):
            return
        with connections.open_reader(store, 0) as reader:
            growing = {row[0] for row in reader.execute("SELECT name FROM journals WHERE NOT closed").fetchall()}
        watched = {name: stat for name, stat in found.items() if name in growing or now - stat.mtime_ns < _LATELY_NS}
        if all(stat.mtime_ns for stat in watched.values()):
            _write(store, {"marks": marks, "watched": watched})
    except (OSError, RashomonError, duckdb.Error):
        return


def _settled(mtime_ns: object, now: int) -> bool:
    return isinstance(mtime_ns, int) and now - mtime_ns > SETTLED_NS


def _write(store: Path, note: dict[str, object]) -> None:
    new = store.with_name(f"{store.name}.folder-{os.getpid()}")
    new.write_text(json.dumps(note), encoding="utf-8", errors="surrogatepass")
    os.replace(new, _note(store))
