"""The store open for writing for as long as nobody else wants it: opening it again for each batch would read what the
batches before have logged again and again.

Whoever waits for the store shows it (`turns.somebody_waits`), and gets it as soon as the batch at work has ended,
or, when that would take long, has been given up: the statement at work is interrupted, and everything rolled back. Who
cannot show it, such as another tool, finds the store closed every few seconds.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rashomon.store import connection as connections
from rashomon.store import memory, merging, turns
from rashomon.store.engine import duckdb
from rashomon.store.pace import Pace

HELD_S = 5.0
"""For about so long the store stays open when nobody is seen to wait."""

GRACE_S = 0.25
"""A batch that is expected to end sooner than this is not given up, unless it takes longer than expected."""

ENOUGH_BYTES = 12 << 20
"""Who has written so much does not merge the last batch's rows with those before; who writes next does that. The blocks
of rows that were merged are free until something is written there: in a file of 30 MB a seventh, for which the whole
would be written anew (`compaction.tighten`)."""

_OFTEN = 4
"""Where 38 MB were too little so often, they will be again; before that, it was the matter of one batch."""

_ROOM_BYTES = 64 << 20
"""Where less is free there is a log: one that cannot be written gives back what it took, and a file does not."""

_LOOK_S = 0.02


class GivenUp(Exception):
    """Somebody else wants the store: a batch ends here, and is to be rolled back."""


class Lease:
    """One writer of a store, who comes back many times. To be ended with `end`, whatever happens."""

    def __init__(self, store: Path, wait_s: float, pace: Pace | None = None) -> None:
        self._store, self._wait_s, self._pace = store, wait_s, Pace() if pace is None else pace
        self._lock = threading.Lock()
        self._writer: duckdb.DuckDBPyConnection | None = None
        self._held: int | None = None
        self._since = 0.0
        self._ended = threading.Event()
        self._watch: threading.Thread | None = None
        self._yielding = threading.Lock()
        self._ends: float | None = None
        self._last_call: float | None = None
        self._called = False
        self._width = self._widened = 0
        self._whole = False
        self.merges = False
        """Whether the batch at work merges groups of rows."""
        self.took_s = 0.0
        """How long the last batch took."""
        self._logs = True

    def widen(self) -> bool:
        """Let DuckDB have more memory until a batch is written, for good where it is too little again and again.

        False where it has had as much as there is.
        """
        if not self._limit:
            return False
        self._width, self._widened = self._width + 1, self._widened + 1
        self.release()
        return True

    def unbind(self) -> None:
        """Let DuckDB have as much memory as there is, until a batch is written."""
        if self._limit:
            self._whole = True
            self.release()

    @property
    def _limit(self) -> str:
        return "" if self._whole else memory.LIMITS[self._width]

    @contextlib.contextmanager
    def writing(self, more: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """The store, open for writing. Raises as `connection.open_writer` does.

        Where `more` is to come, the log of changes may stay beside the file, and the store open; else both end. There
        is no log where each batch would overflow it (`Pace.logs`) and nobody waits: it is put into the file at once.
        """
        with self._lock:
            try:
                if self._writer is not None and self._logs != self._is_to_log():
                    self._close()
                if self._writer is None:
                    self._writer = self._open()
                last = not more and self._pace.written < ENOUGH_BYTES
                self.merges = last and merging.read(self._writer).is_due
                merging.allow(self._writer, self.merges)
                began = time.monotonic()
                yield self._writer
                if not more or not self._logs:
                    self._writer.execute("CHECKPOINT")
                self.took_s = time.monotonic() - began
            except BaseException:
                self._close()
                raise
            passing = self._whole or (0 < self._widened < _OFTEN and self._width > 0)
            if not more or passing or self._is_due():
                self._close()
            if passing:
                self._whole, self._width = False, 0
        if more:
            self._look_out()

    @contextlib.contextmanager
    def giving_way(self, expected_s: float | None) -> Iterator[Callable[[], None]]:
        """What may be given up, while the store is open: to be rolled back on `GivenUp`.

        It is expected to take so long; None: it is not given up. Gives what to call now and then.
        """
        if expected_s is None:
            yield lambda: None
            return
        self._look_out()
        with self._yielding:
            self._ends, self._last_call, self._called = time.monotonic() + expected_s, None, False
        try:
            yield self._pause
        except duckdb.InterruptException:
            if not self._called:
                raise
            raise GivenUp from None
        finally:
            with self._yielding:  # nothing is interrupted from here on
                self._ends = None

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

    def _open(self) -> duckdb.DuckDBPyConnection:
        self._pace.yields = turns.be_asked(self._store)
        if turns.let_readers_in(self._store):
            self._pace.asked()
        self._logs = self._is_to_log()
        writer = connections.open_writer(self._store, self._wait_s, self._logs)
        try:
            self._held = turns.show_held(self._store)
            writer.execute("SET threads = 1")  # batches are small: a second one costs more than it does
            writer.execute("PRAGMA disable_checkpoint_on_shutdown")
            if self._limit:
                _restrict(writer, self._limit)
        except BaseException:
            writer.close()
            raise
        self._since = time.monotonic()
        return writer

    def _is_to_log(self) -> bool:
        return self._pace.logs or not self._pace.is_calm or _is_tight(self._store)

    def _close(self) -> None:
        """Let go of the store. Its log stays: to put it into the file takes several times as long as to read it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            memory.give_back()
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _is_asked(self) -> bool:
        asked = turns.somebody_waits(self._store)
        if asked:
            self._pace.asked()
        return asked

    def _is_due(self) -> bool:
        return self._is_asked() or time.monotonic() - self._since > HELD_S

    def _pause(self) -> None:
        """Raise `GivenUp` when what is at work is to be given up."""
        if self._called:
            raise GivenUp

    def _look_out(self) -> None:
        """Have somebody look whether others wait."""
        if self._watch is None:
            self._watch = threading.Thread(target=self._look, name="rashomon-lease", daemon=True)
            self._watch.start()

    def _look(self) -> None:
        """In a thread: close the store between two batches when somebody wants it, or have a batch given up."""
        while not self._ended.wait(_LOOK_S):
            if self._ends is not None:
                self._call()
            elif self._writer is not None and self._is_due():
                with self._lock, contextlib.suppress(duckdb.Error):  # it is closed: the next batch meets it again
                    self._close()

    def _call(self) -> None:
        """Have a batch given up that others would wait for too long.

        Again and again: an interruption that falls between two statements is none.
        """
        if not self._called and not self._is_asked():
            return
        now = time.monotonic()
        with self._yielding:
            if self._ends is None or self._writer is None:
                return
            if self._last_call is None:
                self._last_call = now + GRACE_S if self._ends - now <= GRACE_S else now
            if now >= self._last_call:
                self._called = True
                self._writer.interrupt()


def _restrict(writer: duckdb.DuckDBPyConnection, limit: str) -> None:
    """Let DuckDB take so much memory, and keep content nowhere but in the store."""
    # before the limit: what is in memory beyond it would go into that folder, which cannot be changed once it is used
    with contextlib.suppress(duckdb.NotImplementedException):  # as where there was too little memory to read the log
        writer.execute("SET temp_directory = ''")
    try:
        writer.execute(f"SET memory_limit = '{limit}'")
    except duckdb.OutOfMemoryException:  # a long log was read, all of which is in memory until it is in the file
        writer.execute("CHECKPOINT")
        writer.execute(f"SET memory_limit = '{limit}'")


def _is_tight(store: Path) -> bool:
    try:
        disk = os.statvfs(store.parent)
    except (AttributeError, OSError):  # a system that does not tell
        return True
    return disk.f_bavail * disk.f_frsize < _ROOM_BYTES
