"""Values in columns, and exactly: what a column cannot hold is shown as well as it can be, and kept aside.

Recorded values come from programs and from bytes on disk: text with lone surrogates, bytes inside a
head, integers of 64 bits without a sign. SQL sees something readable; `exact` has the value itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rashomon.model import Lane
from rashomon.store.spelling import encodable, exact_json, head_json, is_json

_INT = 1 << 63
_DEPTH = 64
_INTEGER = {int}


class Shown:
    """Collects the exact values of one row while its columns are made."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def optional(self, column: str, value: Any) -> str | None:
        """A text or None."""
        return None if value is None else self.text(column, value)

    def text(self, column: str, value: Any) -> str:
        """A text."""
        if isinstance(value, str) and (value.isascii() or encodable(value)):
            return value
        self.kept[column] = value
        return "" if value is None else _readable(str(value))

    def texts(self, column: str, values: Iterable[Any]) -> list[str]:
        """A list of texts."""
        listed = list(values)
        if all(isinstance(value, str) and encodable(value) for value in listed):
            return listed
        self.kept[column] = listed
        return [_readable(str(value)) for value in listed]

    def integer(self, column: str, value: Any) -> int:
        """An integer."""
        if type(value) is int and -_INT <= value < _INT:
            return value
        self.kept[column] = value
        return 0

    def count(self, column: str, value: Any) -> int | None:
        """An integer or None."""
        return None if value is None else self.integer(column, value)

    def integers(self, column: str, values: list[Any]) -> list[int]:
        """A list of integers."""
        if not values or (set(map(type, values)) == _INTEGER and min(values) >= -_INT and max(values) < _INT):
            return values
        self.kept[column] = values
        return [0 for _ in values]

    def blob(self, column: str, value: Any) -> bytes | None:
        """Bytes or None."""
        if value is None or type(value) is bytes:
            return value
        self.kept[column] = value
        return None

    def json(self, column: str, value: Any) -> str:
        """A JSON value as text."""
        try:
            if is_json(value):
                text = exact_json(value)
                if encodable(text):
                    return text
        except (ValueError, RecursionError):  # NaN, too deep, a circle
            pass
        self.kept[column] = value
        return json.dumps(_plain(value, 0), ensure_ascii=False, separators=(",", ":"))

    def head(self, column: str, head: Any) -> str:
        """A head as JSON text."""
        text = head_json(head)
        return self.json(column, head) if text is None else text

    def lane(self, column: str, lane: Lane) -> str:
        """A line of control: `0.2` for `(0, 2)`."""
        if not lane:
            return ""
        if not all(type(number) is int for number in lane):
            self.kept[column] = list(lane)
            return _readable(".".join(map(str, lane)))
        return ".".join(map(str, lane))

    def exact(self) -> bytes | None:
        """What the columns could not hold, as msgpack; None when they hold everything."""
        if not self.kept:
            return None
        try:
            return _packed(self.kept)
        except OverflowError:  # a time that was reckoned from numbers that cannot be
            return _packed({name: _within(value) for name, value in self.kept.items()})


def _packed(kept: dict[str, Any]) -> bytes:
    import msgpack  # hardly any row has values that its columns cannot hold

    return msgpack.packb(kept, use_bin_type=True, unicode_errors="surrogatepass")  # type: ignore[no-any-return]


def _within(value: Any) -> Any:
    return max(-_INT, min(value, 2 * _INT - 1)) if type(value) is int else value


def shown_json(value: Any) -> str:
    """A JSON value as text, or something like it where JSON cannot hold it."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(_plain(value, 0))


def lane_of(value: Any) -> Lane:
    """The line of control that a column, or what was kept instead of it, stands for."""
    if isinstance(value, str):
        return tuple(map(int, value.split("."))) if value else ()
    return tuple(value)


def restore(row: dict[str, Any], *json_columns: str) -> dict[str, Any]:
    """A row of the database with its JSON read and its exact values put in."""
    for column in json_columns:
        if row[column] is not None:
            row[column] = json.loads(row[column])
    exact = row.get("exact")
    if exact is not None:
        import msgpack  # as above: a list of steps would wait for it

        row.update(msgpack.unpackb(exact, strict_map_key=False, unicode_errors="surrogatepass"))
    return row


def _readable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain(value: Any, depth: int) -> Any:
    """Something like the value that JSON and UTF-8 can hold."""
    if depth >= _DEPTH:
        return "…"
    if isinstance(value, dict):
        return {_readable(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": bytes(value).hex()}
    if isinstance(value, float) and value - value != 0.0:  # infinite, or no number
        return str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return _readable(str(value))
