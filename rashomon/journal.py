"""The journal: the append-only file that one recording process writes. `docs/formats/journal.md`.

A fixed header, then frames: `u32 length, u32 crc32(payload), payload`, little endian; a payload is one
msgpack array whose first element is the frame's code. Readers ignore trailing elements and codes that
they do not know. A tape file is a journal with one process in it. This module knows bytes and frames;
`rashomon.tapes` knows what they mean together.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgpack

from rashomon.errors import DamagedData, ForeignFile, NewerFormat
from rashomon.home import SUFFIX as SUFFIX
from rashomon.model import Loss
from rashomon.version import JOURNAL as VERSION

if TYPE_CHECKING:
    from pathlib import Path  # not at run time: a recorded process pays for each import

MAGIC = b"RSHJRNL\0"
HEADER_SIZE = 64
_HEADER = struct.Struct("<8sHHIII40s")
_FRAME = struct.Struct("<II")
MAX_FRAME = 1 << 30
WINDOW = 1 << 20
"""A journal is read in pieces of this many bytes, or of one frame where that is longer."""
LOSS_OFFSET = 16
_LOSS = struct.Struct("<II40s")

_FAR = 1 << 26
"""Behind damage, a frame is looked for that is no longer than this: a wrong guess costs as much to check."""
_CANDIDATE = re.compile(rb"[\x91-\x9f][\x00-\x7f]")
_CHECKED = 4096

BASE_WINDOW = 64
"""A request body may be a delta against one of the last 64 bodies of `DELTA_MIN` bytes or more."""
DELTA_MIN = 256


class Code(IntEnum):
    """The first element of a frame, and in the comment the elements that follow it."""

    PROCESS = 0  # map
    TRACE = 1  # trace number, map
    CALL = 2  # step, trace number, kind, name, lane, t_us, within, head, body | [base, prefix, suffix, middle]
    HEAD = 3  # step, t_us, head
    PIECE = 4  # step, t_us, bytes
    END = 5  # step, t_us, end state, nil | [type, message, values]
    MATCH = 6  # step, grade, recorded step id | nil, detail
    CONNECT = 7  # trace number | nil, t_us, peer, step | nil
    TRACE_END = 8  # trace number, t_us, map
    DIVERGENCE = 9  # trace number, map
    CLOSE = 10  # t_us
    MARK = 11  # step, text
    READ = 12  # trace number, kind, what, value, lane, t_us, within, site
    POINT = 13  # trace number, event, step | nil, lane, number, loop, epoch, tick, t_us, within, delay_us
    UNCONTROLLED = 14  # trace number, what, reason, site | nil
    LAUNCHED = 15  # trace number, argv, lane, within, site | nil


UNREADABLE = "checksum does not match"


class Damage(NamedTuple):
    """Bytes of a journal that cannot be read (`UNREADABLE`) or not be understood: where, how many, and why."""

    offset: int
    size: int
    reason: str

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.offset + self.size


def header_bytes() -> bytes:
    """The first 64 bytes of a new journal."""
    return _HEADER.pack(MAGIC, VERSION, HEADER_SIZE, 0, 0, 0, b"")


def loss_bytes(steps: int, frames: int, reason: str) -> bytes:
    """What is written over `LOSS_OFFSET` when frames were lost: it needs no new space on the disk."""
    return _LOSS.pack(min(steps, 2**32 - 1), min(frames, 2**32 - 1), reason.encode()[:40])


def frame(payload: bytes) -> bytes:
    """A payload with its length and checksum."""
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def pack(elements: list[Any]) -> bytes:
    """The payload of a frame. Text that UTF-8 cannot hold is kept as `surrogatepass` bytes do."""
    return msgpack.packb(elements, use_bin_type=True, unicode_errors="surrogatepass")  # type: ignore[no-any-return]


class Delta(NamedTuple):
    """A body as an edit of another: keep `prefix` and `suffix` bytes of `base`, put `middle` between."""

    base: int
    prefix: int
    suffix: int
    middle: bytes

    def apply(self, base: bytes) -> bytes:
        """The whole body."""
        end = len(base) - self.suffix
        if self.prefix > end or self.prefix < 0 or self.suffix < 0:
            raise DamagedData("A request body refers to more bytes than its base has.")
        view = memoryview(base)  # a conversation is long, and would be copied three times
        return b"".join((view[: self.prefix], self.middle, view[end:]))


def common_prefix(a: bytes, b: bytes) -> int:
    """How many leading bytes two bodies share. By halving: `startswith` compares by memcmp and copies nothing."""
    low, high = 0, min(len(a), len(b))
    view = memoryview(b)
    while low < high:
        middle = (low + high + 1) // 2
        if a.startswith(view[low:middle], low, middle):
            low = middle
        else:
            high = middle - 1
    return low


def common_suffix(a: bytes, b: bytes, limit: int) -> int:
    """How many trailing bytes two bodies share, at most `limit`."""
    low, high = 0, limit
    len_a, len_b, view = len(a), len(b), memoryview(b)
    while low < high:
        middle = (low + high + 1) // 2
        if a.startswith(view[len_b - middle : len_b - low], len_a - middle, len_a - low):
            low = middle
        else:
            high = middle - 1
    return low


class Journal(NamedTuple):
    """What could be read of a file: frames in order, damage, the loss its writer reported.

    `end` is the offset behind the last whole frame; `torn` the bytes after it that a killed writer left.
    """

    path: str
    frames: tuple[list[Any], ...]
    damage: tuple[Damage, ...]
    loss: Loss | None
    end: int
    torn: int


def read(path: Path | str) -> Journal:
    """Read a journal up to its last whole frame.

    Raises `ForeignFile` or `NewerFormat` for a file that is not ours to read, OSError if it cannot be opened.
    """
    with open(path, "rb") as file:
        scan = Scan(file, os.fspath(path))
        frames = tuple(scan)
    return Journal(os.fspath(path), frames, tuple(scan.damage), scan.loss, scan.end, scan.torn)


def checksum(file: BinaryIO, end: int) -> int:
    """The checksum of a journal's last bytes before an offset, and of its first: not of those that may change."""
    file.seek(0)
    head = file.read(LOSS_OFFSET)
    start = max(HEADER_SIZE, end - _CHECKED)
    file.seek(start)
    return zlib.crc32(file.read(max(0, end - start)), zlib.crc32(head))


class Scan:
    """The frames of an open journal in order, from an offset on, read piece by piece.

    While it runs, `end` is the offset behind the last frame that it gave and `mark` a number that the frame determines
    (its length and checksum); `damage` lists what could not be read, and at last `torn` counts the bytes behind `end`
    that a killed or running writer left. Nothing behind `limit` is read. Raises as `read` does.
    """

    def __init__(self, file: BinaryIO, path: str, offset: int = 0, limit: int | None = None) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        if limit is not None:
            self.size = min(self.size, limit)
        head = file.read(HEADER_SIZE)
        self.loss = _read_header(head, path)
        self.end = max(offset, min(len(head), HEADER_SIZE))
        self.mark = 0
        self.damage: list[Damage] = []
        self.torn = 0
        self._at = max(offset, HEADER_SIZE)
        self._window = b""
        self._place = 0

    def __iter__(self) -> Iterator[list[Any]]:
        unpack_from, unpackb, crc32, header = _FRAME.unpack_from, msgpack.unpackb, zlib.crc32, _FRAME.size
        window, at = self._seek(self._at, header), 0
        there, place = len(window), self._place
        while True:
            start = at + header
            if start > there:
                if place + at >= self.size:
                    break
                window, at = self._seek(place + at, header), 0
                start, there, place = header, len(window), self._place
                if there < header:
                    break
            length, crc = unpack_from(window, at)
            stop = start + length
            if stop > there and length <= MAX_FRAME and place + stop <= self.size:
                window, at = self._seek(place + at, header + length), 0
                start, stop, there, place = header, header + length, len(window), self._place
            payload = window[start:stop]
            if stop <= there and length and 0x91 <= payload[0] <= 0x9F and crc32(payload) == crc:
                try:
                    elements = unpackb(payload)  # most have no need of the arguments, which take as long as all else
                except (
                    Exception
                ):  # text that is no UTF-8, a key that is no text, or damage: `_unusual` tells them apart
                    elements = _unusual(payload)
                if elements is not None:
                    at = stop
                    self.end = place + stop
                    self.mark = length << 32 | crc
                    yield elements
                    continue
            window, at = self._behind(place + at), 0
            there, place = len(window), self._place
        self.torn = max(0, self.size - self.end) if not self.damage or self.damage[-1].end < self.size else 0
        self._window = b""

    def place(self) -> tuple[int, int]:
        """The offset and the size of the last frame that it gave."""
        size = (self.mark >> 32) + _FRAME.size
        return self.end - size, size

    def check(self) -> int:
        """A checksum of the bytes before `end`, by which a file is known to have only grown since: `begins_as`."""
        return checksum(self._file, self.end)

    def _seek(self, offset: int, least: int) -> bytes:
        """The file from an offset on: at least so many bytes, where it has them, and at best a whole window."""
        self._place = offset
        self._file.seek(offset)
        self._window = self._file.read(min(max(least, WINDOW), max(0, self.size - offset)))
        return self._window

    def _behind(self, offset: int) -> bytes:
        """Skip what cannot be read there; the window behind it. What is no torn tail is noted as damage."""
        following, bounded = self._next(offset)
        if following < self.size or bounded:
            self.damage.append(Damage(offset, following - offset, UNREADABLE))
        return self._seek(following, _FRAME.size)

    def _next(self, offset: int) -> tuple[int, bool]:
        """Where the next whole frame is, or the end; and whether the broken one is all there, and not cut."""
        head = self._seek(offset, _FRAME.size)[: _FRAME.size]
        bounded = False
        if len(head) == _FRAME.size:
            length, _ = _FRAME.unpack(head)
            following = offset + _FRAME.size + int(length)
            bounded = length > 0 and following <= self.size
            if bounded and length <= MAX_FRAME and (following == self.size or self._whole(following)):
                return self._shorter(offset, following), True
        at = offset + 1
        while at < self.size:
            window = self._seek(at, _FRAME.size)
            for found in _CANDIDATE.finditer(window, _FRAME.size):
                place = at + found.start() - _FRAME.size
                length, _ = _FRAME.unpack_from(window, found.start() - _FRAME.size)
                if 0 < length <= _FAR and place + _FRAME.size + length <= self.size and self._whole(place):
                    return place, bounded
            if at + len(window) >= self.size:
                break
            at += len(window) - _FRAME.size - 1
        return self.size, bounded

    def _shorter(self, offset: int, following: int) -> int:
        """Where a frame really ends whose length alone is damaged, so that it seems to go on over others: what its
        checksum is of. `following` for one whose content is damaged.
        """
        frame = self._seek(offset, following - offset)
        _, crc = _FRAME.unpack_from(frame)
        running, done = 0, _FRAME.size
        for found in _CANDIDATE.finditer(frame, 2 * _FRAME.size, following - offset):
            end = found.start() - _FRAME.size
            running, done = zlib.crc32(frame[done:end], running), end
            if running == crc and end > _FRAME.size:
                return offset + end
        return following

    def _whole(self, offset: int) -> bool:
        """True when a whole frame begins there."""
        self._file.seek(offset)
        head = self._file.read(_FRAME.size)
        if len(head) < _FRAME.size:
            return False
        length, crc = _FRAME.unpack(head)
        if not 0 < length <= MAX_FRAME or offset + _FRAME.size + length > self.size:
            return False
        payload = self._file.read(length)
        if not (len(payload) == length and 0x91 <= payload[0] <= 0x9F and zlib.crc32(payload) == crc):
            return False
        try:
            msgpack.unpackb(payload, strict_map_key=False, unicode_errors="surrogatepass")
        except Exception:  # as in the walk: not ours
            return False
        return True


def _unusual(payload: bytes) -> Any:
    """A frame with keys that are no texts, or texts that UTF-8 cannot hold; None of what is not msgpack at all.

    That is somebody else's bytes: the checksum is right.
    """
    try:
        return msgpack.unpackb(payload, strict_map_key=False, unicode_errors="surrogatepass")
    except Exception:  # msgpack raises of many kinds for bytes that are none of its own
        return None


def _read_header(data: bytes, path: str) -> Loss | None:
    if not data:
        return None
    if data[:8] != MAGIC[: len(data[:8])]:
        raise ForeignFile(f"{path} is not a Rashomon journal.", "Name a file that `rashomon record` wrote.")
    if len(data) < HEADER_SIZE:
        return None
    _, version, _, _, steps, frames, reason = _HEADER.unpack_from(data)
    if version > VERSION:
        raise NewerFormat(
            f"{path} has journal format {version}; this version reads up to {VERSION}.", "Upgrade rashomon."
        )
    if not (steps or frames or reason.strip(b"\0")):
        return None
    return Loss(reason.rstrip(b"\0").decode("utf-8", "replace"), steps)
