"""Lines as values: styled spans of text, fitted to cells. What every list and pane of the application shows.

Everything recorded is foreign text. It never passes through markup, and `plain` takes out whatever could
drive a terminal or disturb the columns: escape sequences, controls, bidirectional marks, joiners.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size

MAX_LINE = 20_000
"""A line is cut to this many characters before anything looks at it."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")


class Span(NamedTuple):
    """A stretch of a line in one style. `style` is a name of `rashomon.tui.paint.STYLES`, or empty."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


class Ready(list[Line]):
    """Lines that are `cleaned` already, so that it need not be done where keys wait."""


class Column(NamedTuple):
    """A column of a list. `width` is in cells; 0 takes what the others leave.

    When the window is narrow, the column with the lowest `keep` goes first; 9 stays always.
    """

    name: str
    head: str
    width: int
    keep: int = 9
    right: bool = False


def plain(text: str) -> str:
    """Text without anything but visible characters and spaces; a line break becomes a space."""
    if len(text) > MAX_LINE:
        text = f"{text[: MAX_LINE - 1]}…"
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPES.sub("", text).replace("\t", "    ").replace("\n", " ")
    return _SURROGATES.sub("\ufffd", _UNSAFE.sub("", text))


def fit(text: str, width: int, right: bool = False, middle: bool = False) -> str:
    """The text made exactly `width` cells wide; what is too long is cut at its end, or in its middle."""
    if width <= 0:
        return ""
    text = plain(text[: 8 * width + 1]) if len(text) > 8 * width and not middle else plain(text)
    size = cell_len(text)
    if size > width:
        if width < 8 or not middle:
            return set_cell_size(f"{set_cell_size(text, width - 1)}…", width)
        tail = (width - 1) // 3
        head = set_cell_size(text, width - 1 - tail)
        end = text[-tail:]
        while cell_len(end) > tail:
            end = end[1:]
        return set_cell_size(f"{head}…{end}", width)
    return " " * (width - size) + text if right else text + " " * (width - size)


def layout(columns: Sequence[Column], width: int, least: int = 30, gap: int = 1) -> list[Column]:
    """The columns that have room in `width` cells, dropped by `keep`, the flexible one widened to fill."""
    kept = list(columns)
    while True:
        taken = sum(column.width for column in kept) + gap * (len(kept) - 1)
        droppable = [column for column in kept if column.keep < 9]
        if width - taken >= least or not droppable:
            break
        kept.remove(min(droppable, key=lambda column: column.keep))
    rest = max(1, width - taken)
    return [column._replace(width=rest) if column.width == 0 else column for column in kept]


def heading(columns: Iterable[Column]) -> Line:
    """The heads of laid out columns as one line."""
    return (Span(" ".join(fit(column.head, column.width, column.right) for column in columns), "dim"),)


def wrap(text: str, width: int) -> list[tuple[int, int]]:
    """Where a line breaks at a width, as (start, end) in characters; prefers spaces; never empty.

    Continued rows are indented like the line itself (`indent_of`), so they have less room.
    """
    if width <= 0:
        return [(0, len(text))]
    room, indent = width, min(indent_of(text), width // 2)
    rows, start = [], 0
    while True:
        size = _row(text, start, room)
        if start + size >= len(text):
            rows.append((start, len(text)))
            return rows
        space = text.rfind(" ", start + size // 2, start + size + 1)
        if space > start:
            rows.append((start, space))
            start = space + 1
        else:
            rows.append((start, start + size))
            start += size
        room = max(1, width - indent)


def wrapped_row(line: Line, start: int, end: int, width: int) -> Line:
    """One row of a line that was wrapped at `width`: what continues it is indented like it."""
    if start == 0:
        return crop(line, 0, end)
    return (Span(" " * min(indent_of(text_of(line)), width // 2)), *crop(line, start, end))


def wrapped(lines: Iterable[Line], width: int) -> list[Line]:
    """Lines cleaned and broken into rows of at most `width` cells."""
    safe = [cleaned(line) for line in lines]
    return [wrapped_row(line, *row, width) for line in safe for row in wrap(text_of(line), width)]


def _row(text: str, start: int, room: int) -> int:
    """How many characters from `start` on have room in so many cells; at least one."""
    piece = text[start : start + room]
    if piece.isascii() or cell_len(piece) <= room:  # else graphemes are looked for, which takes ten times as long
        return max(1, len(piece))
    rows = chop_cells(piece, room)
    return max(1, len(rows[0])) if rows else 1


def indent_of(text: str) -> int:
    """The number of spaces that a line begins with."""
    return len(text) - len(text.lstrip(" "))


def crop(line: Line, start: int, end: int) -> Line:
    """The characters from `start` to `end` of a line, styles kept."""
    out, at = [], 0
    for text, style in line:
        upto = at + len(text)
        if upto > start and at < end:
            out.append(Span(text[max(0, start - at) : end - at], style))
        at = upto
    return tuple(out)


def text_of(line: Line) -> str:
    """A line without its styles."""
    return "".join([span.text for span in line])


def cleaned(line: Line) -> Line:
    """A line that is safe to show whatever its texts hold, cut to `MAX_LINE` characters."""
    out, left = [], MAX_LINE
    for text, style in line:
        if len(text) > left:
            out.append(Span(f"{plain(text[: max(0, left - 1)])}…", style))
            break
        text = plain(text)
        out.append(Span(text, style))
        left -= len(text)
    return tuple(out)


def count_of(number: int | None) -> str:
    """A count in at most five characters: `812`, `9.0k`, `214k`, `1.2M`; empty for None."""
    if number is None:
        return ""
    if number < 1000:
        return str(number)
    for unit in ("k", "M", "G"):
        scaled = number / 1000
        if scaled < 999.5 or unit == "G":
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{round(scaled)}{unit}"
        number = round(scaled)
    return ""


def plural(count: int, noun: str) -> str:
    """`1 step`, `2 steps`, `1,204 steps`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
