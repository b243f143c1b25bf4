"""Traces out of the store: which ones, and into one file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rashomon import home as homes
from rashomon import notes
from rashomon.errors import UsageError
from rashomon.model import Tape
from rashomon.notes import Note
from rashomon.store.bundle_frames import BundleWriter
from rashomon.store.reading import TraceStore
from rashomon.version import __version__

_HELD_S = 0.2
"""For how long a store is kept open over several traces: others want to write."""


class Exported(NamedTuple):
    """What an export wrote: files, traces, steps, and bytes."""

    files: tuple[Path, ...]
    traces: tuple[str, ...]
    steps: int
    size: int


def chosen(store: TraceStore, references: Sequence[str], found: Iterable[str], parents: bool = False) -> list[str]:
    """The ids to export, by their start: what is named or was found, with all that was recorded within it.

    `parents` adds the traces that replays were made of. Raises as `TraceStore.resolve`.
    """
    rows = store.query("SELECT id, within, parent FROM traces ORDER BY started_ns, id").rows
    order = {row[0]: at for at, row in enumerate(rows)}
    inner: dict[str, list[str]] = {}
    parent_of: dict[str, str] = {}
    for own, within, parent in rows:
        if within is not None:
            inner.setdefault(within, []).append(own)
        if parent is not None and parent in order:
            parent_of[own] = parent
    todo = [*map(store.resolve, references), *found]
    taken: set[str] = set()
    while todo:
        own = todo.pop()
        if own in taken:
            continue
        taken.add(own)
        todo += inner.get(own, ())
        if parents and own in parent_of:
            todo.append(parent_of[own])
    return sorted(taken, key=order.__getitem__)


def tapes(store: TraceStore, ids: Iterable[str]) -> Iterator[Tape]:
    """These traces, each by itself, in memory only those that are read within `_HELD_S`.

    To open the store takes as long as to read a short trace from it, and whoever gets the traces may take their time.
    """
    waiting = iter(ids)
    while True:
        few: list[Tape] = []
        with store:
            begun = time.monotonic()
            for own in waiting:
                few.append(store.tape(own, within=False))
                if time.monotonic() - begun > _HELD_S:
                    break
        if not few:
            return
        while few:
            yield few.pop(0)


def export_bundle(store: TraceStore, home: Path, ids: Sequence[str], path: Path) -> Exported:
    """Write traces and the notes on them to a bundle."""
    steps = 0
    with replacing(path) as file:
        writer = BundleWriter(file)
        for tape in tapes(store, ids):
            writer.add(tape)
            steps += len(tape.steps)
        wanted = set(ids)
        standing = [note for note in notes.read(home).notes if note.trace in wanted]
        writer.add_notes(map(_line, standing))
        writer.finish(f"rashomon {__version__}")
    return Exported((path,), tuple(ids), steps, path.stat().st_size)


def _line(note: Note) -> bytes:
    """A note as a line of `notes.jsonl`."""
    value = {"format": notes.FORMAT, **note._asdict(), "labels": list(note.labels)}
    return json.dumps(value, separators=(",", ":")).encode("ascii")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside its place, that takes it when the block ends well: whoever looks sees the old one or the new one.

    A device or a pipe is written to as it is, and a link stays one. Raises `UsageError` when it cannot be written. What
    killed exports left there goes.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", "Name a file with -o.")
    homes.refuse_own(path)
    if is_stream(path):
        try:
            with path.open("wb") as file:
                yield file
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}.", "Name a file with -o.") from error
        return
    path = Path(os.path.realpath(path))
    new = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(3).hex()}.part")
    try:
        sweep(path.parent, f".{path.name}.")
        with new.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}.", "Name another file with -o."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # it has taken its place
            new.unlink()


def is_stream(path: Path) -> bool:
    """Whether a path is no file: nothing may take the place of `/dev/null`, a terminal or a named pipe."""
    return (path.exists() and not path.is_file()) or os.path.abspath(path).startswith(("/dev/", "/proc/"))


def sweep(folder: Path, beginning: str, ending: str = ".part") -> None:
    """Delete what killed processes left in a folder: files named by a beginning, a process's id, `-` and more."""
    try:
        names = os.listdir(folder)
    except OSError:  # not there, or not to be looked into
        return
    for name in names:
        if name.startswith(beginning) and name.endswith(ending):
            remove_left(folder / name, name.removeprefix(beginning))


def remove_left(path: Path, name: str) -> None:
    """Delete a file if the process whose id its name begins with is gone."""
    pid = name.split("-")[0]
    if pid.isdecimal() and not lives(int(pid)):
        with contextlib.suppress(OSError):  # somebody else is just removing it, or it is somebody else's
            path.unlink()


def lives(pid: int) -> bool:
    """Whether a process of this machine has that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's
        return True
    return True
