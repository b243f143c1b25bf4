"""Taking traces out of attached lakes: a lake is a copy, and what a person asked to be forgotten goes there too.

Of each day and home that hold such a trace, every file is written anew without it, first `traces`, at last the
manifest; each is whole at any time, and what was killed is repeated. Other homes' files are no exception.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from rashomon.errors import DamagedData, RashomonError
from rashomon.store import export_tables, forgotten, lake, searching
from rashomon.store.connection import first_line, spill
from rashomon.store.lake_writing import Place

Progress = Callable[[int, int], None]

_FILE = re.compile(r"(?:.*/)?table=(\w+)/day=(\d{4}-\d\d-\d\d)/([^/]+)\.parquet")
_MANIFEST = re.compile(r"(?:.*/)?_manifest/day=(\d{4}-\d\d-\d\d)/([^/]+)\.json")
_WITH_FAMILY = "SELECT id, within, parent FROM traces WHERE within IS NOT NULL OR parent IS NOT NULL"
_FAMILY = """
    WITH RECURSIVE going(id) AS (
        SELECT unnest($1::VARCHAR[])
        UNION SELECT known.id FROM going JOIN known ON known.within = going.id OR known.parent = going.id
    )
    SELECT id FROM going WHERE id NOT IN (SELECT unnest($1::VARCHAR[])) ORDER BY 1
"""


class Held(NamedTuple):
    """What one home's files of one day in a lake hold of the traces that are to go, and notes to go from others."""

    lake: str
    url: str
    day: str
    source: str
    traces: tuple[str, ...]
    notes: tuple[str, ...] = ()


class InLakes(NamedTuple):
    """Where lakes hold what is to go, and the lakes that could not be looked into, with the reason."""

    held: tuple[Held, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def traces(self) -> list[str]:
        """Ids of all traces that are held."""
        return sorted({trace for held in self.held for trace in held.traces})


class _Files(NamedTuple):
    """The files of one home and day, by table; the ids that its manifest names, None where there is none; the tables
    that it names and whose files are gone."""

    day: str
    source: str
    paths: dict[str, str]
    named: frozenset[str] | None
    lacking: tuple[str, ...] = ()


def holding(
    home: Path | str, traces: Iterable[str], texts: Sequence[str] = (), tags: Sequence[tuple[str, str]] = ()
) -> InLakes:
    """Where attached lakes hold these traces, those with one of these tags or texts, what is within them, their
    replays, or a trace that this home has forgotten before.

    Reads manifests and the columns that name traces; for texts, everything.
    """
    needles = [one for text in texts for one in searching.spellings(text)]
    gone, wanted = forgotten.read(home), set(traces)
    found: list[Held] = []
    problems: list[str] = []
    for one in lake.attached(Path(home)):
        try:
            lake.check(one)
            looking = _Looking(one)
            found += looking.held(wanted, gone, needles, tags)
            problems += looking.problems
        except RashomonError as error:
            problems.append(f"lake {one.name}: {error.problem}")
    return InLakes(tuple(found), tuple(problems))


class _Looking:
    """A search of one lake. What cannot be read is named in `problems`, and the rest is searched."""

    def __init__(self, one: lake.Lake) -> None:
        self.lake, self.place = one, Place.of(one.url)
        self.listed = _listed(self.place)
        self.problems: list[str] = []
        self.noted: dict[tuple[str, str], list[str]] = {}

    def held(
        self, wanted: set[str], gone: frozenset[str], needles: Sequence[str], tags: Sequence[tuple[str, str]]
    ) -> list[Held]:
        """What is held of the wanted traces, of those whose mark is in `gone`, and of those with a tag or a needle."""
        named = [(files, files.named if files.named is not None else self.named(files)) for files in self.listed]
        here = wanted | {trace for _, ids in named for trace in ids if gone and forgotten.mark(trace) in gone}
        here |= self.with_texts(needles) | self.with_tags(tags)
        here |= self.family(here)
        found = []
        for files, ids in named:
            notes = self.noted.get((files.day, files.source), ())
            if ids & here or notes:
                place = (self.lake.name, self.lake.url, files.day, files.source)
                found.append(Held(*place, tuple(sorted(ids & here)), tuple(notes)))
        return found

    @contextlib.contextmanager
    def tolerant(self) -> Iterator[None]:
        """Name what cannot be read, and go on."""
        try:
            yield
        except DamagedData as error:
            self.problems.append(f"lake {self.lake.name}: {error.problem}")

    def named(self, files: _Files) -> frozenset[str]:
        """The traces that files without a manifest hold: an export of them was killed."""
        keys = {table.name: table.trace for table in export_tables.TABLES if table.trace}
        found: set[str] = set()
        with self.tolerant(), _opened(self.place, files) as reader:
            for table in files.paths.keys() & keys.keys():
                found |= {row[0] for row in reader.execute(f"SELECT DISTINCT {keys[table]} FROM {table}").fetchall()}
        return frozenset(found)

    def with_texts(self, needles: Sequence[str]) -> set[str]:
        """The traces that hold one of these; notes that do are put into `noted`."""
        found: set[str] = set()
        for files in self.listed if needles else ():
            if files.lacking:
                gone = f"table={files.lacking[0]}/day={files.day}/{files.source}.parquet"
                self.problems.append(f"lake {self.lake.name}: {self.lake.url} lacks {gone}, which it should have.")
            if {"parts", "step_parts"} <= files.paths.keys():
                with self.tolerant(), _opened(self.place, files) as reader:
                    traces, others = searching.in_store(reader, needles, views=True)
                    found |= traces
                    notes = [one.where for one in others if one.place == f"table {searching.NOTES}"]
                    if notes:
                        self.noted[files.day, files.source] = notes
        return found

    def with_tags(self, tags: Sequence[tuple[str, str]]) -> set[str]:
        """The traces that have one of these."""
        found: set[str] = set()
        for files in self.listed if tags else ():
            if "traces" in files.paths:
                with self.tolerant(), _opened(self.place, files, ("traces",)) as reader:
                    rows = reader.execute("SELECT id, tags FROM traces").fetchall()
                    found |= {own for own, told in rows if any(_tags(told).get(key) == value for key, value in tags)}
        return found

    def family(self, ids: set[str]) -> set[str]:
        """What is within these traces, their replays, and so on."""
        if not ids:
            return set()
        with duckdb.connect() as made:
            made.execute("CREATE TABLE known (id VARCHAR, within VARCHAR, parent VARCHAR)")
            for files in self.listed:
                if "traces" in files.paths:
                    with self.tolerant(), _opened(self.place, files, ("traces",)) as reader:
                        rows = reader.execute(_WITH_FAMILY).fetchall()
                        if rows:
                            made.executemany("INSERT INTO known VALUES (?, ?, ?)", rows)
            return {row[0] for row in made.execute(_FAMILY, [sorted(ids)]).fetchall()}


def _tags(told: str | None) -> dict[str, Any]:
    try:
        found = json.loads(told or "{}")
    except ValueError:  # written by another hand
        return {}
    return found if isinstance(found, dict) else {}


def remove(found: Sequence[Held], progress: Progress | None = None) -> tuple[str, ...]:
    """Take out of lakes what `holding` has found.

    What cannot be reached, read or written stays as it is, and the rest is done. Returns what stayed, with the reason.
    """
    problems: list[str] = []
    listed: dict[str, list[_Files]] = {}
    for at, held in enumerate(found):
        try:
            place = Place.of(held.url)
            if held.lake not in listed:
                listed[held.lake] = []  # one that cannot be listed is asked once
                listed[held.lake] = _listed(place)
            for files in listed[held.lake]:
                if (files.day, files.source) == (held.day, held.source):
                    _rewrite(place, files, set(held.traces), held.notes)
        except RashomonError as error:
            problems.append(f"lake {held.lake}: {error.problem}")
        if progress is not None:
            progress(at + 1, len(found))
    return tuple(problems)


def _listed(place: Place) -> list[_Files]:
    """What lies in a lake, by day and home."""
    paths: dict[tuple[str, str], dict[str, str]] = {}
    manifests: dict[tuple[str, str], str] = {}
    with lake.explained(place.url):
        names = [str(name) for name in place.system.find(place.root)]
    for name in names:
        file, manifest = _FILE.fullmatch(name), _MANIFEST.fullmatch(name)
        if file is not None:
            paths.setdefault((file[2], file[3]), {})[file[1]] = name
        elif manifest is not None:
            manifests[manifest[1], manifest[2]] = name
    named = {key: place.document(name) for key, name in manifests.items()}
    return [
        _Files(*key, paths.get(key, {}), _ids(named.get(key)), _lacking(named.get(key), paths.get(key, {})))
        for key in sorted({*paths, *manifests})
    ]


def _lacking(manifest: dict[str, Any] | None, paths: dict[str, str]) -> tuple[str, ...]:
    tables = None if manifest is None else manifest.get("tables")
    return tuple(sorted(tables.keys() - paths.keys())) if isinstance(tables, dict) else ()


def sweep(home: Path | str) -> None:
    """Delete what killed exports left half-written in attached lakes, whoever ran them: it may be what is to go.

    A lake that cannot be reached is left to `holding` to name.
    """
    for one in lake.attached(Path(home)):
        with contextlib.suppress(RashomonError):
            Place.of(one.url).sweep()


def _ids(manifest: dict[str, Any] | None) -> frozenset[str] | None:
    traces = None if manifest is None else manifest.get("traces")
    return frozenset(traces) if isinstance(traces, dict) else None


@contextlib.contextmanager
def _opened(place: Place, files: _Files, tables: Iterable[str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Files of one day and home as views by the names of their tables; those of a server are fetched."""
    chosen = files.paths if tables is None else {name: files.paths[name] for name in tables}
    with (
        tempfile.TemporaryDirectory(prefix="rashomon-") as folder,
        duckdb.connect(config={"temp_directory": spill(Path(folder, "rows"))}) as made,
    ):
        try:
            for table, path in chosen.items():
                local = path
                if not place.local:
                    local = str(Path(folder, f"{table}.parquet"))
                    with lake.explained(place.url):
                        place.system.get_file(path, local)
                quoted = local.replace("'", "''")
                made.execute(
                    f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{quoted}', hive_partitioning = false)"
                )
            yield made
        except duckdb.Error as error:
            where = f"table=*/day={files.day}/{files.source}.parquet"
            raise DamagedData(
                f"{place.url} has a file that cannot be read, {where}: {first_line(error)}.", "Move it away."
            ) from error


def _rewrite(place: Place, files: _Files, going: set[str], notes: Sequence[str]) -> None:
    """Write the files of one home and day without these traces and notes."""
    manifest_path = place.path("_manifest", f"day={files.day}", f"{files.source}.json")
    tables = [table for table in reversed(export_tables.TABLES) if table.name in files.paths]
    facts: dict[str, dict[str, Any]] = {}
    _check(place, files)
    with _opened(place, files) as reader:
        left = any(_stays(reader, table, going) for table in tables if table.trace)
        if "parts" in files.paths and "step_parts" in files.paths:  # before that is written anew
            reader.execute(
                "CREATE TABLE staying AS SELECT DISTINCT part FROM step_parts"
                " WHERE trace NOT IN (SELECT unnest(?::VARCHAR[]))",
                [sorted(going)],
            )
        for table in tables if left else ():
            where = f"{table.trace} NOT IN (SELECT unnest(?::VARCHAR[]))" if table.trace else "digest IN (FROM staying)"
            given: list[object] = [sorted(going)] if table.trace else []
            if table.name == searching.NOTES:
                where, given = f"{where} AND id NOT IN (SELECT unnest(?::VARCHAR[]))", [*given, list(notes)]
            facts[table.name] = _written(place, files, table, reader, where, given)
    with lake.explained(place.url):
        manifest = place.document(manifest_path) if files.named is not None else {}
        if not left:
            # the manifest first: files that it names and that are gone would be missed
            for path in (*([manifest_path] if manifest else []), *(files.paths[table.name] for table in tables)):
                place.system.rm_file(path)
            return
    if manifest:
        told: Any = manifest.get("tables")
        for name, known in facts.items() if isinstance(told, dict) else ():
            if isinstance(told.get(name), dict):
                told[name].update(known)
        manifest["traces"] = {one: mark for one, mark in manifest["traces"].items() if one not in going}
        place.write_text(manifest_path, manifest)


def _check(place: Place, files: _Files) -> None:
    """Raise `DamagedData` for files with damage in them: written anew they would look sound."""
    for path in files.paths.values():
        try:
            with lake.explained(place.url), place.system.open(path, "rb") as file:
                export_tables.read_through(file)
        except DamagedData as error:
            raise DamagedData(
                f"{place.url} has a file that cannot be read, {path}: {error.problem}.", "Move it away."
            ) from error


def _stays(reader: duckdb.DuckDBPyConnection, table: export_tables.Table, going: set[str]) -> bool:
    sql = f"SELECT 1 FROM {table.name} WHERE {table.trace} NOT IN (SELECT unnest(?::VARCHAR[])) LIMIT 1"
    return bool(reader.execute(sql, [sorted(going)]).fetchall())


def _written(
    place: Place,
    files: _Files,
    table: export_tables.Table,
    reader: duckdb.DuckDBPyConnection,
    where: str,
    parameters: list[object],
) -> dict[str, Any]:
    """Put some rows of a file in its place; what a manifest says of it."""
    facts = {"lake": lake.FORMAT, "table": table.name, "day": files.day}
    staged = place.staging(files.paths[table.name])
    try:
        with lake.explained(place.url), staged.open("xb") as file:
            schema, found = export_tables.batches(reader, f"SELECT * FROM {table.name} WHERE {where}", parameters)
            count = export_tables.write_parquet(file, schema, found, facts)
            file.flush()
            os.fsync(file.fileno())
        digest = place.put(staged, files.paths[table.name])
    finally:
        staged.unlink(missing_ok=True)
    return {"rows": count, "sha256": digest}
