"""A request body as a frame and parts, so that a message that is sent sixty times is stored once.

The split is one of bytes, not of values: frame and parts are slices of the body, put together again by
`join` to exactly the bytes that went out, whatever their spacing and key order. The elements of a list leave one
hole in the frame, however many they are, so that all turns of a conversation share their frame too.

A body is read once for everything that is to be known of it. Elements that were in a body before are recognised, not
read again; and of a body that is known to begin as an earlier one does, only what is behind that is looked at: so a
growing conversation costs what is new in each turn.
"""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from rashomon.canonical import digest
from rashomon.store.apart import Apart as Apart
from rashomon.store.apart import Hole as Hole
from rashomon.store.apart import Known as Known
from rashomon.store.apart import Rest
from rashomon.store.spelling import canonical_text

LONG = 64
"""A text or number of a list, or a whole value, becomes a part of its own from this many characters on.
A digest with its row costs about as much as a shorter one."""

_BEGINNING = 96
"""Elements are looked up by so many characters; a shorter one is read as fast as it is found."""

_RECENT = 4
"""How many elements that begin alike are recognised."""

_REMEMBERED = 4 * 1024 * 1024
"""How many characters of elements are remembered; each is kept in three forms."""

scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # what `raw_decode` calls; raises StopIteration
_new = tuple.__new__
"""Makes a named tuple in a third of the time that its class takes."""

NO_PARTS = array("i")
"""Nobody adds to them."""

_NO_OBJECT = Apart(b"", (), NO_PARTS)[2:]
_space = re.compile(r"[ \t\r\n]*")
_BLANK = frozenset(" \t\r\n")

Keep = Callable[[bytes], int]
"""Has a part kept, and gives the number by which it is known from then on."""


_Element = tuple[str, int, bytes]
"""An element's text, its number as a part, and what stands for it in an identity."""


class Memory:
    """The elements of the bodies before, by how they begin. Bounded: when it is full, it is emptied."""

    def __init__(self) -> None:
        self._elements: dict[str, list[_Element]] = {}
        self._size = 0

    def find(self, text: str, at: int) -> _Element | None:
        """The element that stands there; None when that is a new one.

        An object, a list or a text ends where it is closed: what begins with the whole of it, is it.
        """
        known = self._elements.get(text[at : at + _BEGINNING])
        if known is not None:
            for element in known:
                if text.startswith(element[0], at):
                    return element
        return None

    def keep(self, text: str, part: int, spelled: bytes) -> None:
        """Remember an element."""
        if len(text) < _BEGINNING or text[0] not in '{["':
            return
        self._size = size = self._size + len(text)
        if size > _REMEMBERED:
            self._elements.clear()
            self._size = len(text)
        begins = text[:_BEGINNING]
        known = self._elements.get(begins)
        if known is None:
            self._elements[begins] = [(text, part, spelled)]
            return
        if len(known) == _RECENT:
            self._size -= len(known.pop()[0])
        known.insert(0, (text, part, spelled))

    def clear(self) -> None:
        """Forget everything: the numbers of parts are not valid any more."""
        self._elements.clear()
        self._size = 0


def take_apart(
    body: bytes, keep: Keep, memory: Memory | None = None, known: Known | None = None, prefix: int = 0
) -> Apart:
    """Take the elements of lists (messages, tools) and the long values out of a JSON object.

    Any other body is all frame. The first `prefix` bytes are those of the body of which `known` is known.
    """
    if body[:1] != b"{":
        return _new(Apart, (body, (), *_NO_OBJECT))
    try:
        count = bisect_right(known.ends, prefix, 0, known.hole.count) if known is not None else 0
        if known is not None and count:
            found = _Object(body, keep, memory or Memory(), known.ends[count - 1])
            end = found.resume(known, count)
        else:
            found = _Object(body, keep, memory or Memory(), 0)
            end = found.read(_skip(found.text, 1))
    except (ValueError, IndexError, RecursionError, StopIteration):  # not JSON, or cut
        return Apart(body, (), NO_PARTS)
    return found.apart(end)


def put_together(frame: bytes, holes: Sequence[Hole], parts: Sequence[bytes]) -> bytes:
    """The body that was taken apart, from the contents of the parts."""
    if not holes:
        return frame
    text, at, out = frame.decode("utf-8"), 0, []
    for hole in holes:
        out.append(text[at : hole.at].encode())
        out.append(hole.separator.encode().join(parts[hole.start - 1 : hole.start - 1 + hole.count]))
        at = hole.at
    out.append(text[at:].encode())
    return b"".join(out)


class Part(NamedTuple):
    """What was taken out of a body: where it was, its bytes, and their digest."""

    path: str
    content: bytes
    digest: str


class Split(NamedTuple):
    """A body with a hole for each part: a frame, the offsets in characters of its holes, and the parts."""

    frame: bytes
    holes: list[int]
    parts: list[Part]


def split(body: bytes) -> Split:
    """A body by itself, with each part and its path."""
    contents: list[bytes] = []

    def keep(content: bytes) -> int:
        contents.append(content)
        return len(contents) - 1

    apart = take_apart(body, keep)
    text, at, length = apart.frame.decode("utf-8") if apart.holes else "", 0, 0
    frame: list[str] = []
    holes: list[int] = []
    parts: list[Part] = []
    for hole in apart.holes:
        for place in range(hole.count):
            frame.append(hole.separator if place else text[at : hole.at])
            length += len(frame[-1])
            holes.append(length)
            content = contents[apart.parts[hole.start - 1 + place]]
            path = hole.path if hole.first is None else f"{hole.path}[{hole.first + place}]"
            parts.append(Part(path, content, digest(content)))
        at = hole.at
    return Split("".join([*frame, text[at:]]).encode() if holes else body, holes, parts)


def join(frame: bytes, holes: Sequence[int], parts: Sequence[bytes]) -> bytes:
    """The body that was split."""
    single = [Hole(at, "", None, start, 1, "") for start, at in enumerate(holes, 1)]
    return put_together(frame, single, parts)


def json_object(body: bytes) -> dict[str, Any]:
    """A body that is one JSON object as a value. Raises ValueError or RecursionError."""
    value = json.loads(body) if body.lstrip()[:1] == b"{" else None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def identity(value: dict[str, Any]) -> bytes:
    """What determines a JSON object as a value: equal for equal ones, whatever their spelling.

    Its canonical form, with lists and their long elements by their digests.
    """
    return _identity({key: _spelled_member(item) for key, item in value.items()})


def _identity(members: dict[str, bytes]) -> bytes:
    return b"{%s}" % b",".join([_key(key) + members[key] for key in sorted(members)])


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return canonical_text(name).encode() + b":"


def _spelled_member(value: Any) -> bytes:
    return _spelled_list(map(spelled_element, value)) if isinstance(value, list) else canonical_text(value).encode()


def _spelled_list(spelled: Any) -> bytes:
    return b"[%s]" % blake2b(b",".join(spelled), digest_size=16).digest()


def spelled_element(value: Any) -> bytes:
    """What stands for an element of a list in an identity."""
    text = canonical_text(value).encode()
    return text if len(text) < LONG else b"#" + blake2b(text, digest_size=16).digest()


class _Object:
    """A JSON object while it is read, from an offset of its body on."""

    def __init__(self, body: bytes, keep: Keep, memory: Memory, offset: int) -> None:
        self.body, self.keep, self.memory, self.offset = body, keep, memory, offset
        self.text = (body[offset:] if offset else body).decode("utf-8")
        self.ascii = len(self.text) == len(body) - offset
        self.chars = self.bytes = self.mark = self.length = 0
        self.frame: list[str] = []
        self.holes: list[Hole] = []
        self.parts = array("i")
        self.values: dict[str, Any] = {}
        self.members: dict[str, bytes] = {}
        self.known: Known | None = None
        self.shared = self.last = 0
        self.twice = False
        """True when a key is there twice: what comes later counts then."""

    def apart(self, end: int) -> Apart:
        """What was read; `end` is where something follows the object."""
        self.frame.append(self.text[self.mark :])
        frame = "".join(self.frame).encode()
        holes, members = tuple(self.holes), self.members
        if end < len(self.text):
            return Apart(frame, holes, self.parts, None, None, frozenset(), self.known, self.shared)
        known, keys = _identity(members), frozenset(members)
        return Apart(frame, holes, self.parts, known, self.values, keys, self.known, self.shared, self.rest())

    def rest(self) -> Rest | None:
        """What follows the longest list, where that is one run of parts and nothing is there twice."""
        known = self.known
        if known is None or self.twice or not 1 < known.hole.count == len(known.spelled):
            return None
        end = known.hole.start - 1 + known.hole.count
        holes = tuple(hole._replace(start=hole.start - end) for hole in self.holes[len(known.holes) + 1 :])
        state = blake2b(b",".join(known.spelled), digest_size=16)
        keys = sorted(self.members)
        place = keys.index(known.key)
        before, after = [_key(key) + self.members[key] for key in keys[:place]], keys[place + 1 :]
        left = b",".join([*before, _key(known.key) + b"["])
        right = b"".join([b"]", *[b"," + _key(key) + self.members[key] for key in after], b"}"])
        return Rest(self.text[self.last :], holes, self.parts[end:], state, b"{" + left, right)

    def resume(self, known: Known, count: int) -> int:
        """Read on behind the first elements of a list that are known; where what follows the object begins."""
        self.frame, self.length = [known.frame], len(known.frame)
        self.holes = list(known.holes)
        self.values, self.members = dict(known.values), dict(known.members)
        self.twice = known.key in self.members
        self.parts = known.parts[: known.hole.start - 1 + count]
        self.shared = len(self.parts)
        at = self.elements_from(known.key, _comma(self.text, 0, "]"), known, count)
        return self.read(_comma(self.text, at, "}"))

    def read(self, at: int) -> int:
        """Read the members from there on; where what follows the object begins. Raises ValueError or IndexError."""
        text = self.text
        while text[at] != "}":
            key, at = scan(text, at)
            at = _skip(text, at)
            if not isinstance(key, str) or text[at] != ":":
                raise ValueError("no JSON object")
            start = at = _skip(text, at + 1)
            self.twice = self.twice or key in self.members
            if text[at] == "[":
                self.values.pop(key, None)  # of a key that is there twice, the last counts
                at = self.elements_from(key, _skip(text, at + 1), None, 0)
            else:
                value, at = scan(text, at)
                self.values[key], self.members[key] = value, canonical_text(value).encode()
                if at - start >= LONG:
                    self.open(start)
                    self.parts.append(self.keep(text[start:at].encode()))
                    self.close(_path(key), None, 1, "", at)
            at = _comma(text, at, "}")
        return _skip(text, at + 1)

    def open(self, start: int) -> None:
        """The frame goes up to there."""
        self.frame.append(self.text[self.mark : start])
        self.length += start - self.mark

    def close(self, path: str, first: int | None, count: int, separator: str, end: int) -> None:
        """A hole for the last `count` parts; the frame goes on at `end`."""
        self.holes.append(Hole(self.length, path, first, 1 + len(self.parts) - count, count, separator))
        self.mark = end

    def elements_from(self, key: str, at: int, known: Known | None, count: int) -> int:
        """Read a list from an element on; where what follows the list begins.

        Parts next to each other with the same separator share a hole. `count` elements before are known.
        """
        text, path = self.text, _path(key)
        run, find = _Run(self, path, known, count), self.memory.find
        spelled = known.spelled[:count] if known is not None else []
        place = len(spelled)
        while text[at] != "]":
            start = at
            found = find(text, at)
            if found is not None:
                at += len(found[0])
                run.add(found[1], place, start, at)
                spelled.append(found[2])
            else:
                value, at = scan(text, at)
                spelled.append(spelled_element(value))
                if isinstance(value, dict) or at - start >= LONG:
                    element = text[start:at]
                    part = self.keep(element.encode())
                    run.add(part, place, start, at)
                    self.memory.keep(element, part, spelled[-1])
            place += 1
            at = _comma(text, at, "]")
        run.end()
        if run.leading is not None and (self.known is None or len(run.ends) > len(self.known.ends)):
            self.last = run.last
            before, frame, values, members = run.before
            self.known = Known(key, run.ends, spelled, run.leading, frame, before, self.parts, values, members)
        self.members[key] = _spelled_list(spelled)
        return at + 1

    def byte(self, at: int) -> int:
        """The offset in the body of a character, which is none before those that were asked for already."""
        if self.ascii:
            return self.offset + at
        self.bytes += len(self.text[self.chars : at].encode())
        self.chars = at
        return self.offset + self.bytes


class _Run:
    """Parts of a list that stand next to each other with the same separator, and the list's first such run."""

    def __init__(self, reading: _Object, path: str, known: Known | None, count: int) -> None:
        self.reading, self.path = reading, path
        self.first, self.count, self.last = 0, count, 0
        self.separator: str | None = None
        self.leading: Hole | None = None
        self.ends: list[int] = []
        self.before: tuple[tuple[Hole, ...], str, dict[str, Any], dict[str, bytes]]
        if known is not None:
            self.separator = known.hole.separator if count > 1 else None
            self.leading, self.ends = known.hole, known.ends[:count]
            self.before = known.holes, known.frame, known.values, known.members

    def add(self, part: int, place: int, start: int, end: int) -> None:
        """The next part of the list, at that place of it; between it and the one before may be what is none."""
        reading = self.reading
        gap = reading.text[self.last : start] if self.count and place == self.first + self.count else None
        if gap is not None and (self.separator is None or self.separator == gap):
            self.separator = gap
            self.count += 1
        else:
            if self.count:
                self.end()
            reading.open(start)
            self.first, self.count, self.separator = place, 1, None
            if place == 0:
                self.leading = Hole(reading.length, self.path, 0, len(reading.parts) + 1, 0, "")
                before = tuple(reading.holes), "".join(reading.frame), dict(reading.values), dict(reading.members)
                self.before = before
        reading.parts.append(part)
        self.last = end
        if self.first == 0 and self.leading is not None:
            self.ends.append(reading.byte(end))

    def end(self) -> None:
        """Nothing more goes into the hole."""
        if not self.count:
            return
        self.reading.close(self.path, self.first, self.count, self.separator or "", self.last)
        if self.first == 0 and self.leading is not None:
            self.leading = self.reading.holes[-1]
        self.count = 0


def _path(key: str) -> str:
    return key if key.isascii() else key.encode("utf-8", "replace").decode()


def _skip(text: str, at: int) -> int:
    if text[at : at + 1] not in _BLANK:
        return at
    found = _space.match(text, at)
    return found.end() if found else at


def _comma(text: str, at: int, closing: str) -> int:
    """Where the next element begins, or where `closing` is."""
    found = text[at]
    if found in _BLANK:
        at = _skip(text, at)
        found = text[at]
    if found == ",":
        at += 1
        return _skip(text, at) if text[at] in _BLANK else at
    if found != closing:
        raise ValueError("no JSON")
    return at
