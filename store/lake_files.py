"""The file system through which DuckDB reads attached lakes: their Parquet files and nothing else, only for reading.

To know what columns there are, DuckDB would look into every file, again for each view that is made of them: with a year
of days, and a request for each look, for minutes. So files that have the columns of today, as their manifests say, can
be asked for by themselves: of those it looks into one.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import translate
from functools import partial
from threading import get_ident
from typing import Any, NamedTuple, Self

from fsspec import AbstractFileSystem

from rashomon.store.lake import ALIKE, OTHERS, READ_ONLY, SCHEME, file_system

_FILE = re.compile(r"(?:.*/)?table=(\w+)/day=(\d{4}-\d\d-\d\d)/([^/]+\.parquet)")
_MANIFEST = re.compile(r"(?:.*/)?_manifest/day=(\d{4}-\d\d-\d\d)/([^/]+)\.json")


class _File(NamedTuple):
    """Where a file is: the file system, its path there, and what that says of it."""

    system: Any
    path: str
    detail: dict[str, Any]


class _Shared:
    """A file that is read by several threads at once: each has a handle of its own.

    DuckDB's threads share what was opened, and each goes to a place in it and reads there in two steps. Through one
    handle a thread would get what lies where another one has gone meanwhile.
    """

    def __init__(self, opened: Callable[[], Any]) -> None:
        self._opened = opened
        self._handles: dict[int, Any] = {get_ident(): opened()}  # what cannot be opened says so at once
        self.closed = False

    def _mine(self) -> Any:
        if self.closed:
            raise ValueError("The file is closed.")
        thread = get_ident()
        handle = self._handles.get(thread)
        if handle is None:
            handle = self._handles[thread] = self._opened()
        return handle

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, for this thread."""
        return int(self._mine().seek(offset, whence))

    def tell(self) -> int:
        """Where this thread is."""
        return int(self._mine().tell())

    def read(self, size: int = -1) -> bytes:
        """Read where this thread is."""
        return bytes(self._mine().read(size))

    def close(self) -> None:
        """Close it for all threads."""
        self.closed = True
        while self._handles:
            self._handles.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Tables(NamedTuple):
    """What a manifest says: the number of columns of each table's file, None where it is not said."""

    columns: dict[str, int | None]

    @classmethod
    def read(cls, manifest: object) -> _Tables:
        """The tables of a manifest; none where it is not ours."""
        try:
            found = json.loads(manifest) if isinstance(manifest, (bytes, str)) else None
        except ValueError:
            found = None
        tables = found.get("tables") if isinstance(found, dict) else None
        if not isinstance(tables, dict):
            return cls({})
        return cls({name: told.get("columns") if isinstance(told, dict) else None for name, told in tables.items()})


class _Listing(NamedTuple):
    """The files of one lake by what they are called here, and their names in order; what its manifests say by day and
    home."""

    files: dict[str, _File]
    names: list[str]
    manifests: dict[tuple[str, str], _Tables]


class LakeFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Files by `rashomon-lake://NAME/table=.../day=.../....parquet`, or `NAME/alike/table=...` and `NAME/others/...`.

    A lake is listed once, when it is first asked for; only what was listed then can be opened, by exactly that name:
    there is no path that leads out of it. `urls` are those of the lakes by their names, `columns` the number that files
    of each table have that are alike.
    """

    protocol = SCHEME
    cachable = False

    def __init__(self, urls: dict[str, str], columns: Mapping[str, int]) -> None:
        super().__init__()
        self._urls, self._columns = urls, columns
        self._known: dict[str, _Listing] = {}

    def _listing(self, name: str) -> _Listing:
        if name not in self._known:
            if name not in self._urls:
                raise FileNotFoundError(name)
            system, root = file_system(self._urls[name])
            found = {str(path): detail for path, detail in system.find(root, detail=True).items()}
            parsed = {path: match for path in found if (match := _MANIFEST.fullmatch(path)) is not None}
            contents = system.cat(list(parsed), on_error="return") if parsed else {}  # of a bucket's, many at once
            manifests = {(match[1], match[2]): _Tables.read(contents.get(path)) for path, match in parsed.items()}
            files: dict[str, _File] = {}
            for path, detail in found.items():
                if (match := _FILE.fullmatch(path)) is None:
                    continue
                place, file = f"table={match[1]}/day={match[2]}/{match[3]}", _File(system, path, detail)
                told = manifests.get((match[2], match[3].removesuffix(".parquet")), _Tables({})).columns.get(match[1])
                sort = ALIKE if told is not None and told == self._columns.get(match[1]) else OTHERS
                files |= {f"{name}/{place}": file, f"{name}/{sort}/{place}": file}
            self._known[name] = _Listing(files, sorted(files), manifests)
        return self._known[name]

    def missing(self, name: str, tables: Iterable[str]) -> list[str]:
        """The files of a lake that its manifests name and that are not there; `tables` are those that there can be."""
        listing = self._listing(name)
        lost = []
        for (day, source), told in sorted(listing.manifests.items()):
            places = {table: f"table={table}/day={day}/{source}.parquet" for table in tables if table in told.columns}
            lost += [place for place in places.values() if f"{name}/{place}" not in listing.files]
        return lost

    def _own(self, path: str) -> str:
        return str(self._strip_protocol(path))

    def _file(self, path: str) -> _File:
        own = self._own(path)
        try:
            return self._listing(own.partition("/")[0]).files[own]
        except KeyError:
            raise FileNotFoundError(path) from None

    def glob(self, path: str, **_: Any) -> list[str]:
        """The files that a pattern means; those that are alike, and the others, by these folders only."""
        own = self._own(path)
        names = self._listing(own.partition("/")[0]).names
        begins, fits = own.partition("*")[0], re.compile(translate(own)).match
        sort = own.split("/")[1:2]
        found = []
        for at in range(bisect_left(names, begins), len(names)):
            name = names[at]
            if not name.startswith(begins):
                break
            if fits(name) and (name.split("/", 2)[1] not in (ALIKE, OTHERS) or sort in ([ALIKE], [OTHERS])):
                found.append(name)
        return found

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """A file. Folders are not shown."""
        return [self.info(path)] if detail else [self._own(path)]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name and size of a file."""
        return {"name": self._own(path), "size": self._file(path).detail["size"], "type": "file"}

    def modified(self, path: str) -> datetime:
        """When a file was last changed, as its own file system says."""
        detail = self._file(path).detail
        for key in ("LastModified", "last_modified", "mtime", "updated"):
            value = detail.get(key)
            if isinstance(value, datetime):
                return value
            if isinstance(value, (int, float)):
                return datetime.fromtimestamp(value, UTC)
        return datetime.fromtimestamp(0, UTC)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise PermissionError(f"{path} {READ_ONLY}")
        file = self._file(path)
        return _Shared(partial(file.system.open, file.path, "rb"))
