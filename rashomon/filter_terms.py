"""A filter as a value: terms, their fields and values, the error of one that cannot be used, and how it is written."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from rashomon import filter_fields as fields
from rashomon.errors import UsageError
from rashomon.filter_fields import BY_NAME, Sort

NAME = re.compile(r"(?:(step|trace)\.)?([A-Za-z_]+)(?=[:~=<>]|!=)")
"""What a term about a field begins with."""

BARE = re.compile(r"[^\s\",]+")
"""A value without quotation marks."""

NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?(?:[eE][+-]?\d{1,3})?")
"""A number that a path is compared with."""

LITERALS = ("true", "false", "null")


class FilterError(UsageError):
    """A filter that cannot be used. `column` is where in `source`, from 0, and `length` how far it goes."""

    def __init__(self, problem: str, remedy: str, source: str = "", column: int = 0, length: int = 1) -> None:
        super().__init__(problem, remedy)
        self.source, self.column, self.length = source, column, max(1, length)

    def pointed(self) -> tuple[str, str]:
        """The filter in one line, and under it carets where it is wrong."""
        start = max(0, self.column - 60)
        shown = "".join(one if one.isprintable() else " " for one in self.source[start : start + 120])
        lead = "…" if start else ""
        at = self.column - start + len(lead)
        return lead + shown, " " * at + "^" * min(self.length, max(1, len(lead + shown) - at))

    def __str__(self) -> str:
        if not self.source:
            return f"{self.problem} {self.remedy}"
        line, carets = self.pointed()
        return f"{self.problem} {self.remedy}\n  {line}\n  {carets}"


class Op(StrEnum):
    """How a field and a value are compared. `!=` is a negated `=`."""

    HAS = ":"
    REGEX = "~"
    EQUAL = "="
    GREATER = ">"
    AT_LEAST = ">="
    LESS = "<"
    AT_MOST = "<="
    EXISTS = ""


class Form(StrEnum):
    """What a value is."""

    TEXT = "text"
    GLOB = "glob"
    REGEX = "regex"
    WORD = "word"
    NUMBER = "number"
    RANGE = "range"
    MOMENT = "moment"


class Value(NamedTuple):
    """A value of a term. `text` of a text, glob, regex, word or moment; `low` and `high` of a number or range.

    Numbers are in base units: microseconds, US dollars, bytes, or one. Both ends of a range belong to it, and None is
    an open end.
    """

    form: Form
    text: str = ""
    low: float | None = None
    high: float | None = None


class Term(NamedTuple):
    """One condition. `field` is a name of `filter_fields.FIELDS`, `text` for free text, `$` for a JSON path.

    `about` is `step` or `trace` where the filter says which, else empty. `path` is the JSON path: keys, indices, and
    None for `[*]`.
    """

    field: str
    op: Op
    values: tuple[Value, ...]
    negated: bool = False
    about: str = ""
    path: tuple[str | int | None, ...] = ()

    def __str__(self) -> str:
        return ("-" if self.negated else "") + _written(self)


class Query(NamedTuple):
    """A filter: terms that must all hold, its source, and where in it each term stands (start and end)."""

    terms: tuple[Term, ...]
    source: str = ""
    spans: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def error(self, term: Term, problem: str, remedy: str) -> FilterError:
        """An error that points at a term."""
        at = next((number for number, one in enumerate(self.terms) if one is term), None)
        if at is None or at >= len(self.spans):
            return FilterError(problem, remedy)
        start, end = self.spans[at]
        return FilterError(f"Column {start + 1}: {problem}", remedy, self.source, start, end - start)


NOTHING = Query(())
"""The filter that everything matches."""

# ---------------------------------------------------------------------------------------------- writing


def quoted(text: str) -> str:
    """A text in quotation marks."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _written(term: Term) -> str:
    if term.field == "text":
        return _free(term.values[0])
    if term.field == "$":
        return f"${''.join(map(_key, term.path))}{term.op.value}{','.join(map(_path_text, term.values))}"
    sort = BY_NAME[term.field].sort
    about = f"{term.about}." if term.about else ""
    return f"{about}{term.field}{term.op.value}{','.join(_text(value, sort) for value in term.values)}"


def _free(value: Value) -> str:
    if value.form is Form.GLOB:
        return value.text
    plain = re.fullmatch(r"[^\s\"$!*?-][^\s\"*?]*", value.text) and not NAME.match(value.text)
    return value.text if plain else quoted(value.text)


def _key(key: str | int | None) -> str:
    if key is None:
        return "[*]"
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if re.fullmatch(r"[A-Za-z0-9_$-]+", key) else f"[{quoted(key)}]"


def _text(value: Value, sort: Sort) -> str:
    match value.form:
        case Form.NUMBER:
            return fields.written(sort, value.low or 0)
        case Form.RANGE:
            low, high = ("" if end is None else fields.written(sort, end) for end in (value.low, value.high))
            return f"{low}..{high}"
        case Form.TEXT | Form.REGEX if not re.fullmatch(r"[^\s\",*?\\]+", value.text):
            return quoted(value.text)
        case _:
            return value.text if BARE.fullmatch(value.text) else quoted(value.text)


def _path_text(value: Value) -> str:
    if value.form is Form.NUMBER:
        return value.text
    if value.form is Form.TEXT and (value.text in LITERALS or NUMBER.fullmatch(value.text)):
        return quoted(value.text)
    return _text(value, Sort.TEXT)
