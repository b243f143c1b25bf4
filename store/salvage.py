"""Building a store again from its journals, and from what can still be read of the damaged one.

The new store is made beside the old one and takes its place when it is whole; the old one is kept under another name.
What only the old one holds is written as tape files into the journals, so that it is never again in one place only.
A killed salvage leaves the old store where it is, and repeating starts anew.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rashomon import home as homes
from rashomon import notes, tapes
from rashomon.canonical import digest
from rashomon.errors import RashomonError, UsageError
from rashomon.journal import SUFFIX
from rashomon.model import Loss, Point, Process, Step, Tape, Trace
from rashomon.notes import Note
from rashomon.store import (
    compaction,
    contents,
    forgotten,
    ingestion,
    journal_removal,
    points,
    restored,
    surroundings,
    verification,
)
from rashomon.store import connection as connections
from rashomon.store.annotations import mirror
from rashomon.store.engine import duckdb
from rashomon.store.folder import listing
from rashomon.store.verification import Verified

Progress = Callable[[int, int], None]
_HEADER, _HEADERS = 4096, (4096, 8192)
"""A DuckDB file begins with three blocks of this size: what it is, and twice where to begin, the newer one counts
(https://duckdb.org/docs/stable/internals/storage). Behind its checksum, each says how often the file was written."""

_NEEDED = f"{contents.COLUMNS}, request_digest, response_digest, request_size, response_size"
"""The columns that a step is made of; the others are decoded from it again."""


class Salvaged(NamedTuple):
    """What was done. `rescued` traces were in the old store only, `partly` of these not all could be read (and why);
    `lost` could not be read at all. `kept` is where the old store is now, `moved` where journals are that were replaced
    by what the store had of them. `check` says what is wrong even so."""

    traces: int
    rescued: tuple[str, ...]
    partly: tuple[tuple[str, str], ...]
    lost: tuple[tuple[str, str], ...]
    notes: int
    kept: str | None
    moved: tuple[str, ...]
    check: Verified


def salvage(home: Path | str, progress: Progress | None = None) -> Salvaged:
    """Build the store of a home again. Raises `UsageError` when a folder cannot be written or a store is not ours."""
    try:
        return _Salvage(Path(home), progress).run()
    except OSError as error:
        raise UsageError(
            f"{home} cannot be written: {error.strerror}.", "Check its permissions and its disk."
        ) from error


class _Salvage:
    def __init__(self, home: Path, progress: Progress | None) -> None:
        self.home, self.progress = home, progress
        self.store, self.folder = Path(homes.store_path(home)), Path(homes.journals(home))
        self.stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self.new = self.store.with_name(f"{self.store.name}{compaction.SALVAGE}{os.getpid()}.new")
        self.old = self.store.with_name(f"{self.store.name}{compaction.SALVAGE}{os.getpid()}.old")
        self.rescued: list[str] = []
        self.partly: list[tuple[str, str]] = []
        self.lost: list[tuple[str, str]] = []
        self.moved: list[str] = []
        self.notes = 0
        self.newest = True
        """Whether what can be read of the old store is what was written to it last."""

    def run(self) -> Salvaged:
        if self.store.is_dir():
            connections.check_file(self.store)
        if self.store.exists():
            connections.refuse_newer(self.store)
        homes.prepare(str(self.home))
        for left in self.store.parent.glob(f"{self.store.name}{compaction.SALVAGE}*"):
            compaction.remove(left)
        try:
            ingestion.ingest(self.folder, self.new, self.progress)
            if self.store.exists():
                self.rescue()
                ingestion.ingest(self.folder, self.new)
            if not self.new.exists():
                connections.open_writer(self.new).close()
            kept = self.swap()
        finally:
            for path in (self.new, self.old):
                for left in self.store.parent.glob(f"{path.name}*"):
                    compaction.remove(left)
        mirror(self.home)
        check = verification.verify(self.home, progress=self.progress)
        return Salvaged(
            check.traces,
            tuple(self.rescued),
            tuple(self.partly),
            tuple(self.lost),
            self.notes,
            kept,
            tuple(self.moved),
            check,
        )

    def swap(self) -> str | None:
        """Put the new store in the old one's place, which is kept. A kill in between leaves no store: the next command
        builds one from the journals, which hold everything by now."""
        kept = None
        if self.store.exists():
            kept = self.store.with_name(f"{self.store.name}.damaged-{self.stamp}")
            log = self.store.with_name(f"{self.store.name}.wal")
            os.replace(self.store, kept)
            if log.exists():
                os.replace(log, kept.with_name(f"{kept.name}.wal"))
        os.replace(self.new, self.store)
        return None if kept is None else kept.name

    # -------------------------------------------------------------------------------------- the damaged store

    def rescue(self) -> None:
        """Write what only the old store has into the journals."""
        reader = self.readable()
        if reader is None:
            return
        with reader:
            known = self.known()
            gone = forgotten.read(self.home)
            wanted = [
                (one, count)
                for one, count in self.in_old(reader)
                if count > known.get(one, -1) and forgotten.mark(one) not in gone
            ]
            for number, (one, count) in enumerate(wanted, 1):
                self.rescue_trace(reader, one, count, known.get(one))
                if self.progress is not None:
                    self.progress(number, len(wanted))
            self.rescue_notes(reader)

    def readable(self) -> duckdb.DuckDBPyConnection | None:
        """A copy of the old store, open; None when nothing can be read of it."""
        reasons: list[str] = []
        for attempt in (self.as_it_is, self.without_log, self.with_header(0), self.with_header(1), self.with_a_start):
            try:
                for left in self.store.parent.glob(f"{self.old.name}*"):
                    compaction.remove(left)
                attempt()
                reader = connections.open_reader(self.old)
                reader.execute("SELECT count(*) FROM traces").fetchall()
                if reasons and not self.newest:
                    self.lost.append((self.store.name, "its newest state cannot be read; an earlier one was used"))
                return reader
            except (RashomonError, duckdb.Error) as error:
                reasons.append(error.problem if isinstance(error, RashomonError) else connections.first_line(error))
        self.lost.append((self.store.name, reasons[0].replace(str(self.old), self.store.name).rstrip(".")))
        return None

    def as_it_is(self) -> None:
        shutil.copyfile(self.store, self.old)
        log = self.store.with_name(f"{self.store.name}.wal")
        if log.exists():
            shutil.copyfile(log, self.old.with_name(f"{self.old.name}.wal"))

    def without_log(self) -> None:
        shutil.copyfile(self.store, self.old)
        self.newest = not self.store.with_name(f"{self.store.name}.wal").exists()

    def with_header(self, number: int) -> Callable[[], None]:
        """One of the two headers put in the other's place: the state of the store before it was written last."""

        def attempt() -> None:
            shutil.copyfile(self.store, self.old)
            with self.old.open("r+b") as file:
                file.seek(_HEADERS[number])
                header = file.read(_HEADER)
                file.seek(_HEADERS[1 - number])
                other = file.read(_HEADER)
                file.seek(_HEADERS[1 - number])
                file.write(header)
            written = [int.from_bytes(one[8:16], "little") for one in (header, other)]
            self.newest = written[0] == written[1] + 1

        return attempt

    def with_a_start(self) -> None:
        """The first block, which says only what kind of file it is, taken from another store."""
        self.newest = True
        shutil.copyfile(self.store, self.old)
        blank = self.old.with_name(f"{self.old.name}.blank")
        connections.open_writer(blank).close()
        with self.old.open("r+b") as file:
            file.write(blank.read_bytes()[:_HEADER])

    def known(self) -> dict[str, int]:
        """Steps of each trace that the journals tell of."""
        if not self.new.exists():
            return {}
        with connections.open_reader(self.new) as reader:
            return dict(
                reader.execute(
                    "SELECT traces.id, count(steps.trace) FROM traces"
                    " LEFT JOIN steps ON steps.trace = traces.id GROUP BY traces.id"
                ).fetchall()
            )

    def in_old(self, reader: duckdb.DuckDBPyConnection) -> list[tuple[str, int]]:
        """Traces of the old store, with how many steps they have there."""
        found: dict[str, int] = {}
        for sql in (
            "SELECT id, coalesce(steps, 0) FROM traces ORDER BY started_ns, id",
            "SELECT id, 0 FROM traces",
            "SELECT trace, count(*) FROM steps GROUP BY trace ORDER BY trace",
        ):
            try:
                for one, count in reader.execute(sql).fetchall():
                    found[one] = max(count, found.get(one, 0))
            except duckdb.Error:  # a column that is damaged: the others say it too
                continue
        return list(found.items())

    def rescue_trace(self, reader: duckdb.DuckDBPyConnection, one: str, count: int, journal_steps: int | None) -> None:
        """Write one trace as a tape file, and take it out of journals that say less of it."""
        tape, problems = read_trace(reader, one, count)
        if tape is None or len(tape.steps) <= (journal_steps if journal_steps is not None else -1):
            if journal_steps is None:
                self.lost.append((one, problems[0] if problems else "nothing of it can be read"))
            return
        if journal_steps is not None and not self.set_aside(one):
            return
        place = self.folder / f"salvaged-{digest(one.encode('utf-8', 'surrogatepass'))[3:19]}{SUFFIX}"
        beside = place.with_name(f"{place.name}.{os.getpid()}")
        try:
            tapes.write_tape(beside, tape)
            os.replace(beside, place)
        finally:
            beside.unlink(missing_ok=True)
        self.rescued.append(one)
        if problems:
            self.partly.append((one, "; ".join(problems)))

    def set_aside(self, one: str) -> bool:
        """Take a trace out of the journals that lost a part of it; copies of them are kept beside."""
        with connections.open_reader(self.new) as reader:
            names = [
                row[0]
                for row in reader.execute("SELECT name FROM journals WHERE list_contains(traces, ?)", [one]).fetchall()
            ]
        aside = self.home / f"damaged-{self.stamp}"
        for name in names:
            if name in listing(self.folder):
                aside.mkdir(exist_ok=True)
                if not (aside / name).exists():
                    shutil.copyfile(self.folder / name, aside / name)
                if journal_removal.remove_from(self.folder / name, {one}, ended=True).action == "left":
                    return False
                self.moved.append(f"{aside.name}/{name}")
        self.new.unlink(missing_ok=True)  # its ledger knows these journals as they were: it is made again
        self.new.with_name(f"{self.new.name}.seen").unlink(missing_ok=True)
        ingestion.ingest(self.folder, self.new)
        return True

    def rescue_notes(self, reader: duckdb.DuckDBPyConnection) -> None:
        """Write the notes that only the old store has into `notes.jsonl`, unless they were taken back there."""
        path = Path(notes.path_of(self.home))
        if path.exists():
            return  # the file is the truth; what it does not have was taken back
        try:
            found = reader.execute(
                "SELECT id, trace, step, at_ns, author, text, labels, data::VARCHAR FROM annotations ORDER BY at_ns"
            ).fetchall()
        except duckdb.Error:
            return
        import json

        gone = forgotten.read(self.home)
        for one, trace, step, at_ns, author, text, labels, data in found:
            note = Note(one, trace, step, at_ns, author, text, tuple(labels), json.loads(data))
            if not forgotten.has_note(gone, note):
                notes.write(self.home, note)
                self.notes += 1


# ------------------------------------------------------------------------------ what can be read of one trace


def read_trace(reader: duckdb.DuckDBPyConnection, one: str, count: int) -> tuple[Tape | None, list[str]]:
    """A trace as far as it can be read, and what could not be."""
    problems: list[str] = []
    trace = _trace(reader, one, problems)
    steps, lost = _steps(reader, one, count, problems)
    if trace is None:
        return None, problems
    if not steps and lost:
        return None, [*problems, "none of its steps can be read"]
    reads = _values(reader, one, "ambient", surroundings.read_from, "position", problems)
    trace = trace._replace(
        processes=_values(reader, one, "processes", restored.process_from, "number", problems),
        losses=_values(reader, one, "losses", restored.loss_from, "position", problems),
        divergences=_values(reader, one, "divergences", restored.divergence_from, "position", problems),
        uncontrolled=_values(reader, one, "uncontrolled", surroundings.uncontrolled_from, "position", problems),
        launched=_values(reader, one, "launched", surroundings.launched_from, "position", problems),
    )
    if problems:
        loss = Loss(f"salvaged from a damaged store: {'; '.join(problems)}"[:300], lost)
        trace = trace._replace(losses=(*trace.losses, loss))
    if not trace.processes:
        numbers = sorted({int(step.id.split(".")[0]) for step in steps if step.id.split(".")[0].isdecimal()})
        trace = trace._replace(processes=tuple(Process(number, 0, (), "", False) for number in numbers))
    ordered = tuple(step._replace(index=index) for index, step in enumerate(steps))
    return Tape(trace, ordered, reads, _points(reader, trace, problems)), problems


def _trace(reader: duckdb.DuckDBPyConnection, one: str, problems: list[str]) -> Trace | None:
    """The row of a trace; column by column where it cannot be read whole."""
    try:
        cursor = reader.execute("SELECT * FROM traces WHERE id = ?", [one])
        names = [column[0] for column in cursor.description or ()]
        row = cursor.fetchone()
        return None if row is None else restored.trace_from(dict(zip(names, row, strict=True)))
    except Exception:  # a damaged column: read the others
        pass
    values: dict[str, Any] = {
        "id": one, "name": one, "started_ns": 0, "outcome": "open", "tags": "{}", "swaps": "[]", "environ": "{}",
        "versions": "{}", "connections": 0, "missed": [], "provenance": "{}",
    }  # fmt: skip
    names = [row[0] for row in reader.execute("DESCRIBE traces").fetchall()]
    bad = []
    for name in names:
        try:
            found = reader.execute(f'SELECT "{name}" FROM traces WHERE id = ?', [one]).fetchone()
            values[name] = found[0] if found else values.get(name)
        except duckdb.Error:
            bad.append(name)
            values.setdefault(name, None)
    problems.append(f"its {', '.join(bad)} cannot be read")
    try:
        return restored.trace_from(values)
    except Exception as error:  # a value that contradicts itself
        problems.append(f"{type(error).__name__}: {error}")
        return None


def _values(
    reader: duckdb.DuckDBPyConnection,
    one: str,
    table: str,
    value_from: Callable[[dict[str, Any]], Any],
    order: str,
    problems: list[str],
) -> tuple[Any, ...]:
    try:
        cursor = reader.execute(f"SELECT * FROM {table} WHERE trace = ? ORDER BY {order}", [one])
        names = [column[0] for column in cursor.description or ()]
        return tuple([value_from(dict(zip(names, row, strict=True))) for row in cursor.fetchall()])
    except Exception:  # the rest of the trace is worth having without
        problems.append(f"its {table} cannot be read")
        return ()


def _points(reader: duckdb.DuckDBPyConnection, trace: Trace, problems: list[str]) -> tuple[Point, ...]:
    try:
        return points.read(reader, trace)
    except Exception:  # as above
        problems.append("its points cannot be read")
        return ()


def _steps(reader: duckdb.DuckDBPyConnection, one: str, count: int, problems: list[str]) -> tuple[list[Step], int]:
    """The steps that can be read and are what their digests say, and how many are not."""
    found: list[Step] = []
    lost = 0
    for start in range(0, max(count, _highest(reader, one) + 1), verification.WINDOW):
        stop = start + verification.WINDOW
        for step, row in _window(reader, one, start, stop):
            if verification.wrong(step, row) is None:
                found.append(step)
    lost = max(0, max(count, _highest(reader, one) + 1) - len(found))
    if lost:
        problems.append(f"{lost} of its steps cannot be read")
    return found, lost


def _highest(reader: duckdb.DuckDBPyConnection, one: str) -> int:
    try:
        found = reader.execute("SELECT max(position) FROM steps WHERE trace = ?", [one]).fetchone()
    except duckdb.Error:
        return -1
    return -1 if found is None or found[0] is None else int(found[0])


def _window(
    reader: duckdb.DuckDBPyConnection, one: str, start: int, stop: int
) -> Iterator[tuple[Step, dict[str, Any]]]:
    """The steps of a window; halves of it, where it cannot be read whole."""
    try:
        yield from verification.window(reader, one, start, stop, _NEEDED)
        return
    except Exception:  # whatever damaged rows hold
        pass
    if stop - start > 1:
        middle = (start + stop) // 2
        yield from _window(reader, one, start, middle)
        yield from _window(reader, one, middle, stop)
