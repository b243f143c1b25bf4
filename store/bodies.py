"""A request body as a frame and parts, so that a message that is sent sixty times is stored once.

The split is one of bytes, not of values: frame and parts are slices of the body, put together again by
`join` to exactly the bytes that went out, whatever their spacing and key order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

LONG = 64
"""A text or number of a list, or a whole value, becomes a part of its own from this many characters on.
A digest with its row costs about as much as a shorter one."""

_decode = json.JSONDecoder().raw_decode
_space = re.compile(r"[ \t\r\n]*")


class Split(NamedTuple):
    """A frame, the offsets in characters where something was taken out of it, and what: (path, bytes)."""

    frame: bytes
    holes: list[int]
    parts: list[tuple[str, bytes]]


def split(body: bytes) -> Split:
    """Take the elements of lists (messages, tools) and the long values out of a JSON object.

    Any other body is all frame.
    """
    if body[:1] != b"{" or len(body) < LONG:
        return Split(body, [], [])
    try:
        text = body.decode("utf-8")
        spans = list(_members(text))
    except (ValueError, IndexError, RecursionError):  # not JSON, or cut
        return Split(body, [], [])
    frame: list[str] = []
    holes: list[int] = []
    parts: list[tuple[str, bytes]] = []
    at = length = 0
    for path, start, end in spans:
        frame.append(text[at:start])
        length += start - at
        holes.append(length)
        parts.append((path, text[start:end].encode()))
        at = end
    frame.append(text[at:])
    return Split("".join(frame).encode(), holes, parts)


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


def _skip(text: str, at: int) -> int:
    found = _space.match(text, at)
    return found.end() if found else at


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """(path, start, end) of what is taken out of an object, in order."""
    at = _skip(text, 1)
    while text[at] != "}":
        key, at = _value(text, at)
        at = _skip(text, at)
        if not isinstance(key, str) or text[at] != ":":
            raise ValueError("no JSON object")
        start = at = _skip(text, at + 1)
        if text[at] == "[":
            at = yield from _elements(text, at, key)
        else:
            _, at = _value(text, at)
            if at - start >= LONG:
                yield key, start, at
        at = _comma(text, at, "}")


def _elements(text: str, at: int, key: str) -> Generator[tuple[str, int, int], None, int]:
    number, at = 0, _skip(text, at + 1)
    while text[at] != "]":
        start = at
        value, at = _value(text, at)
        if isinstance(value, dict) or at - start >= LONG:
            yield f"{key}[{number}]", start, at
        number += 1
        at = _comma(text, at, "]")
    return at + 1


def _comma(text: str, at: int, closing: str) -> int:
    """Where the next element begins, or where `closing` is."""
    at = _skip(text, at)
    if text[at] == ",":
        return _skip(text, at + 1)
    if text[at] != closing:
        raise ValueError("no JSON")
    return at


def _value(text: str, at: int) -> tuple[Any, int]:
    return _decode(text, at)
