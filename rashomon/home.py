"""Where recordings live: `$RASHOMON_HOME`, else the nearest `.rashomon/` upwards, else `./.rashomon`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
