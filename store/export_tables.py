"""The store's tables as Parquet: columns that stay, whatever the store is like inside. `docs/formats/lake.md`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

from rashomon.errors import DamagedData, RashomonError, UsageError
from rashomon.store.connection import first_line, open_reader
from rashomon.store.engine import duckdb
from rashomon.store.exporting import replacing

if TYPE_CHECKING:
    import pyarrow

ROWS = 2048
"""Rows of one batch."""

_HELD_S = 0.2
"""For how long a store stays open over several readings."""

_GROUP = 32 << 20
"""Bytes of one row group; about what an export keeps in memory."""


class Table(NamedTuple):
    """A table as it is exported: its columns (`name`, or `name JSON`), and which of them names the trace."""

    name: str
    columns: tuple[str, ...]
    trace: str = "trace"

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.split()[0] for column in self.columns]

    @property
    def json(self) -> list[str]:
        """Those that hold JSON: texts in Parquet."""
        return [column.split()[0] for column in self.columns if column.endswith(" JSON")]


TABLES = (
    Table(
        "steps",
        (
            "trace", "position", "id", "kind", "name", "lane", "depth", "started_us", "duration_us", "ended",
            "failure_type", "failure_message", "grade", "recorded", "match_detail", "within", "marks", "model",
            "input_tokens", "output_tokens", "status", "finish", "title", "text", "request_digest", "response_digest",
            "request_head JSON", "response_head JSON", "request_size", "response_size", "piece_offsets_us",
            "piece_sizes", "dialect", "decoded", "unknown", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
            "cost", "reasoning", "refusal", "error_type", "error_message", "prompt", "conversation", "holes",
        ),
    ),
    Table("step_values", ("trace", "step", "arguments JSON", "result JSON")),
    Table("step_parts", ("trace", "step", "position", "path", "part")),
    Table("parts", ("digest", "size", "text", "body"), ""),
    Table("tool_requests", ("trace", "step", "position", "call", "name", "arguments JSON")),
    Table("processes", ("trace", "number", "pid", "argv", "python", "ended", "lane")),
    Table("launched", ("trace", "position", "argv", "lane", "file", "line", "function", "within")),
    Table("losses", ("trace", "position", "reason", "steps")),
    Table(
        "divergences", ("trace", "position", "kind", "summary", "step", "recorded", "paths", "detail")
    ),
    Table("annotations", ("id", "trace", "step", "at_ns", "author", "text", "labels", "data JSON")),
    Table(
        "traces",
        (
            "id", "name", "started_ns", "ended_ns", "outcome", "exit_code", "error", "tags JSON", "parent", "within",
            "swaps JSON", "command", "entrypoint JSON", "cwd", "environ JSON", "versions JSON", "connections",
            "missed", "steps", "llm_calls", "tool_calls", "failures", "input_tokens", "output_tokens", "cost",
            "unpriced", "models", "provenance JSON",
        ),
        "id",
    ),
)  # fmt: skip
"""In the order in which they are written: a trace is there when everything of it is."""


class Readings:
    """A store that is read many times: opened once, which takes longer than most of what is read, and let go of between
    two readings when it has been open for a while, for others want to write."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._open: duckdb.DuckDBPyConnection | None = None
        self._since = 0.0

    def reader(self) -> duckdb.DuckDBPyConnection:
        """The open store; what was read before is done with. Raises as `connection.open_reader`."""
        if self._open is not None and time.monotonic() - self._since > _HELD_S:
            self.close()
        if self._open is None:
            self._open, self._since = open_reader(self._store), time.monotonic()
        return self._open

    def close(self) -> None:
        """Let go of it."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def select(reader: duckdb.DuckDBPyConnection, table: Table) -> str | None:
    """SQL for the rows of a table that are of the traces in its parameter, a list; None if the store has no such."""
    try:
        there = {row[0] for row in reader.execute(f"DESCRIBE {table.name}").fetchall()}
    except duckdb.CatalogException:
        return None
    names = [name for name in table.names if name in there]
    if not names:
        return None
    listed = ", ".join(f'{name}::VARCHAR AS "{name}"' if name in table.json else f'"{name}"' for name in names)
    if not table.trace:
        return (
            f"SELECT {listed} FROM {table.name} WHERE digest IN"
            " (SELECT part FROM step_parts WHERE trace IN (SELECT unnest(?)))"
        )
    return f"SELECT {listed} FROM {table.name} WHERE {table.trace} IN (SELECT unnest(?))"


def batches(
    reader: duckdb.DuckDBPyConnection, sql: str | duckdb.Statement, parameters: Sequence[object] = ()
) -> tuple[pyarrow.Schema, Iterator[pyarrow.RecordBatch]]:
    """The rows of a statement that reads, a few thousand at a time. Raises DuckDB's errors, and ValueError for none."""
    import_module("duckdb")  # the larger part of its package gives connections their relations
    relation = reader.sql(sql, params=list(parameters)) if parameters else reader.sql(sql)
    if relation is None:
        raise ValueError("The statement gives no rows.")
    found = relation.to_arrow_reader(ROWS)
    return found.schema, iter(found)


def write_parquet(
    file: BinaryIO, schema: pyarrow.Schema, found: Iterator[pyarrow.RecordBatch], facts: dict[str, str]
) -> int:
    """Write batches as one Parquet file, in row groups of a bounded size; returns the number of rows.

    Its pages have checksums, for who reads with them: DuckDB does not look.
    """
    import pyarrow
    from pyarrow import parquet

    rows = size = 0
    waiting: list[Any] = []
    schema = schema.with_metadata({f"rashomon.{name}": value for name, value in facts.items()})
    checked = {"write_page_checksum": True}
    with parquet.ParquetWriter(file, schema, compression="zstd", version="2.6", **checked) as writer:
        for batch in found:
            waiting.append(batch.replace_schema_metadata(schema.metadata))
            rows += batch.num_rows
            size += batch.nbytes
            if size >= _GROUP:
                writer.write_table(pyarrow.Table.from_batches(waiting, schema))
                waiting, size = [], 0
        if waiting:
            writer.write_table(pyarrow.Table.from_batches(waiting, schema))
    return rows


def read_through(file: Any) -> int:
    """Read a Parquet file to its end and compare the checksums of its pages; how many rows. Raises `DamagedData`."""
    return sum(batch.num_rows for batch in read_parquet(file))


def read_parquet(file: Any) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a Parquet file, whose pages' checksums are compared where it has any. Raises `DamagedData`."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file, page_checksum_verification=True) as found:
            # without a group there is no batch: pyarrow before 19 fails there
            yield from found.iter_batches(ROWS) if found.num_row_groups else ()
    except (pyarrow.ArrowException, OSError) as error:  # a page that is not what its checksum says is an OSError
        raise DamagedData(str(error).split("\n")[0], "Move it away.") from error


def export_folder(store: Path, ids: Sequence[str], folder: Path) -> dict[Path, int]:
    """Write what the store has of these traces to `FOLDER/<table>.parquet`; the files and their rows."""
    needs_pyarrow()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}.", "Name a folder with -o.") from error
    done = {}
    with Readings(store) as readings:
        for table in TABLES:
            sql = select(readings.reader(), table)
            if sql is not None:
                path = folder / f"{table.name}.parquet"
                found = batches(readings.reader(), sql, [list(ids)])
                with replacing(path) as file:
                    done[path] = write_parquet(file, *found, {"table": table.name})
    return done


def export_query(store: Path, sql: str, path: Path) -> int:
    """Write the rows of one statement that reads to a Parquet file; how many there were. Raises `UsageError`."""
    needs_pyarrow()
    with open_reader(store) as reader, replacing(path) as file:
        try:
            statements = reader.extract_statements(sql)
            if len(statements) != 1:
                raise UsageError(f"The SQL is {'empty' if not statements else 'more than one statement'}.", "Give one.")
            return write_parquet(file, *batches(reader, statements[0]), {"sql": sql})
        except (duckdb.Error, RuntimeError, ValueError) as error:
            raise UsageError(f"The SQL cannot be run: {first_line(error)}.", "Try it with `rashomon sql`.") from error


def needs_pyarrow() -> None:
    """Raise a helpful error where pyarrow is missing."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ModuleNotFoundError as error:
        raise RashomonError(
            "Parquet needs pyarrow, which is not installed.", "Install it: pip install 'rashomon[lake]'"
        ) from error
