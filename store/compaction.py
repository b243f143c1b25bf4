"""Giving space back: DuckDB keeps the blocks of deleted rows, so what is left is copied into a new file, which takes
the old one's place. A small store, of which each batch leaves a considerable part free, is so written anew by who has
just written it, whenever it is twice as large as the last time.

The copy is made from a copy: of the store's file, taken while it may be read and not written, so that nobody waits
longer than that takes. When the store was written meanwhile (its size, time or `generation` tell), it is done again,
and the third time with the store held. A process that is killed leaves the old file as it is, and a file beside it that
the next one deletes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path
from typing import NamedTuple

from rashomon.errors import DamagedData, NotWritable, RashomonError, UsageError
from rashomon.store import connection as connections
from rashomon.store import merging
from rashomon.store.engine import duckdb, is_no_room

BESIDE = ".compact-"
"""What follows the store's name while it is copied; then the number of the process that does it."""

SALVAGE = ".salvage-"
"""What follows it in the files that a salvage works with; then the number of its process."""

DUE = "compaction"
"""Key of `meta` that says that rows were deleted since the file was written anew."""

TIGHTENED = "compacted"
"""Key of `meta` that says how many bytes were in use when the file was written anew."""

_TRIES = 3
_MAKE_ROOM = "Make room beside it: up to twice its size."

_LARGE = 32 << 20
"""A larger file has little that is free beside what is in it, and would take seconds."""

_SMALL, _FREE_SHARE = 512 << 10, 0.08
_PATIENCE_S = 0.5
_at_it = threading.Lock()


class Compacted(NamedTuple):
    """Size of the store in bytes before and after."""

    before: int
    after: int


def alive(pid: int) -> bool:
    """True when a process of this number lives on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True


def leftovers(store: Path) -> list[Path]:
    """What killed compactions of this store left beside it."""
    found = []
    for path in sorted(store.parent.glob(f"{store.name}{BESIDE}*")):
        pid = path.name.partition(BESIDE)[2].partition(".")[0]
        if not pid.isdecimal() or int(pid) == os.getpid() or not alive(int(pid)):
            found.append(path)
    return found


def left_by_salvage(store: Path) -> list[Path]:
    """What killed salvages of this store left beside it: copies of it."""
    found = []
    for path in sorted(store.parent.glob(f"{store.name}{SALVAGE}*")):
        pid = path.name.partition(SALVAGE)[2].partition(".")[0]
        if not pid.isdecimal() or not alive(int(pid)):
            found.append(path)
    return found


def sweep(store: Path) -> None:
    """Delete what killed compactions of this store left beside it, as far as that can be done."""
    own = f"{BESIDE}{os.getpid()}."
    for left in leftovers(store):
        if own not in left.name:  # another thread may be at it
            with contextlib.suppress(OSError):
                remove(left)


def remove(left: Path) -> None:
    """Delete what was left: a file, or a folder with what did not fit into memory."""
    if left.is_dir() and not left.is_symlink():
        shutil.rmtree(left)
    else:
        left.unlink(missing_ok=True)


def is_due(store: Path, wait_s: float = connections.WAIT_S) -> bool:
    """True when rows were deleted and their space has not been given back."""
    if not store.exists():
        return False
    with connections.open_reader(store, wait_s) as reader:
        return holds_deleted(reader)


def holds_deleted(reader: duckdb.DuckDBPyConnection) -> bool:
    """True when rows were deleted from this file, whose bytes may still be in it."""
    return bool(reader.execute("SELECT 1 FROM meta WHERE key = ?", [DUE]).fetchall())


def mark_due(writer: duckdb.DuckDBPyConnection) -> None:
    """Note, in the transaction that deletes rows, that their space is to be given back."""
    writer.execute("DELETE FROM meta WHERE key = ?", [DUE])
    writer.execute("INSERT INTO meta VALUES (?, 'due')", [DUE])


def compact(store: Path, wait_s: float = connections.WAIT_S) -> Compacted:
    """Write a store anew without the space of deleted rows, and put it in the old one's place.

    Raises `UsageError` when the disk has no room for it or somebody keeps the store, `DamagedData` when it cannot
    be read whole: then nothing has changed.
    """
    for left in leftovers(store):
        remove(left)
    before = store.stat().st_size
    scratch = store.with_name(f"{store.name}{BESIDE}{os.getpid()}.old")
    new = store.with_name(f"{store.name}{BESIDE}{os.getpid()}.new")
    try:
        for _ in range(_TRIES - 1):
            try:
                seen = _copy_file(store, scratch, wait_s)
                _copy_database(scratch, new)
            except (OSError, duckdb.Error) as error:
                if not is_no_room(error):
                    raise
                break  # room for one copy may be there
            if _put_in_place(store, new, seen, wait_s):
                return Compacted(before, store.stat().st_size)
        _clear(scratch)
        _hold_and_copy(store, new, wait_s)
    except OSError as error:
        raise NotWritable(f"{store} cannot be written anew: {error.strerror}.", _MAKE_ROOM) from error
    except duckdb.Error as error:
        if is_no_room(error):
            raise NotWritable(f"{store} cannot be written anew: its disk is full.", _MAKE_ROOM) from error
        raise DamagedData(
            f"{store} cannot be copied: {connections.first_line(error)}.", "`rashomon verify` says what is wrong."
        ) from error
    finally:
        _clear(scratch)
        _clear(new)
    return Compacted(before, store.stat().st_size)


def tightened(connection: duckdb.DuckDBPyConnection) -> int:
    """How many bytes of the store were in use when it was written anew; 0 when it never was."""
    found = connection.execute("SELECT value FROM meta WHERE key = ?", [TIGHTENED]).fetchall()
    return int(found[0][0]) if found else 0


def tighten(store: Path, since: int) -> bool:
    """Write a small store anew where a good part of it is free and it has doubled; True when that was done.

    To be called by who has just written it; `since` is what `tightened` said before. Whoever has it open by now is not
    waited for, and nothing is raised: the store is as good as it was, and larger than it needs to be.
    """
    if not _at_it.acquire(blocking=False):
        return False
    scratch = store.with_name(f"{store.name}{BESIDE}{os.getpid()}.old")
    new = store.with_name(f"{store.name}{BESIDE}{os.getpid()}.new")
    try:
        if not _is_loose(store, since):
            return False
        seen = _copy_file(store, scratch, _PATIENCE_S)
        _copy_database(scratch, new)
        return _put_in_place(store, new, seen, _PATIENCE_S)
    except (RashomonError, OSError, duckdb.Error):  # in use, a full disk, damage: who asks for `compact` is told
        return False
    finally:
        _clear(scratch)
        _clear(new)
        _at_it.release()


def _is_loose(store: Path, since: int) -> bool:
    """Whether writing it anew pays."""
    size = store.stat().st_size
    if not max(_SMALL, 2 * since) <= size <= _LARGE:
        return False
    with connections.open_reader(store, _PATIENCE_S) as reader:
        ((block, _, free),) = reader.execute(_SPACE, [_current(reader)]).fetchall()
    return bool(free * block >= _FREE_SHARE * size)


_SPACE = "SELECT block_size, used_blocks, free_blocks FROM pragma_database_size() WHERE database_name = ?"


def _current(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute("SELECT current_database()").fetchone()
    return str(row[0]) if row else "store"


def _note(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    """Say in a copy what it was made of."""
    connection.execute("DELETE FROM fresh.meta WHERE key IN (?, ?)", [DUE, TIGHTENED])
    connection.execute("UPDATE fresh.meta SET value = '' WHERE key = ?", [merging.KEY])  # a deleted row takes a block
    connection.execute(
        "INSERT INTO fresh.meta SELECT ?, (used_blocks * block_size)::VARCHAR FROM pragma_database_size()"
        " WHERE database_name = ?", [TIGHTENED, source]
    )  # fmt: skip


class _Seen(NamedTuple):
    """What tells whether a store was written."""

    size: int
    mtime_ns: int
    inode: int
    generation: str


def _look(store: Path, connection: duckdb.DuckDBPyConnection) -> _Seen:
    stat = store.stat()
    row = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
    return _Seen(stat.st_size, stat.st_mtime_ns, stat.st_ino, str(row[0]) if row else "0")


def _settle(store: Path, wait_s: float) -> None:
    """Take what a killed writer left in the log into the file itself."""
    if store.with_name(f"{store.name}.wal").exists():
        with connections.open_writer(store, wait_s) as writer:
            writer.execute("CHECKPOINT")


def _copy_file(store: Path, scratch: Path, wait_s: float) -> _Seen:
    """The file as it is. While it is open for reading, nobody writes it."""
    deadline = time.monotonic() + wait_s
    while True:
        _settle(store, wait_s)
        with connections.open_reader(store, wait_s) as reader:
            if not store.with_name(f"{store.name}.wal").exists():
                shutil.copyfile(store, scratch)
                os.chmod(scratch, store.stat().st_mode & 0o777)
                return _look(store, reader)
        if time.monotonic() > deadline:
            raise UsageError(f"{store} is being written all the time.", "Try again when fewer programs are recorded.")


def _copy_database(source: Path, target: Path) -> None:
    """All tables, views, comments and rows of one file into a new one."""
    _clear(target)
    with duckdb.connect(":memory:", config={"temp_directory": connections.spill(target)}) as copying:
        copying.execute(f"ATTACH {_quoted(source)} AS old (READ_ONLY)")
        copying.execute(_attached(target, copying, "old"))
        copying.execute("COPY FROM DATABASE old TO fresh")
        _note(copying, "old")
        copying.execute("CHECKPOINT fresh")
        _compare(copying, "old")
    os.chmod(target, source.stat().st_mode & 0o777)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _clear(path: Path) -> None:
    """Delete a database with its log."""
    for left in (path, path.with_name(f"{path.name}.wal")):
        left.unlink(missing_ok=True)


def _attached(path: Path, connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """The statement that makes a new file, with blocks of the same size, and calls it `fresh`."""
    found = connection.execute(_SPACE, [name]).fetchone()
    blocks = f", BLOCK_SIZE {found[0]}" if found and found[0] else ""
    form = f"STORAGE_VERSION '{connections.STORAGE}', ROW_GROUP_SIZE {connections.ROW_GROUP}{blocks}"
    return f"ATTACH {_quoted(path)} AS fresh ({form})"


def _compare(copying: duckdb.DuckDBPyConnection, source: str) -> None:
    """Raise `DamagedData` unless both have the same tables, views and numbers of rows."""
    shapes = []
    for name in (source, "fresh"):
        tables = [
            row[0]
            for row in copying.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY 1", [name]
            ).fetchall()
        ]
        views = copying.execute(
            "SELECT view_name, comment FROM duckdb_views() WHERE database_name = ? AND NOT internal ORDER BY 1", [name]
        ).fetchall()
        counts = [
            (copying.execute(f'SELECT count(*) FROM "{name}"."{table}"').fetchone() or (0,))[0]
            for table in tables
            if table != "meta"
        ]
        shapes.append((tables, views, counts))
    if shapes[0] != shapes[1]:
        raise DamagedData("The store's copy is not what was copied.", "Report this; the store is as it was.")


def _put_in_place(store: Path, new: Path, seen: _Seen, wait_s: float) -> bool:
    """Swap the files while nobody has the store open; False when it was written since."""
    with connections.open_writer(store, wait_s) as writer:
        if store.with_name(f"{store.name}.wal").exists() or _look(store, writer) != seen:
            return False
        _replace(new, store)
    return True


def _hold_and_copy(store: Path, new: Path, wait_s: float) -> None:
    """Copy and swap with the store held: others wait for as long as it takes."""
    _clear(new)
    with connections.open_writer(store, wait_s) as writer:
        writer.execute("CHECKPOINT")
        name = _current(writer)
        writer.execute(_attached(new, writer, name))
        writer.execute(f'COPY FROM DATABASE "{name}" TO fresh')
        _note(writer, name)
        _compare(writer, name)
        writer.execute("DETACH fresh")
        os.chmod(new, store.stat().st_mode & 0o777)
        _replace(new, store)


def _replace(new: Path, store: Path) -> None:
    os.replace(new, store)
    handle = os.open(store.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
