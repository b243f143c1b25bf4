"""From journals to the store: idempotent, incremental, in any order, at any moment.

A journal is read whole when its size or time changed; each trace that it takes part in is put together
again from all its journals and replaced in one transaction, unless it came out the same. The ledger is
written in that transaction too, so that a killed ingestion has either done a batch or not begun it.
Reading and decoding happen before the store is opened for writing; if another process wrote in between
(the store's `generation` tells), the plan is made anew.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgpack

from rashomon import home as homes
from rashomon import tapes
from rashomon.canonical import digest
from rashomon.errors import DamagedData, ForeignFile, NewerFormat
from rashomon.journal import Damage
from rashomon.model import Tape
from rashomon.store import connection as connections
from rashomon.store.bodies import Memory
from rashomon.store.ledger import NOTHING, READER, Entry, Known, Stat, listing, nothing_new, read_known, remember
from rashomon.store.rows import BY_TRACE, Rows
from rashomon.tapes import ProcessPart

BATCH_BYTES = 8 * 1024 * 1024
"""Journals are written in batches of about this size: others wait for a fraction of a second."""

Progress = Callable[[int, int], None]
"""Is told the number of journals done and to do."""


class IngestReport(NamedTuple):
    """What an ingestion did. File names are relative to the folder of journals.

    `new` and `updated` are ids of traces, `steps` how many were written, `journals` how many files were
    read. `damaged` names files with bytes that cannot be read (the rest of them is in the store),
    `skipped` files that are no journals of ours and why, `kept` traces that were not touched because a
    journal of theirs is gone or lost content since.
    """

    new: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    steps: int = 0
    journals: int = 0
    damaged: tuple[tuple[str, Damage], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    kept: tuple[tuple[str, str], ...] = ()


def ingest_new(home: Path | str, progress: Progress | None = None) -> IngestReport:
    """Take into a home's store what is new. Costs a look at the folder when nothing is."""
    store, folder = Path(homes.store_path(home)), Path(homes.journals(home))
    if nothing_new(store, listing(folder)):
        return IngestReport()
    return ingest(folder, store, progress)


def ingest(
    journals: Path, store: Path, progress: Progress | None = None, wait_s: float = connections.WAIT_S
) -> IngestReport:
    """Take the journals of a folder into a store; both may be missing.

    Raises `ForeignFile`, `NewerFormat` or `DamagedData` for the store's own file, `UsageError` when it
    stays in use for `wait_s` seconds. A bad journal is reported, never raised.
    """
    found = listing(journals)
    if not found and not store.exists():
        return IngestReport()
    work = _Ingestion(journals, store, found, progress, wait_s)
    work.run()
    if not work.unreadable:
        remember(store, found)
    return work.report()


class _Reading(NamedTuple):
    """One journal as it was read: its new entry of the ledger, and what it says."""

    entry: Entry
    part: ProcessPart | None


class _Batch(NamedTuple):
    """What one transaction writes."""

    entries: list[Entry]
    rows: Rows
    replaced: list[str]
    written: list[tuple[str, str, int]]


class _Ingestion:
    def __init__(
        self, folder: Path, store: Path, found: dict[str, Stat], progress: Progress | None, wait_s: float
    ) -> None:
        self.folder, self.store, self.found, self.wait_s = folder, store, found, wait_s
        self.progress = progress
        self.done: dict[str, Entry] = {}
        self.unreadable: dict[str, str] = {}
        self.new: dict[str, None] = {}
        self.updated: dict[str, None] = {}
        self.kept: dict[str, str] = {}
        self.steps = 0
        self.memory = Memory()

    def run(self) -> None:
        """Do it all. The values made here have no cycles, and looking for some would take a third of the time."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            self.run_batches()
        finally:
            if collecting:
                gc.enable()

    def run_batches(self) -> None:
        """Until every journal that was found is in the store."""
        known = self.look()
        while todo := self.todo(known):
            for names in _by_size(todo, self.found):
                batch = self.prepare(names, known)
                following = self.write(batch, known)
                if following is None:
                    break  # somebody else wrote: what we know is out of date
                known = following
                self.tell(len(todo))
            else:
                return
            known = self.look()

    def look(self) -> Known:
        if not self.store.exists():
            return NOTHING
        with connections.open_reader(self.store, self.wait_s) as reader:
            return read_known(reader)

    def todo(self, known: Known) -> list[str]:
        """Names of the journals to read. They begin with the time they were opened."""
        entries = known.entries
        return sorted(
            name
            for name, stat in self.found.items()
            if name not in self.unreadable
            and name not in self.done
            and not (name in entries and entries[name].is_of(stat))
        )

    def tell(self, todo: int) -> None:
        if self.progress is not None:
            done = len(self.done) + len(self.unreadable)
            self.progress(done, max(done, todo))

    # ------------------------------------------------------------------------------------ before the lock

    def prepare(self, names: list[str], known: Known) -> _Batch:
        """Read these journals, put their traces together, and make the rows."""
        readings = {name: reading for name in names if (reading := self.read(name)) is not None}
        touched = {trace for reading in readings.values() for trace in reading.entry.traces}
        touched |= {trace for name in readings if name in known.entries for trace in known.entries[name].traces}
        batch = _Batch([reading.entry for reading in readings.values()], Rows(), [], [])
        for trace, sources in self.sources(touched, readings, known).items():
            self.assemble(trace, sources, known, batch, readings)
        return batch

    def sources(
        self, touched: set[str], readings: dict[str, _Reading], known: Known
    ) -> dict[str, list[tuple[str, _Reading | None]]]:
        """For each trace all journals that are known to tell of it; None for one that is gone."""
        found: dict[str, list[tuple[str, _Reading | None]]] = {trace: [] for trace in sorted(touched)}
        others: dict[str, _Reading | None] = {}
        for name in sorted(known.entries.keys() | readings.keys()):
            before = set(known.entries[name].traces) & touched if name in known.entries else set()
            now = set(readings[name].entry.traces) if name in readings else set()
            for trace in before | now:
                if name in readings:
                    there = readings[name] if trace in now else None
                else:
                    if name not in others:
                        others[name] = self.read(name) if name in self.found else None
                    there = others[name]
                    there = there if there is not None and trace in there.entry.traces else None
                found[trace].append((name, there))
        return found

    def assemble(
        self,
        trace: str,
        sources: list[tuple[str, _Reading | None]],
        known: Known,
        batch: _Batch,
        readings: dict[str, _Reading],
    ) -> None:
        """Add one trace to the batch, unless the store has it so already, or has more of it."""
        before = known.traces.get(trace)
        gone = [name for name, reading in sources if reading is None]
        parts = [reading.part for _, reading in sources if reading is not None and reading.part is not None]
        if before is not None and gone:
            self.kept[trace] = f"{gone[0]} no longer tells of it"
            return
        try:
            tape = _one(trace, parts)
            fingerprint = _fingerprint(tape)
            if before is not None and before[0] == fingerprint:
                return
            if before is not None and len(tape.steps) < before[1]:
                self.kept[trace] = f"its journals lost {before[1] - len(tape.steps)} steps"
                return
            rows = Rows(self.memory)
            rows.add(tape, fingerprint)
        except Exception as error:  # frames that are whole and say what cannot be: named, and the rest goes on
            self.blame(batch, [name for name, _ in sources if name in readings], trace, error)
            return
        batch.rows.merge(rows)
        batch.written.append((trace, fingerprint, len(tape.steps)))
        if before is not None:
            batch.replaced.append(trace)

    def blame(self, batch: _Batch, names: list[str], trace: str, error: Exception) -> None:
        damage = Damage(0, 0, f"trace {trace} cannot be put together: {type(error).__name__}: {error}"[:300])
        for number, entry in enumerate(batch.entries):
            if entry.name in names:
                batch.entries[number] = entry._replace(damage=(*entry.damage, damage))

    def read(self, name: str) -> _Reading | None:
        """Read one journal; None when it is not there or may not be read."""
        stat = self.found[name]
        entry = Entry(name, stat.size, stat.mtime_ns, READER, "read", None, 0, 0, (), False, ())
        try:
            part = tapes.read_part(self.folder / name)
        except ForeignFile as error:
            return _Reading(entry._replace(state="foreign", reason=error.problem), None)
        except NewerFormat as error:
            return _Reading(entry._replace(state="newer", reason=str(error)), None)
        except OSError as error:
            self.unreadable[name] = f"{name} cannot be read: {error.strerror}."
            return None
        except Exception as error:  # whatever a file holds, the others are read
            damage = Damage(0, stat.size, f"cannot be understood: {type(error).__name__}: {error}"[:300])
            return _Reading(entry._replace(state="unusable", reason=damage.reason, damage=(damage,)), None)
        strange = [trace for trace in part.parts if not _is_id(trace)]
        damage_found = [*part.damage, *(Damage(0, 0, f"a trace has the id {trace!r}"[:300]) for trace in strange)]
        ids = tuple(sorted(trace for trace in part.parts if _is_id(trace)))
        torn = max(0, stat.size - part.end)
        return _Reading(
            entry._replace(whole=part.end, torn=torn, damage=tuple(damage_found), closed=part.closed, traces=ids), part
        )

    # ------------------------------------------------------------------------------------ under the lock

    def write(self, batch: _Batch, known: Known) -> Known | None:
        """Write a batch; what the store holds then, or None when it was not as `known` says."""
        following = str(int(known.generation) + 1)
        if batch.entries:
            try:
                with connections.open_writer(self.store, self.wait_s) as writer, connections.transaction(writer):
                    claimed = writer.execute(
                        "UPDATE meta SET value = ? WHERE key = 'generation' AND value = ? RETURNING 1",
                        [following, known.generation],
                    ).fetchall()
                    if not claimed:
                        return None
                    _apply(writer, batch)
            except duckdb.TransactionException:  # another thread of this process wrote
                return None
            except duckdb.Error as error:
                raise DamagedData(
                    f"{self.store} cannot be written: {connections.first_line(error)}.",
                    "Check the disk; what was ingested before is still there, and so are the journals.",
                ) from error
        entries = {entry.name: entry for entry in batch.entries}
        self.done.update(entries)
        for trace, _, steps in batch.written:
            # a trace of several journals may be written more than once: new is new
            (self.updated if trace in known.traces and trace not in self.new else self.new)[trace] = None
            self.steps += steps
        marks = {trace: (mark, steps) for trace, mark, steps in batch.written}
        return Known(following, known.entries | entries, known.traces | marks)

    def report(self) -> IngestReport:
        """What was done."""
        entries = [self.done[name] for name in sorted(self.done)]
        skipped = [(entry.name, entry.reason) for entry in entries if entry.state != "read" and entry.reason]
        return IngestReport(
            tuple(self.new),
            tuple(self.updated),
            self.steps,
            len(entries),
            tuple((entry.name, damage) for entry in entries for damage in entry.damage),
            (*skipped, *sorted(self.unreadable.items())),
            tuple(sorted(self.kept.items())),
        )


def _by_size(names: Iterable[str], found: dict[str, Stat]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for name in names:
        if batch and size + found[name].size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += found[name].size
    if batch:
        yield batch


def _is_id(trace: object) -> bool:
    """True for an id that can be typed: a short text without spaces."""
    return isinstance(trace, str) and trace.isprintable() and 0 < len(trace) <= 200 and " " not in trace


def _one(trace: str, parts: list[ProcessPart]) -> Tape:
    only = [part._replace(parts={trace: part.parts[trace]}) for part in parts]
    (tape,) = tapes.assemble(only)
    return tape


def _fingerprint(tape: Tape) -> str:
    return digest(msgpack.packb(tape, use_bin_type=True, unicode_errors="surrogatepass"))


def _apply(writer: duckdb.DuckDBPyConnection, batch: _Batch) -> None:
    """Replace traces, add parts, write the ledger."""
    old: list[str] = []
    if batch.replaced:
        rows = writer.execute(
            "SELECT DISTINCT part FROM step_parts WHERE trace IN (SELECT unnest(?))", [batch.replaced]
        ).fetchall()
        old = [row[0] for row in rows]
        for table in BY_TRACE:
            writer.execute(f"DELETE FROM {table} WHERE trace IN (SELECT unnest(?))", [batch.replaced])
        writer.execute("DELETE FROM traces WHERE id IN (SELECT unnest(?))", [batch.replaced])
    for table, table_rows in batch.rows.tables.items():
        _append(writer, table, table_rows)
    present = writer.execute(
        "SELECT digest FROM parts WHERE digest IN (SELECT unnest(?))", [list(batch.rows.parts)]
    ).fetchall()
    _append(writer, "parts", batch.rows.part_rows({row[0] for row in present}))
    if old:
        writer.execute(
            "DELETE FROM parts WHERE digest IN (SELECT unnest(?)) AND digest NOT IN (SELECT part FROM step_parts)",
            [old],
        )
    names = [entry.name for entry in batch.entries]
    writer.execute("DELETE FROM journals WHERE name IN (SELECT unnest(?))", [names])
    _append(writer, "journals", [entry.row() for entry in batch.entries])


def _append(writer: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[object, ...]]) -> None:
    if rows:
        with writer.appender(table) as appender:
            appender.append_rows(rows)
