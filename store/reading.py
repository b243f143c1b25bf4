"""Reading the store: traces, steps, tapes, SQL. Nothing here can write."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb

from rashomon import home as homes
from rashomon.errors import DamagedData, TraceNotFound, UsageError
from rashomon.journal import Damage
from rashomon.model import Point, Step, Tape, Trace
from rashomon.nesting import together
from rashomon.store import connection as connections
from rashomon.store import nesting, points, references, rows, surroundings
from rashomon.store.ingestion import IngestReport, Progress, ingest_new
from rashomon.store.rows import StepRow, TraceRow

T = TypeVar("T")
_TABLES = '`rashomon sql "select * from trace_list"` is a start; `describe steps` lists columns.'
_FAMILY = """
    WITH RECURSIVE family(id) AS (
        SELECT id FROM traces WHERE id = ?
        UNION SELECT nested.id FROM family JOIN traces AS nested ON nested.within = family.id
    )
    SELECT traces.id FROM family JOIN traces USING (id) ORDER BY traces.id <> ?, started_ns, traces.id
"""


class Result(NamedTuple):
    """What a query gave: names and DuckDB types of the columns, and rows of Python values."""

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]


class JournalRow(NamedTuple):
    """A journal that was read. `state` is `read`, `foreign`, `newer` or `unusable`; sizes are in bytes."""

    name: str
    size: int
    state: str
    reason: str | None
    torn: int
    damage: tuple[Damage, ...]
    closed: bool
    traces: tuple[str, ...]


class TraceStore:
    """A store, for reading. A file that does not exist reads as a store without traces.

    Within `with`, the file is opened at the first question and stays open until the end: nobody can
    write meanwhile. Without, it is open for the moment of each question; so a program that runs long
    asks without. Errors: `ForeignFile`, `NewerFormat`, `DamagedData`, or `UsageError` when another
    process keeps the file for more than `wait_s` seconds.
    """

    def __init__(self, path: Path | str, wait_s: float = connections.WAIT_S) -> None:
        self.path = Path(path)
        self.ingested = IngestReport()
        """What `open_home` took in before."""
        self._wait_s = wait_s
        self._entered = False
        self._open: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> TraceStore:
        self._entered = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._entered = False
        self.close()

    def close(self) -> None:
        """Let go of the file; the next question opens it again."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @contextlib.contextmanager
    def _reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if not self._entered:
            with connections.open_reader(self.path, self._wait_s) as reader:
                yield reader
            return
        if self._open is None:
            self._open = connections.open_reader(self.path, self._wait_s)
        yield self._open

    def _select(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        with self._reader() as reader:
            try:
                cursor = reader.execute(sql, list(parameters))
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            except duckdb.Error as error:
                raise DamagedData(
                    f"{self.path} cannot be read: {connections.first_line(error)}.",
                    "Move it away: `rashomon ingest` builds a new store from the journals.",
                ) from error

    # ---------------------------------------------------------------------------------------- traces

    def traces(
        self,
        where: str | None = None,
        since_ns: int | None = None,
        limit: int | None = None,
        name: str | None = None,
    ) -> list[TraceRow]:
        """Traces, newest first.

        `where` is SQL over the columns of the view `trace_list`, `since_ns` a Unix time in nanoseconds,
        `name` an exact name. Raises `UsageError` when the SQL cannot be run.
        """
        conditions, parameters = ["true"], list[Any]()
        if since_ns is not None:
            conditions.append("started_ns >= ?")
            parameters.append(since_ns)
        if name is not None:
            conditions.append("name = ?")
            parameters.append(name)
        if where is not None:
            conditions.append(f"({where}\n)")  # on a line of its own: it may end in a comment
        sql = (
            f"SELECT {', '.join(TraceRow._fields)} FROM trace_list WHERE {' AND '.join(conditions)}"
            f" ORDER BY started_ns DESC, id DESC{'' if limit is None else f' LIMIT {int(limit)}'}"
        )
        if where is None:
            found = [tuple(row.values()) for row in self._select(sql, parameters)]
        else:
            found = self._user_query(sql, parameters, f"The condition {where!r}").rows
        listed = [TraceRow(*row) for row in found]
        return [row._replace(tags=json.loads(str(row.tags)), swaps=json.loads(str(row.swaps))) for row in listed]

    def resolve(self, reference: str) -> str:
        """The id that a reference means: an id, a unique prefix, a name, `@last`, `@prev`, `@last~2`.

        Raises `TraceNotFound` with what there is, `AmbiguousTrace` with the candidates.
        """
        found = self._select(
            "SELECT id, name, within IS NULL OR within NOT IN (SELECT id FROM traces) AS outer_one,"
            " parent IS NOT NULL AS replay FROM traces ORDER BY started_ns DESC, id DESC"
        )
        return references.resolve(reference, [references.Candidate(*row.values()) for row in found])

    def trace(self, trace_id: str) -> Trace:
        """A trace without its steps. Raises `TraceNotFound`."""
        found = self._select("SELECT * FROM traces WHERE id = ?", [trace_id])
        if not found:
            raise TraceNotFound(f"There is no trace {trace_id!r}.", "`rashomon ls` lists what there is.")
        return rows.trace_from(found[0])._replace(
            processes=self._values(trace_id, "processes", rows.process_from, "number"),
            losses=self._values(trace_id, "losses", rows.loss_from),
            divergences=self._values(trace_id, "divergences", rows.divergence_from),
            uncontrolled=self._values(trace_id, "uncontrolled", surroundings.uncontrolled_from),
            launched=self._values(trace_id, "launched", surroundings.launched_from),
        )

    def _values(
        self, trace_id: str, table: str, value_from: Callable[[dict[str, Any]], T], order: str = "position"
    ) -> tuple[T, ...]:
        """What a table has of a trace, in order."""
        found = self._select(f"SELECT * FROM {table} WHERE trace = ? ORDER BY {order}", [trace_id])
        return tuple([value_from(row) for row in found])

    def _family(self, trace_id: str, within: bool) -> list[str]:
        """The trace and, if asked, the traces within it, by their start."""
        if not within:
            return [trace_id]
        return [str(row["id"]) for row in self._select(_FAMILY, [trace_id, trace_id])] or [trace_id]

    # ----------------------------------------------------------------------------------------- steps

    def tape(self, trace_id: str, within: bool = True) -> Tape:
        """A trace with all its steps, reads and points, and with those of the traces within it, in order.

        What is of inner traces gets ids and times of the outer one. Raises `TraceNotFound`.
        """
        with self._session():
            return together([self._tape(one) for one in self._family(trace_id, within)])

    def _tape(self, trace_id: str) -> Tape:
        """A trace by itself."""
        reads = self._values(trace_id, "ambient", surroundings.read_from)
        return Tape(self.trace(trace_id), tuple(self._steps(trace_id)), reads, self._points(trace_id))

    def _points(self, trace_id: str) -> tuple[Point, ...]:
        found = self._select("SELECT packed FROM points WHERE trace = ?", [trace_id])
        try:
            return points.unpack(found[0]["packed"]) if found else ()
        except Exception as error:  # zlib, msgpack, or values that contradict each other
            raise DamagedData(
                f"{self.path} has points of trace {trace_id} that cannot be read: {error}.",
                "Move it away: `rashomon ingest` builds a new store from the journals.",
            ) from error

    def step_rows(self, trace_id: str, within: bool = True) -> list[StepRow]:
        """The same steps as `tape` has, as light rows without heads and bodies."""
        with self._session():
            family = self._family(trace_id, within)
            traces = [self.trace(one) for one in family]
            return nesting.rows_together(traces, [self._light(one) for one in family])

    def step(self, trace_id: str, reference: str, within: bool = True) -> Step:
        """One step, whole, by its id (`0.3`) or its index (`7`) in `tape`. Raises `UsageError`."""
        with self._session():
            light = self.step_rows(trace_id, within)
            found = [row for row in light if row.id == reference]
            if not found and reference.isdecimal():
                found = [row for row in light if row.index == int(reference)]
            if not found:
                there = f"0 to {len(light) - 1}" if light else "none"
                raise UsageError(f"Trace {trace_id} has no step {reference!r}.", f"Its steps: {there}.")
            row = found[0]
            step = self._steps(row.trace, row.position)[0]
            return step._replace(id=row.id, index=row.index, started_us=row.started_us, within=row.within)

    @contextlib.contextmanager
    def _session(self) -> Iterator[None]:
        """Several questions to one state of the store."""
        if self._entered:
            yield
            return
        with self:
            yield

    def _light(self, trace_id: str) -> list[StepRow]:
        found = self._select(f"SELECT {rows.STEP_ROW_COLUMNS} FROM steps WHERE trace = ? ORDER BY position", [trace_id])
        return [rows.step_row_from(row) for row in found]

    def _steps(self, trace_id: str, position: int | None = None) -> list[Step]:
        """The steps of one trace, or one of them, with their bodies."""
        only, parameters = ("", [trace_id]) if position is None else (" AND step = ?", [trace_id, position])
        parts: dict[int, list[tuple[int, str]]] = {}
        for link in self._select(f"SELECT step, position, part FROM step_parts WHERE trace = ?{only}", parameters):
            parts.setdefault(link["step"], []).append((link["position"], link["part"]))
        contents = {
            row["digest"]: row["body"] if row["text"] is None else row["text"].encode()
            for row in self._select(
                "SELECT digest, text, body FROM parts"
                f" WHERE digest IN (SELECT part FROM step_parts WHERE trace = ?{only})",
                parameters,
            )
        }
        only = only.replace("step", "position")
        found = self._select(f"SELECT * FROM steps WHERE trace = ?{only} ORDER BY position", parameters)
        try:
            return [rows.step_from(row, parts[row["position"]], contents) for row in found]
        except KeyError as error:
            raise DamagedData(
                f"{self.path} has lost the part {error} of trace {trace_id}.",
                "Move it away: `rashomon ingest` builds a new store from the journals.",
            ) from None

    # ------------------------------------------------------------------------------------------- SQL

    def query(self, sql: str) -> Result:
        """Run one statement of SQL that reads. Raises `UsageError`: it cannot write, load or reach files."""
        return self._user_query(sql, [], "The SQL")

    def _user_query(self, sql: str, parameters: Sequence[Any], what: str) -> Result:
        with self._reader() as reader:
            try:
                statements = reader.extract_statements(sql)
                if len(statements) != 1:
                    problem = f"{what} is {'empty' if not statements else 'more than one statement'}."
                    raise UsageError(problem, "Give one statement.")
                cursor = reader.execute(statements[0], list(parameters))
                columns = cursor.description or []
                found = cursor.fetchall() if columns else []
            except (duckdb.Error, RuntimeError, ValueError, OverflowError) as error:
                raise UsageError(f"{what} cannot be run: {connections.first_line(error)}.", _TABLES) from error
        return Result([column[0] for column in columns], [str(column[1]) for column in columns], found)

    def journals(self) -> list[JournalRow]:
        """The journals that were read, with what is wrong with them, by name."""
        found = self._select("SELECT * EXCLUDE (mtime_ns, reader, whole) FROM journals ORDER BY name")
        return [
            JournalRow(**row)._replace(
                damage=tuple(Damage(one["offset"], one["size"], one["reason"]) for one in row["damage"]),
                traces=tuple(row["traces"]),
            )
            for row in found
        ]


def open_home(home: Path | str, progress: Progress | None = None) -> TraceStore:
    """The store of a home, with everything that is recorded so far in it."""
    report = ingest_new(home, progress)
    store = TraceStore(homes.store_path(home))
    store.ingested = report
    return store
