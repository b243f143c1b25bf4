"""What a filter's texts mean in bodies: for a column of the store, and for contents in memory.

A plain text is looked for in each spelling that JSON may give it, which the database does by itself. For the rest, the
database leaves what may match, and `filter_judge` decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from rashomon.filter_regex import plain, verbatim
from rashomon.filters import Form, Op, Value
from rashomon.store.filter_judge import Content, judged
from rashomon.store.filter_text import Test, Where, any_of, glob_pattern, like, shown_bytes


def as_text(op: Op, value: Value) -> tuple[Op, Value]:
    """A regular expression without any signs as the text that it is; anything else as it is."""
    found = plain(value.text) if value.form is Form.REGEX else None
    if found is None:
        return op, value
    text, with_case = found
    return (Op.EQUAL if with_case else Op.HAS), Value(Form.TEXT, text)


def needles(text: str, binary: bool = False) -> list[str]:
    """How a text may be spelt: as it is, and with the escapes of JSON; as the database shows bytes, if `binary`."""
    if binary:
        return [shown_bytes(text.encode("utf-8", "surrogatepass"))]
    import json  # terms on light columns need nothing of it

    escaped = json.dumps(text)[1:-1]
    capitals = re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), escaped)
    return list(dict.fromkeys([text, json.dumps(text, ensure_ascii=False)[1:-1], escaped, capitals]))


def any_case(texts: list[str]) -> str:
    """A regular expression for one of these texts, in capital letters or not."""
    return f"(?i)(?:{'|'.join(map(verbatim, texts))})"


def body_column(sql: str, op: Op, values: Iterable[Value], binary: bool = False) -> Where:
    """A column of contents that may hold one of the values; `binary` for bytes that were cast to text.

    What it leaves is still to be judged where `filter_judge.finder` has judges.
    """
    return any_of(_body_column(sql, *as_text(op, value), binary) for value in values)


def _body_column(sql: str, op: Op, value: Value, binary: bool) -> Where:
    judge = judged(op, value)
    if judge is not None:
        pattern = judge.binary if binary else judge.text
        return (f"{sql} IS NOT NULL", []) if pattern is None else (f"regexp_matches({sql}, ?)", [pattern])
    if value.form is Form.GLOB:
        return f"{sql} ILIKE ? ESCAPE '\\'", [f"%{like(value.text)}%"]
    if op is Op.EQUAL:
        return any_of((f"contains({sql}, ?)", [one]) for one in needles(value.text, binary))
    # quicker than to make small letters of everything
    return f"regexp_matches({sql}, ?)", [any_case(needles(value.text, binary))]


class Finder:
    """Whether contents have one of the values of a term on bodies: as the database finds them, and judged."""

    def __init__(self, op: Op, wanted: tuple[Value, ...]) -> None:
        terms = [as_text(op, value) for value in wanted]
        found = [judged(one, value) for one, value in terms]
        self.judges = [judge for judge in found if judge is not None]
        plain_ones = [term for term, judge in zip(terms, found, strict=True) if judge is None]
        self._texts = [_spelling_test(one, value) for one, value in plain_ones]
        self._bytes = [_spelling_test(one, value, binary=True) for one, value in plain_ones]

    def sent(self, content: Content) -> bool:
        """Whether something that was sent has one: JSON, a text, or bytes."""
        if isinstance(content, bytes):
            shown = shown_bytes(content) if self._bytes else ""
            return any(test(shown) for test in self._bytes) or any(judge.sent(content) for judge in self.judges)
        return any(test(content) for test in self._texts) or any(judge.sent(content) for judge in self.judges)

    def said(self, text: str) -> bool:
        """Whether a text that was decoded already has one."""
        return any(test(text) for test in self._texts) or any(judge.said(text) for judge in self.judges)


@lru_cache(maxsize=256)
def finder(op: Op, wanted: tuple[Value, ...]) -> Finder:
    """What finds the values of a term."""
    return Finder(op, wanted)


def _spelling_test(op: Op, value: Value, binary: bool = False) -> Test:
    """Whether a spelling has a value that nobody needs to judge: as `body_column`."""
    if value.form is Form.GLOB:
        found = glob_pattern(value.text).search
        return lambda text: found(text) is not None
    if op is Op.EQUAL:
        exact = needles(value.text, binary)
        return lambda text: any(one in text for one in exact)
    search = re.compile(any_case(needles(value.text, binary))).search
    return lambda text: search(text) is not None
