"""`rashomon grep` passes over calls that only send again what was said, and misses nothing by it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rashomon import tapes
from rashomon.commands import grep
from rashomon.commands.grep import Hit
from rashomon.filters import NOTHING
from rashomon.model import End, Failure, Kind, Step, Tape, Trace
from rashomon.store import TraceStore, filtering, ingest
from tests.steps import asked, http, llm, result, said, tool, user
from tests.support import steps_meant

WORDS = ["refund", "late", "window", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", 'a "quoted" one', "two\nlines", "A-1042"]


def conversation(chance: random.Random) -> list[Step]:
    """Calls of which each sends again what the last one did, mostly; between them tools, and calls that fail."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": words(chance)}]
    steps: list[Step] = []
    for number in range(chance.randrange(3, 9)):
        messages.append(chance.choice([user(words(chance)), result(f"c{number}", {"note": words(chance)})]))
        answer: Any = said(words(chance), number=number)
        if chance.random() < 0.2:
            answer = said(None, (f"c{number}", "look_up", {"what": words(chance)}), number=number)
        request = asked(*messages) | ({"note": words(chance)} if chance.random() < 0.1 else {})
        failed = chance.random() < 0.15
        failure = Failure("httpx:ReadTimeout", words(chance)) if failed else None
        steps.append(llm(answer, request, failure=failure, end=End.ERROR if failed else End.COMPLETE))
        if chance.random() < 0.4:
            steps.append(tool({"what": words(chance)}, {"status": words(chance)}))
        if chance.random() < 0.2:
            url = f"https://shop.test/{chance.choice(['refund', 'late'])}"
            steps.append(http(Kind.HTTP, steps[0].request.body, b'{"ok": true}', url=url))
        if chance.random() < 0.15:
            messages = messages[:1]
    return steps


def words(chance: random.Random) -> str:
    """What somebody said."""
    return " ".join(chance.choice(WORDS) for _ in range(chance.randrange(4)))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of twenty such conversations."""
    print("seed 3")
    folder, chance = tmp_path_factory.mktemp("grep"), random.Random(3)
    (folder / "journals").mkdir()
    for number in range(20):
        steps = [step._replace(id=f"0.{at}", index=at, started_us=at) for at, step in enumerate(conversation(chance))]
        trace = Trace(f"t{number:02}", "chat", chance.randrange(9), ended_ns=100, outcome="ok")
        tapes.write_tape(folder / "journals" / f"{trace.id}.rsj", Tape(trace, tuple(steps)))
    ingest(folder / "journals", folder / "store.duckdb")
    return folder / "store.duckdb"


def step_by_step(store: TraceStore, search: re.Pattern[str]) -> Iterator[Hit]:
    """What is to be found, from a look at each step."""
    for row in store.traces():
        seen: set[str] = set()
        for step in store.tape(row.id).steps:
            again = step.kind in (Kind.LLM, Kind.HTTP)
            hits = grep.step_hits(row.id, step, search)
            hits = [hit for hit in hits if not (again and hit.path.startswith("request") and hit.line in seen)]
            seen.update(hit.line for hit in hits)
            yield from hits


@pytest.mark.parametrize("at_first", [1, 32])
@pytest.mark.parametrize(
    ("pattern", "fixed"),
    [
        ("refund", True),
        ("late", True),
        ("quoted", True),
        ("two", True),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", True),
        (r"\brefund\b.*window", False),
        ("role.*user", False),
        ("content.*late", False),
        ("lin[e]s|A-10", False),
        ("system", True),
    ],
)
def test_each_line_is_found_as_by_a_look_at_each_step(
    path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, fixed: bool, at_first: int
) -> None:
    """Whatever the pattern, in words or in the JSON around them: the same lines, places and roles, in order."""
    monkeypatch.setattr(grep, "_AT_FIRST", at_first)
    monkeypatch.setattr(grep, "_AT_ONCE", 5 * at_first)
    search = re.compile(re.escape(pattern) if fixed else pattern, re.MULTILINE)
    query = grep._query(pattern, NOTHING, False, fixed)
    with TraceStore(path) as store:
        wanted = list(step_by_step(store, search))
        known = {(place.trace, place.position) for place in steps_meant(store, query)}
        wanted = [hit for hit in wanted if (hit.trace, hit.step.index) in known]
        found = list(grep._hits(store, query, search, once=False))
        first = list(grep._hits(store, query, search, once=True))
    assert found == wanted
    assert found
    assert [hit.trace for hit in first] == list(dict.fromkeys(hit.trace for hit in wanted))
    assert first == [next(hit for hit in wanted if hit.trace == one.trace) for one in first]


def test_most_calls_of_a_conversation_are_not_fetched(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the calls that send a message again, only the first one is looked at."""
    query = grep._query("refund", NOTHING, False, True)
    with TraceStore(path) as store:
        (places,) = store.saying_steps(query)
        looked = [place for place, _ in _look(grep._Chosen(store, places))]
    assert 0 < len(looked) < len(places)


def _look(chosen: grep._Chosen) -> Iterator[tuple[Any, Step]]:
    for place, step in chosen.steps():
        chosen.told(place, True)
        yield place, step


@pytest.mark.parametrize(("pattern", "fixed"), [("refund", True), (r"\blate\b", False), ("role.*user", False)])
def test_the_newest_traces_are_searched_first_where_that_may_be_enough(
    path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, fixed: bool
) -> None:
    """With a limit the same lines come in the same order, and the first ones without a search in older traces."""
    search = re.compile(re.escape(pattern) if fixed else pattern, re.MULTILINE)
    query = grep._query(pattern, NOTHING, False, fixed)
    with TraceStore(path) as store:
        wanted = list(grep._hits(store, query, search, once=False))
        monkeypatch.setattr(filtering, "_MANY", 2)
        monkeypatch.setattr(filtering, "_PORTIONS", 4)
        found = list(grep._hits(store, query, search, once=False, limit=1))
        first, rest = store.saying_steps(query, 1)
        (beyond,) = store.saying_steps(query, 10_000)
        order = [row.id for row in store.traces()]
    assert found == wanted
    assert first + rest == beyond
    assert max(order.index(place.trace) for place in first) < min(order.index(place.trace) for place in rest)
