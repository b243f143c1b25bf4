"""What traces look like in a bundle: the frames of a tape file, with what is long in them named by number.

A body is a list of segments, and a segment that was there before, in this trace or another, is not written again:
so ten recordings of one agent cost what is new in each.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise
from typing import Any, BinaryIO

import msgpack

from rashomon import tape_file
from rashomon.errors import DamagedData, UsageError
from rashomon.journal import MAX_FRAME, Code
from rashomon.measures import shown_size
from rashomon.model import Tape
from rashomon.store.bundle import MAX_WHOLE, NOTES, PARTS, TRACE, Bundle, Member, Writer

LONG = 256
"""Bytes and texts of so many bytes are segments of their own."""
WORTH = 64
"""A segment of a body is named from so many bytes on; a shorter one is written where it stands."""
_CHUNK = 1 << 20
_BLOCK = 8 << 20
_BYTES, _TEXT, _EXTENSION = 1, 2, 3
_KEPT_BLOCKS = 6
_MOST_ELEMENTS = 1 << 16


class TooMuch(DamagedData):
    """A bundle that unpacks to more than is allowed."""


class BundleWriter:
    """Writes traces into a bundle, each segment once. Finish it, or the file is none."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer = Writer(file)
        self._numbers: dict[bytes, int] = {}
        self._block: list[bytes] = []
        self._block_size = self._block_first = 0
        self._traces: list[dict[str, Any]] = []
        self._notes = 0

    def add(self, tape: Tape) -> None:
        """Add a trace."""
        packed, size = [], 0
        for elements in tape_file.frames(tape):
            packed.append(_pack(self._frame(elements)))
            size += len(packed[-1])
        size += sum(len(step.request.body) + len(step.response.body) for step in tape.steps)
        trace, number = tape.trace, len(self._traces)
        self._writer.member(TRACE, number, b"".join(packed))
        facts = {"id": trace.id, "name": trace.name, "started_ns": trace.started_ns, "outcome": trace.outcome}
        more = {"parent": trace.parent, "within": trace.within, "steps": len(tape.steps), "size": size}
        commit = (trace.provenance.get("git") or {}).get("commit")
        self._traces.append({**facts, **more, "commit": commit, "number": number})

    def add_notes(self, lines: Iterable[bytes]) -> None:
        """Add notes that people wrote, as lines of JSON."""
        content = [line + b"\n" for line in lines]
        if content:
            self._writer.member(NOTES, self._notes, b"".join(content))
            self._notes += 1

    def finish(self, made_by: str) -> None:
        """Write what is left, and the index."""
        self._flush()
        self._writer.finish({"format": "rashomon.bundle/1", "made_by": made_by, "traces": self._traces})

    def _frame(self, elements: list[Any]) -> list[Any]:
        if elements[0] == Code.CALL:
            elements = [*elements]
            elements[9] = self._body(elements[9])
        return [self._shortened(element) for element in elements]

    def _shortened(self, value: Any) -> Any:
        """The value with what is long in it named."""
        if isinstance(value, bytes):
            return self._named(_BYTES, [value]) if len(value) >= LONG else value
        if isinstance(value, msgpack.ExtType):
            known = value.code == _BYTES and isinstance(value, _Ours)
            return value if known else msgpack.ExtType(_EXTENSION, _pack([value.code, value.data]))
        if isinstance(value, str):
            content = value.encode("utf-8", "surrogatepass") if len(value) >= LONG else b""
            return self._named(_TEXT, [content]) if content else value
        if isinstance(value, dict):
            return {key: self._shortened(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._shortened(item) for item in value]
        return value

    def _body(self, body: bytes) -> Any:
        return body if len(body) < LONG else self._named(_BYTES, segments(body))

    def _named(self, code: int, segments: list[bytes]) -> _Ours:
        found: list[int | bytes] = []
        for segment in segments:
            if len(segment) >= WORTH:
                found += [self._number(segment[at : at + _CHUNK]) for at in range(0, len(segment), _CHUNK)]
            elif segment:
                found.append(segment)
        return _Ours(code, _pack(found))

    def _number(self, segment: bytes) -> int:
        digest = blake2b(segment, digest_size=16).digest()
        number = self._numbers.get(digest)
        if number is None:
            number = self._numbers[digest] = len(self._numbers)
            self._block.append(segment)
            self._block_size += len(segment)
            if self._block_size >= _BLOCK:
                self._flush()
        return number

    def _flush(self) -> None:
        if self._block:
            self._writer.member(PARTS, self._block_first, b"".join(map(_pack, self._block)))
            self._block_first, self._block, self._block_size = len(self._numbers), [], 0


def segments(body: bytes) -> list[bytes]:
    """A body in slices: of a JSON object, the elements of its lists (messages, tools) are slices of their own."""
    if body[:1] != b"{":
        return [body]
    try:
        text = body.decode("utf-8")
        cuts = _cuts(text)
    except (ValueError, IndexError, RecursionError):  # not JSON, or cut
        return [body]
    places = [0, *cuts, len(text)]
    return [text[start:end].encode() for start, end in pairwise(places) if end > start]


def _cuts(text: str) -> list[int]:
    """Where the values of an object, and the elements of those that are lists, begin and end."""
    cuts: list[int] = []
    at = _skip(text, 1)
    while text[at] != "}":
        _, at = _decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # behind the colon
        if text[at] == "[":
            at = _skip(text, at + 1)
            while text[at] != "]":
                at = _value(text, at, cuts)
            at += 1
        else:
            at = _value(text, at, cuts)
            continue
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at
    return cuts


def _value(text: str, at: int, cuts: list[int]) -> int:
    """Cut around the value that stands there; where what follows it and its comma begins."""
    _, end = _decode(text, at)
    cuts += [at, end]
    end = _skip(text, end)
    return _skip(text, end + 1) if text[end] == "," else end


_decode = json.JSONDecoder().raw_decode
_space = re.compile(r"[ \t\r\n]*")


def _skip(text: str, at: int) -> int:
    found = _space.match(text, at)
    return found.end() if found else at


class _Ours(msgpack.ExtType):  # type: ignore[misc]
    """An extension value that this module made."""


def _pack(value: Any) -> bytes:
    return msgpack.packb(value, use_bin_type=True, unicode_errors="surrogatepass")  # type: ignore[no-any-return]


class Frames:
    """Reads the traces of a bundle as the frames of tape files; a few blocks of parts stay in memory.

    All of it may come to `said` bytes, which is what the bundle says of itself, and to `most`, which is what the user
    allows: what is named often can be much more than the file holds.
    """

    def __init__(self, bundle: Bundle, said: int, most: int) -> None:
        self._bundle, self._said, self._most, self._spent = bundle, said, most, 0
        self._blocks = bundle.of_kind(PARTS)
        self._firsts = [member.number for member in self._blocks]
        self._cache: dict[int, list[bytes]] = {}

    def of(self, member: Member) -> Iterator[list[Any]]:
        """The frames of one trace. Raises `DamagedData` where they are none, or parts of them are missing."""
        unpacker = msgpack.Unpacker(
            ext_hook=self._extension,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            max_buffer_size=MAX_FRAME,
            max_array_len=_MOST_ELEMENTS,  # memory is taken for what a header says, before anything else is read
            max_map_len=_MOST_ELEMENTS,
        )
        try:
            for chunk in self._bundle.chunks(member):
                self._spend(len(chunk))
                unpacker.feed(chunk)
                for elements in unpacker:
                    if not isinstance(elements, list) or not elements or not isinstance(elements[0], int):
                        raise ValueError("no frame")
                    yield elements
        except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException, BufferError) as error:
            raise DamagedData(
                f"{self._bundle.path} has a trace (number {member.number}) that cannot be read: {_reason(error)}."
            ) from error

    def _extension(self, code: int, data: bytes) -> Any:
        if code == _EXTENSION:
            return msgpack.ExtType(*msgpack.unpackb(data))
        if code not in (_BYTES, _TEXT):
            raise ValueError(f"unknown extension {code}")
        segments = [self._segment(one) for one in msgpack.unpackb(data)]
        joined = b"".join(segments)
        return joined if code == _BYTES else joined.decode("utf-8", "surrogatepass")

    def _segment(self, reference: Any) -> bytes:
        found = reference if isinstance(reference, bytes) else self._part(int(reference))
        self._spend(len(found))
        return found

    def _spend(self, size: int) -> None:
        self._spent += size
        if self._spent > self._most:
            raise UsageError(
                f"{self._bundle.path} unpacks to more than {shown_size(self._most)}.", "Allow more with --max-size."
            )
        if self._spent > self._said:
            raise TooMuch(f"{self._bundle.path} unpacks to more than it says.", "Ask for another copy.")

    def _part(self, number: int) -> bytes:
        at = bisect_right(self._firsts, number) - 1
        block = self._read(at) if at >= 0 else []
        inside = number - self._firsts[at] if block else 0
        if not 0 <= inside < len(block):
            raise ValueError(f"part {number} is missing")
        return block[inside]

    def _read(self, at: int) -> list[bytes]:
        block = self._cache.pop(at, None)
        if block is None:
            unpacker = msgpack.Unpacker(max_buffer_size=MAX_WHOLE, max_array_len=0, max_map_len=0)
            unpacker.feed(self._bundle.content(self._blocks[at]))
            block = list(unpacker)
            if not all(isinstance(part, bytes) for part in block):
                raise ValueError("a block of parts holds something else")
        self._cache[at] = block  # last in, last out
        if len(self._cache) > _KEPT_BLOCKS:
            del self._cache[next(iter(self._cache))]
        return block


def _reason(error: Exception) -> str:
    return str(error).split("\n")[0] or type(error).__name__


def trace_members(bundle: Bundle) -> list[Member]:
    """The traces of a bundle, in their order."""
    return bundle.of_kind(TRACE)


def notes(bundle: Bundle) -> Iterator[bytes]:
    """The notes of a bundle, line by line."""
    for member in bundle.of_kind(NOTES):
        yield from bundle.content(member).splitlines()
