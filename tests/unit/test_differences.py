"""Where two values differ: paths that point there, and what stands on either side."""

from __future__ import annotations

import json
import random

import pytest

from rashomon.model import Json, Kind
from rashomon.replay.differences import Difference, differences, step_differences, word_diff
from rashomon.replay.sequences import common, pair_in_order
from tests.steps import asked, http, llm, result, said, tool, user

VOCABULARY = ("the", "of", "a", "to", "and", "in", "order", "refund", "ticket", "agent", "tool")


def test_equal_values_have_no_differences() -> None:
    """Nothing to say about two equal values, whatever the order of their keys."""
    assert differences({"a": [1, {"b": None}], "c": "x"}, {"c": "x", "a": [1, {"b": None}]}) == []


@pytest.mark.parametrize(("left", "right"), [(1, 1.0), (1, True), (0, False), ("1", 1), (None, 0), ([], {})])
def test_values_of_different_types_differ(left: Json, right: Json) -> None:
    """One is not one point zero and not true: a program may care."""
    assert differences({"n": left}, {"n": right}) == [Difference("n", "changed", left, right)]
    assert len(differences([left], [right])) == 1


def test_paths_read_like_code() -> None:
    """Fields, indexes and odd keys are spelled as one would write them."""
    left = {"messages": [{"content": "a"}], "x y": {'"': 1}}
    right = {"messages": [{"content": "b"}], "x y": {'"': 2}}
    assert [found.path for found in differences(left, right, "request")] == [
        "request.messages[0].content",
        'request["x y"]["\\""]',
    ]


def test_an_inserted_message_is_one_difference() -> None:
    """What comes after an insertion has not changed."""
    messages = [{"role": "user", "content": f"message {n}"} for n in range(20)]
    more = [*messages[:5], {"role": "user", "content": "new"}, *messages[5:]]
    assert differences(messages, more) == [Difference("[5]", "added", None, more[5])]
    assert differences(more, messages) == [Difference("[5]", "removed", more[5], None)]


def test_messages_pair_by_call_id_and_by_role() -> None:
    """Results are compared with the result of the same call, messages with one of the same role."""
    left = [{"role": "user", "content": "one two three"}, result("call_a", "old"), result("call_b", "x")]
    right = [{"role": "user", "content": "one two four"}, result("call_b", "y")]
    assert differences(left, right) == [
        Difference("[0].content", "text", "one two three", "one two four"),
        Difference("[1]", "removed", left[1], None),
        Difference("[2].content", "changed", "x", "y"),
    ]
    tools = [{"type": "function", "function": {"name": name, "n": 1}} for name in ("f", "g", "h")]
    changed = [tools[0], {"type": "function", "function": {"name": "g", "n": 2}}]
    assert differences(tools, changed) == [
        Difference("[1].function.n", "changed", 1, 2),
        Difference("[2]", "removed", tools[2], None),
    ]


def test_json_in_strings_is_compared_inside() -> None:
    """Arguments of a tool call are text on the wire; the amount in them is what changed."""
    left = {"arguments": json.dumps({"amount": 42, "to": ["a", "b"]})}
    right = {"arguments": json.dumps({"to": ["a", "b"], "amount": 97})}
    assert differences(left, right) == [Difference("arguments.$json.amount", "changed", 42, 97)]
    spelled = {"arguments": '{"amount":42,"to":["a","b"]}'}
    assert [found.path for found in differences(left, spelled)] == ["arguments"]


def test_an_embedding_is_one_value() -> None:
    """A vector that changed is one difference, not one for each number."""
    left, right = [float(n) for n in range(1536)], [float(n) + 0.5 for n in range(1536)]
    assert [(found.path, found.op) for found in differences({"v": left}, {"v": right})] == [("v", "changed")]


def test_deep_values_are_compared_without_failing() -> None:
    """Nesting beyond reason still ends in one difference."""
    left: Json = 1
    right: Json = 2
    for _ in range(400):
        left, right = [left], [right]
    assert len(differences(left, right)) == 1


# ----------------------------------------------------------------------------------------------- steps


def test_step_differences_point_into_request_and_response() -> None:
    """The paths of a step say on which side of the call they are."""
    left = llm(said("Hello Ada"), asked(user("I am Ada")))
    right = llm(said("Hello Bob"), asked(user("I am Bob")))
    assert [(found.path, found.op) for found in step_differences(left, right)] == [
        ("request.messages[0].content", "text"),
        ("response.choices[0].message.content", "text"),
    ]


def test_what_names_an_answer_is_no_difference() -> None:
    """Ids and times of two runs differ and say nothing; which call a result belongs to does."""
    call_a, call_b = "call_aaaaaaaa", "call_bbbbbbbb"
    left = llm(said(None, (call_a, "f", {}), number=1), asked(user("hi"), result(call_a, "1"), result(call_b, "2")))
    right = llm(said(None, (call_b, "f", {}), number=2), asked(user("hi"), result(call_b, "1"), result(call_a, "2")))
    assert step_differences(left, right) == []
    crossed = llm(said(None, (call_b, "g", {}), number=2), asked(user("hi"), result(call_b, "1"), result(call_b, "2")))
    found = step_differences(left, crossed)
    assert Difference("response.choices[0].message.tool_calls[0].function.name", "changed", "f", "g") in found
    assert any(item.path.startswith("request.messages[2]") for item in found)
    assert all("#" not in str(item) for item in found), "what was really sent is shown"


def test_the_address_of_a_model_may_move_and_its_path_may_not() -> None:
    """Another host is the same call, another endpoint is not."""
    left = llm({"a": 1}, asked(), url="https://api.openai.com/v1/chat/completions")
    assert step_differences(left, llm({"a": 1}, asked(), url="http://localhost:1/v1/chat/completions")) == []
    found = step_differences(left, llm({"a": 1}, asked(), url="http://localhost:1/v2/chat/completions"))
    assert [item.path for item in found] == ["request.$url"]
    moved = http(Kind.HTTP, b"", b"x", url="http://a/x"), http(Kind.HTTP, b"", b"x", url="http://b/x")
    assert [item.path for item in step_differences(*moved)] == ["request.url"]


def test_a_streamed_answer_equals_the_same_answer_in_other_chunks() -> None:
    """Chunk boundaries are chance; what was said is compared."""
    events = b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n'
    left = llm(events % b"Hello", headers=[["content-type", "text/event-stream"]])
    right = llm(events % b"Hel" + events % b"lo", headers=[["content-type", "text/event-stream"]])
    assert step_differences(left, right) == []


def test_tools_are_compared_by_argument_and_result() -> None:
    """A tool's differences lead to the argument and into the result."""
    left, right = (
        tool({"id": "A"}, {"status": "shipped", "n": 1}),
        tool({"id": "B"}, {"status": "lost", "n": 1}),
    )
    assert [item.path for item in step_differences(left, right)] == ["request.id", "response.status"]


# ---------------------------------------------------------------------------------------------- texts


def test_words_are_replaced_as_phrases() -> None:
    """A blank between two replaced words does not cut the phrase."""
    assert word_diff("the order was shipped on Monday, paid", "the order was lost in transit, paid") == [
        ("same", "the order was "),
        ("removed", "shipped on Monday"),
        ("added", "lost in transit"),
        ("same", ", paid"),
    ]


def test_unrelated_texts_are_not_woven_together() -> None:
    """Two texts that share a few small words are shown one after the other."""
    a, b = "Please refund the customer at once.", "It rained on all days of our holiday in the hills."
    assert word_diff(a, b) == [("removed", a), ("added", b)]


def test_lines_keep_a_change_local() -> None:
    """One word in one line of many is all that is marked."""
    lines = [f"line {n} of the text\n" for n in range(300)]
    other = [*lines]
    other[150] = "line 150 of a text\n"
    changed = [segment for segment in word_diff("".join(lines), "".join(other)) if segment[0] != "same"]
    assert changed == [("removed", "the"), ("added", "a")]


def test_languages_without_spaces_are_compared_by_character() -> None:
    """One ideograph that changed is one change."""
    assert word_diff("今日は天気です", "今日は元気です")[1:3] == [("removed", "天"), ("added", "元")]


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_large_texts_are_compared_whole(share: float) -> None:
    """160 KB of words, a little or wholly rewritten, still give both sides back."""
    seed = 20260101
    print("seed", seed)
    chance = random.Random(seed)
    words = [chance.choice(VOCABULARY) for _ in range(28_000)]
    other = [word if chance.random() > share else f"new{n % 999}" for n, word in enumerate(words)]
    a, b = " ".join(words), " ".join(other)
    segments = word_diff(a, b)
    assert "".join(text for op, text in segments if op != "added") == a
    assert "".join(text for op, text in segments if op != "removed") == b


# ------------------------------------------------------------------------------------------- sequences


def test_common_finds_the_whole_of_an_interrupted_sequence() -> None:
    """Insertions, removals and a long run of equal items in between cost nothing else."""
    left = ["a", *["poll"] * 500, "b", "c", *["poll"] * 300]
    right = ["a", *["poll"] * 498, "x", "b", *["poll"] * 300, "y"]
    pairs = common(left, right)
    assert len(pairs) == 1 + 498 + 1 + 300
    assert all(left[i] == right[j] for i, j in pairs)


def test_common_stays_bounded_where_nothing_is_unique() -> None:
    """Tens of thousands of items from a small alphabet are aligned, if not perfectly."""
    seed = 5
    print("seed", seed)
    chance = random.Random(seed)
    left, right = ([chance.randrange(4) for _ in range(20_000)] for _ in range(2))
    pairs = common(left, right)
    assert len(pairs) > 10_000
    assert pairs == sorted(pairs)
    assert all(left[i] == right[j] for i, j in pairs)


def test_pairing_maximises_likeness_in_order() -> None:
    """The best sum wins over the first fit, and nothing below the threshold is paired."""
    table = [[0.5, 0.9, 0.0], [0.1, 0.5, 0.1], [0.0, 0.2, 0.45]]
    assert pair_in_order(3, 3, lambda i, j: table[i][j], 0.4) == [(0, 0), (1, 1), (2, 2)]
    assert pair_in_order(1, 3, lambda i, j: table[i][j], 0.4) == [(0, 1)]
