"""Two traces side by side: which step stands for which, what changed, and what followed from it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from rashomon import values, views
from rashomon.commands.documents import chunks, diff_document
from rashomon.model import Grade, Request, Step, Tape
from rashomon.replay.alignment import Alignment, Mark, Row, align, fold
from tests.steps import asked, llm, result, said, served, tape, tool, user

CALL = "call_00000001"
CALL_2 = "call_00000002"


def marks(alignment: Alignment) -> list[str]:
    return [pair.mark.name for pair in alignment.pairs]


def ids(alignment: Alignment) -> list[tuple[str | None, str | None]]:
    return [(pair.left and pair.left.id, pair.right and pair.right.id) for pair in alignment.pairs]


def order_run(status: str, answer: str, *, stub: bool = False, live: bool = False) -> list[Step]:
    """An agent that looks up an order and tells about it."""
    first = asked(user("Where is order A-1042?"))
    lookup = said(None, (CALL, "get_order", {"order_id": "A-1042"}))
    order = {"id": "A-1042", "status": status}
    second = asked(*first["messages"], lookup["choices"][0]["message"], result(CALL, order))
    steps = [llm(lookup, first), tool({"order_id": "A-1042"}, order), llm(said(answer), second)]
    if not stub:
        return steps
    last = served(steps[2], None, Grade.LIVE) if live else served(steps[2], "0.2")
    return [served(steps[0], "0.0"), served(steps[1], "0.1", Grade.STUBBED), last]


def test_a_trace_is_the_same_as_itself() -> None:
    """Nothing changed, nothing is first, and all of it folds."""
    run = tape(order_run("shipped", "It has shipped."))
    alignment = align(run, run)
    assert marks(alignment) == ["SAME"] * 3
    assert alignment.first is None
    assert fold(alignment) == [Row(0, 3)]


def test_an_empty_trace_can_be_aligned() -> None:
    """A run that made no call is missing everything."""
    run = tape(order_run("shipped", "It has shipped."))
    assert marks(align(run, tape([]))) == ["MISSING"] * 3
    assert marks(align(tape([]), run)) == ["EXTRA"] * 3
    assert align(tape([]), tape([])).pairs == ()


def test_a_stub_is_yours_and_what_follows_from_it_says_so() -> None:
    """The stubbed result is the cause; the prompt that carries it on is its consequence."""
    left = tape(order_run("shipped", "It has shipped."))
    right = tape(order_run("lost", "It was lost.", stub=True, live=True), "right", "left")
    alignment = align(left, right)
    assert marks(alignment) == ["SAME", "OUTPUT", "BOTH"]
    assert [pair.yours for pair in alignment.pairs] == [False, True, False]
    assert [pair.cause for pair in alignment.pairs] == [None, None, 1]
    assert alignment.first == 1


def test_a_stub_that_answers_as_recorded_changes_nothing() -> None:
    """A stub is the user's own, and the same when it says the same."""
    left = tape(order_run("shipped", "It has shipped."))
    right = tape(order_run("shipped", "It has shipped.", stub=True), "right", "left")
    alignment = align(left, right)
    assert marks(alignment) == ["SAME"] * 3
    assert alignment.pairs[1].yours
    assert alignment.first is None


def test_a_changed_prompt_is_no_consequence() -> None:
    """What the user changed by hand follows from nothing; its echo later in the run has no cause in a step."""
    left = [
        llm(said("Yes."), asked(user("Is it late?"))),
        llm(said("Bye."), asked(user("Is it late?"), user("bye"))),
    ]
    right = [
        llm(said("No."), asked(user("Is it early?"))),
        llm(said("Bye."), asked(user("Is it early?"), user("bye"))),
    ]
    alignment = align(tape(left), tape(right, "right"))
    assert marks(alignment) == ["BOTH", "INPUT"]
    assert [pair.cause for pair in alignment.pairs] == [None, None]


def test_a_value_is_followed_through_a_text_and_through_arguments() -> None:
    """An amount that a tool said differently explains the tool call that uses it, and the prompt that names it."""

    def run(amount: int) -> list[Step]:
        return [
            tool({"id": "A"}, {"price": amount}, name="price_of"),
            tool({"id": "A", "amount": amount}, "ok", name="refund"),
            llm(said("done"), asked(user(f"We refunded {amount} euros for A today"))),
        ]

    alignment = align(tape(run(4200)), tape(run(9700), "right"))
    assert marks(alignment) == ["OUTPUT", "INPUT", "INPUT"]
    assert [pair.cause for pair in alignment.pairs] == [None, 0, 0]


def test_one_unexplained_change_is_enough_to_be_no_consequence() -> None:
    """A request that also changed for another reason is not folded away."""

    def run(amount: int, model: str) -> list[Step]:
        request = {**asked(user(f"We refunded {amount} euros")), "model": model}
        return [tool({"id": "A"}, {"price": amount}), llm(said("done"), request)]

    alignment = align(tape(run(4200, "gpt-4o")), tape(run(9700, "gpt-4.1"), "right"))
    assert [pair.cause for pair in alignment.pairs] == [None, None]


def test_a_new_tool_call_follows_from_the_answer_that_asked_for_it() -> None:
    """The extra call and the extra turn after it are consequences of the changed result."""
    left = order_run("shipped", "It has shipped.")
    right = order_run("lost", "", stub=True)
    refund = said(None, (CALL_2, "refund", {"order_id": "A-1042", "reason": "lost in transit"}))
    before = json.loads(right[2].request.body)["messages"]
    third = asked(*before, refund["choices"][0]["message"], result(CALL_2, {"refunded": True, "code": "RX-77"}))
    right[2] = served(llm(refund, asked(*before)), None, Grade.LIVE)
    right.append(served(tool({"order_id": "A-1042", "reason": "lost in transit"}, {"refunded": True, "code": "RX-77"},
                             name="refund"), None, Grade.LIVE))  # fmt: skip
    right.append(served(llm(said("Refunded."), third), None, Grade.LIVE))
    alignment = align(tape(left), tape(right, "right", "left"))
    assert marks(alignment) == ["SAME", "OUTPUT", "BOTH", "EXTRA", "EXTRA"]
    assert [pair.cause for pair in alignment.pairs] == [None, None, 1, 2, 2]


def test_a_refused_call_stands_beside_the_step_it_was_nearest_to() -> None:
    """A miss has no answer to compare: only its request differs."""
    left = [tool({"order_id": "A"}, 1), tool({"order_id": "B"}, 2)]
    right = [served(left[0], "0.0"), served(tool({"order_id": "C"}), "0.1", Grade.MISSED)]
    alignment = align(tape(left), tape(right, "right", "left"))
    assert marks(alignment) == ["SAME", "INPUT"]
    assert ids(alignment) == [("0.0", "0.0"), ("0.1", "0.1")]


def test_served_steps_pair_by_what_answered_them() -> None:
    """Of two equal calls, the one that was served is the counterpart, in whatever order that was."""
    left = [tool({}, 1)._replace(lane=(0,)), tool({}, 2)._replace(lane=(1,))]
    right = [served(left[1], "0.1"), served(left[0], "0.0")]
    alignment = align(tape(left), tape(right, "right", "left"))
    assert ids(alignment) == [("0.0", "0.1"), ("0.1", "0.0")]
    assert marks(alignment) == ["SAME", "SAME"], "the order between lanes is chance"


def test_lanes_are_aligned_each_for_itself() -> None:
    """Two tasks that interleave otherwise are the same run."""
    one = [tool({"n": n}, n, name="one")._replace(lane=(0,)) for n in range(6)]
    two = [tool({"n": n}, n, name="one")._replace(lane=(1,)) for n in range(6)]
    left = [step for pair in zip(one, two, strict=True) for step in pair]
    assert set(marks(align(tape(left), tape([*two, *one], "right")))) == {"SAME"}


def test_a_step_in_another_place_has_moved() -> None:
    """Out of its lane's order, or in another lane: the same step, moved."""
    steps = [tool({"n": n}, n) for n in range(5)]
    swapped = [steps[0], steps[3], steps[1], steps[2], steps[4]]
    assert sorted(marks(align(tape(steps), tape(swapped, "right")))) == [
        "MOVED",
        "SAME",
        "SAME",
        "SAME",
        "SAME",
    ]
    other_lane = [*steps[:4], steps[4]._replace(lane=(1,))]
    assert marks(align(tape(steps), tape(other_lane, "right"))) == ["SAME"] * 4 + ["MOVED"]


def test_extra_steps_stand_behind_the_step_they_came_after() -> None:
    """The order of a run stays readable with what was added."""
    steps = [tool({"n": n}, n) for n in range(3)]
    new = tool({"what": "else"}, 0, name="search")
    alignment = align(tape(steps), tape([new, steps[0], new, new, steps[1], steps[2], new], "right"))
    assert marks(alignment) == ["EXTRA", "SAME", "EXTRA", "EXTRA", "SAME", "SAME", "EXTRA"]
    assert alignment.first == 0


def test_requests_that_are_alike_pair_and_unlike_ones_do_not() -> None:
    """A changed argument is a changed call; another tool is another call."""
    left = [tool({"order_id": "A", "lines": [1, 2, 3]}, 1), tool({"q": "x"}, 1, name="search")]
    right = [tool({"order_id": "B", "lines": [1, 2, 3]}, 1), tool({"q": "x"}, 1, name="browse")]
    assert marks(align(tape(left), tape(right, "right"))) == ["INPUT", "EXTRA", "MISSING"]


def test_ids_of_two_runs_are_no_change() -> None:
    """Two recordings of one behaviour are the same, though every id and time in them differs."""

    def run(call: str, number: int) -> list[Step]:
        first = asked(user("Where is it?"))
        lookup = said(None, (call, "get_order", {"id": "A"}), number=number)
        second = asked(*first["messages"], lookup["choices"][0]["message"], result(call, "shipped"))
        return [llm(lookup, first), llm(said("Shipped.", number=number + 1), second)]

    assert marks(align(tape(run("call_a8f3e1c2", 1)), tape(run("call_77b1d0aa", 5), "right"))) == [
        "SAME",
        "SAME",
    ]


def test_long_runs_of_same_steps_fold_around_changes() -> None:
    """A change keeps its neighbours; a fold of one line is not worth it."""
    steps = [tool({"n": n}, n) for n in range(20)]
    other = [*steps]
    other[8] = tool({"n": 8}, "other")
    other[14] = tool({"n": 14}, "other")
    alignment = align(tape(steps), tape(other, "right"))
    assert fold(alignment, context=2) == [
        Row(0, 6), *(Row(n) for n in range(6, 17)), Row(17, 3)
    ]  # fmt: skip
    assert [row for row in fold(alignment, context=0) if row.folded] == [Row(0, 8), Row(9, 5), Row(15, 5)]
    assert sum(row.folded or 1 for row in fold(alignment, context=1)) == 20


def test_the_document_of_an_alignment_says_where_every_pair_differs() -> None:
    """The JSON form is versioned, plain JSON, and holds the differences of changed pairs only."""
    left = tape(order_run("shipped", "It has shipped."))
    right = tape(order_run("lost", "It was lost.", stub=True, live=True), "right", "left")
    document: Any = json.loads(b"".join(chunks(diff_document(align(left, right)))))
    assert document["format"] == "rashomon.diff/1"
    assert (document["same"], document["first"]) == (False, 1)
    assert document["counts"] == {"same": 1, "output changed": 1, "both": 1}
    same, changed, after = document["pairs"]
    assert same["differences"] == []
    assert changed["differences"] == [{"path": "response.status", "op": "changed", "left": "shipped", "right": "lost"}]
    assert changed["right"]["match"]["grade"] == "stubbed"
    assert changed["yours"]
    assert after["cause"] == 1
    assert {item["path"] for item in after["differences"]} == {
        "request.messages[2].content.$json.status",
        "response.choices[0].message.content",
    }


def poll(n: int, state: str = "pending") -> Step:
    return tool({"job": "7"}, {"state": state}, name="poll")


def test_thousands_of_steps_align() -> None:
    """5,000 steps with 2 % changed pair one to one."""
    seed = 11
    print("seed", seed)
    chance = random.Random(seed)
    left = [tool({"n": n, "q": f"question {n}"}, n) for n in range(5_000)]
    changed = set(chance.sample(range(5_000), 100))
    right = [tool({"n": n, "q": f"query {n}"}, n) if n in changed else step for n, step in enumerate(left)]
    found = marks(align(tape(left), tape(right, "right")))
    assert found.count("SAME") == 4_900
    assert found.count("INPUT") >= 95, "a few may pair with their neighbour"


def test_a_polling_loop_does_not_blow_up() -> None:
    """Thousands of equal calls, with others strewn in on both sides, still align step by step."""
    left = [poll(n) if n % 50 else tool({"left": n}, n, name="log") for n in range(5_000)]
    right = [poll(n) if n % 47 else tool({"right": n}, n, name="log") for n in range(5_000)]
    alignment = align(tape(left), tape(right, "right"))
    both = [pair for pair in alignment.pairs if pair.left and pair.right]
    assert len(both) > 4_800
    assert {pair.left.name == pair.right.name for pair in both if pair.left and pair.right} == {True}


def test_a_wholly_different_run_is_aligned_too() -> None:
    """Thousands of steps on either side with nothing in common end as missing and extra."""
    left = [tool({"a": n}, n, name="one") for n in range(3_000)]
    right = [tool({"b": n}, n, name="two") for n in range(3_000)]
    assert set(marks(align(tape(left), tape(right, "right")))) == {"MISSING", "EXTRA"}


def test_equal_values_in_another_spelling_are_the_same_call() -> None:
    """White space and the order of keys in a request do not count."""
    step = llm(said("x"), {"model": "m", "n": 1})
    spelled = step._replace(request=Request(step.request.head, b'{ "n": 1,  "model": "m" }'))
    assert marks(align(tape([step]), tape([spelled], "right"))) == ["SAME"]


def test_tools_with_values_that_json_cannot_hold_are_compared() -> None:
    """Sets, bytes and objects in arguments are compared by what they are."""
    left = tool({"x": {1, 2}, "y": b"\xff"}, 1)
    right = left._replace(request=Request(left.request.head, values.encode({"x": {2, 1}, "y": b"\xfe"})))
    found: Tape = tape([right], "right")
    assert marks(align(tape([left]), found)) == ["INPUT"]


def test_an_answer_is_read_once_in_an_alignment(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be compared and to be followed: bodies of megabytes take seconds to read."""
    read: list[str] = []
    view = views.response_view

    def counted(step: Step) -> Any:
        read.append(step.name)
        return view(step)

    monkeypatch.setattr(views, "response_view", counted)
    left = [tool({"n": n}, {"found": "old"}, name=f"find_{n}") for n in range(3)]
    right = [tool({"n": n}, {"found": "new"}, name=f"find_{n}") for n in range(3)]
    found = align(tape(left), tape(right, "right"))
    assert [pair.mark for pair in found.pairs] == [Mark.OUTPUT] * 3
    assert sorted(read) == ["find_0", "find_0", "find_1", "find_1", "find_2", "find_2"]
