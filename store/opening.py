"""The store's file, opened by another thread while this one loads what it will ask with.

Opening takes DuckDB some 25 ms, whatever the file holds, and needs nothing of Python's meanwhile.
"""

from __future__ import annotations

import _thread  # `threading` takes a millisecond to load
from collections.abc import Callable

from rashomon.errors import RashomonError
from rashomon.store.engine import duckdb

SOON_S = 0.05
"""A command that has its answer has mostly printed it, and ended, within so many seconds."""


def close_soon(connection: duckdb.DuckDBPyConnection) -> None:
    """Have a connection closed by another thread, `SOON_S` from now or when `closed` is asked for.

    To take the database apart takes 10 ms of a processor, which a process that ends before does not need to spend: its
    end lets go of the file, too. Only who prints for longer must not keep the store from others.
    """
    asked, done = _thread.allocate_lock(), _thread.allocate_lock()
    asked.acquire()
    done.acquire()
    held = [connection]
    # the last to hold it must not be the thread as it ends: DuckDB frees it, which aborts a process that is ending
    del connection

    def close() -> None:
        asked.acquire(timeout=SOON_S)
        try:
            held.pop().close()
        except duckdb.Error:
            pass  # what was asked is answered
        finally:
            done.release()

    _closing.append((asked, done))
    try:
        _thread.start_new_thread(close, ())
    except RuntimeError:  # no thread is to be had
        close()


def closed() -> None:
    """Wait until all such connections are closed."""
    while _closing:
        asked, done = _closing.pop()
        asked.release()
        done.acquire()


_closing: list[tuple[_thread.LockType, _thread.LockType]] = []
"""Of each, what says that it is waited for, and what says that it is closed."""


class Opening:
    """A connection that is being made. `make` must not wait for anybody: who asks for `result` waits for it."""

    def __init__(self, make: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._make, self._done = make, _thread.allocate_lock()
        self._found: duckdb.DuckDBPyConnection | None = None
        self._done.acquire()
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:  # no thread is to be had: then at once
            self._run()

    def _run(self) -> None:
        try:
            self._found = self._make()
        except (RashomonError, duckdb.Error, OSError):
            pass  # whoever opens it again, and can wait, learns why
        finally:
            self._done.release()

    def result(self) -> duckdb.DuckDBPyConnection | None:
        """The connection, once it is made; None where it could not be."""
        with self._done:
            return self._found
