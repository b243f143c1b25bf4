"""What a filter's texts mean, for a column of the store and for a text in memory: one meaning, said twice.

`:` finds a text anywhere, whatever its case; a `*` or `?` makes it a pattern for the whole (for bodies: anywhere). `=`
is equality, `~` a regular expression, found anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from rashomon.filter_terms import TOKEN
from rashomon.filters import Form, Op, Term, Value

Where = tuple[str, list[Any]]
"""A condition in SQL, and what its question marks stand for."""

Test = Callable[[str], bool]

_SHOWN_BYTES = [chr(one) if 32 <= one <= 126 and one not in b"\\'\"" else f"\\x{one:02X}" for one in range(256)]


def shown_bytes(content: bytes) -> str:
    """Bytes as DuckDB casts a BLOB to text: printable ASCII as it is, the rest as `\\x1F`."""
    return "".join([_SHOWN_BYTES[one] for one in content])


def any_of(conditions: Iterable[Where]) -> Where:
    """At least one of these holds."""
    found = list(conditions)
    if not found:
        return "false", []
    return f"({' OR '.join(sql for sql, _ in found)})", [one for _, values in found for one in values]


def all_of(conditions: Iterable[Where]) -> Where:
    """All of these hold."""
    found = list(conditions)
    if not found:
        return "true", []
    return f"({' AND '.join(sql for sql, _ in found)})", [one for _, values in found for one in values]


def opposite(condition: Where) -> Where:
    """The condition does not hold; a NULL in it is no."""
    sql, values = condition
    return f"NOT coalesce({sql}, false)", values


# --------------------------------------------------------------------------------------- short columns


def column(sql: str, op: Op, values: Iterable[Value]) -> Where:
    """A text column that has one of the values."""
    return any_of(_column(sql, op, value) for value in values)


def _column(sql: str, op: Op, value: Value) -> Where:
    if op is Op.EQUAL:
        return f"{sql} = ?", [value.text]
    if value.form is Form.REGEX:
        return f"regexp_matches({sql}, ?)", [value.text]
    if value.form is Form.GLOB:
        return f"{sql} ILIKE ? ESCAPE '\\'", [like(value.text)]
    return f"contains(lower({sql}), ?)", [value.text.lower()]


def like(glob: str) -> str:
    """A glob as a pattern of LIKE, with a backslash as its escape."""
    return "".join({"*": "%", "?": "_"}.get(one, f"\\{one}" if one in "%_\\" else one) for one in glob)


@lru_cache(maxsize=256)
def test(op: Op, values: tuple[Value, ...]) -> Test:
    """Whether a text in memory has one of the values: as `column`."""
    tests = [_test(op, value) for value in values]
    return tests[0] if len(tests) == 1 else lambda text: any(one(text) for one in tests)


def _test(op: Op, value: Value) -> Test:
    if op is Op.EQUAL:
        return lambda text: text == value.text
    if value.form is Form.REGEX:
        search = re.compile(value.text, re.ASCII).search
        return lambda text: search(text) is not None
    if value.form is Form.GLOB:
        full = glob_pattern(value.text).fullmatch
        return lambda text: full(text) is not None
    needle = value.text.lower()
    return lambda text: needle in text.lower()


def glob_pattern(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression."""
    spelt = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in glob)
    return re.compile(spelt, re.DOTALL | re.IGNORECASE)


# --------------------------------------------------------------------------------------------- bodies


def spellings(needle: str) -> list[str]:
    """How JSON may have written a text: as it is, and with escapes."""
    return list(dict.fromkeys([needle, json.dumps(needle, ensure_ascii=False)[1:-1], json.dumps(needle)[1:-1]]))


def any_case(texts: list[str]) -> str:
    """A regular expression for one of these texts, in capital letters or not."""
    return f"(?i)(?:{'|'.join(map(_verbatim, texts))})"


def _verbatim(text: str) -> str:
    """A text as a regular expression, as both RE2 and Python read it."""
    return "".join(one if one.isalnum() or not one.isascii() else f"\\x{ord(one):02x}" for one in text)


_EDGES = ("^", "$", r"\b", r"\B", r"\A", r"\Z")
_LOOSE = {
    '"': r'(?:\\?"|\\x22)',
    "'": r"(?:'|\\x27)",
    r"\n": r"(?:\n|\\n)",
    r"\"": r'(?:\\?"|\\x22)',
    r"\\": r"(?:\\|\\\\|\\x5C)",
    **dict.fromkeys(_EDGES, ""),  # an empty group in its place confuses DuckDB 2.0 where a text follows
}


def has_edges(term: Term) -> bool:
    """True for a regular expression on bodies that asks for edges of words or lines.

    What stands beside a text in its JSON is no edge of it: such a term is judged on the texts themselves.
    """
    bodies = term.field in ("body", "request", "response") and term.op is Op.REGEX
    return bodies and any(token[0] in _EDGES for token in TOKEN.finditer(term.values[0].text))


@lru_cache(maxsize=256)
def loose(pattern: str) -> str:
    """A regular expression that also finds what JSON and the casting of bytes have spelt otherwise.

    Quotation marks and line ends may be escaped, and a letter beyond ASCII may be `\\u00e9`. Edges of words and lines
    are taken for granted: `has_edges` tells of these. Sets in brackets stay as they are.
    """
    spelt = []
    for token in TOKEN.finditer(pattern):
        one = token[0]
        if one in _LOOSE:
            one = _LOOSE[one]
        elif len(one) == 1 and not one.isascii():
            one = f"(?:{one}|{re.escape(json.dumps(one)[1:-1])}|{re.escape(_binary(one))})"
        spelt.append(one)
    try:
        re.compile("".join(spelt))
    except re.error:  # something stood in the name of a group; or an edge was repeated, and anything will do
        return "" if any(token[0] in _EDGES for token in TOKEN.finditer(pattern)) else pattern
    return "".join(spelt)


def body_column(sql: str, op: Op, values: Iterable[Value], binary: bool = False) -> Where:
    """A column of contents that holds one of the values; `binary` for bytes that were cast to text."""
    return any_of(_body_column(sql, op, value, binary) for value in values)


def _body_column(sql: str, op: Op, value: Value, binary: bool) -> Where:
    if value.form is Form.REGEX:
        return f"regexp_matches({sql}, ?)", [loose(value.text)]
    if value.form is Form.GLOB:
        return f"{sql} ILIKE ? ESCAPE '\\'", [f"%{like(_binary(value.text) if binary else value.text)}%"]
    if op is Op.EQUAL:
        needles = [_binary(value.text)] if binary else spellings(value.text)
        return any_of((f"contains({sql}, ?)", [one]) for one in needles)
    # quicker than to make small letters of everything
    return f"regexp_matches({sql}, ?)", [any_case([_binary(value.text)] if binary else spellings(value.text))]


def body_test(op: Op, values: tuple[Value, ...], binary: bool = False) -> Test:
    """Whether a content in memory holds one of the values: as `body_column`."""
    tests = [_body_test(op, value, binary) for value in values]
    return tests[0] if len(tests) == 1 else lambda text: any(one(text) for one in tests)


def _body_test(op: Op, value: Value, binary: bool) -> Test:
    if value.form is Form.REGEX:
        return _test(Op.REGEX, value._replace(text=loose(value.text)))
    if value.form is Form.GLOB:
        found = glob_pattern(_binary(value.text) if binary else value.text).search
        return lambda text: found(text) is not None
    if op is Op.EQUAL:
        exact = [_binary(value.text)] if binary else spellings(value.text)
        return lambda text: any(one in text for one in exact)
    search = re.compile(any_case([_binary(value.text)] if binary else spellings(value.text))).search
    return lambda text: search(text) is not None


def _binary(needle: str) -> str:
    return shown_bytes(needle.encode("utf-8", "surrogatepass"))
