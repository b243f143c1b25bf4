"""What a half-typed word of SQL may become: names of the store, and keywords."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rashomon.store.asking import Relation

COMMANDS = (".help", ".quit", ".schema", ".tables")

_KEYWORDS = """
    all and anti any as asc asof between by case cast count create cross current_date current_timestamp date_trunc
    desc describe distinct else end except exclude exists explain extract false filter first from full group having
    ilike in inner intersect interval is join json_extract json_extract_string lateral left like limit list max
    median min not null nulls offset on or order outer over partition pivot qualify quantile_cont
    regexp_extract regexp_matches right row_number select semi starts_with sum summarize then true union unnest using
    values when where window with arg_max arg_min avg coalesce contains epoch len list_contains lower round strftime
    timestamp today try_cast upper week year month day hour minute
"""

_RELATION = re.compile(r"\b(?:from|join)\s+([\w.]+)(?:\s+(?:as\s+)?(\w+))?", re.I)
_BEFORE_RELATION = re.compile(r"(?:\b(?:from|join|describe|summarize|table)\s+|^\s*\.schema\s+)[\w.]*$", re.I)


class Completer:
    """Completes words; what readline calls with state 0, 1, 2, ... until it gives None."""

    def __init__(self, relations: Sequence[Relation]) -> None:
        self._columns = {one.name: [column[0] for column in one.columns] for one in relations}
        self._found: list[str] = []

    def complete(self, text: str, state: int, line: str) -> str | None:
        """The candidate of that number for the last word of a line."""
        if state == 0:
            self._found = self.candidates(text, line)
        return self._found[state] if state < len(self._found) else None

    def candidates(self, text: str, line: str) -> list[str]:
        """What a word may become, from what stands before and around it in its line."""
        if line.lstrip().startswith(".") and " " not in line.strip():
            return [name for name in COMMANDS if name.startswith(text)]
        if _BEFORE_RELATION.search(line):
            return _beginning(text, self._columns)
        if "." in text:
            return self._of_relation(text, line)
        named = [name for name, _ in _RELATION.findall(line) if name in self._columns]
        columns = {column for name in named or self._columns for column in self._columns[name]}
        keywords = [word.upper() for word in _KEYWORDS.split()] if text.isupper() else _KEYWORDS.split()
        return _beginning(text, columns) + _beginning(text, self._columns) + _beginning(text, keywords)

    def _of_relation(self, text: str, line: str) -> list[str]:
        """`c.mo` where the line has `from llm_calls c`, or `from years.llm_calls c`."""
        name, _, begun = text.rpartition(".")
        aliases = {alias: relation for relation, alias in _RELATION.findall(line) if alias}
        columns = self._columns.get(aliases.get(name, name), ())
        return [f"{name}.{column}" for column in _beginning(begun, columns)]


def _beginning(text: str, words: Iterable[str]) -> list[str]:
    """The words that begin so, sorted, each once."""
    return sorted({word for word in words if word.lower().startswith(text.lower())})
