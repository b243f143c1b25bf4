"""`forgotten.txt`: digests of the ids of traces that were forgotten, so that no copy of a journal brings them back, and
of notes that were.

One digest a line. An id is made of chance, so nothing about a person can be told from its digest.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from rashomon.canonical import digest
from rashomon.notes import Note

FILE = "forgotten.txt"
WAS = "was forgotten here"
"""Why something is left out, as the rest of a sentence."""


def path_of(home: Path | str) -> Path:
    """The file of a home's forgotten traces."""
    return Path(home, FILE)


def read(home: Path | str) -> frozenset[str]:
    """Digests of the ids that a home has forgotten."""
    try:
        return frozenset(path_of(home).read_text(encoding="ascii", errors="replace").split())
    except OSError:  # nothing was ever forgotten here
        return frozenset()


def is_forgotten(home: Path | str, trace: str) -> bool:
    """Whether a home has forgotten a trace."""
    known = read(home)
    return bool(known) and mark(trace) in known


def has_note(known: Collection[str], note: Note) -> bool:
    """Whether a note, or the trace that it is on, was forgotten, as the list of a home says."""
    return mark(note.id) in known or mark(note.trace) in known


def mark(trace: str) -> str:
    """What the file says of a trace."""
    return digest(trace.encode("utf-8", "surrogatepass"))


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
