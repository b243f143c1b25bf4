"""Where output goes: a terminal gets colour and its own width; a pipe gets plain, whole, stable text.

Everything recorded is foreign text: it never passes through markup, and its control characters are shown
and not sent, so that a recorded answer cannot drive the reader's terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

GLYPHS = {
    "llm": "◆",
    "tool": "●",
    "http": "↯",
    "mcp": "◇",
    "clock": "C",
    "random": "R",
    "sleep": "z",
    "note": "✎",
}
"""One sign for each kind of step, in a terminal. Shown together with its colour, never colour alone."""

KIND_STYLES = {"llm": "magenta", "tool": "cyan", "http": "blue", "mcp": "cyan"}

_KEPT_CONTROLS = "\n\t"


def in_terminal() -> bool:
    """True when stdout is a terminal."""
    return sys.stdout.isatty()


def console() -> Console:
    """The terminal, through rich; honours NO_COLOR."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def clean(text: str) -> str:
    """Text that is safe to print: control, bidirectional and surrogate characters as escapes."""
    if text.isprintable() or text.replace("\n", "").isprintable():
        return text
    lines = text.split("\n")
    if len(lines) > 1:
        return "\n".join([clean(line) for line in lines])
    return "".join([_shown(character) for character in text])


def _shown(character: str) -> str:
    if character in _KEPT_CONTROLS or character.isprintable():
        return character
    import unicodedata  # few texts have such characters

    # spaces of other widths; the joiner inside emoji
    if unicodedata.category(character) == "Zs" or character == "\u200d":
        return character
    return character.encode("unicode_escape").decode("ascii")


def styled(text: str, style: str = "") -> Text:
    """Foreign text for a rich table: cleaned, never read as markup."""
    from rich.text import Text

    return Text(clean(text), style=style)


def print_text(text: str) -> None:
    """Print lines of text, cleaned; whatever the locale, as UTF-8."""
    print_clean(clean(text))


def print_clean(text: str) -> None:
    """The same of a text that was cleaned, as a table is: to look through a long one again takes a while."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()


def print_json(document: object) -> None:
    """Print one JSON document. In a terminal, what could drive it is escaped, which is the same JSON."""
    from rashomon.commands.documents import chunks  # a table needs nothing of it

    sys.stdout.flush()
    pieces = chunks(document)
    if in_terminal():
        pieces = (_escaped(piece.decode("utf-8")).encode("utf-8") for piece in pieces)
    sys.stdout.buffer.writelines(pieces)
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def _escaped(text: str) -> str:
    """JSON without what a terminal obeys and JSON may hold as it is. It stands in texts only."""
    if text.replace("\n", "").isprintable():
        return text
    return text.translate({ord(one): _code(one) for one in set(text) if _shown(one) != one})


def _code(character: str) -> str:
    """The character as JSON's escapes: two for what is beyond 16 bits."""
    units = character.encode("utf-16-be")
    return "".join([f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)])


def columns(rows: Iterable[Sequence[str]], heads: Sequence[str], right: Sequence[int] = ()) -> str:
    """Plain columns, two spaces apart and as wide as their widest cell; `right` names numeric ones."""
    return table(list(zip(heads, *rows, strict=True)), right)


def table(cells: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """The same of columns that begin with their heads."""
    shown, form = [], []
    for at, column in enumerate(cells):
        if not "".join(column).isprintable():
            column = [clean(cell).replace("\n", "\\n") for cell in column]
        shown.append(column)
        form.append(f"%{'' if at in right else '-'}{max(map(len, column))}s")
    line = "  ".join(form)  # to pad cell by cell takes twice as long, and there may be thousands of lines
    return "\n".join([(line % one).rstrip() for one in zip(*shown, strict=True)])


def local_time(ns: int) -> str:
    """A point in time as the reader's clock shows it."""
    seconds, rest = divmod(ns / 1e9, 1)
    # as `datetime.fromtimestamp` has it, to the microsecond; that takes longer to load than a list of traces to print
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds + (round(rest * 1e6) >= 1_000_000)))


def plural(count: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
