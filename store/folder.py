"""The journals of a folder, and the note beside the store that it holds all of them.

Every command looks at this before it reads, so nothing is loaded here that reads journals.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

from rashomon.errors import UsageError
from rashomon.home import SUFFIX
from rashomon.store import migrate
from rashomon.version import JOURNAL

try:
    from _blake2 import blake2b  # what `hashlib` has, without OpenSSL, which takes longer to load than all else here
except ImportError:
    from hashlib import blake2b

READER = 1_000_000 * JOURNAL + 4
"""Version of what is read out of a journal. Raise it, and every journal is read again once."""

UNSETTLED_NS = 20_000_000
"""A file changed less than this before we looked may change again without a new time stamp: the
clock of file systems ticks every 1 to 10 ms."""

SETTLED_NS = 2_500_000_000
"""What changed longer ago than this has another time when it changes again: some file systems count in 2 seconds."""


class Stat(NamedTuple):
    """What tells whether a file changed: its size in bytes and its time of last change."""

    size: int
    mtime_ns: int


def listing(folder: Path) -> dict[str, Stat]:
    """The journals of a folder. A name that is no UTF-8 is escaped; such a file cannot be opened by it.

    Raises `UsageError` where there is something that is no folder, or that may not be read.
    """
    found: dict[str, Stat] = {}
    now = time.time_ns()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.endswith(SUFFIX):
                    continue
                try:
                    if not entry.is_file():
                        continue
                    stat = entry.stat()
                except OSError:  # it went away while we looked
                    continue
                settled = now - stat.st_mtime_ns > UNSETTLED_NS
                found[sys.intern(entry.name)] = Stat(stat.st_size, stat.st_mtime_ns if settled else 0)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}.", "Check it, or name another --home.") from error
    return found


def settled(found: dict[str, Stat]) -> bool:
    """True when a later change of any of these files will show."""
    return all(stat.mtime_ns for stat in found.values())


# ------------------------------------------------------------------------ the note beside the store: nothing is new


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
    parts = (
        READER,
        migrate.newest(),
        stat.st_ino,
        stat.st_size,
        stat.st_mtime_ns,
        blake2b(files, digest_size=16).hexdigest(),
    )
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
