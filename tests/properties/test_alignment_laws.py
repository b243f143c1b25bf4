"""Laws of alignment: every step once, order kept, a run the same as itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rashomon.commands.documents import diff_document
from rashomon.model import Call, Grade, Match, Step, Tape
from rashomon.replay.alignment import Mark, align, fold
from rashomon.replay.explain import explain_miss
from tests.steps import asked, llm, said, tape, tool, user


def made(what: tuple[str, int, int, int]) -> Step:
    kind, asks, answers, lane = what
    if kind == "llm":
        step = llm(said(f"answer {answers}"), asked(user(f"question {asks}")))
    else:
        step = tool({"id": f"item {asks}"}, {"value": f"value {answers}"}, name=kind)
    return step._replace(lane=() if lane == 0 else (lane,))


some_steps = st.lists(
    st.tuples(st.sampled_from(["llm", "one", "two"]), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)).map(
        made
    ),
    max_size=12,
)
matches = st.none() | st.builds(Match, st.sampled_from(Grade), st.none() | st.integers(0, 14).map(lambda n: f"0.{n}"))


@settings(max_examples=150)
@given(some_steps, some_steps, st.data())
def test_every_step_stands_in_one_pair(left: list[Step], right: list[Step], data: st.DataObject) -> None:
    """Nothing is lost or told twice, the left order is kept, and marks say what sides there are."""
    parent = data.draw(st.sampled_from(["left", None]))
    graded = [step._replace(match=data.draw(matches)) for step in right]
    a, b = tape(left), tape(graded, "right", parent)
    alignment = align(a, b)
    lefts = [pair.left.id for pair in alignment.pairs if pair.left]
    rights = [pair.right.id for pair in alignment.pairs if pair.right]
    assert lefts == [step.id for step in a.steps]
    assert sorted(rights) == sorted(step.id for step in b.steps)
    for index, pair in enumerate(alignment.pairs):
        assert (pair.right is None) == (pair.mark == Mark.MISSING)
        assert (pair.left is None) == (pair.mark == Mark.EXTRA)
        assert pair.cause is None or pair.cause < index
        if pair.left and pair.right:
            assert (pair.left.kind, pair.left.name) == (pair.right.kind, pair.right.name)
    assert sum(row.folded or 1 for row in fold(alignment)) == len(alignment.pairs)
    counts = diff_document(alignment)["counts"]
    assert counts == Counter(pair.mark.value for pair in alignment.pairs)


@given(some_steps)
def test_a_run_is_the_same_as_itself(steps: list[Step]) -> None:
    """Equal runs have no divergence, whatever is repeated in them."""
    alignment = align(tape(steps), tape(steps, "right"))
    assert alignment.first is None
    assert [(pair.left and pair.left.id) == (pair.right and pair.right.id) for pair in alignment.pairs] == [True] * len(
        steps
    )


@given(some_steps, st.data())
def test_one_added_step_is_one_extra(steps: list[Step], data: st.DataObject) -> None:
    """A step that one run has more is all that is told."""
    position = data.draw(st.integers(0, len(steps)))
    extra = tool({"what": "else"}, 1, name="other")
    longer = tape([*steps[:position], extra, *steps[position:]], "right")
    marks = [pair.mark for pair in align(tape(steps), longer).pairs]
    assert sorted(marks) == sorted([Mark.EXTRA, *[Mark.SAME] * len(steps)])


@settings(max_examples=60)
@given(
    some_steps,
    some_steps,
    st.tuples(st.sampled_from(["llm", "one", "new"]), st.integers(0, 5), st.just(0), st.just(0)),
)
def test_every_miss_can_be_explained(waiting: list[Step], consumed: list[Step], what: Any) -> None:
    """A missing call always has a sentence, and names only steps that exist."""
    step = made(what)
    found: Tape = tape([*waiting, *consumed])
    waits, spent = found.steps[: len(waiting)], found.steps[len(waiting) :]
    miss = explain_miss(Call(step.kind, step.name, step.request), waits, spent)
    assert miss.kind == "missed"
    assert miss.summary.endswith(".")
    assert miss.recorded is None or miss.recorded in {item.id for item in found.steps}
    assert len(miss.detail) <= 6
    assert miss.summary.isprintable()
