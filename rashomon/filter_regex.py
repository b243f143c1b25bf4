"""Regular expressions of a filter: which of them can be used, and what each is for the database (RE2) and for Python.

Short columns are for the database alone: `exact` spells what Python means. What bodies hold is spelt as JSON or as the
bytes of a value: `before` is an expression for that spelling, which lets too much through and never too little, and
Python judges what it finds. What the two cannot mean alike is refused (`trouble`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

TOKEN = re.compile(
    r"\(\?P<\w+>|\(\?[a-zA-Z-]*[:)]"  # how a group begins, and flags
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]"  # a set
    r"|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\N\{[^}]*\}|\\0[0-7]{0,2}|\\."
    r"|\{\d*,?\d*\}|.",
    re.S,
)
"""What a regular expression consists of."""

MARK = "\ufdd0"
"""Stands, twice, at both ends of each word where the database looks for edges: Unicode has no character there."""

WORD = r"[\p{L}\p{N}_]+"
"""A word, for RE2."""

_INSIDE = r"(?s)\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\N\{[^}]*\}|\\0[0-7]{0,2}|\\.|."
_ODD = frozenset("\"\\/'<>&+`")
"""What some encoder of JSON writes as an escape, of what can be printed."""

_SHOWN = frozenset("/<>&+`")
"""Of these, what the database prints as it is where it casts bytes to text."""

_LOOKS = re.compile(r"\(\?(?:[=!>(#]|<[=!]|P=|-?[ims]*[aLux])")
_FLAGS = re.compile(r"\(\?([ims]+)\)")
_REPEATED = r"[*+?]|\{\d+(?:,\d*)?\}"
_MOST_REPEATS = 1000
_EDGES = ("^", "$", r"\b", r"\B", r"\A", r"\Z")
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_CLASSES = {
    r"\w": r"\p{L}\p{N}_",
    r"\d": r"\p{Nd}",
    r"\s": r"\x09-\x0d\x1c-\x20\x{85}\p{Z}",
}
"""Python's classes as RE2 spells them inside a set."""

_ASCII_CLASSES = {r"\w": "0-9A-Za-z_", r"\d": "0-9", r"\s": r"\x09-\x0d\x1c-\x20"}


# ------------------------------------------------------------------------------------------- in general


def trouble(pattern: str) -> tuple[str, int] | None:
    """Why a regular expression cannot be used, and at which of its characters; None when it can.

    It must mean the same in the store (RE2) and here (`re`): what only one of them has is refused.
    """
    beyond = _beyond_re2(pattern)
    if beyond is not None:
        return beyond
    try:
        compiled(pattern)
    except re.error as error:
        return f"is not valid: {error.msg}", error.pos or 0
    except (RecursionError, OverflowError):
        return "is too deep", 0
    return None


@lru_cache(maxsize=256)
def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """The expression, without the warnings that Python prints of sets which a later version may read otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return re.compile(pattern, flags)


def ignoring_case(pattern: str) -> str:
    """The same expression for capital letters or not; flags that it begins with stay with it."""
    flags = _FLAGS.match(pattern)
    return f"(?i{flags[1]}){pattern[flags.end() :]}" if flags else f"(?i){pattern}"


def _beyond_re2(pattern: str) -> tuple[str, int] | None:
    before, at, tokens = "", 0, TOKEN.findall(pattern)
    for number, one in enumerate(tokens):
        wrong = _wrong(pattern, at, one, before) or _wrong_edge(tokens, number)
        if wrong is not None:
            return wrong, at
        before, at = one, at + len(one)
    return None


def _wrong(pattern: str, at: int, one: str, before: str) -> str | None:
    if one[0] == "\\" and one[1:] in tuple("123456789"):
        return "refers back to a group, which is not supported"
    if one[0] == "[" and "[:" in one[1:]:
        return "has a named class, which is not supported"
    if one[0] == "(" and _LOOKS.match(pattern, at):
        return "has a group of a kind that is not supported"
    if one[0] == "+" and before[-1:] in tuple("*+?}") and before[:1] in tuple("*+?{"):
        return "has a repetition that never gives back, which is not supported"
    if one[:2] == "{," and before not in ("", "(", "|"):
        return f"has {one}, which not everybody reads alike: write {{0{one[1:]}"
    if re.match(r"\\[uU](?:0000)?[dD][89a-fA-F]", one):
        return f"has {one}, which is half a character"
    if one[0] == "{" and any(int(count) > _MOST_REPEATS for count in re.findall(r"\d+", one)):
        return f"repeats something more than {_MOST_REPEATS:,} times, which is not supported"
    return None


def _wrong_edge(tokens: list[str], number: int) -> str | None:
    if tokens[number] == r"\B" and not _between(tokens, number):
        return r"has \B elsewhere than between two characters or at an end, which is not supported"
    if tokens[number] == r"\b" and number and tokens[number - 1] in ("$", r"\Z"):
        return r"has \b behind an end, which is not supported: write it in front of that"
    return None


def _between(tokens: list[str], number: int) -> bool:
    """Whether a token stands between two that are one character each, or at an end beside one."""
    if number and not _is_one(tokens[number - 1]):
        return False
    behind = tokens[number + 1 : number + 3]
    return (_is_one(behind[0]) and not compiled(_REPEATED).fullmatch(behind[-1])) if behind else number > 0


def _is_one(token: str) -> bool:
    """Whether a token stands for one character: itself, one of a set or class, or any."""
    if token in _EDGES:
        return False
    return token == "." or token[0] in "[\\" or character(token) is not None


class _Token(NamedTuple):
    """A token, and whether capital letters count (`i`), lines (`m`), and line ends for a dot (`s`) where it stands."""

    text: str
    flags: frozenset[str]


def _tokens(pattern: str) -> Iterator[_Token]:
    flags, around = frozenset[str](), list[frozenset[str]]()
    for found in TOKEN.finditer(pattern):
        one = found[0]
        if one[0] == "(":
            on, _, off = one[2:-1].partition("-") if one[:2] == "(?" and one[2] != "P" else ("", "", "")
            if one[-1] != ")":
                around.append(flags)
            flags = (flags | set(on)) - set(off)
        elif one == ")" and around:
            flags = around.pop()
        yield _Token(one, flags)


def character(token: str) -> str | None:
    """The one character that a token stands for; None where it stands for anything else."""
    if len(token) == 1:
        return None if token in "().|*+?^$" else token
    if token[0] != "\\":
        return None
    kind = token[1]
    try:
        if kind in "xuU":
            return chr(int(token[2:], 16))
        if kind == "N":
            import unicodedata

            return unicodedata.lookup(token[3:-1])
    except (ValueError, OverflowError, KeyError):  # there is no such one, and Python will say so
        return None
    if kind == "0":
        return chr(int(token[1:], 8))
    return _NAMED.get(kind) or (None if kind.isalnum() and kind.isascii() else kind)


@lru_cache(maxsize=256)
def plain(pattern: str) -> tuple[str, bool] | None:
    """The text that an expression without any signs is, and whether capital letters count; else None."""
    flags = _FLAGS.match(pattern)
    ignored = flags is not None and "i" in flags[1]
    found = [character(token[0]) for token in TOKEN.finditer(pattern, flags.end() if flags else 0)]
    texts = [one for one in found if one is not None]
    return ("".join(texts), not ignored) if len(texts) == len(found) else None


# ---------------------------------------------------------------------------------- for short columns


@lru_cache(maxsize=256)
def exact(pattern: str) -> tuple[str, bool]:
    """The expression as RE2 is to read it to mean what Python does; and whether it is for a text with `MARK`s."""
    marked = any(token[0] in (r"\b", r"\B") for token in TOKEN.finditer(pattern))
    lead, out, before = f"{MARK}*" if marked else "", list[str](), ""
    for token, flags in _tokens(pattern):
        if token == r"\B":
            out.append("" if before else rf"(?:\A|[^{MARK}])")
        elif token in _EDGES:
            out.append(_edge(token, flags, lead))
        elif not _is_one(token):
            out.append("(" if token.startswith("(?P<") else token)
        else:
            own = _atom(token, flags, MARK if marked else "")
            out.append(own if before == r"\B" or not lead else f"(?:{lead}{own})")
        before = token
    if before == r"\B":
        out.append(rf"(?:[^{MARK}]|\z)")
    return "".join(out), marked


def _edge(token: str, flags: frozenset[str], lead: str) -> str:
    if token == "$":
        return f"{lead}$" if "m" in flags else rf"{lead}\n?{lead}\z"
    return {r"\Z": rf"{lead}\z", r"\b": MARK}.get(token, token)


def _atom(token: str, flags: frozenset[str], mark: str) -> str:
    """What stands for one character, as RE2 spells it; never for the mark."""
    if token == ".":
        return rf"[^{mark}]" if mark and "s" in flags else rf"[^\n{mark}]" if mark else "."
    if token in _CLASSES:
        return f"[{_CLASSES[token]}]"
    if token.lower() in _CLASSES:
        return f"[^{mark}{_CLASSES[token.lower()]}]"
    if token[0] == "[":
        return _set(token, "i" in flags, mark)
    one = character(token)
    if one is None:
        return token
    return "[iI\u0130\u0131]" if "i" in flags and one in "iI\u0130\u0131" else verbatim(one)


def _set(token: str, any_case: bool, mark: str) -> str:
    if any_case or re.search(r"\\[WSDN]|-(?=.)[^\x00-\x7f]", token):
        return _ranges(token, any_case)
    inverted = token.startswith("[^")
    inside = token[2 if inverted else 1 : -1]
    spelt = [_inside(one[0], _CLASSES) for one in compiled(_INSIDE).finditer(inside)]
    return f"[{'^' + mark if inverted else ''}{''.join(spelt)}]"


def _inside(one: str, classes: dict[str, str]) -> str:
    """A token of a set, inside another set."""
    if one in classes or one.lower() in classes:
        return classes.get(one, one)
    char = "\b" if one == r"\b" else character(one) if len(one) > 1 else one
    return one if char is None or char == "-" == one else verbatim(char)


@lru_cache(maxsize=64)
def _ranges(token: str, any_case: bool) -> str:
    """A set by all the characters that Python finds it to have."""
    runs = compiled(f"{token}+", re.IGNORECASE if any_case else 0).finditer
    found = [
        f"\\x{{{ord(run[0][0]):x}}}-\\x{{{ord(run[0][-1]):x}}}"
        for first, behind in ((0, 0xD800), (0xE000, ord(MARK)), (ord(MARK) + 1, 0x110000))
        for run in runs("".join(map(chr, range(first, behind))))
    ]
    return f"[{''.join(found)}]" if found else r"[^\x00-\x{10ffff}]"


def verbatim(text: str) -> str:
    """A text as a regular expression, as both RE2 and Python read it."""
    return "".join(one if one.isalnum() or not one.isascii() else f"\\x{ord(one):02x}" for one in text)


# ------------------------------------------------------------------------------------------- for bodies

_ESCAPE = r"\\u[0-9a-fA-F]{4}(?:\\u[0-9a-fA-F]{4})?|\\."
"""A character as JSON may escape it: in a pair of escapes those beyond 65,535."""

_BYTE = r"\\x"
_BYTES = r"(?:\\x[0-9a-fA-F]{2}){1,4}"
"""A character as the database casts its bytes to text."""

_EMPTY = r"\((?:\?:)?(?:\||\))|\|\||\|\)|^\||\|$|^$"
"""A group or an alternative without anything in it, which DuckDB does not always read so."""


@lru_cache(maxsize=256)
def before(pattern: str, binary: bool = False) -> str | None:
    """What a content must have in its spelling to match when it is decoded; None where anything may.

    `binary` for bytes that were cast to text. Edges of words and lines are taken for granted.
    """
    repeats = 1
    out, dropped = list[str](), False
    for token, flags in _tokens(pattern):
        repeated = compiled(_REPEATED).fullmatch(token) is not None
        if dropped and repeated:
            return None
        dropped = token in _EDGES
        if repeated and token[0] == "{":
            repeats *= max(1, *map(int, re.findall(r"\d+", token)))
        if _is_one(token):
            own = _spelt(token, "i" in flags, binary)
            if own is None:
                return None
            out.append(own)
        elif not dropped:
            out.append("(" if token.startswith("(?P<") else token)
    spelt = "".join(out)
    return None if repeats > _MOST_REPEATS or compiled(_EMPTY).search("".join(map(_bare, out))) else spelt


def _bare(piece: str) -> str:
    """A piece of an expression, with one letter for what stands for a character, and without flags."""
    if piece[:2] == "(?" and piece[-1] in ":)" and len(piece) < 9:
        return "(" if piece[-1] == ":" else ""
    return piece if piece in ("(", ")", "|") or compiled(_REPEATED).fullmatch(piece) else "x"


def _spelt(token: str, any_case: bool, binary: bool) -> str | None:
    """One character, or its escape, or bytes."""
    escape = _BYTES if binary else _ESCAPE
    one = character(token)
    if one is not None:
        return _spelt_character(one, any_case, binary, escape)
    if token == ".":
        return f"(?:{escape}|(?s:.))"
    if token in _ASCII_CLASSES:
        return f"(?:{escape}|[{_ASCII_CLASSES[token]}]|[^\\x00-\\x7f])"
    if token.lower() in _ASCII_CLASSES:
        return f"(?:{escape}|[^{_ASCII_CLASSES[token.lower()]}])"
    if token[0] != "[":
        return None
    inverted = token.startswith("[^")
    inside = [
        _inside(found[0], _ASCII_CLASSES) for found in compiled(_INSIDE).finditer(token[2 if inverted else 1 : -1])
    ]
    if r"\S" in token or r"\N" in token or (any_case and not token.isascii()):
        return f"(?:{escape}|(?s:.))"
    return f"(?:{escape}|[{'^' if inverted else ''}{''.join(inside)}]|[^\\x00-\\x7f])"


def _spelt_character(one: str, any_case: bool, binary: bool, escape: str) -> str:
    if one.isascii() and (one.isalnum() or (one.isprintable() and one not in _ODD)):
        # these are what capital letters beyond ASCII are in small, for Python
        return f"(?:{verbatim(one)}|[^\\x00-\\x7f]|{escape})" if any_case and one in "iksIKS" else verbatim(one)
    if binary and not any_case:
        return verbatim(one) if one in _SHOWN else f"(?:{''.join(rf'{_BYTE}{byte:02X}' for byte in one.encode())})"
    also = r"|[^\x00-\x7f]|[iks]" if any_case and not one.isascii() else ""
    return f"(?:{escape}|{verbatim(one)}{also})"


def spelt_one_way(text: str) -> bool:
    """Whether nobody who writes JSON escapes any of it, and the database prints it as it is."""
    return text.isascii() and text.isprintable() and _ODD.isdisjoint(text)
