"""Laws of differences: they rebuild either side, and equal values have none."""

from __future__ import annotations

import copy
import itertools
import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rashomon.replay.differences import Difference, differences, word_diff
from rashomon.replay.sequences import common, pair_in_order

keys = st.sampled_from(["a", "b", "id", "role", "name", "type", "tool_call_id", "function", "content", "x y", '"'])
floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text("ab {[", max_size=6)
scalars = st.none() | st.booleans() | st.integers(-3, 3) | floats | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=25,
)
_PART = re.compile(r'\.?([A-Za-z_$][\w$-]*)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]')


def steps_of(path: str) -> list[str | int]:
    parts: list[str | int] = []
    for plain, index, quoted in _PART.findall(path):
        parts.append(int(index) if index else json.loads(f'"{quoted}"') if quoted else plain)
    return parts


class Marker:
    """Stands for an item that was removed, until its neighbours have been placed."""


def rebuilt(left: Any, found: list[Difference]) -> Any:
    """The right side, made from the left one and the differences: a second reading of what paths mean."""
    root = {"root": copy.deepcopy(left)}
    added: dict[int, list[tuple[int, Any]]] = {}
    lists: dict[int, list[Any]] = {}
    for difference in found:
        *way, last = ["root", *steps_of(difference.path)]
        place: Any = root
        for part in way:
            place = place[part]
        if isinstance(place, list):
            lists[id(place)] = place
            if difference.op == "added":
                added.setdefault(id(place), []).append((int(last), difference.right))
                continue
        if difference.op == "removed" and isinstance(place, dict):
            del place[last]
        else:
            place[last] = Marker if difference.op == "removed" else difference.right
    for key, place in lists.items():
        place[:] = [item for item in place if item is not Marker]
        for position, item in sorted(added.get(key, ()), key=lambda pair: pair[0]):
            place.insert(position, item)
    return root["root"]


def same(a: Any, b: Any) -> bool:
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def without_json_texts(value: Any) -> Any:
    """Texts that hold JSON are compared inside, where a path cannot be followed by the reading above."""
    if isinstance(value, dict):
        return {key: without_json_texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_json_texts(item) for item in value]
    return value.replace("{", "(").replace("[", "(") if isinstance(value, str) else value


@given(values, values)
def test_differences_rebuild_the_right_side(left: Any, right: Any) -> None:
    """Applied to the left value, the differences give the right one; so nothing is missed or misplaced."""
    left, right = without_json_texts(left), without_json_texts(right)
    assert same(rebuilt(left, differences(left, right)), right)
    assert same(rebuilt(right, differences(right, left)), left)


@given(values)
def test_equal_values_have_no_differences(value: Any) -> None:
    """A value does not differ from its copy."""
    assert differences(value, copy.deepcopy(value)) == []


@given(values, values)
def test_either_side_sees_a_difference(left: Any, right: Any) -> None:
    """Two values differ for one side exactly when they do for the other, and when they are not equal."""
    assert bool(differences(left, right)) == bool(differences(right, left)) == (not same(left, right))


@given(st.lists(values, max_size=8), values, st.data())
def test_one_inserted_item_is_one_difference(items: list[Any], item: Any, data: st.DataObject) -> None:
    """Whatever is inserted wherever, nothing else is reported."""
    position = data.draw(st.integers(0, len(items)))
    longer = [*items[:position], item, *items[position:]]
    found = differences({"list": items}, {"list": longer})
    assert [difference.op for difference in found] == ["added"]
    assert same(found[0].right, item)


@given(values, values)
def test_a_text_that_holds_json_differs_inside(left: Any, right: Any) -> None:
    """The same differences are found in encoded objects, behind `$json`."""
    left, right = {"v": left}, {"v": right}
    inside = differences({"t": json.dumps(left)}, {"t": json.dumps(right)})
    assert inside == differences(left, right, "t.$json")


@given(st.text("ab \n.", max_size=60), st.text("ab \n.", max_size=60))
def test_words_give_both_texts_back(a: str, b: str) -> None:
    """What is the same and removed is the left text; what is the same and added is the right one."""
    segments = word_diff(a, b)
    assert "".join(text for op, text in segments if op != "added") == a
    assert "".join(text for op, text in segments if op != "removed") == b
    assert all(text for _, text in segments)


@given(st.text(max_size=80), st.text(max_size=80))
def test_words_of_any_script_give_both_texts_back(a: str, b: str) -> None:
    """No character of any script is lost."""
    segments = word_diff(a, b)
    assert "".join(text for op, text in segments if op != "added") == a
    assert "".join(text for op, text in segments if op != "removed") == b


@given(st.lists(st.integers(0, 5), max_size=60), st.lists(st.integers(0, 5), max_size=60))
def test_what_sequences_have_in_common_is_equal_and_in_order(left: list[int], right: list[int]) -> None:
    """Pairs are equal and increase on both sides; equal sequences pair whole."""
    pairs = common(left, right)
    assert all(left[i] == right[j] for i, j in pairs)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(pairs))
    assert len(common(left, list(left))) == len(left)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 2), max_size=150), st.lists(st.integers(0, 2), max_size=150))
def test_long_sequences_without_anchors_stay_in_order(left: list[int], right: list[int]) -> None:
    """Beyond the exact search the pairs are still equal and in order."""
    pairs = common(left, right)
    assert all(left[i] == right[j] for i, j in pairs)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(pairs))


@given(st.integers(0, 20), st.integers(0, 20), st.randoms(use_true_random=False))
def test_pairing_keeps_order_and_threshold(left: int, right: int, chance: Any) -> None:
    """No pair is below the threshold, and none crosses another, whether paired exactly or greedily."""
    scores = [[chance.random() for _ in range(right)] for _ in range(left)]
    pairs = pair_in_order(left, right, lambda i, j: scores[i][j], 0.4)
    assert all(scores[i][j] >= 0.4 for i, j in pairs)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(pairs))
