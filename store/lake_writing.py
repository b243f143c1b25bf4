"""From the store into a lake: Parquet files by table and day, in a layout that stays. `docs/formats/lake.md`.

A home owns one file of each table and day, and replaces it whole; so a day that is exported twice is there once, and
whoever reads between two files reads a lake. What the home has forgotten since stays in the lake.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from rashomon.errors import DamagedData, ForeignFile, NewerFormat, UsageError
from rashomon.store import export_tables, lake
from rashomon.store.export_tables import TABLES, Readings, Table
from rashomon.store.exporting import remove_left, replacing, sweep
from rashomon.store.reading import TraceStore
from rashomon.version import __version__

if TYPE_CHECKING:
    import pyarrow

_LEFT = re.compile(r"\.(.+)\.(\d+-[0-9a-f]+)\.part")
_TRACES = """
    SELECT traces.id, strftime(make_timestamp(traces.started_ns // 1000), '%Y-%m-%d') AS day,
        md5(concat_ws('|', traces.fingerprint, traces.cost, traces.unpriced, traces.steps, said.mark)) AS mark
    FROM traces LEFT JOIN (
        SELECT trace, md5(string_agg(concat_ws('|', id, text, labels::VARCHAR), '|' ORDER BY id)) AS mark
        FROM annotations GROUP BY trace
    ) AS said ON said.trace = traces.id
    ORDER BY day, traces.id
"""


class LakeReport(NamedTuple):
    """What was written: days, and over all of them the traces and rows."""

    days: tuple[str, ...]
    traces: int
    rows: int


def export_lake(
    store: TraceStore, home: Path, url: str, progress: Callable[[int, int], None] | None = None
) -> LakeReport:
    """Write every day of which the lake lacks something. Raises `UsageError`, `ForeignFile` or `NewerFormat`."""
    export_tables.needs_pyarrow()
    place = Place.of(url)
    place.begin()
    source = lake.source_of(home)
    place.sweep(source)
    wanted: dict[str, dict[str, str]] = {}
    with Readings(store.path) as readings:
        for own, day, mark in readings.reader().execute(_TRACES).fetchall():
            wanted.setdefault(day, {})[own] = mark
        return _export(readings, place, source, wanted, progress)


def _export(
    readings: Readings,
    place: Place,
    source: str,
    wanted: dict[str, dict[str, str]],
    progress: Callable[[int, int], None] | None,
) -> LakeReport:
    days, rows, traces = [], 0, 0
    there = place.files() if wanted else set()
    for at, (day, marks) in enumerate(sorted(wanted.items())):
        known, others = place.manifests(day, source)
        own = {trace: mark for trace, mark in marks.items() if trace not in others or trace in known.get("traces", {})}
        lost = [name for name in _named(known, day, source) if name not in there] if own else []
        changed = any(known.get("traces", {}).get(trace) != mark for trace, mark in own.items())
        if own and (lost or changed or _is_of_older(known)):
            writing = _Day(readings, place, source, day, own, known)
            writing.check(lost)
            rows += writing.write()
            traces += len(own)
            days.append(day)
        if progress is not None:
            progress(at + 1, len(wanted))
    return LakeReport(tuple(days), traces, rows)


def _named(manifest: dict[str, Any], day: str, source: str) -> list[str]:
    """The files that a manifest names, as paths in the lake."""
    tables = manifest.get("tables")
    return [f"table={name}/day={day}/{source}.parquet" for name in tables] if isinstance(tables, dict) else []


def _is_of_older(manifest: dict[str, Any]) -> bool:
    """Whether a day was written by a version that knew fewer tables or columns, whose views give less in silence; or by
    one that noted no digests of files."""
    tables = manifest.get("tables")
    if not isinstance(tables, dict):
        return False
    known = [(tables.get(table.name, {}), len(table.columns)) for table in TABLES]
    return any(told.get("columns", 0) < columns or "sha256" not in told for told, columns in known)


class Place:
    """Where a lake lies: a file system of fsspec's and a folder in it."""

    def __init__(self, url: str, system: Any, root: str) -> None:
        self.url, self.system, self.root = url, system, root.rstrip("/")
        self.local = "file" in ([system.protocol] if isinstance(system.protocol, str) else system.protocol)

    @classmethod
    def of(cls, url: str) -> Place:
        """The place that a URL or a path names. Raises `UsageError`."""
        return cls(url, *lake.file_system(url))

    def path(self, *names: str) -> str:
        """A path in the lake, as its file system has it."""
        return str(PurePosixPath(self.root, *names))

    def begin(self) -> None:
        """Make an empty folder a lake. Raises `ForeignFile` for one that holds something else."""
        found = lake.head(self.url, self.system, self.root)
        if found is None:
            with lake.explained(self.url):
                names = self.system.ls(self.root, detail=False) if self.system.exists(self.root) else []
            if any(not PurePosixPath(name).name.startswith(".") for name in names):
                raise ForeignFile(f"{self.url} is not empty, and no lake.", "Name a new folder with --to.")
            self.write_text(self.path(lake.HEAD), {"format": lake.FORMAT, "made_by": f"rashomon {__version__}"})
        elif found != lake.FORMAT:
            raise NewerFormat(f"{self.url} is a lake of format {found!r}.", f"This version writes {lake.FORMAT}.")

    def files(self) -> set[str]:
        """The Parquet files that lie there, as paths in the lake."""
        with lake.explained(self.url):
            found = [str(name) for name in self.system.find(self.root)]
        return {"/".join(PurePosixPath(name).parts[-3:]) for name in found if name.endswith(".parquet")}

    def sweep(self, source: str = "") -> None:
        """Delete what killed processes left half-written, which nobody would look into. With `source`, that home's."""
        if not self.local:
            sweep(Path(tempfile.gettempdir()), "rashomon-", ".parquet")
            return
        for path in Path(self.root).rglob(".*.part"):
            left = _LEFT.fullmatch(path.name)
            if left is not None and left[1].startswith((source, lake.HEAD)):
                remove_left(path, left[2])

    def manifests(self, day: str, source: str) -> tuple[dict[str, Any], set[str]]:
        """What this home has written of a day, and the traces that other homes have."""
        folder = self.path("_manifest", f"day={day}")
        with lake.explained(self.url):
            names = self.system.ls(folder, detail=False) if self.system.exists(folder) else []
        own: dict[str, Any] = {}
        others: set[str] = set()
        for name in names:
            if not str(name).endswith(".json"):
                continue
            manifest = self.document(name)
            if not isinstance(manifest.get("traces"), dict):  # not ours, or written by hand: the day is written again
                manifest = {}
            if PurePosixPath(name).stem == source:
                own = manifest
            else:
                others |= manifest.get("traces", {}).keys()
        return own, others

    def document(self, path: str) -> dict[str, Any]:
        """A JSON document; empty where it is none."""
        with lake.explained(self.url):
            content = self.system.cat_file(path)
        try:
            found = json.loads(content)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def write_text(self, path: str, value: dict[str, Any]) -> None:
        """Write a JSON document, whole or not at all."""
        content = json.dumps(value, indent=1, sort_keys=True).encode()
        with lake.explained(self.url):
            if self.local:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with replacing(Path(path)) as file:
                    file.write(content)
            else:
                self.system.pipe_file(path, content)

    def put(self, local: Path, path: str) -> str:
        """Put a finished file in its place, whole or not at all; its SHA-256, in hex."""
        with lake.explained(self.url):
            with local.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if self.local:
                os.replace(local, path)
            else:
                self.system.put_file(str(local), path)
        return found

    def staging(self, path: str) -> Path:
        """Where a file is made ready: beside its place, or in the folder for temporary files."""
        if self.local:
            target = Path(path)
            with lake.explained(self.url):
                target.parent.mkdir(parents=True, exist_ok=True)
            return target.with_name(f".{target.name}.{os.getpid()}-{os.urandom(3).hex()}.part")
        return Path(tempfile.gettempdir(), f"rashomon-{os.getpid()}-{os.urandom(4).hex()}.parquet")


class _Day:
    """One day of one home, as it is written."""

    def __init__(
        self, readings: Readings, place: Place, source: str, day: str, marks: dict[str, str], known: dict[str, Any]
    ) -> None:
        self.readings, self.place, self.source, self.day, self.marks = readings, place, source, day, marks
        before = known.get("traces", {})
        self.kept = {trace: mark for trace, mark in before.items() if trace not in marks}
        self.merging = bool(self.kept) or not known
        """Whether the files that are there may hold traces that the home does not have any more."""

    def check(self, lost: list[str]) -> None:
        """Raise `DamagedData` where files of this day are gone that nobody can write whole again."""
        if lost and self.kept:
            raise DamagedData(
                f"{self.place.url} lacks {lost[0]}, which held traces that this home does not have any more.",
                f"Put it back, or delete _manifest/day={self.day}/{self.source}.json to go on without them.",
            )

    def write(self) -> int:
        """Write all tables, then the manifest, which says that the day is whole; returns the number of rows."""
        tables, total = {}, 0
        for table in TABLES:
            sql = export_tables.select(self.readings.reader(), table)
            if sql is None:
                continue
            rows, digest = self._table(self.readings.reader(), table, sql)
            columns = len(table.columns)
            tables[table.name] = {"file": self._name(table), "rows": rows, "columns": columns, "sha256": digest}
            total += rows
        facts = {"format": lake.FORMAT, "day": self.day, "source": self.source, "made_by": f"rashomon {__version__}"}
        manifest = {**facts, "tables": tables, "traces": {**self.kept, **self.marks}}
        self.place.write_text(self.place.path("_manifest", f"day={self.day}", f"{self.source}.json"), manifest)
        return total

    def _name(self, table: Table) -> str:
        return f"table={table.name}/day={self.day}/{self.source}.parquet"

    def _table(self, reader: duckdb.DuckDBPyConnection, table: Table, sql: str) -> tuple[int, str]:
        path = self.place.path(self._name(table))
        staged = self.place.staging(path)
        try:
            with staged.open("xb") as file:
                schema, new = export_tables.batches(reader, sql, [list(self.marks)])
                found = self._with_old(table, path, schema, new) if self.merging else new
                facts = {"lake": lake.FORMAT, "table": table.name, "day": self.day}
                rows = export_tables.write_parquet(file, schema, found, facts)
                file.flush()
                os.fsync(file.fileno())
            digest = self.place.put(staged, path)
        except OSError as error:
            raise UsageError(f"{staged} cannot be written: {error.strerror or error}.", "Make room.") from error
        finally:
            staged.unlink(missing_ok=True)
        return rows, digest

    def _with_old(
        self, table: Table, path: str, schema: pyarrow.Schema, new: Iterator[pyarrow.RecordBatch]
    ) -> Iterator[pyarrow.RecordBatch]:
        """The new rows, then those rows of the file that is there which are of other traces."""
        key = table.trace or "digest"
        seen: set[str] = set() if not table.trace else set(self.marks)
        for batch in new:
            if not table.trace:
                seen.update(batch.column(key).to_pylist())
            yield batch
        with lake.explained(self.place.url):
            there = self.place.system.exists(path)
        if there:
            yield from self._old(path, schema, key, seen)

    def _old(self, path: str, schema: pyarrow.Schema, key: str, seen: set[str]) -> Iterator[pyarrow.RecordBatch]:
        import pyarrow
        from pyarrow import compute

        left_out = pyarrow.array(sorted(seen), pyarrow.string())
        try:
            with self.place.system.open(path, "rb") as file:
                for batch in export_tables.read_parquet(file):
                    kept = batch.filter(compute.invert(compute.is_in(batch.column(key), left_out)))
                    if kept.num_rows:
                        yield _fitted(kept, schema)
        except DamagedData as error:
            raise DamagedData(
                f"{self.place.url} has a file that cannot be read, {path}: {error.problem.rstrip('.')}.",
                "Move it away; what the home still has of that day is written again.",
            ) from error


def _fitted(batch: pyarrow.RecordBatch, schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    """The rows in the columns of today: what an older version did not know is NULL."""
    import pyarrow

    names = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type) if field.name in names else pyarrow.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pyarrow.RecordBatch.from_arrays(columns, schema=schema)
