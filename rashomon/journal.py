"""The journal: the append-only file that one recording process writes. `docs/formats/journal.md`.

A fixed header, then frames: `u32 length, u32 crc32(payload), payload`, little endian; a payload is one
msgpack array whose first element is the frame's code. Readers ignore trailing elements and codes that
they do not know. A tape file is a journal with one process in it. This module knows bytes and frames;
`rashomon.tapes` knows what they mean together.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from rashomon.errors import DamagedData, ForeignFile, NewerFormat
from rashomon.model import Loss

if TYPE_CHECKING:
    from pathlib import Path  # not at run time: a recorded process pays for each import

VERSION = 1
SUFFIX = ".rsj"
MAGIC = b"RSHJRNL\0"
HEADER_SIZE = 64
_HEADER = struct.Struct("<8sHHIII40s")
_FRAME = struct.Struct("<II")
MAX_FRAME = 1 << 30
LOSS_OFFSET = 16
_LOSS = struct.Struct("<II40s")

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


class Damage(NamedTuple):
    """Bytes of a journal that cannot be read: where, how many, and why."""

    offset: int
    size: int
    reason: str


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
        return base[: self.prefix] + self.middle + base[end:]


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
        data = file.read()
    loss = _read_header(data, os.fspath(path))
    frames: list[list[Any]] = []
    damage: list[Damage] = []
    end = torn = 0
    for item in _walk(data):
        if isinstance(item, Damage):
            damage.append(item)
        elif isinstance(item, int):
            torn = item
        else:
            end, elements = item
            frames.append(elements)
    return Journal(os.fspath(path), tuple(frames), tuple(damage), loss, end or min(len(data), HEADER_SIZE), torn)


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


def _walk(data: bytes) -> Iterator[tuple[int, list[Any]] | Damage | int]:
    """Each frame as (offset behind it, elements); damaged stretches; last, the size of a torn tail."""
    offset, size = HEADER_SIZE, len(data)
    while offset < size:
        found = _frame_at(data, offset)
        if found is not None:
            offset = found[0]
            yield found
            continue
        start = offset
        offset = _next_frame(data, offset)
        if offset < size or _ends_on_boundary(data, start):
            yield Damage(start, offset - start, "checksum does not match")
        else:
            yield size - start


def _frame_at(data: bytes, offset: int) -> tuple[int, list[Any]] | None:
    if offset + _FRAME.size > len(data):
        return None
    length, crc = _FRAME.unpack_from(data, offset)
    start, end = offset + _FRAME.size, offset + _FRAME.size + length
    if not 0 < length <= MAX_FRAME or end > len(data):
        return None
    payload = data[start:end]
    if not 0x91 <= payload[0] <= 0x9F or zlib.crc32(payload) != crc:
        return None
    try:
        elements = msgpack.unpackb(payload, strict_map_key=False, unicode_errors="surrogatepass")
    except Exception:  # the checksum is right and the content is not msgpack: somebody else's bytes
        return None
    return end, elements


def _ends_on_boundary(data: bytes, offset: int) -> bool:
    """True when the frame at `offset` is all there, so that its bytes were changed and not cut."""
    if offset + _FRAME.size > len(data):
        return False
    length, _ = _FRAME.unpack_from(data, offset)
    return 0 < int(length) <= len(data) - offset - _FRAME.size


def _next_frame(data: bytes, offset: int) -> int:
    """The offset of the next whole frame behind a damaged one, or the end of the data."""
    if _ends_on_boundary(data, offset):
        following = offset + _FRAME.size + int(_FRAME.unpack_from(data, offset)[0])
        if following == len(data) or _frame_at(data, following) is not None:
            return following
    for candidate in range(offset + 1, len(data) - _FRAME.size):
        if 0x91 <= data[candidate + _FRAME.size] <= 0x9F and _frame_at(data, candidate) is not None:
            return candidate
    return len(data)
