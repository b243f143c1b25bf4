"""The store open for writing for as long as nobody else wants it: opening it again for each batch would read what the
batches before have logged again and again.

Whoever waits for the store shows it (`connection.somebody_waits`), and gets it as soon as the statement at work has
ended. Who cannot show it, such as another tool, finds the store closed every few seconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rashomon.store import connection as connections
from rashomon.store.engine import duckdb

HELD_S = 5.0
"""For about so long the store stays open when nobody is seen to wait."""

_LOOK_S = 0.02

_LOG_BYTES = 1 << 20
"""A longer log is put into the file before others get the store: each of them would have to read it."""


class Lease:
    """One writer of a store, who comes back many times. To be ended with `end`, whatever happens."""

    def __init__(self, store: Path, wait_s: float) -> None:
        self._store, self._wait_s = store, wait_s
        self._lock = threading.Lock()
        self._writer: duckdb.DuckDBPyConnection | None = None
        self._since = 0.0
        self._ended = threading.Event()
        self._watch: threading.Thread | None = None

    @contextlib.contextmanager
    def writing(self, more: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """The store, open for writing. Raises as `connection.open_writer` does.

        Where `more` is to come, the log of changes may stay beside the file, and the store open; else both end.
        """
        with self._lock:
            try:
                if self._writer is None:
                    connections.be_asked(self._store)
                    connections.let_readers_in(self._store)
                    self._writer = connections.open_writer(self._store, self._wait_s)
                    self._writer.execute("SET threads = 1")  # batches are small: a second one costs more than it does
                    self._writer.execute("PRAGMA disable_checkpoint_on_shutdown")
                    self._since = time.monotonic()
                yield self._writer
                if not more:
                    self._writer.execute("CHECKPOINT")
            except BaseException:
                self._close()
                raise
            if not more:
                self._close()
            elif self._is_due():
                self._settle()
        if more and self._watch is None:
            self._watch = threading.Thread(target=self._look, name="rashomon-lease", daemon=True)
            self._watch.start()

    def release(self) -> None:
        """Close the store."""
        with self._lock:
            self._close()

    def end(self) -> None:
        """Close it for good."""
        self._ended.set()
        self.release()
        if self._watch is not None:
            self._watch.join()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _settle(self) -> None:
        """Close the store in a state that is quickly opened."""
        try:
            if self._writer is not None and self._log_size() > _LOG_BYTES:
                self._writer.execute("CHECKPOINT")
        finally:
            self._close()

    def _log_size(self) -> int:
        try:
            return self._store.with_name(f"{self._store.name}.wal").stat().st_size
        except OSError:
            return 0

    def _is_due(self) -> bool:
        return time.monotonic() - self._since > HELD_S or connections.somebody_waits(self._store)

    def _look(self) -> None:
        """In a thread: close the store between two batches when somebody wants it."""
        while not self._ended.wait(_LOOK_S):
            if self._writer is not None and self._is_due():
                with self._lock, contextlib.suppress(duckdb.Error):  # it is closed: the next batch meets it again
                    self._settle()
