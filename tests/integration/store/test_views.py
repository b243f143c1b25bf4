"""The views over steps of each provider, and over what is odd."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rashomon.model import End, Grade, Kind, Match, Request, Response, Step, Tape, Trace
from rashomon.store import TraceStore, open_home
from rashomon.tape_file import write_tape
from tests import steps as made

STARTED = 1_790_000_000_000_000_000
LONG = "A sentence that is long enough to become a part of its own in the store, and then some."
SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "count": {"type": "integer", "minimum": 1, "maximum": 5},
        "size": {"enum": ["small", "large"]},
        "note": {"type": ["string", "null"]},
        "a/b": {"type": "boolean"},
        "share": {"type": "NUMBER", "nullable": True},
    },
    "required": ["id"],
    "additionalProperties": False,
}
Stored = Callable[..., TraceStore]


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """The store of a home with one trace of these steps."""

    def store(*steps: Step, **more: Any) -> TraceStore:
        (tmp_path / "journals").mkdir(exist_ok=True)
        placed = tuple(
            step._replace(id=f"0.{at}", index=at, started_us=at * 1_000_000) for at, step in enumerate(steps)
        )
        trace = Trace("t1", "made", STARTED, STARTED + 60_000_000_000, "ok", 0, **more)
        write_tape(tmp_path / "journals" / "t1.rsj", Tape(trace, placed))
        return open_home(tmp_path)

    return store


def call(url: str, request: Any, answer: Any, **more: Any) -> Step:
    """An LLM call to an address."""
    return made.http(Kind.LLM, json.dumps(request).encode(), json.dumps(answer).encode(), url=url, **more)


def spoken(store: TraceStore) -> list[tuple[Any, ...]]:
    """The messages of the first call."""
    query = "select position, role, text, calls, answers from messages where step = '0.0' order by position, role"
    return store.query(query).rows


# ------------------------------------------------------------------------------------------- messages


def test_messages_of_openai_chat(stored: Stored) -> None:
    """Texts, lists of texts, tool calls and tool results of chat completions are messages."""
    asked = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Where is"}, {"type": "text", "text": "A-1?"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "shipped"},
    ]  # fmt: skip
    store = stored(made.llm(made.said(None, ("c2", "look", {"id": "A-1"})), {"model": "gpt-4o", "messages": asked}))
    assert spoken(store) == [
        (0, "system", "Be brief.", [], []),
        (1, "user", "Where is\nA-1?", [], []),
        (2, "assistant", None, ["c1"], []),
        (3, "tool", "shipped", [], ["c1"]),
        (None, "assistant", None, ["c2"], []),
    ]


@pytest.mark.parametrize("system", ["Be brief.", LONG])
def test_messages_of_anthropic(stored: Stored, system: str) -> None:
    """The system prompt stands before the list, however short; blocks and tool results are read."""
    asked = [
        {"role": "user", "content": "Where is A-1?"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "I look."}, {"type": "tool_use", "id": "u1", "name": "look", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "u1", "content": [{"type": "text", "text": "shipped"}]}]},
    ]  # fmt: skip
    said = [{"type": "text", "text": "Shipped."}]
    answer = {"type": "message", "role": "assistant", "model": "claude", "content": said, "stop_reason": "end_turn"}
    request = {"model": "claude", "system": system, "messages": asked}
    assert spoken(stored(call("https://api.anthropic.com/v1/messages", request, answer))) == [
        (-1, "system", system, [], []),
        (0, "user", "Where is A-1?", [], []),
        (1, "assistant", "I look.", ["u1"], []),
        (2, "user", "shipped", [], ["u1"]),
        (None, "assistant", "Shipped.", [], []),
    ]


@pytest.mark.parametrize("text", ["Hi.", LONG])
def test_messages_of_openai_responses(stored: Stored, text: str) -> None:
    """An input of one text is a message, and so are the items of a list."""
    answer = {"object": "response", "model": "gpt-5", "status": "completed", "output": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}]}  # fmt: skip
    url = "https://api.openai.com/v1/responses"
    store = stored(
        call(url, {"model": "gpt-5", "input": text, "instructions": "Be kind.", "max_output_tokens": 500}, answer),
        call(url, {"model": "gpt-5", "input": [
            {"role": "developer", "content": "Be brief."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]},
            {"type": "function_call", "call_id": "f1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "f1", "output": "shipped"},
        ]}, answer),
    )  # fmt: skip
    assert spoken(store) == [
        (-1, "system", "Be kind.", [], []), (0, "user", text, [], []), (None, "assistant", "Hello.", [], []),
    ]  # fmt: skip
    second = "select position, role, text, calls, answers from messages where step = '0.1' order by position"
    assert store.query(second).rows == [
        (0, "developer", "Be brief.", [], []),
        (1, "user", text, [], []),
        (2, "assistant", None, ["f1"], []),
        (3, "tool", "shipped", [], ["f1"]),
        (None, "assistant", "Hello.", [], []),
    ]


def test_messages_of_gemini_and_bedrock(stored: Stored) -> None:
    """Google's contents and Bedrock's messages are read, tool results too."""
    google = {
        "systemInstruction": {"parts": [{"text": LONG}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Where?"}]},
            {"role": "model", "parts": [{"functionCall": {"id": "g1", "name": "look", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "g1", "name": "look", "response": {"is": "here"}}}]},
        ],
    }
    bedrock = {
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"text": "Where?"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "b1", "name": "look", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "b1", "content": [{"json": {"is": "here"}}]}}]},
        ],
    }
    said = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Here."}]}, "finishReason": "STOP"}]}
    answered = {"output": {"message": {"role": "assistant", "content": [{"text": "Here."}]}}, "stopReason": "end_turn"}
    store = stored(
        call("https://generativelanguage.googleapis.com/v1beta/models/gemini-2.0-flash:generateContent", google, said),
        call("https://bedrock-runtime.us-east-1.amazonaws.com/model/nova/converse", bedrock, answered),
    )
    query = "select step, position, role, text, calls, answers from messages order by step, position"
    assert store.query(query).rows == [
        ("0.0", -1, "system", LONG, [], []),
        ("0.0", 0, "user", "Where?", [], []),
        ("0.0", 1, "model", None, ["g1"], []),
        ("0.0", 2, "user", '{"is":"here"}', [], ["g1"]),
        ("0.0", None, "assistant", "Here.", [], []),
        ("0.1", -1, "system", "Be brief.", [], []),
        ("0.1", 0, "user", "Where?", [], []),
        ("0.1", 1, "assistant", None, ["b1"], []),
        ("0.1", 2, "user", '{"is":"here"}', [], ["b1"]),
        ("0.1", None, "assistant", "Here.", [], []),
    ]


def test_what_sql_cannot_read_is_shown_raw(stored: Stored) -> None:
    """A message with half a character, which Python reads and SQL does not, keeps its text; embeddings are none."""
    body = rb'{"model":"gpt-4o","messages":[{"role":"user","content":"hi \ud83d"},{"role":"user","content":"ho"}]}'
    odd = made.http(Kind.LLM, body, json.dumps(made.said("Yes.")).encode())
    embedded = {"data": [{"embedding": [0.5], "index": 0}], "model": "e", "usage": {"prompt_tokens": 1}}
    store = stored(odd, call("https://api.openai.com/v1/embeddings", {"model": "e", "input": [LONG, "b"]}, embedded))
    assert store.query("select role, text from messages order by step, position").rows == [
        (None, r'{"role":"user","content":"hi \ud83d"}'), ("user", "ho"), ("assistant", "Yes."),
    ]  # fmt: skip
    assert store.query("select count(*) from unique_messages").rows == [(2,)]


def test_a_message_is_unique_once(stored: Stored) -> None:
    """A conversation of three turns sends its first message three times, and it is one."""
    turns = [made.user("one"), made.user("two"), made.user("three")]
    calls = [made.llm(made.said("ok"), made.asked(*turns[: count + 1])) for count in range(3)]
    store = stored(*calls)
    query = "select text, times, traces, first_seen = last_seen from unique_messages order by times desc"
    assert store.query(query).rows == [("one", 3, 1, False), ("two", 2, 1, False), ("three", 1, 1, True)]
    assert store.query("select count(*) from messages where not answer").rows == [(6,)]


# ---------------------------------------------------------------------------------------------- tools


def requested(arguments: Any, tools: list[Any], name: str = "look") -> Step:
    """A chat completion that offers tools and asks for one."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    said = made.said(None, ("c1", name, {}))
    said["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = text
    return made.llm(said, {"model": "gpt-4o", "messages": [made.user("hi")], "tools": tools})


CHAT_TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA}}


@pytest.mark.parametrize(
    ("arguments", "misfits"),
    [
        ({"id": "A", "count": 3, "size": "small", "note": None, "a/b": True, "share": None}, []),
        ({"id": "A", "count": 2.0, "share": 1}, []),
        ({}, ["id is missing"]),
        ({"id": 7}, ["id is a number, not string"]),
        ({"id": "A", "count": 1.5}, ["count is a number, not integer"]),
        ({"id": "A", "count": 0}, ["count is below 1"]),
        ({"id": "A", "count": 6}, ["count is above 5"]),
        ({"id": "A", "size": "huge"}, ['size is not one of ["small","large"]']),
        ({"id": "A", "note": ["x"]}, ['note is a list, not ["string","null"]']),
        ({"id": "A", "a/b": "yes"}, ["a/b is a text, not boolean"]),
        ({"id": "A", "colour": "red"}, ["colour is not in the schema"]),
        (["A"], ["the arguments are no JSON object"]),
        ('{"id": "A', ["the arguments are no JSON object"]),
    ],
)
def test_arguments_are_held_to_their_schema(stored: Stored, arguments: Any, misfits: list[str]) -> None:
    """What does not fit is named; what fits is not."""
    store = stored(requested(arguments, [CHAT_TOOL]))
    assert store.query("select tool, misfits from requested_calls").rows == [("look", misfits)]


def test_no_arguments_fit_a_tool_that_needs_none(stored: Stored) -> None:
    """A model that sends nothing for a tool without required arguments makes no mistake."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    store = stored(requested("", [tool]), requested("null", [tool]), requested("{}", [tool]))
    assert store.query("select misfits from requested_calls").rows == [([],), ([],), ([],)]


@pytest.mark.parametrize(
    "tool",
    [
        CHAT_TOOL,
        {"type": "function", "name": "look", "description": "Looks.", "parameters": SCHEMA},
        {"name": "look", "description": "Looks.", "input_schema": SCHEMA},
        {"functionDeclarations": [{"name": "other"}, {"name": "look", "description": "Looks.", "parameters": SCHEMA}]},
    ],
)
def test_definitions_of_each_provider(stored: Stored, tool: Any) -> None:
    """A tool's definition is found in the form of each provider."""
    store = stored(requested({}, [tool]))
    assert store.query("select misfits from requested_calls").rows == [(["id is missing"],)]
    described = "select description, schema->'$.required' from tool_definitions where tool = 'look'"
    assert store.query(described).rows == [("Looks.", '["id"]')]


def test_a_definition_of_bedrock(stored: Stored) -> None:
    """Bedrock sends all tools in one piece."""
    config = {"tools": [{"toolSpec": {"name": "look", "description": "Looks.", "inputSchema": {"json": SCHEMA}}}]}
    request = {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "toolConfig": config}
    use = {"toolUse": {"toolUseId": "b1", "name": "look", "input": {"id": 5}}}
    answer = {"output": {"message": {"role": "assistant", "content": [use]}}, "stopReason": "tool_use"}
    store = stored(call("https://bedrock-runtime.us-east-1.amazonaws.com/model/nova/converse", request, answer))
    assert store.query("select misfits from requested_calls").rows == [(["id is a number, not string"],)]


def test_the_step_that_answered_a_request(stored: Stored) -> None:
    """Equal arguments tell which step executed a call; else the order does; an earlier step never did."""
    store = stored(
        made.tool({"id": "A"}, "before", name="look"),
        requested({"id": "A"}, [CHAT_TOOL]),
        made.tool({"id": "B"}, "nobody asked", name="look"),
        made.tool({"id": "A"}, "first", name="look"),
        requested({"id": "a "}, [CHAT_TOOL]),
        made.tool({"id": "a"}, "stripped", name="look"),
        requested({"id": "Z"}, [CHAT_TOOL], name="lost"),
    )
    found = store.query("select step, answered_by, found_by from requested_calls order by step_position").rows
    assert found == [("0.1", "0.3", "arguments"), ("0.4", "0.5", "order"), ("0.6", None, None)]
    tools = store.query("select step, arguments->>'id', result->>'$' from tool_calls order by position").rows
    assert tools == [
        ("0.0", "A", "before"),
        ("0.2", "B", "nobody asked"),
        ("0.3", "A", "first"),
        ("0.5", "a", "stripped"),
    ]


def expected_pairs(events: list[tuple[str, str]]) -> dict[int, tuple[str, str]]:
    """Which step executes each request: equal arguments first, then what is left in its order."""
    found: dict[int, tuple[str, str]] = {}
    taken: set[int] = set()
    for how in ("arguments", "order"):
        waiting: dict[str, list[int]] = {}
        for at, (what, argument) in enumerate(events):
            queue = waiting.setdefault(argument if how == "arguments" else "", [])
            if what == "ask" and at not in found:
                queue.append(at)
            elif what == "execute" and at not in taken and queue:
                found[queue.pop(0)] = (f"0.{at}", how)
                taken.add(at)
    return found


def test_requests_are_paired_with_executions(tmp_path: Path) -> None:
    """In random sequences of requests and executions, each execution answers the first request that is still open."""
    seed = int.from_bytes(os.urandom(4), "big")
    print("seed", seed)
    chance = Random(seed)
    (tmp_path / "journals").mkdir()
    expected: dict[tuple[str, int], tuple[str | None, str | None]] = {}
    for number in range(60):
        events = [(chance.choice(("ask", "execute")), chance.choice("AB")) for _ in range(chance.randrange(1, 14))]
        steps = [
            requested({"id": argument}, []) if what == "ask" else made.tool({"id": argument}, 1, name="look")
            for what, argument in events
        ]
        placed = tuple(step._replace(id=f"0.{at}", index=at, started_us=at * 1000) for at, step in enumerate(steps))
        trace = Trace(f"t{number}", "made", STARTED, STARTED + 1_000_000_000, "ok", 0)
        write_tape(tmp_path / "journals" / f"t{number}.rsj", Tape(trace, placed))
        pairs = expected_pairs(events)
        expected |= {
            (f"t{number}", at): pairs.get(at, (None, None)) for at, event in enumerate(events) if event[0] == "ask"
        }
    query = "select trace, step_position, answered_by, found_by from requested_calls"
    rows = open_home(tmp_path).query(query).rows
    assert {(trace, at): (step, how) for trace, at, step, how in rows} == expected


# ---------------------------------------------------------------------------------------------- the rest


def test_what_a_replay_served_cost_nothing(stored: Stored) -> None:
    """Calls that a recording answered are no costs, and no calls that were sent; live ones are."""
    said = {**made.said("ok"), "usage": {"prompt_tokens": 1000, "completion_tokens": 10}}
    served = made.llm(said)._replace(match=Match(Grade.EXACT, "0.0"))
    live = made.llm(said)._replace(match=Match(Grade.LIVE))
    store = stored(served, live, parent="t0")
    assert store.query("select step, sent from llm_calls order by step").rows == [("0.0", False), ("0.1", True)]
    assert store.query("select calls, input_tokens from costs").rows == [(1, 1000)]
    replay = "select parent, parent_name, exact, live, missed, divergences, held from replays"
    assert store.query(replay).rows == [("t0", None, 1, 1, 0, 0, True)]


def test_whether_a_replay_held_is_not_guessed(stored: Stored) -> None:
    """A replay that another format has told of has not held: nobody knows, for it tells of no divergence."""
    provenance = {"imported": {"format": "otlp", "lacks": ["where a replay left its recording"]}}
    store = stored(made.llm(made.said("ok"))._replace(match=Match(Grade.EXACT, "0.0")), parent="t0")
    assert store.query("select divergences, held from replays").rows == [(0, True)]
    store = stored(made.llm(made.said("ok")), parent="t0", provenance=provenance)
    assert store.query("select divergences, held from replays").rows == [(0, None)]


def test_times_of_the_farthest_future_break_nothing(stored: Stored) -> None:
    """A step whose time cannot be, as damaged journals have them, breaks no view."""
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    store = stored(made.llm(made.said("ok"), asked)._replace(response=Response(None, (), End.OPEN, None, 2**62)))
    views = ("llm_calls", "messages", "costs", "failures", "conversations", "prompts")
    found = {view: len(store.query(f"select * from {view}").rows) for view in views}
    assert (found["llm_calls"], found["messages"]) == (1, 1)


def test_a_program_note_is_a_note(stored: Stored) -> None:
    """A step of kind note is in `notes` with its text, labels and values."""
    head = {"note": {"text": "paid", "labels": ["refund"], "data": {"score": 0.5}}}
    step = Step("0.0", 0, Kind.NOTE, "note", (), 0, Request(head, b""), Response(None, (), End.COMPLETE))
    store = stored(step)
    found = store.query("select step, text, labels, data->>'score', source, author from notes").rows
    assert found == [("0.0", "paid", ["refund"], "0.5", "program", None)]


def test_a_light_view_reads_no_bodies(stored: Stored) -> None:
    """Questions about light columns of calls do not touch the text of parts."""
    store = stored(made.llm(made.said("ok")))
    for query in (
        "select model, sum(cost) from llm_calls where sent group by model",
        "select * from costs",
        "select what, count(*) from failures group by what",
        "select trace, turns from conversations",
        "select * from replays",
    ):
        plan = store.query(f"explain {query}").rows[0][1]
        assert "parts" not in plan.replace("request_parts", ""), query
