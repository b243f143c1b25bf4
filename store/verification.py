"""Is everything that is stored what it was when it was stored? Digests, references, checksums, and both sides compared.

Nothing is changed. What is damaged is named and the rest goes on; memory is bounded by one trace's window of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rashomon import home as homes
from rashomon import notes, tapes
from rashomon.canonical import content_digest, digest
from rashomon.errors import RashomonError
from rashomon.journal import UNREADABLE, Scan
from rashomon.model import Call, Step, Tape
from rashomon.store import connection as connections
from rashomon.store import contents, forgotten, ledger, removal, retention, step_rows
from rashomon.store.bodies import NO_PARTS, Apart
from rashomon.store.engine import duckdb, unless_stopped
from rashomon.store.folder import listing
from rashomon.store.forgetting import came_back
from rashomon.store.reading import TraceStore

WINDOW = 64
"""So many steps are put together at a time."""

BACK = "was forgotten and is here again; `rashomon forget --yes` removes it"
"""What is wrong with a trace or a note that came back."""

_ROWS = 512
Progress = Callable[[int, int], None]


# a step of an enclosing trace may have been made inside of one of a trace within it: that one has its process under a
# number of its own
_WITHIN_NOTHING = """
    WITH RECURSIVE families AS (
        SELECT id, id AS family FROM traces WHERE within IS NULL
        UNION ALL SELECT traces.id, families.family FROM traces JOIN families ON traces.within = families.id
    ), orphans AS (
        SELECT s.trace, s.id, s.within, split_part(s.within, '.', 1) AS process, split_part(s.within, '.', 2) AS own
        FROM steps AS s JOIN traces AS t ON t.id = s.trace
        WHERE s.within IS NOT NULL AND t.within IS NULL AND s.trace NOT IN (SELECT trace FROM losses)
            AND NOT EXISTS (SELECT 1 FROM steps AS o WHERE o.trace = s.trace AND o.id = s.within)
    )
    SELECT trace, id, within FROM orphans WHERE NOT EXISTS (
        SELECT 1 FROM processes AS p
        JOIN families AS f ON f.family = orphans.trace
        JOIN processes AS q ON q.trace = f.id AND q.pid = p.pid AND q.epoch_ns = p.epoch_ns
        JOIN steps AS o ON o.trace = q.trace AND o.id = q.number || '.' || orphans.own
        WHERE p.trace = orphans.trace AND p.number::VARCHAR = orphans.process
    ) ORDER BY ALL LIMIT 100
"""


class Flaw(NamedTuple):
    """One thing that is not as it should be: a file, a trace or a table; where in it; what is wrong."""

    place: str
    where: str
    problem: str


def is_of_lake(flaw: Flaw) -> bool:
    """Whether it is one of an attached lake's."""
    return flaw.place.startswith("lake ")


class Verified(NamedTuple):
    """What was checked, in numbers, what is wrong, and what is merely worth knowing."""

    journals: int
    traces: int
    steps: int
    parts: int
    deep: bool
    flaws: tuple[Flaw, ...]
    remarks: tuple[str, ...]
    not_in_store: int = 0
    """How many journals could not be taken into the store."""
    lake_files: int = 0
    """How many files of attached lakes were checked."""


def verify(home: Path | str, deep: bool = False, progress: Progress | None = None, lakes: bool = False) -> Verified:
    """Check a home. `deep` also compares each trace in the store with what its journals say, step by step; `lakes` also
    reads each file of the attached lakes."""
    found = _Check(Path(home), deep, progress).run()
    if not lakes:
        return found
    from rashomon.store.lake_checking import check

    files, wrong, remarks = check(home, progress)
    flaws = (*found.flaws, *(Flaw(*one) for one in wrong))
    return found._replace(lake_files=files, flaws=flaws, remarks=(*found.remarks, *remarks))


def not_in_store(home: Path | str) -> int:
    """How many journals the store does not hold, or not as they are now."""
    found = listing(Path(homes.journals(home)))
    with connections.open_reader(Path(homes.store_path(home))) as reader:
        known = ledger.read_known(reader).entries
    return sum(1 for name, stat in found.items() if name not in known or not known[name].is_of(stat))


class _Check:
    def __init__(self, home: Path, deep: bool, progress: Progress | None) -> None:
        self.home, self.deep, self.progress = home, deep, progress
        self.store = Path(homes.store_path(home))
        self.folder = Path(homes.journals(home))
        self.flaws: list[Flaw] = []
        self.remarks: list[str] = []
        self.reading = TraceStore(self.store)
        self.steps = self.parts = 0
        self.todo, self.done = 1, 0

    def run(self) -> Verified:
        found = listing(self.folder)
        self.todo = len(found) + 1
        for name in sorted(found):
            self.journal(self.folder / name)
            self.tell()
        self.notes()
        self.returned()
        traces = 0
        if self.store.exists():
            try:
                with connections.open_reader(self.store) as reader, self.reading:
                    traces = self.tables(reader, set(found))
            except RashomonError as error:
                self.flaw(self.store.name, "the file", error.problem)
            except duckdb.Error as error:
                self.flaw(self.store.name, "the file", connections.first_line(error))
        for left in retention.leftovers(self.home):
            self.remarks.append(f"{left.name} was left by a command that was killed; `rashomon gc` deletes it.")
        return Verified(len(found), traces, self.steps, self.parts, self.deep, tuple(self.flaws), tuple(self.remarks))

    def flaw(self, place: str, where: str, problem: str) -> None:
        self.flaws.append(Flaw(place, where, problem.rstrip(".")))

    def tell(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, max(self.todo, self.done))

    # ------------------------------------------------------------------------------------------- journals

    def journal(self, path: Path) -> None:
        """Its header and checksums."""
        try:
            with path.open("rb") as file:
                scan = Scan(file, str(path))
                for _ in scan:
                    pass
        except RashomonError as error:
            self.flaw(path.name, "the file", error.problem)
            return
        except OSError as error:
            self.flaw(path.name, "the file", f"cannot be read: {error.strerror}")
            return
        for damage in scan.damage:
            self.flaw(path.name, f"offset {damage.offset}, {damage.size} bytes", damage.reason)

    def returned(self) -> None:
        """Traces and notes that were forgotten and are here again."""
        back = came_back(self.home)
        for path, ids in back.journals:
            for one in ids:
                self.flaw(path.name, f"trace {one}", BACK)
        for note in back.notes:
            self.flaw(notes.FILE, f"note {note.id}", BACK)

    def notes(self) -> None:
        """Lines that are no notes."""
        try:
            for line, why in notes.read(self.home).unread:
                self.flaw(notes.FILE, f"line {line}", why)
        except OSError as error:
            self.flaw(notes.FILE, "the file", f"cannot be read: {error.strerror}")

    # ---------------------------------------------------------------------------------------------- store

    def tables(self, reader: duckdb.DuckDBPyConnection, journals: set[str]) -> int:
        """Everything in the store; how many traces."""
        for what in (self.contents, self.references, self.ledger):
            self.guarded(what, reader)
        ids = [row[0] for row in reader.execute("SELECT id FROM traces ORDER BY started_ns, id").fetchall()]
        self.todo += len(ids)
        for one in ids:
            self.trace(reader, one)
            if self.deep:
                self.compare(reader, one, journals)
            self.tell()
        return len(ids)

    def guarded(self, what: Callable[[duckdb.DuckDBPyConnection], None], reader: duckdb.DuckDBPyConnection) -> None:
        try:
            what(reader)
        except duckdb.Error as error:
            self.flaw(self.store.name, f"its {what.__name__}", connections.first_line(error))

    def contents(self, reader: duckdb.DuckDBPyConnection) -> None:
        """Each part is what its name says."""
        cursor = reader.execute("SELECT digest, size, text, body FROM parts")
        while rows := cursor.fetchmany(_ROWS):
            for name, size, text, body in rows:
                content = body if text is None else text.encode()
                self.parts += 1
                if content is None or digest(content) != name:
                    self.flaw(self.store.name, f"part {name}", "its content is not what its digest says")
                elif len(content) != size:
                    self.flaw(self.store.name, f"part {name}", f"has {len(content)} bytes where {size} are noted")

    def references(self, reader: duckdb.DuckDBPyConnection) -> None:
        """What refers to something that is not there."""
        for trace, step, part in reader.execute(
            "SELECT trace, step, part FROM step_parts WHERE part NOT IN (SELECT digest FROM parts)"
            " ORDER BY ALL LIMIT 100"
        ).fetchall():
            self.flaw(f"trace {trace}", f"step at {step}", f"its part {part} is missing")
        for trace, step in reader.execute(
            "SELECT trace, step FROM step_parts ANTI JOIN steps ON steps.trace = step_parts.trace"
            " AND steps.position = step_parts.step GROUP BY ALL ORDER BY ALL LIMIT 100"
        ).fetchall():
            self.flaw(f"trace {trace}", f"step at {step}", "has parts and is missing itself")
        for trace, step, within in reader.execute(_WITHIN_NOTHING).fetchall():
            self.flaw(f"trace {trace}", f"step {step}", f"was made inside of step {within}, which is missing")
        for table in removal.tables_by_trace(reader):
            if table == "annotations":
                continue  # people may write on what is gone
            for (trace,) in reader.execute(
                f'SELECT DISTINCT trace FROM "{table}" WHERE trace NOT IN (SELECT id FROM traces) LIMIT 100'
            ).fetchall():
                self.flaw(f"trace {trace}", f"table {table}", "has rows, and there is no such trace")
        for column in ("parent", "within"):
            for one, other in reader.execute(
                f"SELECT id, {column} FROM traces WHERE {column} NOT IN (SELECT id FROM traces) ORDER BY ALL LIMIT 100"
            ).fetchall():
                self.remarks.append(f"Trace {one} names {other} as its {column}, which is not here.")

    def ledger(self, reader: duckdb.DuckDBPyConnection) -> None:
        """Each trace that a journal was read for is there."""
        gone = forgotten.read(self.home)
        for name, trace in reader.execute(
            "SELECT name, trace FROM (SELECT name, unnest(traces) AS trace FROM journals WHERE len(damage) = 0)"
            " WHERE trace NOT IN (SELECT id FROM traces) ORDER BY ALL LIMIT 1000"
        ).fetchall():
            if forgotten.mark(trace) not in gone:
                self.flaw(f"trace {trace}", name, "was read from this journal and is not in the store")
        for name, offset, size, reason in reader.execute(
            "SELECT name, damage.offset, damage.size, damage.reason"
            " FROM (SELECT name, unnest(damage) AS damage FROM journals) WHERE damage.reason <> ?"
            " UNION SELECT name, 0, 0, reason FROM journals WHERE state = 'unusable' ORDER BY ALL",
            [UNREADABLE],
        ).fetchall():
            where = f"offset {offset}, {size} bytes" if size else "its contents"
            self.flaw(name, where, reason or "cannot be understood")

    def trace(self, reader: duckdb.DuckDBPyConnection, trace: str) -> None:
        """Each step of a trace can be put together, and is what was recorded."""
        count = 0
        try:
            noted = reader.execute("SELECT steps FROM traces WHERE id = ?", [trace]).fetchone()
            for step, row in self.steps_of(reader, trace):
                count += 1
                problem = wrong(step, row)
                if problem is not None:
                    self.flaw(f"trace {trace}", f"step {step.id}", problem)
            if noted is not None and noted[0] is not None and noted[0] != count:
                self.flaw(f"trace {trace}", "its steps", f"{count} are there where {noted[0]} are noted")
            self.reading.trace(trace)
        except RashomonError as error:
            self.flaw(f"trace {trace}", "its rows", error.problem)
        except Exception as error:  # whatever damaged rows hold, the other traces are checked
            unless_stopped(error)
            self.flaw(f"trace {trace}", f"behind step {count}", f"cannot be read: {connections.first_line(error)}")
        self.steps += count

    def steps_of(self, reader: duckdb.DuckDBPyConnection, trace: str) -> Iterator[tuple[Step, dict[str, Any]]]:
        """Steps of a trace with their rows, a window at a time."""
        last = reader.execute("SELECT coalesce(max(position), -1) FROM steps WHERE trace = ?", [trace]).fetchone()
        for start in range(0, (last or (-1,))[0] + 1, WINDOW):
            yield from window(reader, trace, start, start + WINDOW)

    # ------------------------------------------------------------------------------------------- both sides

    def compare(self, reader: duckdb.DuckDBPyConnection, trace: str, journals: set[str]) -> None:
        """The store holds what the journals say."""
        rows = reader.execute("SELECT name FROM journals WHERE list_contains(traces, ?)", [trace]).fetchall()
        names = sorted(row[0] for row in rows)
        if not names or not set(names) <= journals:
            return  # the store is all there is of it
        try:
            parts = [tapes.read_part(self.folder / name) for name in names]
            only = [part._replace(parts={trace: part.parts[trace]}) for part in parts if trace in part.parts]
            if len(only) < len(names):
                return  # a journal lost it: named with the journal's damage
            (told,) = tapes.assemble(only)
            held = self.reading.tape(trace, within=False)
        except RashomonError as error:
            self.flaw(f"trace {trace}", "its journals", error.problem)
            return
        except Exception as error:  # frames that are whole and say what cannot be
            unless_stopped(error)
            self.flaw(f"trace {trace}", ", ".join(names), f"cannot be put together: {type(error).__name__}")
            return
        difference = first_difference(told, held)
        if difference is not None:
            self.flaw(f"trace {trace}", difference, f"is not as {', '.join(names)} tells it")


def window(
    reader: duckdb.DuckDBPyConnection, trace: str, start: int, stop: int, columns: str = "*"
) -> list[tuple[Step, dict[str, Any]]]:
    """The steps at these positions with their rows of `steps`."""
    return contents.read(reader, trace, range(start, stop), columns)


def wrong(step: Step, row: dict[str, Any]) -> str | None:
    """What is wrong with a step that was put together; None when nothing is."""
    if len(step.request.body) != row["request_size"]:
        return f"its request has {len(step.request.body)} bytes where {row['request_size']} are noted"
    if row["exact"] is None and not _is_request(step, row["request_digest"]):
        return "its request is not what its digest says"
    answer = step.response.body
    if len(answer) != row["response_size"]:
        return f"its response has {len(answer)} bytes where {row['response_size']} are noted"
    if row["response_digest"] is not None and digest(answer) != row["response_digest"]:
        return "its response is not what its digest says"
    return None


def _is_request(step: Step, name: str) -> bool:
    """Whether a request has this digest, as it is taken now, or as the first schemas took it."""
    if step_rows.request_digest(step.kind, step.name, step.request, Apart(b"", (), NO_PARTS)) == name:
        return True
    return content_digest(Call(step.kind, step.name, step.request)) == name


def first_difference(told: Tape, held: Tape) -> str | None:
    """Where two tapes of one trace differ first; None where they do not."""
    for ours, theirs in zip(told.steps, held.steps, strict=False):
        if _differ(ours, theirs):
            fields = [name for name in Step._fields if _differ(getattr(ours, name), getattr(theirs, name))]
            return f"step {ours.id} ({', '.join(fields)})"
    if len(told.steps) != len(held.steps):
        return f"{len(held.steps)} steps instead of {len(told.steps)}"
    for name in Tape._fields:
        if _differ(getattr(told, name), getattr(held, name)):
            if name == "trace":
                ours_and_theirs = zip(told.trace._fields, told.trace, held.trace, strict=True)
                fields = [one for one, ours, theirs in ours_and_theirs if _differ(ours, theirs)]
                return f"trace ({', '.join(fields)})"
            return name
    return None


def _differ(ours: Any, theirs: Any) -> bool:
    """Whether they are not the same; what is no number is no other than itself."""
    return bool(ours != theirs and repr(ours) != repr(theirs))
