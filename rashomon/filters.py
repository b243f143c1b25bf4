"""The filter language: one grammar for `ls`, `grep`, `show` and the terminal application. `docs/filter.md`.

    kind:llm,tool name:refund* -kind:note status:err cost>0.01 ms>2s tok>8k step:30..60 since:7d tag:env=prod
    body~"refund.*window" $.response.usage.output_tokens>500 "free text"

All terms must hold; a comma is an "or" between values; `-` or `!` before a term negates it. `parse` makes a `Query`
of a text, `str` a text of a `Query`. What a term means for a step or a trace is the store's business
(`rashomon.store.filtering`): this module knows the language and no data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rashomon import filter_fields as fields
from rashomon import filter_regex
from rashomon.filter_fields import BY_NAME, NUMERIC, Field, Sort
from rashomon.filter_terms import (
    BARE,
    LITERALS,
    NAME,
    NOTHING,
    NUMBER,
    FilterError,
    Form,
    Op,
    Query,
    Term,
    Value,
    quoted,
)

__all__ = ["NOTHING", "FilterError", "Form", "Op", "Query", "Term", "Value", "from_arguments", "parse"]

MAX_LENGTH = 10_000
"""A filter is at most so many characters long."""

_OP = re.compile(r">=|<=|!=|[:~=<>]")
_KEY = re.compile(r"\.([A-Za-z0-9_$-]+)|\[(-?\d{1,9})\]|\[(\*)\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_RANGE = re.compile(r"(.*?)\.\.(.*)", re.S)
_STEP_ID = re.compile(r"\d{1,9}\.\d{1,9}")
_STATUS_CLASS = re.compile(r"([1-5])xx", re.I)


def parse(text: str) -> Query:
    """The filter that a text is. Raises `FilterError`, which says where and what was expected."""
    if len(text) > MAX_LENGTH:
        raise FilterError(f"The filter has {len(text):,} characters.", f"Write at most {MAX_LENGTH:,}.")
    broken = re.search("[\ud800-\udfff]", text)
    if broken is not None:
        column = broken.start()
        raise FilterError(f"Column {column + 1}: the filter is no text there.", "Write it in UTF-8.", text, column)
    return _Parser(text).query()


def from_arguments(arguments: Sequence[str]) -> Query:
    """The filter that a command line's arguments are together.

    A shell has taken quotation marks away: an argument with spaces in it is one phrase, or one value that belongs to
    the field before it, unless it holds several terms.
    """
    return parse(" ".join(map(_requoted, arguments)))


def _requoted(argument: str) -> str:
    if not re.search(r"\s", argument) or '"' in argument:
        return argument
    lead = "!" if argument[:1] in ("-", "!") else ""
    bare = argument[len(lead) :]
    if any(NAME.match(word.lstrip("-!")) or word.startswith("$.") for word in bare.split()[1:]):
        return argument
    named = NAME.match(bare)
    if named is None:
        return argument if bare.startswith("$") else lead + quoted(bare)
    field = BY_NAME.get(named[2].lower())
    if field is None or field.sort not in (Sort.TEXT, Sort.TAG):
        return argument
    op = _OP.match(bare, named.end())
    assert op is not None  # the name ends before one
    return f"{lead}{bare[: op.end()]}{quoted(bare[op.end() :])}"


class _Parser:
    """Reads one filter from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def query(self) -> Query:
        terms: list[Term] = []
        spans: list[tuple[int, int]] = []
        while self.skip():
            start = self.at
            terms.append(self.term())
            spans.append((start, self.at))
            if self.at < len(self.text) and not self.text[self.at].isspace():
                raise self.error(self.at, 1, f"{self.text[self.at]!r} follows a value.", "Put a space between terms.")
        return Query(tuple(terms), self.text, tuple(spans))

    def skip(self) -> bool:
        """Pass over spaces; False at the end."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at < len(self.text)

    def error(self, column: int, length: int, problem: str, remedy: str) -> FilterError:
        place = f"Column {column + 1}: "
        return FilterError(place + problem, remedy, self.text, column, length)

    def term(self) -> Term:
        start = self.at
        negated = False
        if self.text[self.at] in "-!":
            negated, self.at = True, self.at + 1
            if self.at == len(self.text) or self.text[self.at].isspace():
                raise self.error(start, 1, f"{self.text[start]!r} negates nothing.", "Write a term right behind it.")
        if self.text.startswith("$", self.at) and self.text[self.at + 1 : self.at + 2] in (".", "["):
            return self.path(negated)
        named = NAME.match(self.text, self.at)
        if named is not None:
            return self.field(named, negated)
        return Term("text", Op.HAS, (self.word(),), negated)

    def word(self) -> Value:
        """Free text: a phrase in quotation marks, or a word."""
        if self.text[self.at] == '"':
            return Value(Form.TEXT, self.quoted())
        start = self.at
        while self.at < len(self.text) and not self.text[self.at].isspace():
            self.at += 1
        word = self.text[start : self.at]
        return Value(Form.GLOB if _is_glob(word) else Form.TEXT, word)

    def field(self, named: re.Match[str], negated: bool) -> Term:
        start, (about, name) = named.start(2), named.groups()
        field = BY_NAME.get(name.lower())
        if field is None:
            meant = fields.nearest(name, tuple(BY_NAME))
            known = f"Did you mean {meant}?" if meant else 'docs/filter.md lists them; put text into "quotation marks".'
            raise self.error(start, len(name), f"There is no field {name!r}.", known)
        if about and field.about not in (about, "both"):
            raise self.error(
                named.start(), len(about) + 1, f"{field.name} is about a {field.about}.", f"Write {field.name} alone."
            )
        self.at = named.end()
        op, flipped = self.op()
        column = self.at
        if op is Op.REGEX:
            values: tuple[Value, ...] = (self.regex(field, column),)
        else:
            values = tuple(self.values(field, op))
        return Term(field.name, op, values, negated != flipped, about or "")

    def op(self) -> tuple[Op, bool]:
        found = _OP.match(self.text, self.at)
        assert found is not None  # a name ends before one
        self.at = found.end()
        return (Op.EQUAL, True) if found[0] == "!=" else (Op(found[0]), False)

    def values(self, field: Field, op: Op) -> list[Value]:
        found = []
        while True:
            start, quoted = self.at, self.text.startswith('"', self.at)
            text = self.quoted() if quoted else self.bare(field, start)
            found.append(self.value(field, op, text, quoted, start))
            if not self.text.startswith(",", self.at):
                return found
            if op not in (Op.HAS, Op.EQUAL):
                raise self.error(self.at, 1, f"{op.value!r} compares with one value.", "Leave the comma out.")
            self.at += 1

    def bare(self, field: Field, start: int) -> str:
        found = BARE.match(self.text, self.at)
        if found is None:
            name = field.name
            raise self.error(start, 1, f"{name} has no value.", f"Write {_expected(field)}, as in {field.example}.")
        self.at = found.end()
        return found[0]

    def quoted(self) -> str:
        start, out = self.at, list[str]()
        self.at += 1
        while self.at < len(self.text):
            one = self.text[self.at]
            if one == '"':
                self.at += 1
                return "".join(out)
            if one == "\\" and self.text[self.at + 1 : self.at + 2] in ('"', "\\"):
                self.at += 1
                one = self.text[self.at]
            out.append(one)
            self.at += 1
        raise self.error(start, len(self.text) - start, "The quotation mark is never closed.", 'Close it with ".')

    def regex(self, field: Field | None, column: int) -> Value:
        if field is not None and field.sort is not Sort.TEXT:
            raise self.error(
                column - 1, 1, f"{field.name} has no text for ~ to search.", f"Write {field.example}, or another field."
            )
        if self.text.startswith('"', self.at):
            pattern = self.quoted()
        else:  # a comma belongs to it: alternatives of a regular expression are written with |
            while self.at < len(self.text) and not self.text[self.at].isspace():
                self.at += 1
            pattern = self.text[column : self.at]
        if not pattern:
            raise self.error(column, 1, "The regular expression is empty.", "Write one, as in body~refund.")
        self.check_regex(pattern, column)
        return Value(Form.REGEX, pattern)

    def check_regex(self, pattern: str, column: int) -> None:
        wrong = filter_regex.trouble(pattern)
        if wrong is not None:
            problem, at = wrong
            at += column + self.text.startswith('"', column)
            place = min(at, max(len(self.text) - 1, 0))
            raise self.error(
                place, 1, f"The regular expression {problem}.", 'Mend it, or look for plain text with ":".'
            )

    # ------------------------------------------------------------------------------------------ values

    def value(self, field: Field, op: Op, text: str, quoted: bool, start: int) -> Value:
        found = _value(field, op, text, quoted)
        if isinstance(found, Value):
            return found
        problem, remedy = found
        raise self.error(start, self.at - start, problem, remedy)

    # ------------------------------------------------------------------------------------------- paths

    def path(self, negated: bool) -> Term:
        start = self.at
        self.at += 1
        keys: list[str | int | None] = []
        while (found := _KEY.match(self.text, self.at)) is not None:
            name, index, star, quoted = found.groups()
            if index is not None:
                keys.append(int(index))
            else:
                keys.append(None if star else name if name is not None else re.sub(r"\\(.)", r"\1", quoted))
            self.at = found.end()
        at = self.at
        if not keys or keys[0] not in ("request", "response"):
            raise self.error(
                start,
                at - start,
                "A path begins at $.request or $.response.",
                "As in $.response.usage.output_tokens>500.",
            )
        if at == len(self.text) or self.text[at].isspace():
            return Term("$", Op.EXISTS, (), negated, "", tuple(keys))
        if _OP.match(self.text, at) is None:
            raise self.no_path(at)
        op, flipped = self.op()
        values = (self.regex(None, self.at),) if op is Op.REGEX else tuple(self.path_values(op))
        return Term("$", op, values, negated != flipped, "", tuple(keys))

    def no_path(self, at: int) -> FilterError:
        """Something in a path is no part of one: most often in a key that is to stand in brackets."""
        key = re.compile(r"\.?([^\s.\[\]\"=:~<>!,]*)").match(self.text, self.text.rfind(".", 0, at + 1))
        remedy = "Write .key, [0], [*], or an operator such as = or >."
        if key is not None and key[1] and key.start() <= at < key.end():
            remedy = f"Write [{quoted(key[1])}] in place of {key[0]}."
        return self.error(at, 1, f"{self.text[at]!r} cannot be part of a path.", remedy)

    def path_values(self, op: Op) -> list[Value]:
        found = []
        while True:
            start = self.at
            if self.text.startswith('"', start):
                found.append(Value(Form.TEXT, self.quoted()))
            elif (bare := BARE.match(self.text, start)) is not None:
                self.at = bare.end()
                found.append(_path_value(bare[0], op))
            else:
                raise self.error(start, 1, "The path is compared with nothing.", "Write a number, a word or a text.")
            if op not in (Op.HAS, Op.EQUAL) or not self.text.startswith(",", self.at):
                return found
            self.at += 1


def _path_value(text: str, op: Op) -> Value:
    if NUMBER.fullmatch(text) and abs(low := float(text)) < 1e300:
        return Value(Form.NUMBER, text, low, low)
    if text in LITERALS and op in (Op.HAS, Op.EQUAL):
        return Value(Form.WORD, text)
    return Value(Form.GLOB if op is Op.HAS and _is_glob(text) else Form.TEXT, text)


def _value(field: Field, op: Op, text: str, quoted: bool) -> Value | tuple[str, str]:
    """The value that a text is for a field, or what is wrong with it and what to do."""
    if field.sort in NUMERIC:
        return _number(field, op, text)
    if op not in (Op.HAS, Op.EQUAL):
        return f"{field.name} cannot be compared by {op.value}.", f"Write {field.example}."
    if field.sort is Sort.WORD:
        word = text.lower()
        if word in field.words:
            return Value(Form.WORD, word)
        meant = fields.nearest(text, field.words)
        hint = f"Did you mean {meant}?" if meant else f"As in {field.example}."
        return f"{field.name} must be one of {' '.join(field.words)}.", hint
    if field.sort is Sort.MOMENT:
        if fields.is_moment(text):
            return Value(Form.MOMENT, text)
        return f"{text!r} is no time.", f"Write {fields.EXPECTED[Sort.MOMENT]}."
    if field.sort is Sort.TAG and not text.partition("=")[0]:
        return f"{text!r} names no tag.", f"Write {fields.EXPECTED[Sort.TAG]}."
    return Value(Form.GLOB if op is Op.HAS and not quoted and _is_glob(text) else Form.TEXT, text)


def _number(field: Field, op: Op, text: str) -> Value | tuple[str, str]:
    if op in (Op.HAS, Op.EQUAL):
        if field.sort is Sort.STATUS and text.lower() in field.words:
            return Value(Form.WORD, text.lower())
        if field.sort is Sort.STATUS and (found := _STATUS_CLASS.fullmatch(text)):
            return Value(Form.RANGE, "", int(found[1]) * 100, int(found[1]) * 100 + 99)
        if field.sort is Sort.STEP and _STEP_ID.fullmatch(text):
            return Value(Form.WORD, text)
        if (ends := _RANGE.fullmatch(text)) is not None and (ends[1] or ends[2]):
            low, high = (fields.number(field.sort, end) if end else None for end in ends.groups())
            if (low is None) == (not ends[1]) and (high is None) == (not ends[2]):
                if low is not None and high is not None and low > high:
                    return f"{text!r} ends before it begins.", f"Write {ends[2]}..{ends[1]}."
                return Value(Form.RANGE, "", low, high)
    single = fields.number(field.sort, text)
    if single is None:
        return f"{text!r} is no value of {field.name}.", f"Write {_expected(field)}."
    return Value(Form.NUMBER, "", single, single)


def _expected(field: Field) -> str:
    return fields.EXPECTED.get(field.sort) or (f"one of {' '.join(field.words)}" if field.words else "a text")


def _is_glob(text: str) -> bool:
    return "*" in text or "?" in text
