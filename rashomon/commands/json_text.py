"""JSON with an indent of two, as `json.dumps` writes it, in a third of its time.

With an indent, the standard library writes JSON by generators, value by value; a trace of some thousand steps has a
hundred thousand values. Its text has some megabytes: it is put together once, and not in every list and object anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from json.encoder import encode_basestring
from typing import Any

_MANY = 16
"""So many objects in a list may be alike."""

_WORDS = {True: "true", False: "false", None: "null"}


class Rows:
    """A list of objects with the same keys, of which there are their columns: a value of a document as a list is."""

    __slots__ = ("columns",)

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns = columns


def dumps(document: Any, default: Callable[[Any], Any]) -> str:
    """A document as text, characters beyond ASCII as they are; `default` makes JSON of what is none."""
    return "".join(pieces(document, default))


def pieces(document: Any, default: Callable[[Any], Any]) -> list[str]:
    """The same in pieces: each member of the document, and each value of a long list that is one, in a piece or two."""
    if type(document) is not dict or not document:
        return _listed(document, "\n", default)
    found, before = list[str](), "{"
    for key, one in document.items():
        found.append(f"{before}\n  {_name(key)}: ")
        found += _listed(one, "\n  ", default)
        before = ","
    found.append("\n}")
    return found


def _listed(value: Any, line: str, default: Callable[[Any], Any]) -> list[str]:
    """A value in pieces, if it is a long list."""
    inside = line + "  "
    if type(value) is Rows:
        texts = _rows(value.columns, inside, default, f",{inside}")
    else:
        texts = _alike(value, inside, default, f",{inside}") or [] if type(value) in (list, tuple) else []
    if not texts:
        return [_value(value, line, default)]
    texts[0] = f"[{texts[0][1:]}"
    texts.append(f"{line}]")
    return texts


def _value(value: Any, line: str, default: Callable[[Any], Any]) -> str:
    """A value that begins in a line of this indent; `line` is what a further line of it begins with."""
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is int:
        return int.__repr__(value)
    if value is None or kind is bool:
        return _WORDS[value]
    if kind is dict:
        return _object(value, line, default)
    if kind is list or kind is tuple or kind is Rows:
        inside = line + "  "
        if kind is Rows:
            texts = _rows(value.columns, inside, default)
        else:
            texts = _alike(value, inside, default) or [_value(one, inside, default) for one in value]
        if not texts:
            return "[]"
        return "[" + inside + f",{inside}".join(texts) + line + "]"
    return _other(value, line, default)


def _object(value: dict[Any, Any], line: str, default: Callable[[Any], Any]) -> str:
    if not value:
        return "{}"
    inside = line + "  "
    members = []
    for key, one in value.items():
        kind = type(one)  # the common kinds at once: a call for each value would take twice as long
        if kind is str:
            text = encode_basestring(one)
        elif one is None:
            text = "null"
        elif kind is int:
            text = str(one)
        else:
            text = _value(one, inside, default)
        members.append(f"{_name(key)}: {text}")
    return f"{{{inside}{f',{inside}'.join(members)}{line}}}"


def _alike(values: Sequence[Any], line: str, default: Callable[[Any], Any], before: str = "") -> list[str] | None:
    """Many objects with the same keys, written key by key and not object by object; None of others."""
    if len(values) < _MANY or type(values[0]) is not dict or not values[0]:
        return None
    keys = list(values[0])
    if any(type(key) is not str for key in keys) or any(type(one) is not dict or list(one) != keys for one in values):
        return None
    columns = zip(*[one.values() for one in values], strict=True)
    return _rows(dict(zip(keys, columns, strict=True)), line, default, before)


def _rows(
    columns: Mapping[str, Sequence[Any]], line: str, default: Callable[[Any], Any], before: str = ""
) -> list[str]:
    """Objects by their columns, each with `before` before it."""
    inside = line + "  "
    fixed, filling = f"{before}{{", list[Iterable[str]]()
    for key, column in columns.items():
        texts = _column(column, inside, default)
        fixed += f"{inside}{_name(key)}: "
        if isinstance(texts, str):
            fixed += texts
        else:
            filling += repeat(fixed), texts
            fixed = ""
        fixed += ","
    fixed = f"{fixed[:-1]}{line}}}"
    if not filling:
        return [fixed] * len(next(iter(columns.values()), ()))
    return ["".join(one) for one in zip(*filling, repeat(fixed))]  # quicker than a form that is filled in


def _column(values: Sequence[Any], line: str, default: Callable[[Any], Any]) -> list[str] | str:
    """The texts of the values of one key; one text, where it is the same of all."""
    kinds = set(map(type, values))
    if kinds == {str}:
        return list(map(encode_basestring, values))
    if kinds == {int}:
        return list(map(int.__repr__, values))
    if kinds == {type(None)}:
        return "null"
    if kinds == {str, type(None)}:
        return ["null" if one is None else encode_basestring(one) for one in values]
    if kinds == {int, type(None)}:
        return ["null" if one is None else str(one) for one in values]
    if kinds == {list} and not any(values):
        return "[]"
    return ["null" if one is None else _value(one, line, default) for one in values]


def _other(value: Any, line: str, default: Callable[[Any], Any]) -> str:
    """A value of a rarer type: floats, and what is derived from the types that JSON has."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (list, tuple)):
        return _value(list(value), line, default)
    if isinstance(value, dict):
        return _object(value, line, default)
    return _value(default(value), line, default)


def _float(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return float.__repr__(value)


def _name(key: Any) -> str:
    """A key as it is written."""
    return encode_basestring(key if type(key) is str else _key(key))


def _key(key: Any) -> str:
    """A key that is no text, as `json.dumps` has it; `TypeError` for one that it refuses."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool):
        return _WORDS[key]
    if isinstance(key, int):
        return int.__repr__(key)
    if isinstance(key, float):
        return _float(key)
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")
