"""Where recordings live: `$RASHOMON_HOME`, else the nearest `.rashomon/` upwards, else `./.rashomon`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rashomon.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path  # not at run time: a recorded process pays for each import

FOLDER = ".rashomon"
SUFFIX = ".rsj"
"""How the names of journals end."""


def home_name(environ: dict[str, str] | None = None) -> str:
    """The home folder as an absolute path; it may not exist yet."""
    named = (os.environ if environ is None else environ).get("RASHOMON_HOME")
    if named:
        return os.path.abspath(named)
    start = folder = os.getcwd()
    while True:
        candidate = os.path.join(folder, FOLDER)
        if os.path.isdir(candidate):
            return candidate
        parent = os.path.dirname(folder)
        if parent == folder:
            return os.path.join(start, FOLDER)
        folder = parent


def find_home() -> Path:
    """The home folder as a `Path`."""
    from pathlib import Path

    return Path(home_name())


def journals(home: Path | str) -> str:
    """The folder of a home's journals."""
    return os.path.join(home, "journals")


def store_path(home: Path | str) -> str:
    """The DuckDB file of a home."""
    return os.path.join(home, "store.duckdb")


_OWN = ("notes.jsonl", "redaction.key", "config.toml", "lakes.json", "forgotten.txt", "prices.cache", ".gitignore")
_OWN_STARTS = ("store.duckdb", "notes.jsonl.", "importing-", "damaged-")


def refuse_own(path: os.PathLike[str] | str, home: os.PathLike[str] | str | None = None) -> None:
    """Raise `UsageError` for a file of a home, of `home` or of the one that it lies in: nothing else may be written
    there. Links are followed, and hard links to files of `home` are seen.
    """
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    near = [one for one in (folder, os.path.dirname(folder)) if os.path.isfile(store_path(one))]
    for one in near if home is None else [os.path.realpath(home), *near]:
        if _is_within(real, os.path.realpath(journals(one))) or _is_own_name(os.path.relpath(real, one)):
            break
        if _is_linked(real, one):
            break
    else:
        return
    raise UsageError(f"{os.fspath(path)} is a file of the home {one}.", "Name a file elsewhere.")


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _is_own_name(name: str) -> bool:
    """Whether that stands in a home for a file of ours."""
    return name in _OWN or name.startswith(_OWN_STARTS)


def _is_linked(path: str, home: str) -> bool:
    """Whether a file has another name among those of a home."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    if found.st_nlink < 2:
        return False
    own = [os.path.join(home, name) for name in os.listdir(home) if _is_own_name(name)] if os.path.isdir(home) else []
    own += [entry.path for entry in os.scandir(journals(home))] if os.path.isdir(journals(home)) else []
    return any(os.path.isfile(one) and os.path.samestat(found, os.stat(one)) for one in own)


def prepare(home: str) -> None:
    """Make a home that keeps itself out of version control. Raises OSError when it cannot."""
    os.makedirs(journals(home), mode=0o700, exist_ok=True)
    ignore = os.path.join(home, ".gitignore")
    if not os.path.exists(ignore):
        with open(ignore, "w", encoding="ascii") as file:
            file.write("*\n")


def redaction_key(home: str) -> bytes:
    """The key of this home's placeholders: 32 random bytes, made on first use, readable by its owner."""
    path = os.path.join(home, "redaction.key")
    for _ in range(2):
        try:
            with open(path, "rb") as file:
                key = file.read()
            if len(key) == 32:
                return key
        except FileNotFoundError:
            pass
        temporary = f"{path}.{os.getpid()}"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(os.urandom(32))
        try:
            os.link(temporary, path)  # of two processes that start together, one key wins
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
    with open(path, "rb") as file:
        return file.read()
