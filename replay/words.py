"""Differences of two texts by word: lines first, then the words of what differs.

Bounded: a stretch of more than `MAX_TOKENS` words is shown as removed and added whole, and so is one
whose two sides have little in common, because a patchwork of two unrelated texts cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rashomon.replay.sequences import common, equal_ends, runs

Segment = tuple[str, str]
"""("same" | "removed" | "added", text)"""

MAX_TOKENS = 120_000

# ideographs, kana and hangul are written without spaces: each is a word of its own
_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]"
    r"|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+"
    r"|[ \t]+|\n|."
    , re.DOTALL)  # fmt: skip
_ASCII_TOKEN = re.compile(r"\w+|[ \t]+|\n|.", re.ASCII | re.DOTALL)  # the same where there are none
_LITTLE = 0.25


def word_diff(a: str, b: str) -> list[Segment]:
    """The segments that turn `a` into `b`.

    Joined, "same" and "removed" give `a`, "same" and "added" give `b`. No segment is empty, a "removed"
    stands before the "added" that replaces it.
    """
    if a == b:
        return [("same", a)] if a else []
    lines_a, lines_b = a.splitlines(keepends=True), b.splitlines(keepends=True)
    changes = _coalesced(_lines(lines_a, lines_b))
    return _segments(_without_islands(changes))


Change = tuple[str, str, str]
"""What is the same, then what was removed and added after it."""


def _lines(a: list[str], b: list[str]) -> Iterator[Change]:
    i = j = 0
    for next_i, next_j, size in [*runs(common(a, b)), (len(a), len(b), 0)]:
        if next_i > i or next_j > j:
            yield from _words("".join(a[i:next_i]), "".join(b[j:next_j]))
        i, j = next_i + size, next_j + size
        yield "".join(a[next_i:i]), "", ""


def _words(a: str, b: str) -> list[Change]:
    if not a or not b:
        return [("", a, b)]
    tokens_a = _tokens(a, MAX_TOKENS)
    tokens_b = None if tokens_a is None else _tokens(b, MAX_TOKENS - len(tokens_a))
    if tokens_a is None or tokens_b is None:
        return [("", a, b)]
    start, rest = equal_ends(tokens_a, tokens_b)
    same, end = "".join(tokens_a[:start]), "".join(tokens_a[len(tokens_a) - rest :])
    within = _within(tokens_a[start : len(tokens_a) - rest], tokens_b[start : len(tokens_b) - rest])
    changes = [(same, "", ""), *within, (end, "", "")]
    told = sum([len("".join(same.split())) for same, _, _ in changes if same])
    return changes if told >= _LITTLE * min(len(a), len(b)) else [("", a, b)]


def _within(a: list[str], b: list[str]) -> list[Change]:
    changes: list[Change] = []
    i = j = 0
    for next_i, next_j, size in runs(common(a, b)):
        changes.append(("", "".join(a[i:next_i]), "".join(b[j:next_j])))
        i, j = next_i + size, next_j + size
        changes.append(("".join(a[next_i:i]), "", ""))
    changes.append(("", "".join(a[i:]), "".join(b[j:])))
    return changes


def _tokens(text: str, most: int) -> list[str] | None:
    """The words of a text and what stands between them; None when they are more than `most`."""
    end = 8 * most + 8
    token = _ASCII_TOKEN if text.isascii() else _TOKEN
    # the beginning of a text has no more words than the whole: of a long one it mostly says enough
    while end < len(text):
        if len(token.findall(text, 0, end)) > most:
            return None
        end *= 4
    found = token.findall(text)
    return found if len(found) <= most else None


def _coalesced(changes: Iterable[Change]) -> list[Change]:
    """One entry for each stretch: what is the same, and what changes behind it."""
    out: list[Change] = []
    kept: list[str] = []
    removed: list[str] = []
    added: list[str] = []
    for same, gone, new in changes:
        if same and (removed or added):
            out.append(("".join(kept), "".join(removed), "".join(added)))
            kept, removed, added = [], [], []
        if same:
            kept.append(same)
        if gone:
            removed.append(gone)
        if new:
            added.append(new)
    out.append(("".join(kept), "".join(removed), "".join(added)))
    return out


def _without_islands(changes: list[Change]) -> list[Change]:
    """A blank or a lone sign between two replacements belongs to them: it would only cut a phrase in two."""
    out: list[Change] = []
    for same, removed, added in changes:
        if out and (removed or added) and _is_island(same, out[-1], (removed, added)):
            before = out[-1]
            out[-1] = (before[0], before[1] + same + removed, before[2] + same + added)
        else:
            out.append((same, removed, added))
    return out


def _is_island(same: str, before: Change, after: tuple[str, str]) -> bool:
    if "\n" in same or len(same.strip()) > 2:
        return False
    # only between two that both replace: beside a pure insertion the word that stayed is worth seeing
    return all((before[1], before[2], *after))


def _segments(changes: Iterable[Change]) -> list[Segment]:
    out: list[Segment] = []
    for change in changes:
        out += [(op, text) for op, text in zip(("same", "removed", "added"), change, strict=True) if text]
    return out
