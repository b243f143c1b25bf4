"""What a filter's texts mean, for a column of the store and for a text in memory: one meaning, said twice.

`:` finds a text anywhere, whatever its case; a `*` or `?` makes it a pattern for the whole (for bodies: anywhere). `=`
is equality, `~` a regular expression, found anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from rashomon.filter_regex import MARK, WORD, before, compiled, exact
from rashomon.filters import Form, Op, Value

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
        return _expression(sql, value.text)
    if value.form is Form.GLOB:
        return f"{sql} ILIKE ? ESCAPE '\\'", [like(value.text)]
    return f"contains(lower({sql}), ?)", [value.text.lower()]


def _expression(sql: str, pattern: str) -> Where:
    """Where edges of words count, they are marked first, in what may match: the database knows those of ASCII only."""
    spelt, marked = exact(pattern)
    if not marked:
        return f"regexp_matches({sql}, ?)", [spelt]
    may = before(pattern)
    sure, bound = ("true", []) if may is None else (f"regexp_matches({sql}, ?)", [may])
    words = f"regexp_replace({sql}, ?, ?, 'g')"
    twice = MARK * 2
    return (
        f"CASE WHEN {sure} THEN regexp_matches({words}, ?) ELSE false END",
        [*bound, WORD, rf"{twice}\0{twice}", spelt],
    )


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
        search = compiled(value.text).search
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
