"""Which change follows from which: by following values from answers into later requests.

A request is a consequence when everything new in it, on both sides, was said by earlier answers that
themselves changed: what the left request held stands in the left answers, what the right one holds in the
right answers. The cause that is named is the earliest of those. What an answer and a request hold in
common for other reasons (`user`, `true`, a short number inside a text) explains nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from rashomon.model import Grade, Json, Kind, Step
from rashomon.replay.differences import (
    Content,
    Difference,
    asked_differences,
    differences,
    request_content,
)
from rashomon.replay.words import word_diff
from rashomon.streams import parse_json

SHORTEST = 3
"""A text of fewer characters is found in too many places to follow it."""

_BUDGET = 20_000
_MAX_DIFFERENCES = 200
_MAX_SOURCES = 400
_STOCK = frozenset(
    (
        "user",
        "assistant",
        "system",
        "developer",
        "tool",
        "function",
        "message",
        "true",
        "false",
        "null",
        "auto",
    )
).union(
    ("text", "input_text", "output_text", "tool_use", "tool_result", "function_call", "function_call_output"),
)
_WORD = re.compile(r"\w+")


class Followed(NamedTuple):
    """A pair of steps as it is followed: whether its request and its answer changed. One side may be None."""

    left: Content | None
    right: Content | None
    request_changed: bool
    answer_changed: bool


class _Told(NamedTuple):
    """Something new in a request: on both sides, or on one. A fragment is a part of a longer text."""

    left: str | None
    right: str | None
    fragment: bool = False


def follow(pairs: Iterable[Followed]) -> list[int | None]:
    """For each pair, the index of the earliest pair whose changed answer explains its changed request."""
    sources, before = _Sources(), _Before()
    causes: list[int | None] = []
    budget = _BUDGET
    for index, pair in enumerate(pairs):
        cause = None
        if pair.request_changed and sources.count and budget > 0:
            news = _news(pair, before)
            budget -= len(news)
            cause = _cause(news, sources)
        causes.append(cause)
        if pair.answer_changed:
            sources.add(index, pair)
        before.note(pair)
    return causes


def traced(found: Sequence[Difference], changed: Sequence[Followed]) -> list[int | None]:
    """For each difference of a request, the index of the earliest changed answer that explains all of it."""
    sources = _Sources()
    for index, pair in enumerate(changed):
        sources.add(index, pair)
    return [_cause(list(_told(difference)), sources) if sources.count else None for difference in found]


def _cause(news: list[_Told], sources: _Sources) -> int | None:
    origins: list[int] = []
    for told in news:
        origin = sources.origin(told)
        if origin is not None:
            origins.append(origin)
        elif not sources.says_nothing(told):
            return None
    return min(origins, default=None)


def _news(pair: Followed, before: _Before) -> list[_Told]:
    """Everything new in a pair's request; empty when that cannot be said."""
    if pair.left is not None and pair.right is not None:
        found = asked_differences(pair.left, pair.right)
        return [told for item in found for told in _told(item)] if len(found) <= _MAX_DIFFERENCES else []
    if pair.left is not None:
        return [_Told(text, None) for text in _said(pair.left, before.left(pair.left.step))]
    if pair.right is not None:
        return [_Told(None, text) for text in _said(pair.right, before.right(pair.right.step))]
    return []


def _said(told: Content, before: Step | None) -> list[str]:
    """What a lone step's request says: a tool call its name and arguments, a model's what is new in it."""
    step, content = told.step, told.asked
    if step.kind in (Kind.TOOL, Kind.MCP):
        return [text for text in _leaves({"name": step.name, "arguments": content}) if _telling(text)]
    if before is None:
        return []
    new = [item.right for item in differences(request_content(before), content) if item.op != "removed"]
    return [text for value in new for text in _leaves(_without_ids(value)) if _telling(text)]


def _without_ids(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _without_ids(item) for key, item in value.items() if not key.endswith("id")}
    return [_without_ids(item) for item in value] if isinstance(value, list) else value


def _told(difference: Difference) -> Iterator[_Told]:
    left, right = difference.left, difference.right
    if difference.op == "text" and isinstance(left, str) and isinstance(right, str):
        yield from _fragments(left, right)
    elif difference.op == "changed" and not isinstance(left, (dict, list)) and not isinstance(right, (dict, list)):
        yield _Told(_plain(left), _plain(right))
    else:
        yield from (_Told(text, None) for text in _leaves(_without_ids(left)) if _telling(text))
        yield from (_Told(None, text) for text in _leaves(_without_ids(right)) if _telling(text))


def _fragments(left: str, right: str) -> Iterator[_Told]:
    """The words that were replaced, removed or added."""
    gone: str | None = None
    for op, text in [*word_diff(left, right), ("same", "")]:
        if op == "removed":
            gone = _plain(text)
        elif op == "added":
            yield _Told(gone, _plain(text), True)
            gone = None
        elif gone is not None:
            yield _Told(gone, None, True)
            gone = None


def _telling(text: str) -> bool:
    return len(text) >= SHORTEST and text not in _STOCK


class _Before:
    """The last request to the same peer in the same lane, on either side."""

    def __init__(self) -> None:
        self._last: tuple[dict[tuple[object, ...], Step], dict[tuple[object, ...], Step]] = ({}, {})

    def note(self, pair: Followed) -> None:
        for last, told in zip(self._last, (pair.left, pair.right), strict=True):
            if told is not None:
                step = told.step
                last[step.kind, step.name, step.lane] = step

    def left(self, step: Step) -> Step | None:
        return self._last[0].get((step.kind, step.name, step.lane))

    def right(self, step: Step) -> Step | None:
        return self._last[1].get((step.kind, step.name, step.lane))


class _Said:
    """What one changed answer says, joined, and its words."""

    def __init__(self, pair: int, text: str) -> None:
        self.pair, self.text = pair, text

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(_WORD.findall(self.text))


class _Sources:
    """The values in changed answers so far, for the left side and the right one."""

    def __init__(self) -> None:
        self.count = 0
        self._first: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._said: tuple[list[_Said], list[_Said]] = ([], [])
        self._changes: dict[tuple[str, str], int] = {}
        self._shared: set[str] = set()

    def add(self, index: int, pair: Followed) -> None:
        """Note what the answers of a pair say that the other side's does not."""
        if self.count >= _MAX_SOURCES:
            return
        self.count += 1
        found = [_answer_leaves(pair.left), _answer_leaves(pair.right)]
        shared = found[0] & found[1]
        self._shared |= shared
        for side, leaves in enumerate(found):
            self._note(side, index, leaves - shared)
        if pair.left is not None and pair.right is not None:
            for difference in differences(pair.left.answered, pair.right.answered):
                for told in _told(difference):
                    if told.left is not None and told.right is not None:
                        self._changes.setdefault((told.left, told.right), index)

    def _note(self, side: int, index: int, leaves: set[str]) -> None:
        for leaf in leaves:
            self._first[side].setdefault(leaf, index)
        text = "\n".join(leaf for leaf in leaves if len(leaf) >= SHORTEST)
        self._said[side].append(_Said(index, text))

    def says_nothing(self, told: _Told) -> bool:
        """True for a scrap of a text, and for a value that a changed answer has on both sides."""
        texts = [text for text in (told.left, told.right) if text is not None]
        if told.fragment:
            return max(map(len, texts)) < SHORTEST
        return len(texts) == 1 and texts[0] in self._shared

    def origin(self, told: _Told) -> int | None:
        """The earliest pair that explains a value on both sides, or on the one where it is new."""
        if told.left is not None and told.right is not None:
            known = self._changes.get((told.left, told.right))
            if known is not None:
                return known
        places = [
            self._place(side, text, told.fragment)
            for side, text in enumerate((told.left, told.right))
            if text is not None and not (told.fragment and len(text) < SHORTEST)
        ]
        found = [place for place in places if place is not None]
        return max(found) if found and len(found) == len(places) else None

    def _place(self, side: int, text: str, fragment: bool) -> int | None:
        if len(text) < SHORTEST:
            return None
        exact = self._first[side].get(text)
        if exact is not None:
            return exact
        within = next((said.pair for said in self._said[side] if text in said.text), None)
        if within is not None or fragment:
            return within
        # a value that was printed another way on its way into the prompt: all of its words are there
        words = frozenset(_WORD.findall(text))
        if len(words) < 4:
            return None
        return next((said.pair for said in self._said[side] if words <= said.words), None)


def _answer_leaves(told: Content | None) -> set[str]:
    """What an answer says: the values in it, and its keys, which may be words of a text in a later request.

    A refused call said nothing. Of a text that holds JSON, the text and what is in it.
    """
    found: set[str] = set()
    if told is None or (told.step.match is not None and told.step.match.grade == Grade.MISSED):
        return found
    level: list[Json] = [told.view]
    while level:  # an answer of megabytes has a million values: one level at a time, few steps for each
        objects = [item for item in level if isinstance(item, dict)]
        lists = [item for item in level if isinstance(item, list)]
        texts = {item for item in level if isinstance(item, str)}
        found.update(*objects)
        found.update([str(item) for item in level if item is not None and not isinstance(item, (dict, list, str))])
        found.update(map(_plain, texts))
        level = [*chain.from_iterable(map(dict.values, objects)), *chain.from_iterable(lists)]
        level += [within for text in texts if (within := _json_within(text)) is not None]
    return found


def _plain(value: Json) -> str:
    return " ".join(value.split()) if isinstance(value, str) else str(value)


def _leaves(value: Json) -> Iterator[str]:
    """The values in a JSON value as plain text, not its keys; of a text that holds JSON, the values in that."""
    todo: list[Json] = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo.extend(reversed(item.values()))
        elif isinstance(item, list):
            todo.extend(reversed(item))
        elif isinstance(item, str):
            within = _json_within(item)
            if within is not None:
                todo.append(within)
            else:
                yield _plain(item)
        elif item is not None:
            yield str(item)


def _json_within(text: str) -> Json:
    if text[:1] in ("{", "["):
        try:
            return parse_json(text)
        except ValueError:  # a text that happens to begin like JSON
            pass
    return None
