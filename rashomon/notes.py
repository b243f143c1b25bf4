"""`notes.jsonl`: what people wrote on traces and steps, one JSON object a line, append-only.

A note is a line; taking it back is another line that names it. A line is written whole, under a lock, and reaches the
disk before the command ends; what a killed writer left of one is dropped by the next. Lines of a newer version, and
lines that are no notes, are passed over and named. `docs/formats/notes.md` has the fields.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

FORMAT = "rashomon.note/1"
"""What each line begins with; a reader passes over lines of another format."""

FILE = "notes.jsonl"


class Note(NamedTuple):
    """What somebody wrote on a trace, or on one of its steps.

    `at_ns` is Unix time in nanoseconds, `author` who, as the system names them; `data` holds further values by name.
    """

    id: str
    trace: str
    step: str | None
    at_ns: int
    author: str | None
    text: str
    labels: tuple[str, ...] = ()
    data: dict[str, Any] = {}


class Notes(NamedTuple):
    """The notes that stand, oldest first, and what could not be read: (number of the line, why)."""

    notes: tuple[Note, ...] = ()
    unread: tuple[tuple[int, str], ...] = ()


def path_of(home: os.PathLike[str] | str) -> str:
    """The file of a home's notes."""
    return os.path.join(home, FILE)


def new_id() -> str:
    """An id for a note: `n` and ten hex digits."""
    return "n" + os.urandom(5).hex()


def read(home: os.PathLike[str] | str) -> Notes:
    """All notes of a home that were not taken back. Raises OSError where the file is there and cannot be read."""
    try:
        with open(path_of(home), "rb") as file:
            return parse(file.read())
    except FileNotFoundError:
        return Notes()


def parse(content: bytes) -> Notes:
    """The notes of such a file. Never raises: what is no note is told."""
    found: dict[str, Note] = {}
    unread: list[tuple[int, str]] = []
    removed: set[str] = set()
    lines = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value = _value(line)
        if value is None:
            unread.append((number, "cut short" if number == len(lines) else "not a note"))
        elif value.get("format") != FORMAT:
            unread.append((number, f"its format is {str(value.get('format'))[:60]!r}; this version reads {FORMAT}"))
        elif "remove" in value:
            removed.add(str(value["remove"]))
        else:
            note = _note(value)
            if note is None:
                unread.append((number, "not a note"))
            else:
                found.setdefault(note.id, note)
    standing = tuple(note for note in found.values() if note.id not in removed)
    return Notes(standing, tuple(unread))


def _value(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _note(value: dict[str, Any]) -> Note | None:
    own, trace, text, at_ns = value.get("id"), value.get("trace"), value.get("text"), value.get("at_ns")
    if not (isinstance(own, str) and isinstance(trace, str) and isinstance(text, str)):
        return None
    if type(at_ns) is not int or not 0 <= at_ns < 2**63:
        return None
    step, author, labels, data = (value.get(name) for name in ("step", "author", "labels", "data"))
    return Note(
        id=own,
        trace=trace,
        step=step if isinstance(step, str) else None,
        at_ns=at_ns,
        author=author if isinstance(author, str) else None,
        text=text,
        labels=tuple(map(str, labels)) if isinstance(labels, list) else (),
        data=data if isinstance(data, dict) else {},
    )


def write(home: os.PathLike[str] | str, note: Note) -> bool:
    """Append a note; False when the rest of a killed writer's line was dropped for it. Raises OSError."""
    return _append(home, {"format": FORMAT, **note._asdict(), "labels": list(note.labels)})


def remove(home: os.PathLike[str] | str, note_id: str, at_ns: int, author: str | None = None) -> bool:
    """Append that a note is taken back; as `write`."""
    return _append(home, {"format": FORMAT, "remove": note_id, "at_ns": at_ns, "author": author})


def _append(home: os.PathLike[str] | str, value: dict[str, Any]) -> bool:
    line = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
    with _locked(home) as file:
        whole = _mend(file)
        left = memoryview(line)
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
    return whole


@contextlib.contextmanager
def _locked(home: os.PathLike[str] | str) -> Iterator[int]:
    """The file, open for appending, while nobody else writes. A kill lets go of the lock."""
    import fcntl  # not at import time: a reader needs none

    path = path_of(home)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        while not _is_at(file, path):  # it was written anew and put in the place of this one while we waited
            os.close(file)
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _is_at(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _mend(file: int) -> bool:
    """End the file with a whole line; False when the beginning of one had to be dropped."""
    size = os.fstat(file).st_size
    at, tail = size, b""
    while at > 0 and b"\n" not in tail:
        start = max(0, at - 65536)
        tail = os.pread(file, at - start, start) + tail
        at = start
    last = tail.rpartition(b"\n")[2]
    if not last:
        return True
    if _value(last) is not None:  # all of it is there but its end
        os.write(file, b"\n")
        return True
    os.ftruncate(file, size - len(last))
    return False


def rewrite(home: os.PathLike[str] | str, keep: Callable[[dict[str, Any]], bool]) -> int:
    """Write the file anew without the lines for which `keep(line as a dict)` is false; how many went.

    For what must be gone for good. Lines that are no JSON objects stay. Raises OSError.
    """
    if not os.path.exists(path_of(home)):
        return 0
    with _locked(home) as file:
        content = os.pread(file, os.fstat(file).st_size, 0)
        kept, gone = [], 0
        for line in content.splitlines(keepends=True):
            value = _value(line)
            if value is not None and not keep(value):
                gone += 1
            else:
                kept.append(line)
        if gone:
            new = f"{path_of(home)}.{os.getpid()}"
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(b"".join(kept))
                out.flush()
                os.fsync(out.fileno())
            os.replace(new, path_of(home))
    return gone
