"""Values and texts as single lines that are safe to print: for lists, titles and messages."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

TITLE_WIDTH = 160
_WORD = 64

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def text_of(value: Any, width: int = 80) -> str:
    """A value as one line of at most `width` characters that is safe to print.

    A string stands without quotes and is cut in the middle; anything else is JSON, cut at its end.
    """
    if isinstance(value, str):
        return one_line(value, width)
    written: list[str] = []
    _write(value, 0, written, 8 * width)  # white space may go; far beyond this nothing can be shown
    line = _clean("".join(written))
    return line if len(line) <= width else line[: width - 1] + "…"


def quoted(value: Any, width: int = 80) -> str:
    """The same with a string in quotes."""
    return f'"{one_line(value, max(1, width - 2))}"' if isinstance(value, str) else text_of(value, width)


def one_line(text: str, width: int) -> str:
    """A text as one line: control characters and escape sequences gone, cut in the middle with `…`."""
    if len(text) <= width and text.isprintable() and "  " not in text:  # as most texts are
        return text.strip()
    edge = 2 * width
    if len(text) > 2 * edge and width >= 8 and "\x1b" not in text:  # no escape sequence goes over what is between
        start, end = text[:edge], text[-edge:]
        if start.isprintable() and end.isprintable() and "  " not in start and "  " not in end:
            tail = (width - 1) // 3
            return f"{start.lstrip()[: width - 1 - tail]}…{end.rstrip()[-tail:]}"
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


def _write(value: Any, depth: int, written: list[str], room: int) -> int:
    """Append JSON, token by token, until there is no more room: a large value costs no more than what it shows.

    Returns the room that is left, negative when the last token took more.
    """
    if isinstance(value, dict):
        written.append("{")
        room -= 1
        for number, (key, item) in enumerate(value.items()):
            if room < 0:
                return room
            token = f'{", " if number else ""}"{key}": '
            written.append(token)
            room -= len(token)
            if room >= 0:
                if item.__class__ is str and depth < 20:  # most are, and a call takes longer than all else
                    token = f'"{item[:2000]}"'
                    written.append(token)
                    room -= len(token)
                else:
                    room = _write_item(item, depth, written, room)
        token = "}"
    elif isinstance(value, (list, tuple)):
        written.append("[")
        room -= 1
        for number, item in enumerate(value):
            if number and room >= 0:
                written.append(", ")
                room -= 2
            if room < 0:
                return room
            room = _write_item(item, depth, written, room)
        token = "]"
    elif isinstance(value, str):
        token = f'"{value[:2000]}"'
    else:
        token = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if room >= 0:
        written.append(token)
        room -= len(token)
    return room


def _write_item(item: Any, depth: int, written: list[str], room: int) -> int:
    if depth < 20:
        return _write(item, depth + 1, written, room)
    written.append("…")
    return room - 1


def word_of(text: str | None) -> str | None:
    """A name or a reason as one line that is safe to print; None of an empty one."""
    if not text:
        return None
    return _known_word(text) if len(text) <= _WORD else one_line(text, TITLE_WIDTH)


@lru_cache(maxsize=512)
def _known_word(text: str) -> str:
    """A model's name, a reason to finish: the same for most calls."""
    return one_line(text, TITLE_WIDTH)


def encodable(text: str) -> str:
    """The text without lone surrogates, which JSON can hold and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
