"""Opening the store's file: for a moment, one writer at a time, never somebody else's file.

DuckDB lets either one process write or many read, and refuses everybody else at once; here they wait.
"""

from __future__ import annotations

import _thread  # `threading` takes a millisecond to load
import contextlib
import functools
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rashomon.errors import DamagedData, ForeignFile, NewerFormat, NotWritable, RashomonError, UsageError
from rashomon.store import blank, migrate, turns
from rashomon.store.engine import duckdb, full, is_no_room

WAIT_S = 10.0
"""How long to wait for another process that has the store open."""

_FIRST_DELAY_S, _WRITER_DELAY_S, _READER_DELAY_S = 0.005, 0.05, 0.02
_STALE_S = 3600.0
_Config = dict[str, str | bool | int | float | list[str]]
_READ: _Config = {"enable_external_access": "false"}
UTC = "SET GLOBAL TimeZone = 'UTC'"
"""The store's times are in UTC, without a zone: beside them, DuckDB's `now()` would be that of the machine's zone."""

STORAGE = "v1.3.0"
"""What DuckDB 1.3 (May 2025) and later can read: the first with zstd and shared dictionaries for text."""

_BLOCK = 16_384
"""Blocks of new files are small: each column fills its last one in part, and there are two hundred columns."""

ROW_GROUP = 4096
"""Rows are written in groups of so many: the last, incomplete one is written anew whenever rows are added."""

FORM = f"STORAGE_VERSION '{STORAGE}', BLOCK_SIZE {_BLOCK}"
"""How a new file is made."""

LOG_BYTES = 4_000_000
"""How long the log of changes may get before it is put into the file, where the ends of all tables are written anew: a
longer one would keep who waits for the store waiting for longer."""

_KEEP = "Move it away or choose another folder with --home; Rashomon does not touch it."
_REBUILD = "Move it away: `rashomon ingest` builds a new store from the journals."


def _busy(error: duckdb.Error) -> bool:
    """True when another process, or another part of this one, has the file open."""
    text = str(error)
    return "Could not set lock" in text or "different configuration" in text or "already attached" in text


def first_line(error: Exception) -> str:
    """What DuckDB says, without its class, its hints and its pointing at the query."""
    lines = str(error).strip().split("\n")
    # a file system in Python, as lakes have one, fails with a traceback that DuckDB passes on
    text = lines[-1].partition(": ")[2] if lines[0].startswith("Traceback (") else lines[0]
    return re.sub(r"^[A-Z][\w ]* Error: ", "", text).rstrip(" .!")


def _check_name(path: Path) -> None:
    """Raise `UsageError` for a path that DuckDB takes for an address with a query: its log would lie elsewhere."""
    if "?" in str(path):
        raise UsageError(
            f"{path} cannot hold a store: DuckDB does not take a ? in a path.", "Move it, or choose another --home."
        )


_known_files: set[tuple[int, int]] = set()
_looking = _thread.allocate_lock()


def check_file(path: Path, again: bool = False) -> None:
    """Raise `ForeignFile` unless the file begins as every DuckDB file does.

    A file that was found to be one is not opened here once more, unless `again`: who closes a file lets go of every
    lock that its process has on it, and another thread's connection would be one with nothing to keep others out.
    """
    try:
        stat = path.stat()
        with _looking:
            if (stat.st_dev, stat.st_ino) in _known_files and stat.st_size >= 12 and not again:
                return
            with path.open("rb") as file:
                start = file.read(12)
            if start[8:12] == b"DUCK":
                _known_files.add((stat.st_dev, stat.st_ino))
    except IsADirectoryError:
        raise ForeignFile(f"{path} is a folder, not a store.", _KEEP) from None
    except OSError as error:
        raise DamagedData(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    if start[8:12] != b"DUCK":
        raise ForeignFile(f"{path} is not a DuckDB file.", _KEEP)


def _connect(
    path: Path, read_only: bool, wait_s: float, memory: str = "", logs: bool = True
) -> duckdb.DuckDBPyConnection:
    config = {**_READ, "memory_limit": memory} if memory else _READ
    deadline, delay = time.monotonic() + wait_s, _FIRST_DELAY_S
    longest_s = _READER_DELAY_S if read_only else _WRITER_DELAY_S
    waiting: int | None = None
    try:
        while True:
            before = _state(path)
            try:
                connection = _reading(path, config) if read_only else _attach(path, logs=logs)
                if read_only or _state(path)[0] == before[0]:
                    return connection
                connection.close()  # a compacted store took the place of the file that was opened
            except duckdb.Error as error:
                if not _busy(error) and (_state(path) == before or time.monotonic() >= deadline):
                    raise _unreadable(path, error) from error  # else it was changed while it was opened
                if time.monotonic() >= deadline:
                    raise _still_busy(path, wait_s, error) from error
            waiting = turns.wait_visibly(path, waiting)
            time.sleep(delay)
            turns.while_held(path, deadline)
            delay = min(2 * delay, longest_s)
    finally:
        if waiting is not None:
            os.close(waiting)


def _reading(path: Path, config: _Config) -> duckdb.DuckDBPyConnection:
    try:
        connection = duckdb.connect(str(path), read_only=True, config=config)
    except duckdb.Error as error:
        if "replaying WAL" not in str(error) or "extension" not in str(error) or not _log_put_into(path):
            raise
        connection = duckdb.connect(str(path), read_only=True, config=config)
    try:
        connection.execute(f"{UTC}; SET lock_configuration = true")
    except duckdb.InvalidInputException:  # another part of this process has it open, and has done that
        pass
    return connection


def _log_put_into(path: Path) -> bool:
    """Put the log of a migration that was killed as it ended into the store's file; False when the file is not ours.

    Who opens a file directly cannot read a log that changes tables with computed columns: DuckDB 2.0 has not yet loaded
    the functions in them then, which are in it, and would fetch them from the network. Who attaches the file can.
    """
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute(f"ATTACH '{_quoted(path)}' AS store (READ_ONLY); USE store")
        if not migrate.schema_of(connection):
            return False
    _attach(path).close()
    return True


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def spill(store: Path) -> str:
    """The folder for what does not fit into memory; of a file that is opened directly it is DuckDB's own choice."""
    return f"{store}.tmp"


def _attach(path: Path, new: bool = False, logs: bool = True) -> duckdb.DuckDBPyConnection:
    """Open a file for writing: attached, for a database that is opened directly has large groups of rows."""
    # who may merge groups of rows says so itself: `rashomon.store.merging`
    config: _Config = {"checkpoint_threshold": f"{LOG_BYTES}B", "max_vacuum_tasks": 0, "temp_directory": spill(path)}
    connection = duckdb.connect(":memory:", config=config)
    form = f", {FORM}" if new else ""  # of an old file they stay as they are
    form += "" if logs else ", RECOVERY_MODE no_wal_writes"
    try:
        connection.execute(f"ATTACH '{_quoted(path)}' AS store (ROW_GROUP_SIZE {ROW_GROUP}{form})")
        connection.execute(f"USE store; {UTC}")
    except BaseException:
        connection.close()
        raise
    return connection


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def _still_busy(path: Path, wait_s: float, error: duckdb.Error) -> UsageError:
    holder = re.search(r"PID (\d+)", str(error))
    who = f"process {holder[1]}" if holder else "this process"
    return UsageError(f"{path} is in use by {who} for more than {wait_s:g} s.", "Close that program and try again.")


def _unreadable(path: Path, error: duckdb.Error) -> RashomonError:
    text = str(error)
    if "version number" in text:
        return NewerFormat(f"{path} was written by another version of DuckDB.", "Upgrade: pip install -U duckdb")
    if "Permission denied" in text or "Read-only file system" in text:
        return NotWritable(f"{path} cannot be written: permission denied.", "Check its permissions, or use a copy.")
    if is_no_room(error):
        return full(path)
    check_file(path, again=True)
    return DamagedData(f"{path} cannot be opened: {first_line(error)}.", _REBUILD)


def _check_schema(path: Path, schema: int | None) -> None:
    if not schema:
        raise ForeignFile(f"{path} is a DuckDB file that Rashomon did not make.", _KEEP)
    if schema > migrate.newest():
        raise NewerFormat(
            f"{path} has schema {schema}; this version reads up to {migrate.newest()}.", "Upgrade rashomon."
        )


def refuse_newer(path: Path) -> None:
    """Raise `NewerFormat` for a store that a newer version wrote: it is sound, and must not be taken for damaged.

    Whatever else may be wrong with the file is not said here, and nothing of it is changed.
    """
    try:
        check_file(path)
        connection = _connect(path, True, WAIT_S)
    except RashomonError:
        return
    try:
        schema = migrate.schema_of(connection)
    except duckdb.Error:
        return
    finally:
        connection.close()
    if schema is not None and schema > migrate.newest():
        _check_schema(path, schema)


def _checked(path: Path, connect: Callable[[], duckdb.DuckDBPyConnection]) -> tuple[duckdb.DuckDBPyConnection, int]:
    connection = connect()
    try:
        schema = migrate.schema_of(connection)
        _check_schema(path, schema)
    except duckdb.Error as error:
        connection.close()
        raise _unreadable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection, schema or 0


def open_reader(path: Path, wait_s: float = WAIT_S, memory: str = "") -> duckdb.DuckDBPyConnection:
    """Open a store for reading only: no statement can write, load anything or reach another file.

    `memory` is what DuckDB may take, as `64MB`; empty: most of what there is. A store that does not exist reads as an
    empty one. Raises `ForeignFile`, `NewerFormat`, `DamagedData`, or `UsageError` when another process keeps it for
    longer than `wait_s` seconds.
    """
    _check_name(path)
    if not path.exists():
        return _empty()
    check_file(path)
    connection, schema = _checked(path, lambda: _connect(path, True, wait_s, memory))
    if schema < migrate.newest():
        connection.close()
        open_writer(path, wait_s).close()
        connection, _ = _checked(path, lambda: _connect(path, True, wait_s, memory))
    return connection


def _empty() -> duckdb.DuckDBPyConnection:
    import tempfile  # with much that a reader does not need

    with tempfile.TemporaryDirectory(prefix="rashomon-") as folder:
        path = Path(folder) / "store.duckdb"
        path.write_bytes(empty())
        return _reading(path, _READ)


def open_writer(path: Path, wait_s: float = WAIT_S, logs: bool = True) -> duckdb.DuckDBPyConnection:
    """Open a store for writing, made and migrated as needed. Raises as `open_reader` does.

    Without `logs`, what is committed is written once, into the file, by the next CHECKPOINT: until then it is nowhere.
    A file that may be somebody else's must have been through `open_reader` first: opening a DuckDB
    file for writing can already change it.
    """
    _check_name(path)
    if not path.exists():
        _create(path)
    check_file(path)
    connection, schema = _checked(path, lambda: _connect(path, False, wait_s, logs=logs))
    from rashomon.store import listed

    listed.drop(path)  # now, for a list is only made by who has the store open
    if schema < migrate.newest():
        try:
            migrate.migrate(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _create(path: Path) -> None:
    """Make an empty store beside its place and put it there whole, so that no half-made file is ever seen."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{path.name}.new-*"):
            with contextlib.suppress(OSError):  # somebody else is just removing it
                if time.time() - left.stat().st_mtime > _STALE_S:
                    left.unlink()
        new = path.with_name(f"{path.name}.new-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            new.write_bytes(empty())
            _place(new, path)
        finally:
            new.unlink(missing_ok=True)  # of a disk that is full it would take the rest
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}.", "Check the folder and its disk.") from error
    except duckdb.Error as error:
        raise UsageError(f"{path} cannot be made: {first_line(error)}.", "Check the folder and its disk.") from error


@functools.cache
def empty() -> bytes:
    """The file of an empty store."""
    return blank.ready(FORM) or migrated()


def migrated() -> bytes:
    """The file of an empty store, made by the migrations. Takes a second."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rashomon-") as folder:
        path = Path(folder) / "store.duckdb"
        connection = _attach(path, new=True)
        try:
            migrate.migrate(connection)
        finally:
            connection.close()
        return path.read_bytes()


def _place(new: Path, path: Path) -> None:
    try:
        os.link(new, path)  # fails when another process was faster: its store is as good
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            os.replace(new, path)
            return
    new.unlink()


@contextlib.contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of a block, or nothing of it."""
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        with contextlib.suppress(duckdb.Error):  # a failed commit has already rolled back
            connection.rollback()
        raise


# ------------------------------------------------------------ those who wait, and a writer that comes back at once
