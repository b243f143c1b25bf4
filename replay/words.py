"""Differences of two texts by word: lines first, then the words of what differs.

Bounded: a stretch of more than `MAX_TOKENS` words is shown as removed and added whole, and so is one
whose two sides have little in common, because a patchwork of two unrelated texts cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rashomon.replay.sequences import common, gaps

Segment = tuple[str, str]
"""("same" | "removed" | "added", text)"""

MAX_TOKENS = 120_000

# ideographs, kana and hangul are written without spaces: each is a word of its own
_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]"
    r"|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+"
    r"|[ \t]+|\n|."
    , re.DOTALL)  # fmt: skip
_LITTLE = 0.25


def word_diff(a: str, b: str) -> list[Segment]:
    """The segments that turn `a` into `b`.

    Joined, "same" and "removed" give `a`, "same" and "added" give `b`. No segment is empty, a "removed"
    stands before the "added" that replaces it.
    """
    if a == b:
        return [("same", a)] if a else []
    lines_a, lines_b = a.splitlines(keepends=True), b.splitlines(keepends=True)
    pairs = common(lines_a, lines_b)
    changes: list[tuple[str, str, str]] = []
    for (gap_a, gap_b), pair in zip(gaps(pairs, len(lines_a), len(lines_b)), [*pairs, None], strict=True):
        if gap_a or gap_b:
            changes += _words("".join(lines_a[i] for i in gap_a), "".join(lines_b[j] for j in gap_b))
        if pair is not None:
            line = lines_a[pair[0]]
            changes.append((line, "", ""))
    return _segments(_without_islands(_coalesced(changes)))


Change = tuple[str, str, str]
"""What is the same, then what was removed and added after it."""


def _words(a: str, b: str) -> list[Change]:
    if not a or not b:
        return [("", a, b)]
    tokens_a, tokens_b = _TOKEN.findall(a), _TOKEN.findall(b)
    if len(tokens_a) + len(tokens_b) > MAX_TOKENS:
        return [("", a, b)]
    pairs = common(tokens_a, tokens_b)
    told = sum(len(tokens_a[i]) for i, _ in pairs if not tokens_a[i].isspace())
    if told < _LITTLE * min(len(a), len(b)):
        return [("", a, b)]
    changes: list[Change] = []
    i = j = 0
    for next_i, next_j in [*pairs, (len(tokens_a), len(tokens_b))]:
        if next_i > i or next_j > j:
            changes.append(("", "".join(tokens_a[i:next_i]), "".join(tokens_b[j:next_j])))
        if next_i < len(tokens_a):
            changes.append((tokens_a[next_i], "", ""))
        i, j = next_i + 1, next_j + 1
    return changes


def _coalesced(changes: Iterable[Change]) -> list[Change]:
    """One entry for each stretch: what is the same, and what changes behind it."""
    out: list[list[list[str]]] = [[[], [], []]]
    for same, removed, added in changes:
        if same and (out[-1][1] or out[-1][2]):
            out.append([[], [], []])
        for into, text in zip(out[-1], (same, removed, added), strict=True):
            if text:
                into.append(text)
    return [("".join(same), "".join(removed), "".join(added)) for same, removed, added in out]


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
