"""Whether what a step carried has an expression: judged on the texts themselves, whatever their spelling is.

The database finds contents whose spelling may stand for a match (`filter_regex.before`); here they are decoded. What
was sent as JSON is its texts, and the JSON around them with nothing escaped; a value of a tool is its texts, one behind
the other; a stream is what it adds up to. An edge of a line is one of a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from rashomon.filter_regex import before, compiled, spelt_one_way, verbatim
from rashomon.filters import Form, Op, Value
from rashomon.model import Json
from rashomon.store.filter_text import shown_bytes

Content = str | bytes
"""What a step carried: bytes only where these are no text."""

Search = Callable[[str], re.Match[str] | None]

_ESCAPE = re.compile(r"\\(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[\"\\/bfnrt])")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?', re.S)
_SIMPLE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_STREAM = re.compile(r"(?:data|event|id|retry)?:")
_BETWEEN = "\x1f"


class Judged(NamedTuple):
    """An expression that decides on decoded texts, and what a spelling must have for it: None where it may be any."""

    search: Search
    text: str | None
    binary: str | None
    edges: bool

    def sent(self, content: Content) -> bool:
        """Whether something that was sent has it: JSON, a text, or bytes."""
        if isinstance(content, bytes):
            return self._may(content, self.binary) and self._in_bytes(content)
        if not self._may(content, self.text) or not self._in_text(content):
            return False
        return _STREAM.match(content) is None or self._in_stream(content)

    def said(self, text: str) -> bool:
        """Whether a text that was decoded already has it."""
        return self.search(text) is not None

    def _may(self, content: Content, pattern: str | None) -> bool:
        if pattern is None:
            return True
        shown = content if isinstance(content, str) else shown_bytes(content)
        return compiled(pattern).search(shown) is not None

    def _in_text(self, text: str) -> bool:
        if self.search(_unescaped(text)) is not None:
            return True
        if self.edges and any(self.search(one) is not None for one in _texts_in(text)):
            return True
        return text.lstrip()[:1] not in ("{", "[", '"') and self.search(text) is not None

    def _in_stream(self, text: str) -> bool:
        import json

        from rashomon.streams import sse_events
        from rashomon.views import body_view

        data = text.encode()
        if not sse_events(data):
            return True
        whole = body_view({"headers": [["content-type", "text/event-stream"]]}, data)
        return self._in_text(json.dumps(whole, ensure_ascii=False))

    def _in_bytes(self, content: bytes) -> bool:
        from rashomon import values  # with msgpack: plain texts need nothing of it

        found = [one for value in values.each_json(content) for one in _leaves(value)]
        if not found:
            return self.said(content.decode("utf-8", "replace"))
        whole = _BETWEEN.join([text for text, _ in found])
        return self.said(whole) or (self.edges and any(self.said(text) for text, is_key in found if not is_key))


@lru_cache(maxsize=256)
def judged(op: Op, value: Value) -> Judged | None:
    """How a value of a term on bodies is judged; None where the spelling alone decides, as for a plain text."""
    if value.form is Form.REGEX:
        pattern = value.text
    elif value.form is Form.GLOB:
        if "?" not in value.text and spelt_one_way(value.text):
            return None
        pattern = "(?is)" + "".join({"*": ".*", "?": "."}.get(one, verbatim(one)) for one in value.text)
    elif op is Op.EQUAL or value.text.isascii():
        return None
    else:
        pattern = f"(?i){''.join(map(verbatim, value.text))}"
    edges = any(one in pattern for one in ("^", "$", r"\A", r"\Z", r"\b", r"\B"))
    search = compiled(pattern, re.MULTILINE).search
    return Judged(search, before(pattern), before(pattern, binary=True), edges)


# ------------------------------------------------------------------------------------------- decoding


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(found: re.Match[str]) -> str:
    one = found[1]
    if one[0] != "u":
        return _SIMPLE.get(one, one)
    high = int(one[1:5], 16)
    return chr(high) if len(one) == 5 else chr(0x10000 + ((high & 0x3FF) << 10) + (int(one[7:], 16) & 0x3FF))


def _texts_in(text: str) -> Iterator[str]:
    """The texts in JSON, or in what holds JSON or only a piece of it; not the keys."""
    return (_unescaped(found[1]) for found in _TEXT.finditer(text) if found[2] is None)


def _leaves(value: Json) -> Iterator[tuple[str, bool]]:
    """All texts of a value, and whether each is a key."""
    if isinstance(value, str):
        yield value, False
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield key, True
            yield from _leaves(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _leaves(inside)
