"""Traces from elsewhere, into a home: written as tape files beside the journals, then put among them.

Nothing reaches the journals before all of it is known to be whole; each trace is then put there by one rename. The
same trace again touches nothing; another trace under an id that the home has already is a matter of `Conflict`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgpack

from rashomon import home as homes
from rashomon import journal, notes, tape_file, tapes
from rashomon.canonical import digest
from rashomon.errors import DamagedData, TraceNotFound, UsageError
from rashomon.journal import BASE_WINDOW, DELTA_MIN, SUFFIX, Code, common_prefix, common_suffix
from rashomon.model import Tape
from rashomon.notes import Note
from rashomon.store import bundle_frames, forgotten
from rashomon.store.bundle import Bundle
from rashomon.store.bundle_frames import Frames, TooMuch
from rashomon.store.exporting import lives
from rashomon.store.up_to_date import open_home

MAX_SIZE = 16 << 30
"""To how many bytes a bundle may unpack, unless it is said otherwise."""

_STAGING = "importing-"
_STALE_S = 24 * 3600.0
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_LIKELY = 1 << 62


class Conflict(StrEnum):
    """What happens to a trace whose id the home has already, for another content."""

    REFUSE = "refuse"
    SKIP = "skip"
    COPY = "copy"


class Imported(NamedTuple):
    """What an import did: ids of traces that are new, that were there already, and that were left out and why.

    `copies` are (id in the file, id under which it was taken); `notes` counts notes of people that were added;
    `damaged` says that the file was, so that not all of it was taken.
    """

    new: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    notes: int = 0
    damaged: bool = False


def import_tapes(home: Path, found: Iterable[Tape], source: str, conflict: Conflict = Conflict.REFUSE) -> Imported:
    """Take traces into a home. `source` names where they are from, for what there is to say."""
    with _Import(home, source, conflict) as work:
        for tape in found:
            with work.stage() as (file, path):
                _write(file, tape_file.frames(tape))
            work.staged(path, tape.trace.id)
        return work.finish([])


def import_bundle(
    home: Path, path: Path, conflict: Conflict = Conflict.REFUSE, salvage: bool = False, max_size: int = MAX_SIZE
) -> Imported:
    """Take the traces of a bundle into a home, with their notes.

    Raises `DamagedData` when anything about the bundle is wrong, and takes nothing then; with `salvage` the traces
    that are whole are taken and the rest is named. Raises `UsageError` for a conflict that is to be refused, and for
    one that unpacks to more than `max_size` bytes.
    """
    with Bundle(path, salvage) as bundle, _Import(home, path.name, conflict) as work:
        work.left_out += [(f"byte {flaw.offset}", flaw.reason) for flaw in bundle.flaws]
        frames = Frames(bundle, _declared(bundle), max_size)
        for member in bundle_frames.trace_members(bundle):
            try:
                with work.stage() as (file, staged):
                    _write(file, _marked(frames.of(member), path.name))
                work.staged(staged)
            except TooMuch:
                raise
            except DamagedData as error:
                if not salvage:
                    raise
                work.left_out.append((f"trace number {member.number}", error.problem))
        damaged = bool(work.left_out)
        return work.finish(_notes(bundle, salvage))._replace(damaged=damaged)


def _declared(bundle: Bundle) -> int:
    """What the traces unpack to, as the bundle says; with room for what that leaves out."""
    told = [one.get("size") for one in bundle.index.get("traces", ()) if isinstance(one, dict)]
    sizes = [size for size in told if isinstance(size, int) and size >= 0]
    if not sizes or len(sizes) < len(told):
        return _LIKELY
    return sum(sizes) * 2 + (16 << 20)


def _notes(bundle: Bundle, salvage: bool) -> list[Note]:
    try:
        return list(notes.parse(b"\n".join(bundle_frames.notes(bundle))).notes)
    except DamagedData:
        if salvage:
            return []
        raise


def _marked(frames: Iterable[list[Any]], source: str) -> Iterator[list[Any]]:
    """The frames, with where they are from added to what the trace knows of itself, unless it says so already."""
    for elements in frames:
        if elements[0] == Code.TRACE and len(elements) > 2 and isinstance(elements[2], dict):
            known = elements[2].get("provenance")
            provenance = {
                "imported": {"format": "bundle", "file": source},
                **(known if isinstance(known, dict) else {}),
            }
            elements = [*elements[:2], {**elements[2], "provenance": provenance}, *elements[3:]]
        yield elements


def sweep(home: Path) -> None:
    """Remove what killed imports left in a home."""
    for left in home.glob(f"{_STAGING}*"):
        with contextlib.suppress(OSError, ValueError):  # somebody else is just removing it
            pid = int(left.name.removeprefix(_STAGING).split("-")[0])
            if time.time() - left.stat().st_mtime > _STALE_S or not lives(pid):
                shutil.rmtree(left, ignore_errors=True)


class _Import:
    """One import: a folder in the home where everything is made ready."""

    def __init__(self, home: Path, source: str, conflict: Conflict) -> None:
        self.home, self.source, self.conflict = home, source, conflict
        self.left_out: list[tuple[str, str]] = []
        self.forgotten: list[tuple[str, str]] = []
        self.gone = forgotten.read(home)
        self.copied: dict[str, str] = {}
        """Traces under ids of their own, those that were there already among them."""
        self._traces: dict[str, Path] = {}
        self._started: dict[str, int] = {}
        self._kin: dict[str, tuple[str, ...]] = {}

    def __enter__(self) -> _Import:
        try:
            homes.prepare(str(self.home))
            sweep(self.home)
            self.store = open_home(self.home)
            self.known = {row[0] for row in self.store.query("SELECT id FROM traces").rows}
            self.folder = self.home / f"{_STAGING}{os.getpid()}-{os.urandom(4).hex()}"
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise UsageError(
                f"{self.home} cannot be written: {error.strerror or error}.", "Choose another --home."
            ) from error
        return self

    def __exit__(self, *exc_info: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def stage(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A file to write a trace into."""
        path = self.folder / f"{len(self._traces):08d}-{os.urandom(3).hex()}"
        try:
            with path.open("wb") as file:
                yield file, path
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UsageError(
                f"{self.folder} cannot be written: {error.strerror or error}.", "Make room, or choose another --home."
            ) from error

    def staged(self, path: Path, expected: str | None = None) -> None:
        """Check that a file holds exactly one whole trace, and remember it. Raises `DamagedData`."""
        tape = _only(path, self.source)
        own = tape.trace.id
        if own in self._traces or (expected is not None and expected != own):
            raise DamagedData(f"{self.source} holds the trace {own} twice.", "Export it again.")
        self._traces[own], self._started[own] = path, tape.trace.started_ns
        self._kin[own] = tuple(one for one in (tape.trace.parent, tape.trace.within) if one is not None)

    def left(self, own: str, what: str = "") -> bool:
        """Whether something is left out since it was forgotten here; then it is noted."""
        if not self.gone or forgotten.mark(own) not in self.gone:
            return False
        self.forgotten.append((f"{what}{own}", forgotten.WAS))
        return True

    def leave(self) -> None:
        """Leave out what was forgotten here, and what replays it or lies within it: that holds the same."""
        for own, reason in forgotten.left_out(self.home, self._kin).items():
            self._traces.pop(own).unlink()
            self.forgotten.append((own, reason))

    # --------------------------------------------------------------------------------------- finishing

    def finish(self, written: list[Note]) -> Imported:
        """Compare with what is there, and put what is new among the journals."""
        self.leave()
        same, new, copies = self._sorted()
        for own in new:
            self._place(self._traces[own], own, self._started[own])
        for own, other in copies.items():
            self._place(self._rewritten(self._traces[own], copies), other, self._started[own])
        here = {**{own: own for own in (*new, *same)}, **self.copied}
        added = self._add_notes(written, here)
        taken = (*new, *copies.values())
        if taken:
            open_home(self.home)
        left_out = (*self.left_out, *self.forgotten)
        return Imported(taken, tuple(same), left_out, tuple(copies.items()), added)

    def _sorted(self) -> tuple[list[str], list[str], dict[str, str]]:
        same: list[str] = []
        other: list[str] = []
        for own in sorted(self._traces.keys() & self.known):
            try:
                ours = self.store.tape(own, within=False)
            except TraceNotFound:  # it has been removed since
                self.known.discard(own)
                continue
            theirs = _only(self._traces[own], self.source)
            (same if _content(theirs) == _content(ours) else other).append(own)
        if other and self.conflict is Conflict.REFUSE:
            raise UsageError(
                f"{self.source} has other contents for {_list(other)}, which {self.home} has already.",
                "Take what is new with --conflict skip, or both with --conflict copy. Nothing was imported.",
            )
        copies: dict[str, str] = {}
        if self.conflict is Conflict.COPY:
            names = {own: f"{own}-{_content(_only(self._traces[own], self.source))[3:11]}" for own in other}
            self.copied = {own: name for own, name in names.items() if not self.left(name)}
            same += [name for name in self.copied.values() if name in self.known]
            copies = {own: name for own, name in self.copied.items() if name not in self.known}
        else:
            self.left_out += [(own, "the home has other contents under this id") for own in other]
        new = [own for own in self._traces if own not in self.known]
        return same, new, copies

    def _rewritten(self, path: Path, copies: dict[str, str]) -> Path:
        """The trace under its new id. What refers to another copied trace goes on doing so."""
        tape = _only(path, self.source)
        trace = tape.trace
        within, parent = (None if own is None else copies.get(own, own) for own in (trace.within, trace.parent))
        tape = tape._replace(trace=trace._replace(id=copies[trace.id], within=within, parent=parent))
        with self.stage() as (file, place):
            _write(file, tape_file.frames(tape))
        return place

    def _place(self, path: Path, own: str, started_ns: int) -> None:
        name = own if _SAFE_ID.fullmatch(own) else digest(own.encode("utf-8", "surrogatepass"))[3:]
        place = Path(homes.journals(self.home)) / f"{max(0, started_ns):016x}-import-{name}{SUFFIX}"
        try:
            os.link(path, place)
        except FileExistsError:  # another process imports the same
            if place.read_bytes() != path.read_bytes():
                raise UsageError(
                    f"{place} is there already, with other contents.", "Another import is going on: repeat this one."
                ) from None
        except OSError:  # a file system without links
            os.replace(path, place)

    def _add_notes(self, written: list[Note], here: dict[str, str]) -> int:
        wanted = [note for note in written if note.trace in here and not self.left(note.id, "note ")]
        if not wanted:
            return 0
        moved = [_moved(note, here[note.trace]) for note in wanted]
        try:
            known = {note.id for note in notes.read(self.home).notes}
            new = [note for note in moved if note.id not in known]
            for note in new:
                notes.write(self.home, note)
        except OSError as error:
            raise UsageError(
                f"The traces are here, but {notes.path_of(self.home)} cannot be used: {error.strerror}.",
                "Check it, and import again for the notes.",
            ) from error
        return len(new)


def _moved(note: Note, trace: str) -> Note:
    """A note on the trace as it is called here. On a copy it is another note, always the same for the same copy."""
    if note.trace == trace:
        return note
    own = digest(f"{note.id} {trace}".encode("utf-8", "surrogatepass"))[3:13]
    return note._replace(id=f"n{own}", trace=trace)


def _only(path: Path, source: str) -> Tape:
    """The trace of a staged file. Raises `DamagedData` unless it is exactly one, whole, under an id one can type."""
    try:
        part = tapes.read_part(path)
        found = tapes.assemble([part])
        problem = part.damage[0].reason if part.damage else ""
    except Exception as error:  # frames that are whole and say what cannot be
        raise DamagedData(
            f"{source} has a trace that cannot be put together: {type(error).__name__}: {error}."
        ) from error
    if problem or len(found) != 1 or part.loss is not None:
        raise DamagedData(f"{source} has a trace that cannot be read: {problem or f'{len(found)} traces in one'}.")
    trace = found[0].trace
    if not _is_id(trace.id):
        raise DamagedData(
            f"{source} has a trace with the id {str(trace.id)[:60]!r}.", "Ids are short and without spaces."
        )
    if not 0 <= trace.started_ns < 2**63:
        raise DamagedData(f"{source} has a trace that began at {trace.started_ns} ns.", "Times are Unix nanoseconds.")
    return found[0]


def _is_id(own: object) -> bool:
    """Whether it can be typed as a reference: a short text without spaces."""
    return isinstance(own, str) and own.isprintable() and 0 < len(own) <= 200 and " " not in own


def _content(tape: Tape) -> str:
    """What a trace is, whatever way it came here."""
    imported = tape.trace.provenance.get("imported")
    provenance = {key: value for key, value in tape.trace.provenance.items() if key != "imported"}
    tape = tape._replace(trace=tape.trace._replace(provenance=provenance))
    if isinstance(imported, dict) and "times" in (imported.get("lacks") or ()):
        tape = tape._replace(trace=tape.trace._replace(started_ns=0))  # it may be that of a file, and so of a copy
    return digest(msgpack.packb(tape, use_bin_type=True, unicode_errors="surrogatepass"))


def _list(ids: list[str]) -> str:
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return ("trace " if len(ids) == 1 else "traces ") + ", ".join(ids[:5]) + more


# ------------------------------------------------------------------------------------------- tape files


def _write(file: BinaryIO, frames: Iterable[list[Any]]) -> None:
    """Write a tape file. A body that goes on where one before it ended is written as what is new in it."""
    file.write(journal.header_bytes())
    before: dict[str, tuple[int, int, bytes]] = {}
    count = 0
    for elements in frames:
        if elements[0] == Code.CALL and len(elements) > 9 and isinstance(elements[9], bytes):
            body = elements[9]
            if len(body) >= DELTA_MIN:
                lane = repr(elements[5])
                elements = [*elements[:9], _delta(body, before.get(lane), count), *elements[10:]]
                before[lane] = (count, elements[1], body)
                count += 1
                if len(before) > BASE_WINDOW:
                    del before[min(before, key=lambda name: before[name][0])]
        file.write(journal.frame(journal.pack(elements)))


def _delta(body: bytes, base: tuple[int, int, bytes] | None, count: int) -> bytes | list[Any]:
    if base is None or count - base[0] >= BASE_WINDOW:
        return body
    prefix = common_prefix(base[2], body)
    suffix = common_suffix(base[2], body, min(len(base[2]), len(body)) - prefix)
    if prefix + suffix < DELTA_MIN:
        return body
    return [base[1], prefix, suffix, body[prefix : len(body) - suffix]]
