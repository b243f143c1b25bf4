"""JSON texts of values and of heads, as `json` spells them, with less ado.

`json.JSONEncoder` sets up its C encoder anew for each value; here one is kept. Headers come again and again: each is
spelled once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from json import encoder as implementation
from typing import Any

_REMEMBERED = 4096
"""How many headers are remembered; then they are forgotten."""

_LONG = 512
"""Characters of a header that is remembered."""

_LISTS = {list}


def speller(ensure_ascii: bool, sort_keys: bool = False, allow_nan: bool = True) -> Callable[[Any], str]:
    """What spells a JSON value without white space, as `JSONEncoder.encode` with these settings does.

    Raises as that does; of a list within itself, RecursionError.
    """
    plain = json.JSONEncoder(ensure_ascii=ensure_ascii, sort_keys=sort_keys, allow_nan=allow_nan, separators=(",", ":"))
    name = "encode_basestring_ascii" if ensure_ascii else "encode_basestring"
    make, text = getattr(implementation, "c_make_encoder", None), getattr(implementation, f"c_{name}", None)
    try:
        if make is None or text is None:
            return plain.encode
        write = make(None, plain.default, text, None, ":", ",", sort_keys, False, allow_nan)
    except TypeError:  # an interpreter whose encoder is made otherwise
        return plain.encode
    join = "".join

    def spell(value: Any) -> str:
        return join(write(value, 0))

    return spell


exact_json = speller(ensure_ascii=False, allow_nan=False)
"""A value as readers see it; raises ValueError of NaN."""

canonical_text = speller(ensure_ascii=True, sort_keys=True)
"""A value as `rashomon.canonical.canonical_json` spells it."""

_SCALARS = frozenset((str, int, float, bool, type(None)))


def is_json(value: Any) -> bool:
    """True when JSON gives back this very value. Exact types: an enum's member would come back as a text."""
    if type(value) in _SCALARS:
        return True
    rest = [value]
    for item in rest:
        if type(item) is list:
            inner: Iterable[Any] = item
        elif type(item) is dict and all(type(key) is str for key in item):
            inner = item.values()
        else:
            return False
        for one in inner:
            if type(one) not in _SCALARS:
                rest.append(one)
    return True


class _Remembered(dict[Any, str]):
    """Values that are never changed, as JSON: names and values in heads."""

    def __missing__(self, value: Any) -> str:
        text = exact_json(value)
        if len(text) <= _LONG:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[value] = text
        return text


class _Pairs(_Remembered):
    """Headers as JSON. Keys are looked up by what is equal, so only texts are in it."""

    def __missing__(self, pair: tuple[Any, Any]) -> str:
        if type(pair[0]) is not str or type(pair[1]) is not str:
            raise TypeError("no header")
        return super().__missing__(pair)


_pairs = _Pairs()
texts = _Remembered()
"""Names and values in heads as JSON. Only texts are to be looked up."""


def head_json(head: Any) -> str | None:
    """A head as `exact_json` spells it; None of one that is not as heads are, or that UTF-8 cannot hold."""
    if type(head) is not dict:
        return None
    members = []
    try:
        for key, value in head.items():
            if type(key) is not str:
                return None
            if type(value) is str:
                text = texts[value]
            elif key == "headers" and type(value) is list and set(map(type, value)) == _LISTS:
                text = f"[{','.join([_pairs[name, content] for name, content in value])}]"
            elif is_json(value):
                text = exact_json(value)
            else:
                return None
            members.append(f"{texts[key]}:{text}")
    except (TypeError, ValueError, RecursionError):  # no headers, NaN, too deep
        return None
    line = f"{{{','.join(members)}}}"
    return line if encodable(line) else None


def encodable(text: str) -> bool:
    """True for a text that UTF-8 can hold: one without lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
