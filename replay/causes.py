"""Which change follows from which: by following values from answers into later requests.

A request is a consequence when everything new in it, on both sides, was said by earlier answers that
themselves changed: what the left request held stands in the left answers, what the right one holds in the
right answers. The cause that is named is the earliest of those. What an answer and a request hold in
common for other reasons (`user`, `true`, a short number inside a text) explains nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rashomon.dialects import parse_json
from rashomon.model import Grade, Json, Kind, Step
from rashomon.replay.differences import (
    Difference,
    differences,
    request_content,
    response_content,
    step_differences,
)
from rashomon.replay.words import word_diff

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
        "text",
        "message",
        "true",
        "false",
        "null",
    )
    + (
        "tool_use",
        "tool_result",
        "function_call",
        "function_call_output",
        "input_text",
        "output_text",
        "auto",
    )
)
_SPACE = re.compile(r"\s+")


class Followed(NamedTuple):
    """A pair of steps as it is followed: whether its request and its answer changed. One side may be None."""

    left: Step | None
    right: Step | None
    request_changed: bool
    answer_changed: bool


def follow(pairs: Sequence[Followed]) -> list[int | None]:
    """For each pair, the index of the earliest pair whose changed answer explains its changed request."""
    sources = _Sources()
    causes: list[int | None] = []
    budget = [_BUDGET]
    for index, pair in enumerate(pairs):
        cause = None
        if pair.request_changed and sources.any and budget[0] > 0:
            cause = _cause(pair, sources, budget)
        causes.append(cause)
        if pair.answer_changed:
            sources.add(index, pair)
    return causes


def _cause(pair: Followed, sources: _Sources, budget: list[int]) -> int | None:
    if pair.left is not None and pair.right is not None:
        found = [
            item for item in step_differences(pair.left, pair.right) if not item.path.startswith("response")
        ]
    else:
        found = _whole_request(pair)
    if not found or len(found) > _MAX_DIFFERENCES:
        return None
    earliest: int | None = None
    for difference in found:
        for left, right in _told(difference):
            budget[0] -= 1
            origin = sources.origin(left, right)
            if origin is None:
                return None
            earliest = origin if earliest is None else min(earliest, origin)
    return earliest


def _whole_request(pair: Followed) -> list[Difference]:
    """An extra or missing tool call follows from the answer that asked for it: its name and arguments."""
    step = pair.left or pair.right
    if step is None or step.kind not in (Kind.TOOL, Kind.MCP):
        return []
    content = {"name": step.name, "arguments": request_content(step)}
    sides: tuple[Json, Json] = (content, None) if pair.left is not None else (None, content)
    return [Difference("request", "removed" if pair.left is not None else "added", *sides)]


def _told(difference: Difference) -> Iterator[tuple[str | None, str | None]]:
    """What must be found: a changed value on both sides, or what is new on one."""
    left, right = difference.left, difference.right
    if difference.op == "text" and isinstance(left, str) and isinstance(right, str):
        for op, text in word_diff(left, right):
            new = _SPACE.sub(" ", text).strip()
            if op != "same" and len(new) >= SHORTEST:
                yield (new, None) if op == "removed" else (None, new)
        return
    if (
        difference.op == "changed"
        and not isinstance(left, (dict, list))
        and not isinstance(right, (dict, list))
    ):
        yield _plain(left), _plain(right)
        return
    yield from ((text, None) for text in _leaves(left) if _telling(text))
    yield from ((None, text) for text in _leaves(right) if _telling(text))


def _telling(text: str) -> bool:
    return len(text) >= SHORTEST and text not in _STOCK


class _Sources:
    """The values in changed answers so far: where each was said first."""

    def __init__(self) -> None:
        self._first: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._texts: tuple[list[tuple[int, str]], list[tuple[int, str]]] = ([], [])
        self._changes: dict[tuple[str, str], int] = {}
        self._count = 0

    @property
    def any(self) -> bool:
        return self._count > 0

    def add(self, index: int, pair: Followed) -> None:
        """Note what the answers of a pair say. A refused call said nothing."""
        if self._count >= _MAX_SOURCES:
            return
        self._count += 1
        contents: list[Json] = []
        for side, step in enumerate((pair.left, pair.right)):
            refused = step is not None and step.match is not None and step.match.grade == Grade.MISSED
            content = None if step is None or refused else response_content(step)
            contents.append(content)
            leaves = list(_leaves(content))
            for leaf in leaves:
                self._first[side].setdefault(leaf, index)
            self._texts[side].append((index, "\n".join(leaf for leaf in leaves if len(leaf) >= SHORTEST)))
        if contents[0] is not None and contents[1] is not None:
            for difference in differences(contents[0], contents[1]):
                if not isinstance(difference.left, (dict, list)) and not isinstance(
                    difference.right, (dict, list)
                ):
                    change = _plain(difference.left), _plain(difference.right)
                    self._changes.setdefault(change, index)

    def origin(self, left: str | None, right: str | None) -> int | None:
        """The earliest pair that explains a value on both sides, or on the one where it is new."""
        if left is not None and right is not None:
            known = self._changes.get((left, right))
            if known is not None:
                return known
        places = [self._place(side, text) for side, text in enumerate((left, right)) if text is not None]
        told = [place for place in places if place is not None]
        return max(told) if told and len(told) == len(places) else None

    def _place(self, side: int, text: str) -> int | None:
        if len(text) < SHORTEST:
            return None
        found = self._first[side].get(text)
        if found is not None:
            return found
        return next((index for index, said in self._texts[side] if text in said), None)


def _plain(value: Json) -> str:
    return _SPACE.sub(" ", value).strip() if isinstance(value, str) else str(value)


def _leaves(value: Json) -> Iterator[str]:
    """The values in a JSON value, and in JSON texts within it, as plain text; not its keys."""
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
