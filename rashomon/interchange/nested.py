"""Attributes as a tree: `llm.input_messages.0.message.role` is a list of objects that somebody laid flat.

Exporters lay them flat, keep them nested, write parts of them as JSON text, or all of it at once; the tree is the
same for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MOST = 100_000
"""An index beyond this is a name: nobody sends so many messages, and a list must not be made of holes."""


def tree(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes by the words between their dots; objects whose words are all numbers become lists.

    Never raises: where one name is both a value and a beginning of others, the value is kept under `""`.
    """
    root: dict[str, Any] = {}
    for name, value in attributes.items():
        _put(root, str(name).split("."), _grown(value))
    grown = _listed(root)
    return grown if isinstance(grown, dict) else {"": grown}


def _put(at: dict[str, Any], words: list[str], value: Any) -> None:
    for word in words[:-1]:
        inner = at.get(word)
        if not isinstance(inner, dict):
            inner = at[word] = {} if inner is None else {"": inner}
        at = inner
    last = words[-1]
    there = at.get(last)
    if isinstance(there, dict):
        at[last] = _joined(there, value)
    else:
        at[last] = value


def _joined(there: dict[str, Any], value: Any) -> dict[str, Any]:
    return {**there, **value} if isinstance(value, dict) else {**there, "": value}


def _grown(value: Any) -> Any:
    """A value whose own objects may have dotted names."""
    if isinstance(value, Mapping):
        root: dict[str, Any] = {}
        for name, item in value.items():
            _put(root, str(name).split("."), _grown(item))
        return root
    if isinstance(value, list):
        return [_grown(item) for item in value]
    return value


def _listed(value: Any) -> Any:
    if isinstance(value, list):
        return [_listed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value and all(key.isdecimal() and len(key) <= 6 and int(key) <= _MOST for key in value):
        return [_listed(value[key]) for key in sorted(value, key=int)]
    return {key: _listed(item) for key, item in value.items()}


def at(value: Any, *words: str) -> Any:
    """What stands there in a tree; None where nothing does."""
    for word in words:
        value = value.get(word) if isinstance(value, dict) else None
    return value


def plain(value: Any) -> Any:
    """A value that may be JSON written as text; the text where it is none."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def items(value: Any) -> list[dict[str, Any]]:
    """The objects of a list that may be JSON text, or may be one object alone."""
    value = plain(value)
    if isinstance(value, dict):
        return [value]
    return [found for found in map(plain, value) if isinstance(found, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """The text, or none where the value is no text."""
    return value if isinstance(value, str) else ""


def count(value: Any) -> int | None:
    """A whole number, also one that was written as a text or with a point."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        return int(value)
    if isinstance(value, float) and value == value and abs(value) < 2**53 and value == int(value):
        return int(value)
    return value if type(value) is int else None
