"""Is everything in attached lakes what was written? Digests, where manifests tell them; else whether it can be read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from rashomon.errors import DamagedData, ForeignFile, NewerFormat, UsageError
from rashomon.store import export_tables, lake
from rashomon.store.lake_writing import Place

_BLOCK = 1 << 20
Progress = Callable[[int, int], None]


class Wrong(NamedTuple):
    """One thing that is wrong: the lake's name, the file in it (or its address), and how."""

    lake: str
    where: str
    problem: str


class LakesChecked(NamedTuple):
    """How many files were checked, what is wrong, and what is merely worth knowing."""

    files: int
    wrong: tuple[Wrong, ...]
    remarks: tuple[str, ...]


def check(home: Path | str, progress: Progress | None = None) -> LakesChecked:
    """Read every file of the attached lakes. Changes nothing; what cannot be read is named, and the rest goes on.

    Raises `RashomonError` where a library that this needs is not installed.
    """
    wrong: list[Wrong] = []
    remarks: list[str] = []
    count = 0
    attached = lake.attached(Path(home))
    if attached:
        export_tables.needs_pyarrow()
    else:
        remarks.append("No lake is attached.")
    for one in attached:
        checking = _Checking(one, progress)
        try:
            lake.check(one)
            wrong += checking.wrong()
        except (UsageError, DamagedData, ForeignFile, NewerFormat) as error:
            wrong.append(Wrong(f"lake {one.name}", one.url, error.problem.rstrip(".")))
        count += checking.files
        remarks += checking.remarks()
    return LakesChecked(count, tuple(wrong), tuple(remarks))


class _Checking:
    """One lake."""

    def __init__(self, one: lake.Lake, progress: Progress | None) -> None:
        self.lake, self.progress = one, progress
        self.files = self.undigested = self.unnamed = 0

    def wrong(self) -> Iterator[Wrong]:
        """What is wrong, file by file. Raises `UsageError` where the lake cannot be reached."""
        place = Place.of(self.lake.url)
        with lake.explained(place.url):
            found = {str(path) for path in place.system.find(place.root)}
        there = {"/".join(PurePosixPath(path).parts[-3:]): path for path in found if path.endswith(".parquet")}
        manifests = sorted(path for path in found if path.endswith(".json") and "/_manifest/day=" in path)
        named: set[str] = set()
        for done, path in enumerate(manifests):
            name = "/".join(PurePosixPath(path).parts[-3:])
            tables = place.document(path).get("tables")
            if not isinstance(tables, dict) or not all(isinstance(told, dict) for told in tables.values()):
                yield self._flaw(name, "is no manifest")
                continue
            for table in sorted(tables):
                file = f"table={table}/{PurePosixPath(name).parts[1]}/{PurePosixPath(name).stem}.parquet"
                named.add(file)
                problem = self._file(place, path, table, tables[table], there.get(file))
                if problem is not None:
                    yield self._flaw(file, problem)
            if self.progress is not None:
                self.progress(done + 1, len(manifests))
        self.unnamed = len(there.keys() - named)

    def remarks(self) -> list[str]:
        """What is no damage."""
        name, told = self.lake.name, []
        if self.undigested:
            told.append(
                f"Lake {name}: {_files(self.undigested)} of an older version without a digest; the next export of"
                " the home that wrote them adds it. Only whether they can be read was checked."
            )
        if self.unnamed:
            told.append(
                f"Lake {name}: {_files(self.unnamed)} that no manifest names: an export did not come to its end."
            )
        return told

    def _flaw(self, where: str, problem: str) -> Wrong:
        return Wrong(f"lake {self.lake.name}", where, problem)

    def _file(self, place: Place, manifest: str, table: str, told: dict[str, Any], path: str | None) -> str | None:
        """What is wrong with a file of which a manifest says what is `told`."""
        self.files += 1
        if path is None:
            return "is not there, and its manifest names it"
        if not isinstance(told.get("sha256"), str):
            self.undigested += 1
            return self._unreadable(place, path, told)
        if _digest(place, path) == told["sha256"]:
            return None
        # it may have been written anew just now: then its manifest has been, too
        newer = (place.document(manifest).get("tables") or {}).get(table)
        if isinstance(newer, dict) and newer.get("sha256") == _digest(place, path):
            return None
        return "is not what its manifest says"

    def _unreadable(self, place: Place, path: str, told: dict[str, Any]) -> str | None:
        try:
            with lake.explained(place.url), place.system.open(path, "rb") as file:
                count = export_tables.read_through(file)
        except (DamagedData, UsageError) as error:
            return f"cannot be read: {error.problem.rstrip('.')}"
        rows = told.get("rows")
        return None if rows in (None, count) else f"has {count} rows where its manifest says {rows}"


def _digest(place: Place, path: str) -> str:
    found = hashlib.sha256()
    with lake.explained(place.url), place.system.open(path, "rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
