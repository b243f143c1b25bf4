"""Taking traces out of a journal: the file goes when it tells of nothing else, else it is written anew beside.

What stays is told as before, frame by frame: only what a removed frame had defined for later ones (a header, a place
in the source, the base of a body) is put into the first frame that needs it. Damaged stretches cannot be attributed to
a trace and are left out; the header of the new file counts them as lost frames.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from rashomon import journal as journals
from rashomon.errors import DamagedData, RashomonError
from rashomon.journal import BASE_WINDOW, DELTA_MIN, Code, Delta, Scan
from rashomon.model import Loss
from rashomon.store import forgotten, liveness

BESIDE = ".rewrite-"
"""What follows a journal's name while it is written anew; then the number of the process that does it."""

_BY_STEP = frozenset((Code.HEAD, Code.PIECE, Code.END, Code.MATCH, Code.MARK))
_BY_TRACE = frozenset(
    (
        Code.TRACE,
        Code.CONNECT,
        Code.TRACE_END,
        Code.DIVERGENCE,
        Code.READ,
        Code.POINT,
        Code.UNCONTROLLED,
        Code.LAUNCHED,
    )
)
_SITES = {Code.READ: 8, Code.UNCONTROLLED: 4, Code.LAUNCHED: 5}


class Removed(NamedTuple):
    """What was done with one journal: `deleted`, `rewritten` or `left` (and why). Sizes in bytes."""

    name: str
    action: str
    before: int
    after: int
    reason: str = ""


class Outline(NamedTuple):
    """What a journal tells of, without its contents: its process, whether that ended, ids of traces by number, and of
    each trace what it replays and is within."""

    process: dict[str, Any]
    closed: bool
    traces: dict[Any, Any]
    kin: dict[str, tuple[str, ...]]
    damaged: int
    loss: Loss | None


def outline(path: Path) -> Outline:
    """Look through a journal. Raises as `journal.read` does."""
    process: dict[str, Any] = {}
    closed = False
    traces: dict[Any, Any] = {}
    kin: dict[str, tuple[str, ...]] = {}
    with path.open("rb") as file:
        scan = Scan(file, str(path))
        for elements in scan:
            code = elements[0]
            if code == Code.PROCESS and len(elements) > 1 and isinstance(elements[1], dict):
                process = elements[1]
            elif code == Code.TRACE and len(elements) > 2 and isinstance(elements[2], dict):
                number = elements[1]
                name = elements[2].get("id")
                traces[number if isinstance(number, int) else str(number)] = name
                if isinstance(name, str):
                    kin[name] = forgotten.kin(elements[2])
            closed = closed or code == Code.CLOSE
    return Outline(process, closed, traces, kin, len(scan.damage), scan.loss)


def remove_from(path: Path, gone: Collection[str], ended: bool = False) -> Removed:
    """Take these traces out of one journal, whole or not at all. Raises OSError when the folder cannot be written.

    A journal that may still grow is left. `ended` as in `liveness.growing`.
    """
    before = path.stat()
    try:
        found = outline(path)
    except RashomonError as error:
        return Removed(path.name, "left", before.st_size, before.st_size, error.problem.rstrip("."))
    reason = liveness.growing(path, found.process, found.closed, ended)
    if reason is not None:
        return Removed(path.name, "left", before.st_size, before.st_size, reason)
    kept = {number for number, name in found.traces.items() if not (isinstance(name, str) and name in gone)}
    if not kept:
        path.unlink()
        _sync(path.parent)
        return Removed(path.name, "deleted", before.st_size, 0)
    beside = path.with_name(f"{path.name}{BESIDE}{os.getpid()}")
    try:
        _write_beside(path, beside, found, kept, before.st_mode & 0o777)
        now = path.stat()
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (before.st_size, before.st_mtime_ns, before.st_ino):
            return Removed(path.name, "left", before.st_size, now.st_size, "it changed while it was read")
        after = beside.stat().st_size
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    _sync(path.parent)
    return Removed(path.name, "rewritten", before.st_size, after)


def _sync(folder: Path) -> None:
    """Make a change of names last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_beside(path: Path, beside: Path, found: Outline, kept: set[Any], mode: int) -> None:
    """The new file, with what is kept."""
    header = journals.header_bytes()
    if found.damaged or found.loss:
        loss = found.loss or Loss(f"{found.damaged} damaged stretch(es)", 0)
        tail = journals.loss_bytes(loss.steps, found.damaged, loss.reason)
        header = header[: journals.LOSS_OFFSET] + tail + header[journals.LOSS_OFFSET + len(tail) :]
    copy = _Copy(kept)
    with path.open("rb") as source, beside.open("wb") as target:
        os.chmod(beside, mode)
        target.write(header)
        for elements in Scan(source, str(path)):
            try:
                changed = copy.frame(elements)
            except (IndexError, KeyError, TypeError, ValueError):  # what nobody understands belongs to no trace
                continue
            if changed is not None:
                target.write(journals.frame(journals.pack(changed)))
        target.flush()
        os.fsync(target.fileno())


class _Copy:
    """What the frames so far have defined, in the old file and in the new one."""

    def __init__(self, kept: set[Any]) -> None:
        self.kept = kept
        self.steps: set[Any] = set()
        self.headers = _Definitions()
        self.sites = _Definitions()
        self.bases: dict[int, bytes] = {}
        self.written: dict[int, None] = {}

    def frame(self, elements: list[Any]) -> list[Any] | None:
        """A frame as the new file has it; None when it goes."""
        code = elements[0]
        if code == Code.CALL:
            return self.call(elements)
        if code in _BY_STEP:
            kept = elements[1] in self.steps
            if code == Code.HEAD:
                elements = [*elements[:3], self.head(elements[3], kept), *elements[4:]]
            return elements if kept else None
        if code in _BY_TRACE:
            kept = elements[1] in self.kept or (elements[1] is None and code == Code.CONNECT)
            at = _SITES.get(code)
            if at is not None and len(elements) > at:
                site = self.sites.put(elements[at], kept)
                elements = [*elements[:at], site, *elements[at + 1 :]]
            return elements if kept else None
        return elements

    def call(self, elements: list[Any]) -> list[Any] | None:
        """A call: its head's headers, and its body, with what they stand on."""
        number, kept = elements[1], elements[2] in self.kept
        head = self.head(elements[8], kept)
        body = self.body(number, elements[9], kept)
        if not kept:
            return None
        self.steps.add(number)
        return [*elements[:8], head, body, *elements[10:]]

    def head(self, head: Any, kept: bool) -> Any:
        """A head whose headers are defined where the new file needs it."""
        if not isinstance(head, dict) or "headers" not in head:
            return head
        return {**head, "headers": [self.headers.put(item, kept) for item in head["headers"]]}

    def body(self, number: int, body: Any, kept: bool) -> Any:
        """A body as the new file has it: whole when what it builds on is not there."""
        if isinstance(body, bytes):
            content, same = body, True
        else:
            delta = Delta(*body)
            base = self.bases.get(delta.base)
            if base is None:
                return body  # cannot be rebuilt in the old file either, nor will it be in the new one
            try:
                content, same = delta.apply(base), delta.base in self.written
            except DamagedData:
                return body
        if len(content) >= DELTA_MIN:
            _keep_last(self.bases, number, content)
            if kept:
                _keep_last(self.written, number, None)
        return body if same else content


def _keep_last(bases: dict[int, Any], number: int, content: Any) -> None:
    bases[number] = content
    while len(bases) > BASE_WINDOW:
        del bases[next(iter(bases))]


class _Definitions:
    """Values that are written once and then named by a number: `k`, `[k, ...]`, or `[nil, ...]`."""

    def __init__(self) -> None:
        self.known: dict[int, list[Any]] = {}
        self.written: dict[int, list[Any]] = {}

    def put(self, item: Any, kept: bool) -> Any:
        """An item as the new file has it."""
        if isinstance(item, int):
            value = self.known.get(item)
            if not kept or value is None or self.written.get(item) == value:
                return item
            self.written[item] = value
            return [item, *value]
        if isinstance(item, (list, tuple)) and item and item[0] is not None:
            self.known[item[0]] = list(item[1:])
            if kept:
                self.written[item[0]] = list(item[1:])
        return item


def leftovers(folder: Path, alive: Callable[[int], bool]) -> list[Path]:
    """Half-written journals of processes that died: to be deleted."""
    found = []
    for path in folder.glob(f"*{journals.SUFFIX}{BESIDE}*"):
        pid = path.name.rpartition("-")[2]
        if not pid.isdecimal() or not alive(int(pid)):
            found.append(path)
    return found
