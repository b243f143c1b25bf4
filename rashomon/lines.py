"""Values and texts as single lines that are safe to print: for lists, titles and messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from rashomon.model import Json

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")


class Quoted(NamedTuple):
    """A value whose text stands in quotes in a line."""

    value: Json


def text_of(value: Any, width: int = 80) -> str:
    """A value as one line of at most `width` characters that is safe to print.

    A string stands without quotes and is cut in the middle; anything else is JSON, cut at its end.
    """
    if isinstance(value, Quoted):
        inner = value.value
        if not isinstance(inner, str):
            return text_of(inner, width)
        return f'"{one_line(inner, max(1, width - 2))}"'
    if isinstance(value, str):
        return one_line(value, width)
    written: list[str] = []
    size = 0
    for token in _tokens(value, 0):
        written.append(token)
        size += len(token)
        if size > 8 * width:  # white space may go; far beyond this nothing can be shown
            break
    line = _clean("".join(written))
    return line if len(line) <= width else line[: width - 1] + "…"


def one_line(text: str, width: int) -> str:
    """A text as one line: control characters and escape sequences gone, cut in the middle with `…`."""
    reach = 8 * width + 64
    if len(text) > 2 * reach:
        text = f"{text[:reach]} … {text[-reach:]}"
    line = _clean(text)
    if len(line) <= width:
        return line
    if width < 8:
        return line[: width - 1] + "…" if width > 0 else ""
    tail = (width - 1) // 3
    return f"{line[: width - 1 - tail]}…{line[-tail:]}"


def _clean(text: str) -> str:
    if text.isprintable() and "  " not in text:  # no control, format or foreign space character is printable
        return text.strip()
    text = " ".join((_ESCAPES.sub("", text) if "\x1b" in text else text).split())
    if text.isprintable():
        return text
    return _SURROGATES.sub("\ufffd", _UNSAFE.sub("", text)).strip()


def _tokens(value: Any, depth: int) -> Iterable[str]:
    """JSON, piece by piece, so that the beginning of a large value costs no more than it shows."""
    if isinstance(value, dict):
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield f'{", " if number else ""}"{key}": '
            yield from _tokens(item, depth + 1) if depth < 20 else ("…",)
        yield "}"
    elif isinstance(value, (list, tuple)):
        yield "["
        for number, item in enumerate(value):
            if number:
                yield ", "
            yield from _tokens(item, depth + 1) if depth < 20 else ("…",)
        yield "]"
    elif isinstance(value, str):
        yield f'"{value[:2000]}"'
    else:
        yield "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
