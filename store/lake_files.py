"""The file system through which DuckDB reads attached lakes: their Parquet files and nothing else, only for reading."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from threading import get_ident
from typing import Any, NamedTuple, Self

from fsspec import AbstractFileSystem

from rashomon.store.lake import READ_ONLY, SCHEME, file_system

_FILE = re.compile(r"(?:.*/)?table=(\w+)/day=(\d{4}-\d\d-\d\d)/([^/]+\.parquet)")
_MANIFEST = re.compile(r"(?:.*/)?_manifest/day=(\d{4}-\d\d-\d\d)/([^/]+)\.json")


def tables_of(manifest: bytes) -> set[str]:
    """The tables whose files a manifest names; none where it is not ours."""
    try:
        found = json.loads(manifest)
    except ValueError:
        return set()
    tables = found.get("tables") if isinstance(found, dict) else None
    return set(tables) if isinstance(tables, dict) else set()


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


class LakeFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Files by `rashomon-lake://NAME/table=.../day=.../....parquet`.

    A lake is listed once, when it is first asked for; only what was listed then can be opened, by exactly that name:
    there is no path that leads out of it. `urls` are those of the lakes by their names.
    """

    protocol = SCHEME
    cachable = False

    def __init__(self, urls: dict[str, str]) -> None:
        super().__init__()
        self._urls = urls
        self._known: dict[str, dict[str, _File]] = {}
        self._manifests: dict[str, dict[tuple[str, str], _File]] = {}

    def _files(self, name: str) -> dict[str, _File]:
        if name not in self._known:
            if name not in self._urls:
                raise FileNotFoundError(name)
            system, root = file_system(self._urls[name])
            found: dict[str, _File] = {}
            manifests: dict[tuple[str, str], _File] = {}
            for path, detail in system.find(root, detail=True).items():
                match, manifest = _FILE.fullmatch(str(path)), _MANIFEST.fullmatch(str(path))
                if match is not None:
                    found[f"{name}/table={match[1]}/day={match[2]}/{match[3]}"] = _File(system, str(path), detail)
                elif manifest is not None:
                    manifests[manifest[1], manifest[2]] = _File(system, str(path), detail)
            self._known[name], self._manifests[name] = found, manifests
        return self._known[name]

    def missing(self, name: str, tables: Iterable[str]) -> list[str]:
        """The files of a lake that its manifests name and that are not there; `tables` are those that there can be.

        A manifest is only read where a file of its day seems to be missing: it may be of a version without that table.
        """
        files, lost = self._files(name), []
        for (day, source), manifest in sorted(self._manifests[name].items()):
            places = {table: f"table={table}/day={day}/{source}.parquet" for table in tables}
            absent = [table for table, place in places.items() if f"{name}/{place}" not in files]
            if absent:
                named = tables_of(manifest.system.cat_file(manifest.path))
                lost += [places[table] for table in absent if table in named]
        return lost

    def _own(self, path: str) -> str:
        return str(self._strip_protocol(path))

    def _file(self, path: str) -> _File:
        own = self._own(path)
        try:
            return self._files(own.partition("/")[0])[own]
        except KeyError:
            raise FileNotFoundError(path) from None

    def glob(self, path: str, **_: Any) -> list[str]:
        """The files that a pattern means."""
        own = self._own(path)
        return sorted(name for name in self._files(own.partition("/")[0]) if fnmatch.fnmatchcase(name, own))

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
