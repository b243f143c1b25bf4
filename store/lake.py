"""Lakes that are attached to a home: Parquet files elsewhere, that SQL reads beside the store. `docs/formats/lake.md`.

DuckDB reads them through a file system of ours that can do nothing but read the files of attached lakes; to it alone
the door stays open when everything else outside is shut. So a statement cannot reach any other file, nor write one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rashomon.errors import DamagedData, ForeignFile, NewerFormat, RashomonError, UsageError
from rashomon.store import connection as connections
from rashomon.store.engine import duckdb

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


FORMAT = "rashomon.lake/1"
HEAD = "rashomon-lake.json"
SCHEME = "rashomon-lake"
ALIKE, OTHERS = "alike", "others"
"""Folders below a lake's name that are not there: its files with the columns of today, and those that may lack some."""
READ_ONLY = "is of an attached lake, which is read-only"
_CONFIG = "lakes.json"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,40}")
_NEARLY = re.compile(r"[A-Za-z][A-Za-z0-9+]+:/?(?![/:])")
"""How an address begins that lacks a slash; a drive has one letter."""
_TAKEN = {"main", "store", "temp", "system", "memory", "information_schema", "pg_catalog"}


class Lake(NamedTuple):
    """An attached lake: what SQL calls it, and where it is."""

    name: str
    url: str


# ------------------------------------------------------------------------------------- what is attached


def attached(home: Path) -> list[Lake]:
    """The lakes of a home, by name."""
    return sorted(Lake(str(one["name"]), str(one["url"])) for one in _config(home).get("lakes", ()))


def attach(home: Path, url: str, name: str) -> None:
    """Have a lake seen by SQL. Raises `UsageError` for a name that cannot be, `ForeignFile` where there is no lake."""
    if _NAME.fullmatch(name) is None or name in _TAKEN:
        raise UsageError(f"{name!r} cannot name a lake.", "Use lower-case letters, digits and _.")
    if _is_reserved(name):
        raise UsageError(f"{name!r} cannot name a lake: it is a word of SQL.", "Choose another --name.")
    if not url:
        raise UsageError("The lake's address is empty.", "Name a folder, or an address such as s3://bucket/prefix.")
    if any(one.name == name for one in attached(home)):
        raise UsageError(f"There is a lake {name!r} already.", "Detach it, or give another --name.")
    system, root = file_system(url)
    found = head(url, system, root)
    if found is None:
        raise ForeignFile(f"{url} is no lake.", "Make one: rashomon export --to URL")
    if found != FORMAT:
        raise NewerFormat(f"{url} is a lake of format {found!r}; this version reads {FORMAT}.", "Upgrade rashomon.")
    here = url if "://" in url else os.path.abspath(url)
    config = _config(home)
    config["lakes"] = [*config.get("lakes", ()), {"name": name, "url": here}]
    _save(home, config)


def _is_reserved(name: str) -> bool:
    """Whether SQL would have to quote a name."""
    sql = "SELECT 1 FROM duckdb_keywords() WHERE keyword_name = ? AND keyword_category <> 'unreserved'"
    with duckdb.connect() as asked:
        return bool(asked.execute(sql, [name]).fetchall())


def detach(home: Path, name: str) -> None:
    """Forget about a lake; its files stay. Raises `UsageError` when there is none of that name."""
    config = _config(home)
    kept = [one for one in config.get("lakes", ()) if one["name"] != name]
    if len(kept) == len(config.get("lakes", ())):
        known = ", ".join(one.name for one in attached(home)) or "none"
        raise UsageError(f"There is no lake {name!r}.", f"Attached: {known}.")
    config["lakes"] = kept
    _save(home, config)


def source_of(home: Path) -> str:
    """What this home is called in lakes: eight hex digits, made once."""
    config = _config(home)
    if not isinstance(config.get("source"), str):
        config["source"] = os.urandom(4).hex()
        _save(home, config)
    return str(config["source"])


def _config(home: Path) -> dict[str, Any]:
    path = home / _CONFIG
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    except ValueError as error:
        raise DamagedData(f"{path} cannot be read: {error}.", "Mend it, or delete it and attach again.") from error
    known = found.get("lakes") if isinstance(found, dict) else None
    if not isinstance(known, list) or not all(map(_is_lake, known)):
        raise DamagedData(f"{path} is not a list of lakes.", "Delete it, and attach again.")
    return dict(found)


def _is_lake(found: Any) -> bool:
    """Whether this can stand in the list of lakes: people edit it."""
    if not isinstance(found, dict) or not isinstance(found.get("name"), str) or not isinstance(found.get("url"), str):
        return False
    return _NAME.fullmatch(found["name"]) is not None and found["name"] not in _TAKEN


def _save(home: Path, config: dict[str, Any]) -> None:
    new = home / f"{_CONFIG}.{os.getpid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps({"format": "rashomon.lakes/1", "lakes": [], **config}, indent=1), encoding="utf-8")
        os.replace(new, home / _CONFIG)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise UsageError(
            f"{home / _CONFIG} cannot be written: {error.strerror or error}.", "Check its permissions and its disk."
        ) from error


def as_it_is(text: str) -> str:
    """What DuckDB says of a file, with the file's own name."""
    return re.sub(rf"({SCHEME}://\w+/)(?:{ALIKE}|{OTHERS})/", r"\1", text)


# --------------------------------------------------------------------------------------- where lakes are


def file_system(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL or a path, and the path in it. Raises `UsageError`."""
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise RashomonError(
            "Lakes need fsspec, which is not installed.", "Install it: pip install 'rashomon[lake]'"
        ) from error
    if _NEARLY.match(url) and not os.path.exists(url):
        raise UsageError(
            f"{url} is neither a folder nor an address.", f"Write s3://bucket/prefix, or ./{url} for a folder."
        )
    with explained(url):
        system, root = fsspec.core.url_to_fs(url)
    return system, str(root)


@contextlib.contextmanager
def explained(url: str) -> Iterator[None]:
    """What goes wrong with a file system, in a sentence: each kind has errors of its own."""
    try:
        yield
    except (RashomonError, duckdb.Error):
        raise
    except Exception as error:  # a bucket's without keys, say, derives from nothing more special
        known = error.strerror if isinstance(error, OSError) and isinstance(error.strerror, str) else None
        reason = (known or str(error).split("\n")[0] or type(error).__name__).rstrip(".")
        raise UsageError(f"{url} cannot be used: {reason}.", "Check the address, and your right to it.") from error


def head(url: str, system: AbstractFileSystem, root: str) -> str | None:
    """The format that a lake says it has; None where there is no lake."""
    try:
        with explained(url):
            found = json.loads(system.cat_file(f"{root.rstrip('/')}/{HEAD}"))
    except UsageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        if isinstance(error.__cause__, ValueError):
            raise ForeignFile(f"{url} has a {HEAD} that is not ours.", "Name another folder.") from error
        raise
    return str(found.get("format")) if isinstance(found, dict) else ""


# ------------------------------------------------------------------------------------------------ reading


def open_reader(store: Path, wait_s: float = connections.WAIT_S) -> duckdb.DuckDBPyConnection:
    """The store and its home's lakes, for reading only: `steps` is the store's, `N.steps` that of the lake N.

    No statement can write a file, or reach one that is not of an attached lake. Errors as
    `connections.open_reader`, `UsageError` for a lake that cannot be reached, `DamagedData` where it cannot be read.
    """
    lakes = attached(store.parent)
    if not lakes:
        return connections.open_reader(store, wait_s)
    if store.exists():
        connections.open_reader(store, wait_s).close()  # it is ours, and of this version
    else:
        connections.open_writer(store, wait_s).close()
    made = duckdb.connect(":memory:", config={"temp_directory": connections.spill(store)})
    try:
        _attach_store(made, store, wait_s)
        from rashomon.store.export_tables import TABLES
        from rashomon.store.lake_files import LakeFiles  # fsspec: only where there are lakes

        columns = {table.name: len(table.columns) for table in TABLES}
        system = LakeFiles({lake.name: lake.url for lake in lakes}, columns)
        made.register_filesystem(system)
        for lake in lakes:
            check(lake)
            _see(made, lake, system)
        made.execute("USE store")
        allowed = ", ".join(f"'{SCHEME}://{lake.name}/'" for lake in lakes)
        made.execute(f"SET allowed_directories = [{allowed}]")
        made.execute("SET enable_external_access = false")
        made.execute(f"{connections.UTC}; SET lock_configuration = true")
    except BaseException:
        made.close()
        raise
    return made


def _see(made: duckdb.DuckDBPyConnection, lake: Lake, system: Any) -> None:
    from rashomon.store.lake_views import make  # with all that writes lakes: only who has one needs it

    try:
        with explained(lake.url):
            make(made, lake, system)
    except duckdb.Error as error:
        raise DamagedData(
            f"The lake {lake.name!r}, {lake.url}, cannot be read: {as_it_is(connections.first_line(error))}.",
            f"Move that file away, or detach the lake: rashomon lake detach {lake.name}",
        ) from error


def _attach_store(made: duckdb.DuckDBPyConnection, store: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    quoted = str(store).replace("'", "''")
    while True:
        try:
            made.execute(f"ATTACH '{quoted}' AS store (READ_ONLY)")
            return
        except duckdb.Error as error:
            if "lock" not in str(error) or time.monotonic() >= deadline:
                raise UsageError(
                    f"{store} cannot be opened: {connections.first_line(error)}.", "Try again in a moment."
                ) from error
        time.sleep(0.05)


def check(lake: Lake) -> None:
    """Raise `UsageError` for a lake that is not there any more: it must not read as an empty one."""
    found = head(lake.url, *file_system(lake.url))
    if found != FORMAT:
        problem = "is not there any more" if found is None else f"has the format {found!r} now"
        raise UsageError(
            f"The lake {lake.name!r}, {lake.url}, {problem}.", f"Detach it: rashomon lake detach {lake.name}"
        )
