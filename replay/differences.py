"""Where two JSON values, and two steps, differ: paths, and what stands there on either side.

A path reads like code: `request.messages[0].content`. Keys that are no plain words are quoted:
`headers["x-id"]`. Where a string holds JSON on both sides, the comparison goes on inside, behind
`.$json`: `tool_calls[0].function.arguments.$json.amount`. In lists, an index counts on the left side; the
index of what was added counts on the right.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from rashomon import views
from rashomon.canonical import canonical_json, canonical_url, content_digest
from rashomon.model import Call, Json, Kind, Step
from rashomon.replay.likeness import LIKE, Sketch, overlap, sketch
from rashomon.replay.sequences import common, gaps, pair_in_order
from rashomon.replay.words import word_diff
from rashomon.streams import parse_json

__all__ = [
    "VOLATILE",
    "Content",
    "Difference",
    "asked_differences",
    "differences",
    "request_differences",
    "same_answered",
    "same_asked",
    "same_input",
    "step_differences",
    "strict_differences",
    "word_diff",
]

VOLATILE = ("id", "created", "created_at", "completed_at", "system_fingerprint", "request_id")
"""Top-level fields of a model's answer that name one answer and say nothing: not compared.

Ids further down (`tool_calls[0].id`, `messages[3].tool_call_id`, `output[1].id`) are compared by the
place of their first use, so that a request still tells which call a result belongs to. Headers are no
part of a view, and so are not compared: they carry dates, request ids and rate limits.
"""

_ID_KEYS = frozenset(("id", "tool_call_id", "tool_use_id", "call_id", "item_id", "response_id", "previous_response_id"))
_GENERATED = re.compile(r"([a-z]{2,12})[_-][A-Za-z0-9_-]{6,}")
_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$-]*")
_MAX_DEPTH = 120
_VECTOR = 16


class Content:
    """A step and what it says, each read when it is asked for, and once: bodies may be long."""

    def __init__(self, step: Step) -> None:
        self.step = step

    @cached_property
    def asked(self) -> Json:
        """`request_content` of the step."""
        return request_content(self.step)

    @cached_property
    def view(self) -> Json:
        """Its `response_view`."""
        return views.response_view(self.step)

    @cached_property
    def answered(self) -> Json:
        """Its `response_content`."""
        return _answer_as_compared(self.step, self.view)

    @cached_property
    def digest(self) -> str:
        """The digest under which its call is looked up."""
        return content_digest(_call(self.step))


class Difference(NamedTuple):
    """One place where two values differ.

    `op` is "changed", "added" (`left` is None), "removed" (`right` is None), or "text": two strings of
    several words, which `word_diff` compares.
    """

    path: str
    op: str
    left: Json
    right: Json


def differences(left: Json, right: Json, path: str = "") -> list[Difference]:
    """All places where two values differ; empty when they are equal. 1, 1.0 and true are not."""
    found: list[Difference] = []
    try:
        _compare(left, right, path, found, 0)
    except RecursionError:  # nested beyond what Python's own JSON can write
        return [Difference(path, "changed", left, right)]
    return found


def step_differences(left: Step, right: Step) -> list[Difference]:
    """Where two steps differ, in what was asked (`request...`) and in what was answered (`response...`)."""
    found = request_differences(left, right)
    if not _same_bytes(left, right):
        found += _restored(differences(response_content(left), response_content(right), "response"))
    return found


def request_differences(left: Step, right: Step) -> list[Difference]:
    """Where two steps differ in what was asked."""
    return asked_differences(Content(left), Content(right))


def asked_differences(left: Content, right: Content) -> list[Difference]:
    """The same of steps that are read already."""
    if same_asked(left, right):
        return []
    found = list(_address_differences(left.step, right.step))
    found += _restored(differences(left.asked, right.asked, "request"))
    return found


def strict_differences(left: Step, right: Step) -> list[Difference]:
    """Where two steps differ in what was asked, generated ids included: nothing is forgiven here."""
    if (left.kind, left.name) == (right.kind, right.name) and content_digest(_call(left)) == content_digest(
        _call(right)
    ):
        return []
    found = list(_address_differences(left, right))
    return found + differences(_addressed(left), _addressed(right), "request")


def _addressed(step: Step) -> Json:
    """A step's request view, an LLM's address by path."""
    view = views.request_view(step)
    if step.kind == Kind.LLM and isinstance(view, dict) and set(view) == {"method", "url", "body"}:
        return {**view, "url": canonical_url(step.kind, str(view["url"]))}
    return view


def same_input(left: Step, right: Step) -> bool:
    """True when both steps asked the same. Ids that a provider made up may differ."""
    return same_asked(Content(left), Content(right))


def same_asked(left: Content, right: Content) -> bool:
    """The same of steps that are read already."""
    a, b = left.step, right.step
    if (a.kind, a.name) != (b.kind, b.name) or _address(a) != _address(b):
        return False
    if a.request.body == b.request.body or left.digest == right.digest:
        return True
    return a.kind == Kind.LLM and _equal(left.asked, right.asked)


def same_answered(left: Content, right: Content) -> bool:
    """True when both steps were answered the same, but for `VOLATILE` fields and generated ids."""
    return _same_bytes(left.step, right.step) or _equal(left.answered, right.answered)


def request_content(step: Step) -> Json:
    """A step's request as it is compared: its view, ids of an LLM's by first use, its address by path."""
    return _renamed(_addressed(step), {}, 0) if step.kind == Kind.LLM else views.request_view(step)


def response_content(step: Step) -> Json:
    """A step's answer as it is compared: its view, an LLM's without `VOLATILE` and with ids by first use."""
    return _answer_as_compared(step, views.response_view(step))


def _answer_as_compared(step: Step, view: Json) -> Json:
    if step.kind != Kind.LLM or not isinstance(view, dict):
        return view
    return _renamed({key: value for key, value in view.items() if key not in VOLATILE}, {}, 0)


def _same_bytes(left: Step, right: Step) -> bool:
    a, b = left.response, right.response
    if a.end != b.end or a.failure != b.failure or len(a.pieces) != len(b.pieces):
        return False
    if (a.head or {}).get("status") != (b.head or {}).get("status"):
        return False
    if a.head != b.head and left.kind != Kind.LLM:  # `location` and the like are part of the view
        return False
    return [piece.data for piece in a.pieces] == [piece.data for piece in b.pieces]


def _call(step: Step) -> Call:
    return Call(step.kind, step.name, step.request)


def _address(step: Step) -> tuple[str, str]:
    head = step.request.head
    return str(head.get("method", "")), canonical_url(step.kind, str(head.get("url", "")))


def _address_differences(left: Step, right: Step) -> Iterator[Difference]:
    """What a request view of an LLM call or a tool call does not show: whom it was addressed to."""
    if left.kind != right.kind:
        yield Difference("$kind", "changed", str(left.kind), str(right.kind))
    if left.name != right.name:
        yield Difference("$name", "changed", left.name, right.name)
    if left.kind == Kind.LLM:
        for key, a, b in zip(("$method", "$url"), _address(left), _address(right), strict=True):
            if a != b:
                yield Difference(f"request.{key}", "changed", a, b)


# -------------------------------------------------------------------------------------- generated ids


class _Id(str):
    """A generated id under the name of its first use; knows what it was."""

    original: str


def _renamed(value: Json, known: dict[str, _Id], depth: int) -> Json:
    if isinstance(value, dict):
        if depth > _MAX_DEPTH:
            return value
        return {
            key: _name_id(item, known)
            if key in _ID_KEYS and isinstance(item, str)
            else _renamed(item, known, depth + 1)
            if isinstance(item, (dict, list))
            else item
            for key, item in value.items()
        }
    if isinstance(value, list) and depth <= _MAX_DEPTH:
        return [_renamed(item, known, depth + 1) if isinstance(item, (dict, list)) else item for item in value]
    return value


def _name_id(text: str, known: dict[str, _Id]) -> str:
    generated = _GENERATED.fullmatch(text)
    if generated is None:
        return text
    if text not in known:
        known[text] = _Id(f"{generated[1]}#{len(known) + 1}")
        known[text].original = text
    return known[text]


def _restored(found: Iterable[Difference]) -> Iterator[Difference]:
    for difference in found:
        yield difference._replace(left=_originals(difference.left), right=_originals(difference.right))


def _originals(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _originals(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_originals(item) for item in value]
    return value.original if isinstance(value, _Id) else value


# ----------------------------------------------------------------------------------------- comparison


def _equal(left: Json, right: Json) -> bool:
    if left != right:
        return False
    try:
        return canonical_json(left) == canonical_json(right)  # True == 1 == 1.0 in Python
    except RecursionError:
        return True


def _compare(left: Json, right: Json, path: str, found: list[Difference], depth: int) -> None:
    if isinstance(left, dict) and isinstance(right, dict) and depth < _MAX_DEPTH:
        _compare_objects(left, right, path, found, depth)
    elif isinstance(left, list) and isinstance(right, list) and depth < _MAX_DEPTH:
        _compare_lists(left, right, path, found, depth)
    elif isinstance(left, str) and isinstance(right, str):
        if left != right:
            _compare_texts(left, right, path, found, depth)
    elif type(left) is not type(right) or not _equal(left, right):
        found.append(Difference(path, "changed", left, right))


def _compare_objects(
    left: dict[str, Any], right: dict[str, Any], path: str, found: list[Difference], depth: int
) -> None:
    for key, item in left.items():
        if key in right:
            _compare(item, right[key], _key_path(path, key), found, depth + 1)
        else:
            found.append(Difference(_key_path(path, key), "removed", item, None))
    found += [Difference(_key_path(path, key), "added", None, right[key]) for key in right if key not in left]


def _key_path(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{canonical_json(key).decode()}]"
    return f"{path}.{key}" if path else key


def _compare_texts(left: str, right: str, path: str, found: list[Difference], depth: int) -> None:
    a, b = _json_within(left), _json_within(right)
    if a is not None and b is not None and type(a) is type(b) and depth < _MAX_DEPTH:
        before = len(found)
        _compare(a, b, f"{path}.$json" if path else "$json", found, depth + 1)
        if len(found) > before:
            return
    several = len(left.split(None, 2)) > 1 and len(right.split(None, 2)) > 1
    found.append(Difference(path, "text" if several else "changed", left, right))


def _json_within(text: str) -> Json:
    """The object or list that a string holds, or None."""
    start = text.lstrip()[:1]
    if start not in ("{", "["):
        return None
    try:
        return parse_json(text)
    except ValueError:  # a text that happens to begin like JSON
        return None


def _compare_lists(left: list[Any], right: list[Any], path: str, found: list[Difference], depth: int) -> None:
    if _is_vector(left) and _is_vector(right):  # an embedding is one value, not 1536
        if not _equal(left, right):
            found.append(Difference(path, "changed", left, right))
        return
    known: dict[bytes, bytes] = {}
    keys_a, keys_b = [_spelled(item, known) for item in left], [_spelled(item, known) for item in right]
    pairs = common(keys_a, keys_b)
    for gap_a, gap_b in gaps(pairs, len(left), len(right)):
        within = _pair_items([left[i] for i in gap_a], [right[j] for j in gap_b]) if gap_a and gap_b else []
        inner = [(i + gap_a.start, j + gap_b.start) for i, j in within]
        i, j = gap_a.start, gap_b.start
        for next_i, next_j in [*inner, (gap_a.stop, gap_b.stop)]:
            found += [Difference(f"{path}[{n}]", "removed", left[n], None) for n in range(i, next_i)]
            found += [Difference(f"{path}[{n}]", "added", None, right[n]) for n in range(j, next_j)]
            if next_i < gap_a.stop:
                _compare(left[next_i], right[next_j], f"{path}[{next_i}]", found, depth + 1)
            i, j = next_i + 1, next_j + 1


def _spelled(item: Json, known: dict[bytes, bytes]) -> bytes:
    """The canonical JSON of an item. Most items stand on both sides, and `marshal` tells in a tenth of the time."""
    try:
        written = marshal.dumps(item, 2)
    except ValueError:  # nested deeply, or a generated id under its name
        return canonical_json(item)
    found = known.get(written)
    if found is None:
        found = known[written] = canonical_json(item)
    return found


def _is_vector(items: list[Any]) -> bool:
    return len(items) > _VECTOR and all(type(item) in (int, float) for item in items)


def _pair_items(left: list[Any], right: list[Any]) -> list[tuple[int, int]]:
    """Which items of two lists are versions of each other: by identity, then by role and likeness."""
    names_a = [_identity(item) or ("left", n) for n, item in enumerate(left)]
    names_b = [_identity(item) or ("right", n) for n, item in enumerate(right)]
    pairs = list(common(names_a, names_b))
    out = list(pairs)
    for gap_a, gap_b in gaps(pairs, len(left), len(right)):
        if gap_a and gap_b:
            alike = pair_in_order(
                len(gap_a), len(gap_b), _Score([left[i] for i in gap_a], [right[j] for j in gap_b]), LIKE
            )
            out += [(gap_a[i], gap_b[j]) for i, j in alike]
    return sorted(out)


def _identity(item: Json) -> tuple[str, Any] | None:
    """What names an item of a list, wherever it stands."""
    if not isinstance(item, dict):
        return None
    for key in ("tool_call_id", "tool_use_id", "call_id", "id", "name"):
        if isinstance(item.get(key), (str, int)):
            # results and calls of Responses share a call_id: the type keeps them apart
            return f"{key}:{item.get('type')}", item[key]
    function = item.get("function")
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return "function.name", function["name"]
    return None


class _Score:
    """How well items of two short lists fit each other."""

    def __init__(self, left: list[Any], right: list[Any]) -> None:
        self._left, self._right = left, right
        self._sketches: dict[tuple[bool, int], Sketch] = {}
        self._alone = len(left) == 1 and len(right) == 1
        self._even = len(left) == len(right)

    def __call__(self, i: int, j: int) -> float:
        a, b = self._left[i], self._right[j]
        if isinstance(a, dict) and isinstance(b, dict):
            if any(a.get(key) != b.get(key) for key in ("role", "type")):
                return 0.0
            named_a, named_b = _identity(a), _identity(b)
            if named_a is not None and named_b is not None and named_a != named_b and not self._alone:
                return 0.0
        if self._alone:
            return 1.0
        if type(a) is not type(b):
            return 0.0
        if isinstance(a, (dict, list, str)):
            alike = overlap(self._sketch(False, i, a), self._sketch(True, j, b))
            return max(alike, LIKE if self._even and i == j else 0.0)
        return LIKE if self._even and i == j else 0.0

    def _sketch(self, right: bool, position: int, item: Json) -> Sketch:
        found = self._sketches.get((right, position))
        if found is None:
            found = self._sketches[right, position] = sketch(item)
        return found
