"""Reading the store: traces, steps, tapes, SQL. Nothing here can write.

What only some questions need is imported where they are asked: a list of traces should not wait for what puts bodies
together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rashomon.errors import DamagedData, TraceNotFound, UsageError
from rashomon.store import connection as connections
from rashomon.store import engine
from rashomon.store.engine import duckdb
from rashomon.store.opening import Opening, close_soon

if TYPE_CHECKING:
    from rashomon.filters import Query
    from rashomon.journal import Damage
    from rashomon.model import Point, Step, Tape, Trace
    from rashomon.store.filter_text import Where
    from rashomon.store.filtering import Place, Search
    from rashomon.store.ingestion import IngestReport
    from rashomon.store.lists import Outline, Shown, ShownLine, StepLine, StepRow
    from rashomon.store.trace_rows import TraceRow

_MOVE_AWAY = "Move it away: `rashomon ingest` builds a new store from the journals."
_NEWEST = "ORDER BY started_ns DESC, id DESC"
_TABLES = '`rashomon sql "select * from trace_list"` is a start; `describe steps` lists columns.'


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

    def __init__(
        self, path: Path | str, wait_s: float = connections.WAIT_S, ingested: IngestReport | None = None
    ) -> None:
        self.path = Path(path)
        self._ingested = ingested
        self._wait_s = wait_s
        self._entered = False
        self._open: duckdb.DuckDBPyConnection | None = None
        self._opening: Opening | None = None

    @property
    def ingested(self) -> IngestReport:
        """What `open_home` took in before."""
        from rashomon.store.ingestion import IngestReport

        return self._ingested or IngestReport()

    def __enter__(self) -> TraceStore:
        self._entered = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._entered = False
        self.close()

    def close(self) -> None:
        """Let go of the file; the next question opens it again."""
        self.begun()
        if self._open is not None:
            self._open.close()
            self._open = None

    def leave(self) -> None:
        """The same, without waiting until it is done: for who asks nothing more. `opening.closed` waits for it."""
        self.begun()
        if self._open is not None:
            close_soon(self._open)
            self._open = None

    def begin(self) -> None:
        """Have the file opened by another thread, for the first question within `with`; `close` lets go of it."""
        engine.load()  # here, and not by the other thread: that is no place for Ctrl-C
        self._opening = Opening(lambda: connections.open_reader(self.path, 0))

    def begun(self) -> None:
        """Wait for what `begin` began. A file that it could not open is opened again by who asks, who is told why."""
        if self._opening is not None:
            self._open, self._opening = self._opening.result(), None

    def handed_over(self) -> duckdb.DuckDBPyConnection | None:
        """The file that `begin` opened, for who asks it in another way and closes it; None where there is none."""
        self.begun()
        found, self._open = self._open, None
        return found

    @contextlib.contextmanager
    def _reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if not self._entered:
            with connections.open_reader(self.path, self._wait_s) as reader:
                yield reader
            return
        self.begun()
        if self._open is None:
            self._open = connections.open_reader(self.path, self._wait_s)
        yield self._open

    def _select(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        names: list[str] = []
        found = self._tuples(sql, parameters, names)
        return [dict(zip(names, row, strict=True)) for row in found]

    def _tuples(self, sql: str, parameters: Sequence[Any], names: list[str] | None = None) -> list[tuple[Any, ...]]:
        with self._reader() as reader:
            try:
                cursor = reader.execute(sql, list(parameters))
                if names is not None:
                    names += [column[0] for column in cursor.description or ()]
                return cursor.fetchall()
            except duckdb.Error as error:
                raise DamagedData(
                    f"{self.path} cannot be read: {connections.first_line(error)}.",
                    _MOVE_AWAY,
                ) from error

    # ---------------------------------------------------------------------------------------- traces

    def traces(
        self,
        where: str | None = None,
        since_ns: int | None = None,
        limit: int | None = None,
        name: str | None = None,
        matching: Query | None = None,
        now_ns: int | None = None,
    ) -> list[TraceRow]:
        """Traces, newest first.

        `where` is SQL over the columns of the view `trace_list`, `since_ns` a Unix time in nanoseconds,
        `name` an exact name, `matching` a filter, whose ages count from `now_ns`. Raises `UsageError` when the SQL
        cannot be run, `FilterError` for a filter that cannot be asked of traces.
        """
        with self._session():  # opened once, and all from one state
            if matching is not None and matching.terms:
                with self._search(matching, "trace", now_ns) as search:
                    return self._traces(where, since_ns, limit, name, search.traces())
            return self._traces(where, since_ns, limit, name, None)

    def _traces(
        self, where: str | None, since_ns: int | None, limit: int | None, name: str | None, matching: Where | None
    ) -> list[TraceRow]:
        from rashomon.store import trace_rows

        conditions, parameters = ["true"], list[Any]()
        if since_ns is not None:
            conditions.append("started_ns >= ?")
            parameters.append(since_ns)
        if name is not None:
            conditions.append("name = ?")
            parameters.append(name)
        if matching is not None:
            conditions.append(matching[0])
            parameters += matching[1]
        if where is not None:
            conditions.append(f"({where}\n)")  # on a line of its own: it may end in a comment
        condition = " AND ".join(conditions)
        nested, diverged, lost, launched = self._tuples(trace_rows.WHAT_THERE_IS, [])[0]
        own = not nested or (limit is not None and where is None and not trace_rows.by_sums(condition))
        if own or not self._tuples(trace_rows.DEEPER, [])[0][0]:
            source = trace_rows.source(diverged, lost, launched, inside=not own)
        else:
            source = "trace_list"
        sql = f"SELECT {', '.join(trace_rows.TraceRow._fields)} FROM {source} WHERE {condition} {_NEWEST}"
        sql += "" if limit is None else f" LIMIT {int(limit)}"
        if where is None:
            found = self._tuples(sql, parameters)
        else:
            found = self._user_query(sql, parameters, f"The condition {where!r}").rows
        rows = [trace_rows.trace_row_from(row) for row in found]
        if nested and own:
            return trace_rows.added_up(rows, trace_rows.inner([row.id for row in rows], self._tuples))
        return rows

    def missed(self, traces: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The peers that some traces reached outside of any recorded call."""
        sql = f"SELECT id, missed FROM traces WHERE id IN ({', '.join('?' * len(traces))})"
        found = self._tuples(sql, traces) if traces else []
        return {trace: tuple(peers) for trace, peers in found}

    def resolve(self, reference: str) -> str:
        """The id that a reference means: an id, a unique prefix, a name, `@last`, `@prev`, `@last~2`.

        Raises `TraceNotFound` with what there is, `AmbiguousTrace` with the candidates.
        """
        from rashomon.store import references

        with self._session():
            return references.resolve(reference, self._select)

    def trace(self, trace_id: str) -> Trace:
        """A trace without its steps. Raises `TraceNotFound`."""
        from rashomon.store import restored

        found = self._select("SELECT * FROM traces WHERE id = ?", [trace_id])
        if not found:
            raise TraceNotFound(f"There is no trace {trace_id!r}.", "`rashomon ls` lists what there is.")
        return restored.whole_trace(found[0], self._select)

    def _family(self, trace_id: str, within: bool) -> list[str]:
        """The trace and, if asked, the traces within it, by their start."""
        if not within or not self._tuples("SELECT EXISTS (FROM traces WHERE within = ?)", [trace_id])[0][0]:
            return [trace_id]
        from rashomon.store import restored

        return restored.family(self._select, trace_id)

    # ----------------------------------------------------------------------------------------- steps

    def tape(self, trace_id: str, within: bool = True) -> Tape:
        """A trace with all its steps, reads and points, and with those of the traces within it, in order.

        What is of inner traces gets ids and times of the outer one. Raises `TraceNotFound`.
        """
        with self._session():
            from rashomon.nesting import together

            return together([self._tape(one) for one in self._family(trace_id, within)])

    def _tape(self, trace_id: str) -> Tape:
        """A trace by itself."""
        from rashomon.model import Tape
        from rashomon.store import restored, surroundings

        reads = restored.values(self._select, trace_id, "ambient", surroundings.read_from)
        trace = self.trace(trace_id)
        return Tape(trace, tuple(self._steps(trace_id)), reads, self._points(trace))

    def _points(self, trace: Trace) -> tuple[Point, ...]:
        from rashomon.store import points

        try:
            with self._reader() as reader:
                return points.read(reader, trace)
        except Exception as error:  # zlib, msgpack, or values that contradict each other
            raise DamagedData(
                f"{self.path} has points of trace {trace.id} that cannot be read: {error}.",
                _MOVE_AWAY,
            ) from error

    def step_rows(self, trace_id: str, within: bool = True) -> list[StepRow]:
        """The same steps as `tape` has, as light rows without heads and bodies."""
        with self._session():
            family = self._family(trace_id, within)
            if len(family) == 1:
                found = self._light(family[0])
                if not found:
                    self.trace(trace_id)  # says so when there is none
                return found
            from rashomon.store import nesting

            traces = [self.trace(one) for one in family]
            return nesting.rows_together(traces, [self._light(one) for one in family])

    def outline(self, trace_id: str) -> Outline:
        """What `tape` has, without bodies, reads and points: enough for a list. Raises `TraceNotFound`."""
        with self._session():
            from rashomon.store.lists import Outline, StepLine, listed

            if len(self._family(trace_id, True)) == 1:
                return Outline(self.trace(trace_id), listed(StepLine, self._listed(trace_id, StepLine)))
            # which processes the whole has, and under which numbers, depends on all that the parts of it tell
            return Outline(self.tape(trace_id).trace, self.step_rows(trace_id))

    def shown(self, trace_id: str) -> Shown | Outline:
        """What a table of a trace's steps shows; the outline, where traces lie within it. Raises `TraceNotFound`."""
        with self._session():
            from rashomon.store.lists import Shown, ShownLine, listed

            if len(self._family(trace_id, True)) > 1:
                return self.outline(trace_id)
            return Shown(self.trace(trace_id), listed(ShownLine, self._listed(trace_id, ShownLine)))

    def cost(self, trace_id: str) -> tuple[float | None, int]:
        """What a trace and those within it cost in US dollars, and how many calls have no known price."""
        found = self._tuples("SELECT cost, unpriced FROM trace_list WHERE id = ?", [trace_id])
        return found[0] if found else (None, 0)

    def step(self, trace_id: str, reference: str, within: bool = True) -> Step:
        """One step, whole, by its id (`0.3`) or its index (`7`) in `tape`. Raises `UsageError`."""
        from rashomon.store import contents

        with self._session():
            if len(self._family(trace_id, within)) > 1:
                light = self.step_rows(trace_id, within)
                rows = [row for row in light if row.id == reference]
                rows = rows or [row for row in light if reference == str(row.index)]
                if not rows:
                    raise contents.no_step(trace_id, reference, len(light))
                row = rows[0]
                step = self._steps(row.trace, [row.position])[0]
                return step._replace(id=row.id, index=row.index, started_us=row.started_us, within=row.within)
            index = int(reference) if reference.isdecimal() and len(reference) < 10 else -1
            sql = "SELECT id <> ?, rowid FROM steps WHERE trace = ? AND (id = ? OR position = ?)"
            found = self._tuples(sql, [reference, trace_id, reference, index])
            if not found:
                (count,) = self._tuples("SELECT count(*) FROM steps WHERE trace = ?", [trace_id])[0]
                raise contents.no_step(trace_id, reference, count)
            with self._reader() as reader, self._damage_told(f" of trace {trace_id}"):
                return contents.at(reader, min(found)[1])

    def saying_steps(self, query: Query, limit: int | None = None) -> Generator[list[Place], None, None]:
        """The steps that a filter means which ends with a term on bodies, newest trace first, with the parts of their
        requests that hold its text.

        In portions, each searched for when it is asked for: there may be a `limit` to what is wanted of them.
        """
        with self._search(query, "step", None) as search:
            yield from search.told_newest_first(limit)

    @contextlib.contextmanager
    def _search(self, query: Query, about: str, now_ns: int | None) -> Iterator[Search]:
        from rashomon.store.filtering import Search  # with all that decodes: only who filters needs it

        with self._session(), self._reader() as reader, Search(reader, query, about, now_ns) as search:
            yield search

    def costs_of(self, traces: Sequence[str]) -> list[tuple[str, int, float]]:
        """The priced steps of some traces: trace, position, US dollars."""
        found = self._select(
            "SELECT trace, position, cost FROM steps WHERE cost IS NOT NULL AND list_contains(?, trace)", [list(traces)]
        )
        return [(row["trace"], row["position"], row["cost"]) for row in found]

    def notes_on(self, trace_id: str) -> list[tuple[str | None, str, list[str]]]:
        """The notes on a trace and its steps: step's id or None, text, labels."""
        found = self._select("SELECT step, text, labels FROM annotations WHERE trace = ?", [trace_id])
        return [(row["step"], row["text"], row["labels"]) for row in found]

    def steps_of(self, places: Sequence[Place]) -> list[Step]:
        """Steps of whatever traces by their places in the store, whole, in the order of the places."""
        from rashomon.store import filter_whole

        with self._reader() as reader, self._damage_told(""):
            found = filter_whole.at(reader, places)
        return [found[place.trace, place.position] for place in places]

    @contextlib.contextmanager
    def _session(self) -> Iterator[None]:
        """Several questions to one state of the store."""
        if self._entered:
            yield
            return
        with self:
            yield

    def _light(self, trace_id: str) -> list[StepRow]:
        from rashomon.store import lists

        return lists.lines_from(lists.StepRow, self._listed(trace_id, lists.StepRow))

    def _listed(self, trace_id: str, line: type[StepRow] | type[StepLine] | type[ShownLine]) -> list[tuple[Any, ...]]:
        """The columns of lines of steps, in order: the database takes longer to sort them than to find them."""
        from rashomon.store import lists

        found = self._tuples(f"SELECT {lists.columns_of(line)} FROM steps WHERE trace = ?", [trace_id])
        found.sort(key=itemgetter(line._fields.index("index")))
        return found

    def _steps(self, trace_id: str, positions: Sequence[int] | None = None) -> list[Step]:
        """The steps of one trace, or some of them, with their bodies."""
        from rashomon.store import contents

        with self._reader() as reader, self._damage_told(f" of trace {trace_id}"):
            return [step for step, _ in contents.read(reader, trace_id, positions)]

    @contextlib.contextmanager
    def _damage_told(self, where: str) -> Iterator[None]:
        """What a part that is lost, or an error of the database, means for who asks for whole steps."""
        try:
            yield
            return
        except KeyError as error:
            problem = f"has lost the part {error}{where}"
        except duckdb.Error as error:
            problem = f"cannot be read: {connections.first_line(error)}"
        raise DamagedData(f"{self.path} {problem}.", _MOVE_AWAY)

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

    def damage(self) -> tuple[str | None, int]:
        """The first journal that could not be read whole, by name, and how many there are."""
        sql = "SELECT min(name), count(*) FROM journals WHERE len(damage) > 0 OR state <> 'read'"
        name, count = self.query(sql).rows[0]
        return name, count

    def journals(self) -> list[JournalRow]:
        """The journals that were read, with what is wrong with them, by name."""
        from rashomon.journal import Damage

        found = self._select(f"SELECT {', '.join(JournalRow._fields)} FROM journals ORDER BY name")
        return [
            JournalRow(**row)._replace(
                damage=tuple(Damage(one["offset"], one["size"], one["reason"]) for one in row["damage"]),
                traces=tuple(row["traces"]),
            )
            for row in found
        ]
