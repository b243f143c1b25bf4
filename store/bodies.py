"""A request body as a frame and parts, so that a message that is sent sixty times is stored once.

The split is one of bytes, not of values: frame and parts are slices of the body, put together again by
`join` to exactly the bytes that went out, whatever their spacing and key order. A body is read once for everything
that is to be known of it, and elements that were in a body before are recognised, not read again: so a growing
conversation costs what is new in each turn.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from rashomon.canonical import digest

LONG = 64
"""A text or number of a list, or a whole value, becomes a part of its own from this many characters on.
A digest with its row costs about as much as a shorter one."""

_RECENT = 4
"""How many conversations that take turns have their elements recognised."""

_REMEMBERED = 4 * 1024 * 1024
"""How many characters of elements are remembered; each is kept in three forms."""

_decode = json.JSONDecoder().raw_decode
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode  # as `rashomon.canonical.canonical_json`
_space = re.compile(r"[ \t\r\n]*")


class Part(NamedTuple):
    """What was taken out of a body: where it was, its bytes, and their digest."""

    path: str
    content: bytes
    digest: str


class Split(NamedTuple):
    """A frame, the offsets in characters where parts were taken out of it, and the parts.

    Of a body that is one JSON object: `canonical` is the form in which it is compared, `values` are those of its
    values that are no lists, `keys` all its keys.
    """

    frame: bytes
    holes: list[int]
    parts: list[Part]
    canonical: bytes | None = None
    values: dict[str, Any] | None = None
    keys: frozenset[str] = frozenset()


class _Element(NamedTuple):
    text: str
    part: Part
    canonical: str


class Memory:
    """The elements of the bodies before, by where they were. Bounded: when it is full, it is emptied."""

    def __init__(self) -> None:
        self._elements: dict[str, list[_Element]] = {}
        self._size = 0

    def find(self, path: str, text: str, at: int) -> _Element | None:
        """The element that stands there; None when that is a new one.

        An object, a list or a text ends where it is closed: what begins with the whole of it, is it.
        """
        for element in self._elements.get(path, ()):
            if text.startswith(element.text, at):
                return element
        return None

    def keep(self, element: _Element) -> None:
        """Remember an element."""
        if element.text[0] not in '{["':
            return
        self._size += len(element.text)
        if self._size > _REMEMBERED:
            self._elements.clear()
            self._size = len(element.text)
        known = self._elements.setdefault(element.part.path, [])
        if len(known) == _RECENT:
            self._size -= len(known.pop().text)
        known.insert(0, element)


def split(body: bytes, memory: Memory | None = None) -> Split:
    """Take the elements of lists (messages, tools) and the long values out of a JSON object.

    Any other body is all frame.
    """
    if body[:1] != b"{" or len(body) < LONG:
        return Split(body, [], [])
    try:
        found = _Object(body.decode("utf-8"), memory or Memory())
        end = found.read()
    except (ValueError, IndexError, RecursionError):  # not JSON, or cut
        return Split(body, [], [])
    text = found.text
    frame: list[str] = []
    holes: list[int] = []
    at = length = 0
    for start, stop in found.spans:
        frame.append(text[at:start])
        length += start - at
        holes.append(length)
        at = stop
    frame.append(text[at:])
    taken = Split("".join(frame).encode(), holes, found.parts)
    if end < len(text):
        return taken
    return taken._replace(canonical=found.canonical(), values=found.values, keys=frozenset(found.members))


def join(frame: bytes, holes: list[int], parts: list[bytes]) -> bytes:
    """The body that was split."""
    if not holes:
        return frame
    text, at, out = frame.decode("utf-8"), 0, []
    for hole, part in zip(holes, parts, strict=True):
        out.append(text[at:hole].encode())
        out.append(part)
        at = hole
    out.append(text[at:].encode())
    return b"".join(out)


class _Object:
    """A JSON object while it is read: spans and parts that are taken out, and its members in canonical form."""

    def __init__(self, text: str, memory: Memory) -> None:
        self.text, self.memory = text, memory
        self.spans: list[tuple[int, int]] = []
        self.parts: list[Part] = []
        self.values: dict[str, Any] = {}
        self.members: dict[str, str] = {}

    def canonical(self) -> bytes:
        """The object as `rashomon.canonical` spells it."""
        members = self.members
        inside = ",".join([f"{_canonical(key)}:{members[key]}" for key in sorted(members)])
        return f"{{{inside}}}".encode("ascii")

    def read(self) -> int:
        """Read it all; where what follows it begins. Raises ValueError or IndexError when it is no JSON."""
        text, at = self.text, _skip(self.text, 1)
        while text[at] != "}":
            key, at = _decode(text, at)
            at = _skip(text, at)
            if not isinstance(key, str) or text[at] != ":":
                raise ValueError("no JSON object")
            start = at = _skip(text, at + 1)
            if text[at] == "[":
                self.values.pop(key, None)  # of a key that is there twice, the last counts
                at = self.elements(at, key)
            else:
                value, at = _decode(text, at)
                self.values[key], self.members[key] = value, _canonical(value)
                if at - start >= LONG:
                    self.take(key, start, at)
            at = _comma(text, at, "}")
        return _skip(text, at + 1)

    def elements(self, at: int, key: str) -> int:
        """Read a list; where what follows it begins."""
        text, members = self.text, list[str]()
        at = _skip(text, at + 1)
        while text[at] != "]":
            path = f"{key}[{len(members)}]"
            start, known = at, self.memory.find(path, text, at)
            if known is not None:
                at += len(known.text)
                self.spans.append((start, at))
                self.parts.append(known.part)
                members.append(known.canonical)
            else:
                value, at = _decode(text, at)
                members.append(_canonical(value))
                if isinstance(value, dict) or at - start >= LONG:
                    self.memory.keep(_Element(text[start:at], self.take(path, start, at), members[-1]))
            at = _comma(text, at, "]")
        self.members[key] = f"[{','.join(members)}]"
        return at + 1

    def take(self, path: str, start: int, end: int) -> Part:
        """Have a part taken out."""
        content = self.text[start:end].encode()
        part = Part(path, content, digest(content))
        self.spans.append((start, end))
        self.parts.append(part)
        return part


def _skip(text: str, at: int) -> int:
    if text[at : at + 1] not in _BLANK:
        return at
    found = _space.match(text, at)
    return found.end() if found else at


_BLANK = frozenset(" \t\r\n")


def _comma(text: str, at: int, closing: str) -> int:
    """Where the next element begins, or where `closing` is."""
    at = _skip(text, at)
    if text[at] == ",":
        return _skip(text, at + 1)
    if text[at] != closing:
        raise ValueError("no JSON")
    return at
