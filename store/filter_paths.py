"""JSON paths of a filter, on a step as it is shown: `{"request": ..., "response": ...}`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rashomon.filters import Form, Op, Term, Value
from rashomon.model import Json
from rashomon.store.filter_text import test

_LITERALS = {"true": True, "false": False, "null": None}


def path_matches(term: Term, view: Json) -> bool:
    """Whether a value at the path is as the term says; its negation is the caller's."""
    found = values_at(view, term.path)
    if term.op is Op.EXISTS:
        return any(True for _ in found)
    return any(_holds(term, value) for value in found)


def texts(value: Json, path: str) -> Iterator[tuple[str, str]]:
    """All texts in a JSON value, with their paths. A text that holds JSON is one text."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield from texts(inside, f"{path}.{key}" if key.isidentifier() else f"{path}[{_text([key])[1:-1]}]")
    elif isinstance(value, list):
        for number, inside in enumerate(value):
            yield from texts(inside, f"{path}[{number}]")


def values_at(document: Json, path: tuple[str | int | None, ...]) -> Iterator[Json]:
    """All values that a path leads to: none, one, or with `[*]` several."""
    if not path:
        yield document
        return
    key, rest = path[0], path[1:]
    if key is None:
        inside = document if isinstance(document, list) else document.values() if isinstance(document, dict) else ()
        for value in inside:
            yield from values_at(value, rest)
    elif isinstance(key, int):
        if isinstance(document, list) and -len(document) <= key < len(document):
            yield from values_at(document[key], rest)
    elif isinstance(document, dict) and key in document:
        yield from values_at(document[key], rest)


def _holds(term: Term, found: Json) -> bool:
    if term.op is Op.REGEX:
        return test(Op.REGEX, term.values)(_text(found))
    if term.op in (Op.HAS, Op.EQUAL):
        return any(_equal(term.op, value, found) for value in term.values)
    return _compares(term.op, term.values[0], found)


def _equal(op: Op, value: Value, found: Json) -> bool:
    if value.form is Form.WORD:
        return found is _LITERALS[value.text]
    if value.form is Form.NUMBER and isinstance(found, (int, float)) and not isinstance(found, bool):
        return found == value.low
    if isinstance(found, str):
        return test(op, (value._replace(form=Form.TEXT) if value.form is Form.NUMBER else value,))(found)
    if op is Op.HAS and isinstance(found, (list, dict)):
        return test(op, (value._replace(form=Form.TEXT) if value.form is Form.NUMBER else value,))(_text(found))
    return False


def _compares(op: Op, value: Value, found: Json) -> bool:
    number = isinstance(found, (int, float)) and not isinstance(found, bool)
    if value.form is Form.NUMBER and number:
        return _ordered(op, found, value.low)
    return value.form is not Form.NUMBER and isinstance(found, str) and _ordered(op, found, value.text)


def _ordered(op: Op, left: object, right: object) -> bool:
    if op is Op.GREATER:
        return bool(left > right)  # type: ignore[operator]
    if op is Op.AT_LEAST:
        return bool(left >= right)  # type: ignore[operator]
    return bool(left < right) if op is Op.LESS else bool(left <= right)  # type: ignore[operator]


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
