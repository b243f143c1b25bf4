"""How an encoded value looks to people, SQL and diffs: plain JSON. Nothing is imported for it."""

from __future__ import annotations

import math
from typing import Any

import msgpack

from rashomon import standard
from rashomon.model import Json
from rashomon.objects import (
    BIGINT,
    BUILT,
    COMPLEX,
    ENUM,
    EXCEPTION,
    FROZENSET,
    GIVEN,
    NAMED,
    OBJECT,
    OPAQUE,
    PAIRS,
    SET,
    SHARED,
    STR,
    TEXT,
    TUPLE,
)
from rashomon.value_decoding import unpack


def json_of(data: bytes) -> Json:
    """The value as JSON. Raises whatever bytes that are none make it raise."""
    view: Json = _plain(unpack(data, _View().hook))
    return view


def each_json_of(data: bytes) -> list[Json]:
    """The values that stand one behind the other, as JSON. Raises whatever bytes that are none make it raise."""
    unpacker = msgpack.Unpacker(ext_hook=_View().hook, strict_map_key=False, max_buffer_size=max(1, len(data)))
    unpacker.feed(data)
    found: list[Json] = [_plain(value) for value in unpacker]
    if unpacker.tell() != len(data):
        raise ValueError("The last value is cut off.")
    return found


class _View:
    """One value being shown."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], Any] = {}

    def hook(self, code: int, data: bytes) -> Any:
        """An extension value as JSON."""
        if code == STR:
            return data.decode("utf-8", "replace")
        if code == BIGINT:
            return int(data, 16)
        content = unpack(data, self.hook)
        if code in (OBJECT, NAMED) and len(content) > 2:
            content[1] |= unpack(content[2], self.hook)
        content = _plain(content)
        if code in (SHARED, GIVEN):
            if len(content) > 1:
                self.known[code, content[0]] = content[1]
            return self.known.get((code, content[0]))
        return _shown(code, content)


def _shown(code: int, content: Any) -> Any:
    if code in (TUPLE, SET, FROZENSET):
        return content
    if code == COMPLEX:
        return {"$type": "complex", "value": content}
    if code == PAIRS:
        return {"$type": "dict", "items": content}
    if code == OPAQUE:
        return {"$opaque": content[0], "repr": content[1]}
    if code in (EXCEPTION, ENUM):
        return {"$type": content[0], "message" if code == EXCEPTION else "value": content[1]}
    if code == TEXT:
        return content[1]
    if code == BUILT:
        return standard.view(*content)
    if code in (OBJECT, NAMED):
        fields = content[1]
        if "$pydantic" in fields:
            fields = fields["$pydantic"].get("__dict__", fields["$pydantic"])
        return {"$type": content[0], **fields}
    return {"$ext": code, "value": content}


def _plain(value: Any) -> Any:
    """msgpack's own types as JSON: bytes as text or hex, keys as strings, NaN and infinity as text."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"$bytes": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value
