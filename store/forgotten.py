"""`forgotten.txt`: digests of the ids of traces that were forgotten, so that no copy of a journal brings them back, and
of notes that were.

One digest a line. An id is made of chance, so nothing about a person can be told from its digest.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from rashomon.canonical import digest
from rashomon.notes import Note

FILE = "forgotten.txt"
WAS = "was forgotten here"
"""Why something is left out, as the rest of a sentence."""
KIN = "replays what was forgotten here, or lies within it"
"""The same, of a trace that holds what another one held."""

_MARK = re.compile(r"b2:[0-9a-f]{32}")


def path_of(home: Path | str) -> Path:
    """The file of a home's forgotten traces."""
    return Path(home, FILE)


def read(home: Path | str) -> frozenset[str]:
    """Digests of the ids that a home has forgotten."""
    path = path_of(home)
    try:
        found = path.stat()
        return _read(path, found.st_mtime_ns, found.st_size, found.st_ino)
    except OSError:  # nothing was ever forgotten here
        return frozenset()


@lru_cache(maxsize=1)
def _read(path: Path, *_changed: int) -> frozenset[str]:
    """The same, read once while the file stays as it is: an ingestion asks for each trace that begins."""
    return frozenset(path.read_text(encoding="ascii", errors="replace").split())


def kin(info: Mapping[str, Any]) -> tuple[str, ...]:
    """What a trace's frame says that it replays and is within: those hold the same content."""
    return tuple(one for one in (info.get("parent"), info.get("within")) if isinstance(one, str))


def among(known: Collection[str], traces: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Those of `traces` (with their `kin`) that the list of a home has, with the replays of what it has, what lies
    within that, and theirs."""
    if not known:
        return frozenset()
    marks = {one: mark(one) for own, others in traces.items() for one in (own, *others)}
    found: set[str] = {one for one in marks if marks[one] in known}
    while new := {own for own, others in traces.items() if own not in found and not found.isdisjoint(others)}:
        found |= new
    return frozenset(found & traces.keys())


def has_note(known: Collection[str], note: Note) -> bool:
    """Whether a note, or the trace that it is on, was forgotten, as the list of a home says."""
    return mark(note.id) in known or mark(note.trace) in known


def mark(trace: str) -> str:
    """What the file says of a trace."""
    return digest(trace.encode("utf-8", "surrogatepass"))


def left_out(home: Path | str, traces: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Those of `traces` (with their `kin`) that a home does not take in again, and why.

    They are on its list from then on: who replays one of them need not come in the same file.
    """
    known = read(home)
    found = sorted(among(known, traces))
    with contextlib.suppress(OSError):  # where the list cannot be written, those with a kin on it are still told
        add(home, found)
    return {one: WAS if mark(one) in known else KIN for one in found}


def is_mark(text: str) -> bool:
    """Whether it stands in the place of the id of a trace that was forgotten."""
    return _MARK.fullmatch(text) is not None


def add(home: Path | str, ids: Iterable[str]) -> None:
    """Note that these were forgotten, on the disk when this returns. Raises OSError."""
    known = read(home)
    new = [name for name in map(mark, ids) if name not in known]
    if not new:
        return
    with open(os.open(path_of(home), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb") as file:
        file.write(("\n" + "\n".join(new) + "\n").encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
