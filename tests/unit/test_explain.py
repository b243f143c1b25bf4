"""Why a call found no answer, in words that help."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from rashomon.canonical import content_digest
from rashomon.model import Call, Kind, Read, Request, Site, Step, Uncontrolled
from rashomon.replay.explain import explain_miss, nearest
from rashomon.replay.flow import Reading, Sources, Substitution
from tests.steps import asked, http, llm, result, said, tape, tool, user


def call(step: Step) -> Call:
    return Call(step.kind, step.name, step.request)


def numbered(*steps: Step) -> list[Step]:
    return list(tape(steps).steps)


def test_the_nearest_step_is_named_with_what_differs() -> None:
    """The best candidate comes first, and its reasons show both sides at the place that differs."""
    history = [user("Where is order A-1042?"), result("call_1", {"status": "shipped", "carrier": "DHL"})]
    recorded = numbered(
        llm(said("x"), asked(user("Summarise the meeting notes of last week"))),
        llm(said("x"), asked(*history)),
        tool({"order_id": "A-1042"}, 1),
    )
    changed = {
        **asked(history[0], result("call_1", {"status": "lost", "carrier": "DHL"})),
        "model": "gpt-4.1",
    }
    found = nearest(call(llm(said(), changed)), recorded)
    assert [near.step.id for near in found[:2]] == ["0.1", "0.0"]
    assert found[0].similarity > found[1].similarity
    assert found[0].reasons == (
        "request.model: gpt-4o → gpt-4.1",
        "request.messages[1].content.$json.status: shipped → lost",
    )
    assert found[0].paths == ("request.model", "request.messages[1].content.$json.status")


def test_a_long_text_is_shown_where_it_changes() -> None:
    """The words around the first change are quoted, not the beginning of the prompt."""
    prompt = "You are a careful assistant. " * 40
    recorded = numbered(llm(said("x"), asked(user(prompt + "Answer in French. " + "Be brief. " * 30))))
    near = nearest(call(llm(said(), asked(user(prompt + "Answer in German. " + "Be brief. " * 30)))), recorded)[0]
    (reason,) = near.reasons
    assert reason.startswith("request.messages[0].content differs: ")
    assert "French" in reason
    assert "German" in reason
    assert len(reason) < 240


def test_a_miss_names_the_call_the_nearest_step_and_the_path() -> None:
    """One sentence says what is missing and where it stands out."""
    recorded = numbered(tool({"order_id": "A-1042"}, 1), tool({"q": "shoes"}, 1, name="search"))
    miss = explain_miss(call(tool({"order_id": "B-7"})), recorded, [])
    assert miss.kind == "missed"
    assert miss.summary == (
        'get_order(order_id="B-7") is not in the recording; the nearest is step 0.0, where request.order_id differs.'
    )
    assert (miss.recorded, miss.paths) == ("0.0", ("request.order_id",))
    assert miss.detail == ("request.order_id: A-1042 → B-7",)


def test_a_call_made_once_too_often_says_so() -> None:
    """An equal step exists, and its answer is spent."""
    recorded = numbered(tool({"order_id": "A"}, 1), tool({"order_id": "A"}, 2), tool({"order_id": "B"}, 2))
    miss = explain_miss(call(tool({"order_id": "A"})), recorded[2:], recorded[:2])
    assert miss.summary == 'get_order(order_id="A") was recorded 2 times, and was asked for once more.'
    assert miss.recorded == "0.0"
    assert miss.detail == ("the answer of step 0.0 has already been served",)


def test_a_call_of_an_unknown_tool_says_that_nothing_has_its_name() -> None:
    """No nearest step is made up where nothing is alike."""
    miss = explain_miss(call(tool({"city": "Oslo"}, name="get_weather")), [], [])
    assert miss.summary == (
        'get_weather(city="Oslo") is not in the recording, and nothing in it has the name get_weather.'
    )
    assert (miss.recorded, miss.paths, miss.detail) == (None, (), ())


def test_a_renamed_tool_is_recognised() -> None:
    """The same arguments under another name are pointed out."""
    recorded = numbered(tool({"order_id": "A", "verbose": True, "lang": "en"}, 1))
    miss = explain_miss(call(tool({"order_id": "A", "verbose": True, "lang": "en"}, name="get_orders")), recorded, [])
    assert miss.recorded == "0.0"
    assert miss.detail == ("step 0.0 is the most alike: $name: get_order → get_orders",)


def test_when_all_calls_of_a_tool_are_spent_the_nearest_spent_one_is_named() -> None:
    """A further, different call of a tool is compared with those that were served."""
    recorded = numbered(tool({"order_id": "A"}, 1))
    miss = explain_miss(call(tool({"order_id": "B"})), [], recorded)
    assert "whose calls of get_order (1) were all served" in miss.summary
    assert miss.detail == ("step 0.0, already served, is the most alike: request.order_id: A → B",)


def test_a_miss_of_a_model_names_it_by_its_messages() -> None:
    """A model call is recognised by its model and its last message."""
    recorded = numbered(llm(said("x"), asked(user("Hello there, Ada"))))
    miss = explain_miss(call(llm(said(), asked(user("Hello there, Ada"), user("And?")))), recorded, [])
    assert miss.summary == (
        'The call gpt-4o (2 messages, the last by user: "And?") is not in the recording; '
        "the nearest is step 0.0, where request.messages[1] differs."
    )
    assert miss.detail == ('request.messages[1] is new: {"role": "user", "content": "And?"}',)


def test_an_http_miss_names_method_and_address() -> None:
    """Another query is another call, and the address shows it."""
    recorded = numbered(http(Kind.HTTP, b"", b"{}", url="https://shop.example/orders?page=1"))
    miss = explain_miss(call(http(Kind.HTTP, b"", b"", url="https://shop.example/orders?page=2")), recorded, [])
    assert miss.summary.startswith("POST https://shop.example/orders?page=2 is not in the recording")
    assert miss.paths == ("request.url",)


def test_thousands_of_candidates_are_searched_for_the_nearest() -> None:
    """Among 10,000 long conversations, the one with a single word changed is found."""
    seed = 3
    print("seed", seed)
    chance = random.Random(seed)
    words = [f"word{n}" for n in range(500)]
    steps = [
        llm(said("x"), asked(*(user(" ".join(chance.choices(words, k=8))) for _ in range(3)))) for _ in range(10_000)
    ]
    steps = numbered(*steps)
    body = steps[7_777].request.body
    last = body.rindex(b"word")
    changed = Request(steps[0].request.head, body[:last] + b"term" + body[last + 4 :])
    found = nearest(Call(Kind.LLM, "chat", changed), steps)
    assert found[0].step.id == "0.7777"
    assert content_digest(Call(Kind.LLM, "chat", changed)) not in {content_digest(call(near.step)) for near in found}


def test_hostile_requests_are_explained_on_one_line() -> None:
    """Control characters of a program never reach the report."""
    recorded = numbered(tool({"q": "plain text of some length"}, 1))
    miss = explain_miss(call(tool({"q": "plain text\x1b[2J of some\nother length\x07"})), recorded, [])
    assert all(line.isprintable() for line in (miss.summary, *miss.detail))


NOW, THEN = 1_790_000_123.25, 1_790_000_000.5
SITE = Site("/app/agent.py", 34, "main")


def told(at: float) -> Step:
    """A model call that tells the time as text."""
    return llm(said("x"), asked(user(f"now {datetime.fromtimestamp(at, UTC)}")))


def test_a_difference_names_the_read_that_it_comes_from() -> None:
    """Function, file, line, and why the clock is not controlled there."""
    reading = Reading("clock", "time.time", NOW, THEN, SITE, "the recording has no more reads here")
    miss = explain_miss(call(told(NOW)), numbered(told(THEN)), [], Sources([reading]))
    assert miss.paths == ("request.messages[0].content",)
    (line,) = miss.detail
    assert line.startswith("request.messages[0].content differs: ")
    assert line.endswith(
        ", read from time.time() at agent.py:34 in main, which is not controlled because the recording has no more "
        "reads here"
    )


def test_a_difference_that_nothing_gave_says_what_the_recording_has_there() -> None:
    """The live side's source is unknown; the recorded side's read and what cannot be controlled are named."""
    sources = Sources(
        reads=[Read(0, (), "clock", "time.time", THEN, SITE, 0)],
        uncontrolled=[Uncontrolled("a C extension's clock", "it does not go through Python.", SITE)],
    )
    line, more = explain_miss(call(told(NOW)), numbered(told(THEN)), [], sources).detail
    assert line.endswith(", where the recording has what it read from time.time() at agent.py:34 in main")
    assert more == (
        "not controlled in this program: a C extension's clock at agent.py:34 in main, because it does not go through "
        "Python"
    )


@pytest.mark.parametrize(
    ("kind", "what", "value", "named"),
    [
        ("random", "random.random", 0.3, False),
        ("process", "os.getpid", 342, False),
        ("random", "secrets.token_hex", "ribe", False),
        ("sleep", "time.sleep", 342162, False),
        ("process", "os.getpid", 342162, True),
    ],
)
def test_a_piece_of_a_longer_number_is_no_read(kind: str, what: str, value: Any, named: bool) -> None:
    """Three digits are found in many numbers, and a sleep gives nothing: what did not give a value is not named."""
    sources = Sources(reads=[Read(0, (), kind, what, value, SITE, 0)])
    texts = "at 1795706.2564 scribes", "at 1795700.342162 ascribed"
    live, recorded = (llm(said("x"), asked(user(text))) for text in texts)
    assert (what in explain_miss(call(live), numbered(recorded), [], sources).detail[0]) is named


def test_a_difference_that_nobody_read_says_what_it_looks_like() -> None:
    """Times and generated ids are recognised by their form."""
    assert (
        explain_miss(call(told(NOW)), numbered(told(THEN)), [])
        .detail[0]
        .endswith(", which looks like a time from a source that is not recorded")
    )
    steps = [tool({"customer": "6f1c2a3b-0a1b-4c2d-8e3f-0123456789a" + digit}, 1) for digit in "12"]
    assert (
        explain_miss(call(steps[0]), numbered(steps[1]), [])
        .detail[0]
        .endswith(", which looks like a generated id from a source that is not recorded")
    )


def test_a_difference_names_the_stub_that_it_follows_from() -> None:
    """A changed tool answer, followed into the model's request."""
    order, stubbed = tool({"id": "A"}, {"price": 4200}), tool({"id": "A"}, {"price": 9700})
    ask = [llm(said("x"), asked(user("Hi"), result("call_1", {"price": price}))) for price in (4200, 9700)]
    steps = numbered(order, ask[0])
    sources = Sources(substitutions=[Substitution("stubbed", call(stubbed), stubbed.response, steps[0])])
    miss = explain_miss(call(ask[1]), steps[1:], steps[:1], sources)
    assert miss.detail == (
        "request.messages[1].content.$json.price: 4200 → 9700, "
        "which follows from the stubbed answer of get_order (0.0)",
    )


def test_answers_in_another_order_are_called_so() -> None:
    """Two tool results that changed places are no new content."""
    answers = [tool({"n": n}, f"the order of customer number {n}") for n in range(2)]
    results = [result(f"call_{n}", f"the order of customer number {n}") for n in range(2)]
    steps = numbered(*answers, llm(said("x"), asked(user("Go"), *results)))
    miss = explain_miss(call(llm(said(), asked(user("Go"), *reversed(results)))), steps[2:], steps[:2])
    assert any(
        "which contains the recorded answer of 0." in line and "in another order" in line for line in miss.detail
    )
    lines = ["alpha is first", "beta is second", "gamma is third"]
    before, after = (tool({"text": "\n".join(order)}, 1) for order in (lines, lines[::-1]))
    assert explain_miss(call(after), numbered(before), []).detail[0].endswith(": the same lines in another order")
