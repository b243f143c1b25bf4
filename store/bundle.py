"""The file format of a bundle (`.rsh`): members with digests, and an index at the end. `docs/formats/bundle.md`.

This module knows bytes and members; `bundle_frames` knows what traces look like in them.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import struct
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from rashomon.errors import DamagedData, ForeignFile, NewerFormat

VERSION = 1
SUFFIX = ".rsh"
MAGIC = b"RSHBNDL\0"
END_MAGIC = b"RSHBEND\0"
_HEADER = struct.Struct("<8sHHI")
_MEMBER = struct.Struct("<4sIQQ32sII")
_TRAILER = struct.Struct("<Q32s8s")
HEADER_SIZE, MEMBER_SIZE, TRAILER_SIZE = _HEADER.size, _MEMBER.size, _TRAILER.size

PARTS, TRACE, NOTES, INDEX = b"PART", b"TRAC", b"NOTE", b"INDX"
_KINDS = (PARTS, TRACE, NOTES, INDEX)
_KIND = re.compile(b"|".join(_KINDS))
_PLAIN, _XZ = 0, 1
_PRESET = 4
"""xz: of what a denser one saves, a hundredth; of what it costs, a multiple."""
_BLOCK = 1 << 20
_XZ_MEMORY = 128 << 20
MAX_MEMBERS = 1_000_000
MAX_WHOLE = 64 << 20
"""Members that are unpacked in one go (all but traces) have at most so many bytes."""

_REMEDY = "Fetch or export it again; --salvage takes the traces that are whole."


class Member(NamedTuple):
    """A member as its header describes it. `offset` is where its stored bytes begin; sizes are in bytes."""

    kind: bytes
    number: int
    offset: int
    stored: int
    size: int
    digest: bytes
    method: int


class Flaw(NamedTuple):
    """Bytes of a bundle that are not what they should be: where, and what is wrong."""

    offset: int
    reason: str


def _member_header(kind: bytes, number: int, stored: bytes, size: int, method: int) -> bytes:
    start = _MEMBER.pack(kind, number, len(stored), size, blake2b(stored, digest_size=32).digest(), method, 0)[:-4]
    return start + struct.pack("<I", zlib.crc32(start))


class Writer:
    """Writes members one after another, then the index and the trailer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._whole = blake2b(digest_size=32)
        self._at = 0
        self._write(_HEADER.pack(MAGIC, VERSION, HEADER_SIZE, 0))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._whole.update(data)
        self._at += len(data)

    def member(self, kind: bytes, number: int, content: bytes) -> None:
        """Add a member; it is packed where that makes it smaller."""
        packed = lzma.compress(content, lzma.FORMAT_XZ, lzma.CHECK_CRC32, _PRESET)
        stored, method = (packed, _XZ) if len(packed) < len(content) else (content, _PLAIN)
        self._write(_member_header(kind, number, stored, len(content), method))
        self._write(stored)

    def finish(self, index: dict[str, Any]) -> None:
        """Write the index and the trailer: now the bundle is whole."""
        at = self._at
        self.member(INDEX, 0, json.dumps(index, sort_keys=True).encode())
        self._file.write(_TRAILER.pack(at, self._whole.digest(), END_MAGIC))


class Bundle:
    """An open bundle. `members` are those whose bytes have their digest, by their place; `flaws` what is wrong.

    Nothing of a file is believed before its digests hold; with `salvage`, what holds is believed without the rest.
    Raises `ForeignFile`, `NewerFormat`; without `salvage` `DamagedData` that names the first flaw.
    """

    def __init__(self, path: Path, salvage: bool = False) -> None:
        self.path = path
        self._file = path.open("rb")
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            self._check_header()
            self.flaws: list[Flaw] = []
            self.members = self._walk()
            if self.flaws and not salvage:
                flaw = self.flaws[0]
                raise DamagedData(f"{path} is damaged at byte {flaw.offset:,}: {flaw.reason}.", _REMEDY)
            self.index = self._read_index(salvage)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def of_kind(self, kind: bytes) -> list[Member]:
        """The members of one kind, by their numbers."""
        return sorted([member for member in self.members if member.kind == kind], key=lambda one: one.number)

    # --------------------------------------------------------------------------------------- checking

    def _check_header(self) -> None:
        start = self._file.read(HEADER_SIZE)
        if not start or start[:8] != MAGIC[: len(start)]:
            raise ForeignFile(f"{self.path} is no bundle.", "Name a file that `rashomon export` wrote.")
        if len(start) < HEADER_SIZE:
            raise DamagedData(f"{self.path} is cut off within its first {HEADER_SIZE} bytes.", _REMEDY)
        _, version, _, _ = _HEADER.unpack(start)
        if version > VERSION:
            raise NewerFormat(
                f"{self.path} has bundle format {version}; this version reads up to {VERSION}.", "Upgrade rashomon."
            )

    def _walk(self) -> list[Member]:
        """Look at each byte once: every member's digest, then that of the whole."""
        whole = blake2b(digest_size=32)
        self._file.seek(0)
        whole.update(self._file.read(HEADER_SIZE))
        members: list[Member] = []
        at, end = HEADER_SIZE, self._size - TRAILER_SIZE
        while at < end:
            member = self._member_at(at, end)
            if member is None:
                following = self._next_member(at + 1, end)
                cut = following >= end and not self._ends_whole()
                self.flaws.append(Flaw(at, "the file is cut off" if cut else "no member begins there"))
                at = following
                continue
            if self._holds(member, whole):
                members.append(member)
                if len(members) > MAX_MEMBERS:
                    self.flaws.append(Flaw(at, f"it has more than {MAX_MEMBERS:,} members"))
                    break
            else:
                self.flaws.append(Flaw(member.offset, f"{_name(member)} does not have its digest"))
            at = member.offset + member.stored
        self._check_trailer(members, whole.digest())
        return members

    def _ends_whole(self) -> bool:
        self._file.seek(max(0, self._size - len(END_MAGIC)))
        return self._file.read() == END_MAGIC

    def _check_trailer(self, members: list[Member], whole: bytes) -> None:
        if self.flaws:
            return
        at = max(HEADER_SIZE, self._size - TRAILER_SIZE)
        self._file.seek(at)
        trailer = self._file.read()
        if len(trailer) < TRAILER_SIZE or not members or members[-1].kind != INDEX:
            self.flaws.append(Flaw(self._size, "the file is cut off"))
            return
        index_at, digest, magic = _TRAILER.unpack(trailer)
        if magic != END_MAGIC or digest != whole or index_at != members[-1].offset - MEMBER_SIZE:
            self.flaws.append(Flaw(at, "the digest of the whole does not hold"))

    def _member_at(self, at: int, end: int) -> Member | None:
        """The member whose header stands there, if it can be true."""
        self._file.seek(at)
        head = self._file.read(MEMBER_SIZE)
        if len(head) < MEMBER_SIZE or head[:4] not in _KINDS:
            return None
        kind, number, stored, size, digest, method, crc = _MEMBER.unpack(head)
        offset = at + MEMBER_SIZE
        if zlib.crc32(head[:-4]) != crc or stored > end - offset or method not in (_PLAIN, _XZ):
            return None
        return Member(kind, number, offset, stored, size, digest, method)

    def _next_member(self, at: int, end: int) -> int:
        """Where the next header stands behind a damaged one; `end` if none does."""
        while at < end:
            self._file.seek(at)
            window = self._file.read(_BLOCK)
            for found in _KIND.finditer(window):
                if self._member_at(at + found.start(), end) is not None:
                    return at + found.start()
            at += max(1, len(window) - 3)
        return end

    def _holds(self, member: Member, whole: Any) -> bool:
        own = blake2b(digest_size=32)
        self._file.seek(member.offset - MEMBER_SIZE)
        whole.update(self._file.read(MEMBER_SIZE))
        left = member.stored
        while left:
            data = self._file.read(min(left, _BLOCK))
            if not data:  # it was cut while we read
                return False
            own.update(data)
            whole.update(data)
            left -= len(data)
        return own.digest() == member.digest

    def _read_index(self, salvage: bool) -> dict[str, Any]:
        found = self.of_kind(INDEX)
        try:
            index = json.loads(self.content(found[-1]))
            if isinstance(index, dict) and isinstance(index.get("traces"), list):
                return index
            raise ValueError("not an index")
        except (IndexError, ValueError, RecursionError, DamagedData) as error:
            if salvage:
                return {}
            raise DamagedData(f"{self.path} has an index that cannot be read.", _REMEDY) from error

    # ---------------------------------------------------------------------------------------- reading

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The content of a member, piece by piece, never more of it than its header says.

        Raises `DamagedData` when it unpacks to anything else.
        """
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY) if member.method == _XZ else None
        at, left, given = member.offset, member.stored, 0
        try:
            while left or (unpacker is not None and not unpacker.eof):
                data = b""
                if unpacker is None or unpacker.needs_input:
                    self._file.seek(at)
                    data = self._file.read(min(left, _BLOCK))
                    if not data:
                        break
                    at, left = at + len(data), left - len(data)
                if unpacker is not None:
                    data = unpacker.decompress(data, _BLOCK)
                given += len(data)
                if given > member.size or (unpacker is not None and unpacker.eof and (left or unpacker.unused_data)):
                    raise EOFError
                if data:
                    yield data
        except (lzma.LZMAError, EOFError, MemoryError) as error:
            raise self._wrong(member) from error
        if given != member.size or left:
            raise self._wrong(member)

    def content(self, member: Member) -> bytes:
        """The whole content of a member that is no trace. Raises `DamagedData`."""
        if member.size > MAX_WHOLE:
            raise self._wrong(member)
        return b"".join(self.chunks(member))

    def _wrong(self, member: Member) -> DamagedData:
        return DamagedData(f"{self.path} is damaged: {_name(member)} does not unpack to what its header says.", _REMEDY)


def _name(member: Member) -> str:
    names = {PARTS: "the block of parts from number", TRACE: "trace number", NOTES: "the notes, member", INDEX: "index"}
    return f"{names[member.kind]} {member.number}"
