"""Asking the store in somebody's SQL, and taking the answer block by block.

The connection is one that can neither write nor reach a file, so whatever is asked, only this process writes what comes
of it: Parquet and Arrow files too are written here, from batches, and never by the database's own COPY.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, TypeVar

from rashomon.errors import DamagedData, RashomonError, UsageError
from rashomon.store import connection as connections
from rashomon.store import lake
from rashomon.store.engine import duckdb
from rashomon.store.spelling import encodable

T = TypeVar("T")
BLOCK = 2_000
"""Rows of one block: some hundred kilobytes of values as Python has them."""

_BATCH = 50_000
"""Rows of one batch of Arrow, and of one row group of Parquet: a compromise of size on disk and memory."""

# patterns are texts: to compile all of them takes a millisecond, and hardly any answer needs one
_INEXACT = r"\b(INTERVAL|TIMESTAMP_NS|TIMESTAMP WITH TIME ZONE)\b"
"""Types of which Python has less: a month would be thirty days, nanoseconds would be cut, zones would want pytz."""

_TEMPORAL = r"DATE|TIMESTAMP(_\w+| WITH TIME ZONE)?"
_TIMES = ("INTERVAL", "TIMESTAMP", "DATE")
_ENDLESS = r"'\s*-?inf(inity)?\s*'"
"""In a statement that names it, a date may be the infinite one, for which Python has the last day of the year 9999."""

_TABLES = "`.tables` in `rashomon sql` lists tables and views; docs/formats/store.md says what is in them."

_READ_ONLY = "SQL only reads here: `rashomon note`, `gc` and `forget` change what a home holds, --output writes files."
_REFUSED = r"attached in read-only mode|disabled by configuration|configuration has been locked"
"""What the database says to a statement that would write, reach a file or change a setting."""


class Runner(Protocol):
    """Runs what may take long. `stop` ends it from another thread: then it raises `Stopped`."""

    def __call__(self, work: Callable[[], T], stop: Callable[[], None]) -> T:
        """What `work` returns."""


class Stopped(Exception):
    """The question was stopped before it was answered."""


class Relation(NamedTuple):
    """A table or view: its name, which of the two, what it is, and (name, type, what it is) of its columns."""

    name: str
    kind: str
    about: str
    columns: tuple[tuple[str, str, str], ...]


def directly(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """A `Runner` that only runs."""
    return work()


class Answer:
    """What a query gives, while it gives it. It is run when it is first asked for something.

    `columns` and `types` are the names and DuckDB types of its columns, once `start` has run it; `given` counts the
    rows that `blocks` gave.
    """

    def __init__(self, sql: str, connection: duckdb.DuckDBPyConnection, run: Runner) -> None:
        self._sql, self._connection, self._runner = sql, connection, run
        self.columns: list[str] = []
        self.types: list[str] = []
        self.given = 0

    def _run(self, work: Callable[[], T]) -> T:
        try:
            return self._runner(work, self._connection.interrupt)
        except (duckdb.Error, RuntimeError, ValueError, OverflowError, OSError) as error:
            if isinstance(error, duckdb.InterruptException) or "INTERRUPT Error" in str(error):  # as pyarrow has it
                raise Stopped from error
            raise explained(self._sql, error) from error

    def _statement(self) -> duckdb.Statement:
        if not encodable(self._sql):
            raise UsageError("The SQL has bytes that are no UTF-8.", "Write it in UTF-8.")
        found = self._connection.extract_statements(self._sql)
        if len(found) != 1:
            raise UsageError(f"The SQL is {'more than one statement' if found else 'empty'}.", "Give one statement.")
        return found[0]

    def start(self) -> None:
        """Run the statement as far as its first rows. Raises as `ask` says."""
        description = self._run(lambda: self._connection.execute(self._statement()).description) or []
        self.columns = [column[0] for column in description]
        self.types = [str(column[1]) for column in description]
        if any(map(self._is_inexact, self.types)) and self._statement().type == duckdb.StatementType.SELECT:
            self._run(lambda: self._connection.execute(self._as_text()))

    def _is_inexact(self, kind: str) -> bool:
        """Whether Python would have less of a type's values than the database."""
        if not any(name in kind for name in _TIMES):
            return False
        if re.fullmatch(_TEMPORAL, kind) and re.search(_ENDLESS, self._sql, re.I):
            return True
        return re.search(_INEXACT, kind) is not None

    def _as_text(self) -> str:
        """The statement, with those columns as texts of the database's whose values Python would have inexactly."""
        whole, left = statements(self._sql)
        names = [f"column{at}" for at in range(len(self.types))]
        wanted = ", ".join(
            f"{name}::VARCHAR" if self._is_inexact(kind) else name for name, kind in zip(names, self.types, strict=True)
        )
        return f"SELECT {wanted} FROM (\n{whole[0] if whole else left}\n) AS answer({', '.join(names)})"

    def blocks(self) -> Iterator[list[tuple[Any, ...]]]:
        """The rows as Python has them, `BLOCK` at a time, of an answer that was started."""
        while self.columns and (block := self._run(lambda: self._connection.fetchmany(BLOCK))):
            self.given += len(block)
            yield block

    def write_arrow(self, file: IO[bytes]) -> None:
        """Write all rows as an Arrow stream. Raises `RashomonError` where pyarrow is missing, else as `ask`."""
        arrow = _pyarrow()
        with self._batches() as batches, arrow.ipc.new_stream(file, batches.schema) as writer:
            for batch in self._each(batches):
                writer.write_batch(batch)

    def write_parquet(self, file: IO[bytes]) -> None:
        """Write all rows as one Parquet file, a row group for each batch. Raises as `write_arrow`."""
        arrow = _pyarrow()
        with self._batches() as batches:
            try:
                with arrow.parquet.ParquetWriter(file, batches.schema, compression="zstd") as writer:
                    for batch in self._each(batches):
                        writer.write_batch(batch)
            except arrow.ArrowNotImplementedError as error:
                raise UsageError(
                    f"Parquet has no form for a column of the answer: {connections.first_line(error)}.",
                    "Cast it in the query: `column::VARCHAR`.",
                ) from error

    @contextlib.contextmanager
    def _batches(self) -> Iterator[Any]:
        """The answer as a reader of record batches."""
        import_module("duckdb")  # the larger part of its package gives connections their relations
        relation = self._run(lambda: self._connection.sql(self._statement()))
        if relation is None:
            raise UsageError("The statement has no rows to write.", "Ask with select.")
        read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader  # the latter: before DuckDB 2
        with self._run(lambda: read(_BATCH)) as batches:
            yield batches

    def _each(self, batches: Any) -> Iterator[Any]:
        while (batch := self._run(lambda: next(batches, None))) is not None:
            yield batch


@contextlib.contextmanager
def ask(
    path: Path,
    sql: str,
    run: Runner = directly,
    wait_s: float = connections.WAIT_S,
    begun: duckdb.DuckDBPyConnection | None = None,
) -> Iterator[Answer]:
    """Ask the store at `path` one statement that reads; the file is open until the block ends.

    `begun` is the store, where it is open already: it is closed here. Opening raises what `open_reader` does; the
    answer `UsageError` for what cannot be run, with the place in the statement, and `Stopped`.
    """
    if begun is not None and lake.attached(path.parent):
        begun.close()
        begun = None
    with begun or lake.open_reader(path, wait_s) as connection:
        yield Answer(sql, connection, run)


def relations(path: Path) -> list[Relation]:
    """The tables and views of a store, views first, with their comments; then those of attached lakes, as `lake.name`.

    Lakes that cannot be reached are left out: whoever asks them is told.
    """
    try:
        opened = lake.open_reader(path)
    except RashomonError:
        opened = connections.open_reader(path)
    with opened as connection:
        columns: dict[str, list[tuple[str, str, str]]] = {}
        for table, *column in connection.execute(
            f"SELECT {_QUALIFIED.format('table_name')}, column_name, data_type, coalesce(comment, '')"
            " FROM duckdb_columns() WHERE NOT internal ORDER BY 1, column_index"
        ).fetchall():
            columns.setdefault(table, []).append((column[0], column[1], column[2]))
        own = "database_name <> current_database()"
        found = connection.execute(
            f"SELECT {_QUALIFIED.format('view_name')}, 'view', coalesce(comment, ''), {own} FROM duckdb_views()"
            f" WHERE NOT internal UNION ALL SELECT {_QUALIFIED.format('table_name')}, 'table', coalesce(comment, ''),"
            f" {own} FROM duckdb_tables() WHERE NOT internal ORDER BY 4, 2 DESC, 1"
        ).fetchall()
    return [Relation(name, kind, about, tuple(columns.get(name, ()))) for name, kind, about, _ in found]


_QUALIFIED = "CASE WHEN database_name <> current_database() THEN database_name || '.' ELSE '' END || {}"


def statements(text: str) -> tuple[list[str], str]:
    """The whole statements of a text, each up to its semicolon, and what is left behind the last one."""
    whole, start = [], 0
    for at, kind in duckdb.tokenize(text):
        if kind == duckdb.token_type.operator and text.encode()[at : at + 1] == b";":
            end = len(text.encode()[:at].decode())
            whole.append(text[start:end].strip())
            start = end + 1
    return [one for one in whole if one], text[start:]


# -------------------------------------------------------------------------------------------- errors


def explained(sql: str, error: Exception) -> RashomonError:
    """What the database says about a statement, in a sentence with the place, and one that says what to do.

    `DamagedData` for what is wrong with a file of a lake, which the statement cannot help.
    """
    text = str(error)
    said = connections.first_line(error)
    # of a broken page DuckDB names the file, of a broken description of one it passes on what Parquet's reader says
    of_file = type(error) is duckdb.Error or (isinstance(error, _OF_FILES) and re.search(_BROKEN, said))
    if of_file and not said.endswith(lake.READ_ONLY):
        return DamagedData(f"A file of an attached lake cannot be read: {lake.as_it_is(said)}.", _DO_WITHOUT)
    place = position(sql, text)
    where = f", at line {place[0]}, column {place[1]}" if place else ""
    meant = re.search(r'Did you mean "([^"]+)"', text)
    known = meant is not None and not meant[1].startswith(("pg_", "duckdb_", "sqlite_"))
    remedy = _READ_ONLY if re.search(_REFUSED, text) else f"Did you mean {meant[1]}?" if meant and known else _TABLES
    if meant and meant[1].startswith("main.") and meant[1] not in sql:
        remedy = f"A lake does not have all tables: docs/formats/lake.md. `{meant[1]}` is this home's own."
    return UsageError(f"The SQL cannot be run: {said}{where}.", remedy)


_OF_FILES = duckdb.InvalidInputException, duckdb.IOException
_BROKEN = rf"{lake.SCHEME}://| Python file |Invalid unicode .* in value construction"
_DO_WITHOUT = "`rashomon verify --lakes` finds all such files; delete them and export again, or detach the lake."
_LINE = r"^LINE (\d+): (.*)\n( *)\^"


def position(sql: str, message: str) -> tuple[int, int] | None:
    """Line and column, in characters from 1, that an error of the database points at; None where it points at none.

    It shows the line behind `LINE 2: `, cut to what is near the place, with a `^` below: as far to the right as the
    text before it is wide in a terminal, but that tabs have no width.
    """
    found = re.search(_LINE, message, re.M)
    lines = sql.split("\n")
    if found is None or not 1 <= int(found[1]) <= len(lines):
        return None
    number, shown = int(found[1]), found[2]
    column = _at_width(shown, len(found[3]) - len(f"LINE {number}: "))
    if shown.startswith("..."):
        at = lines[number - 1].find(shown.removeprefix("...").removesuffix("..."))
        column += at - len("...") if at >= 0 else 0
    return number, column + 1


def _at_width(text: str, width: int) -> int:
    """How many characters stand left of what begins at a width."""
    import unicodedata

    passed = 0
    for at, character in enumerate(text):
        own = 0 if character == "\t" or unicodedata.combining(character) else 1
        own += unicodedata.east_asian_width(character) in "WF"
        if passed >= width and own:
            return at
        passed += own
    return len(text)


def _pyarrow() -> Any:
    try:
        import pyarrow  # type: ignore[import-untyped,unused-ignore]
        import pyarrow.ipc  # type: ignore[import-untyped,unused-ignore]
        import pyarrow.parquet  # type: ignore[import-untyped,unused-ignore]
    except ModuleNotFoundError as error:
        raise RashomonError(
            "Writing Parquet and Arrow needs pyarrow, which is not installed.", "Install it: pip install pyarrow"
        ) from error
    return pyarrow
