"""Laws of interchange: what is exported comes back the same, and no file whatever breaks the reader."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rashomon import dialects, values, views
from rashomon.errors import DamagedData, UsageError
from rashomon.interchange import exchanges, otlp, read
from rashomon.interchange.exchanges import Choice, Exchange, Times, Usage
from rashomon.model import End, Failure, Kind, Piece, Request, Response, Step, Tape, Trace
from tests.steps import CHAT_URL

STARTED = 1_790_000_000_000_000_000
texts = st.text(st.characters(codec="utf-8"), max_size=12)
names = st.text("abcxyz_", min_size=1, max_size=8)
leaves = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, width=32) | texts
json_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
arguments = st.dictionaries(names, json_values, max_size=3)
counts = st.none() | st.integers(0, 10**6)
times = st.builds(Times, st.integers(0, 10**9), st.integers(0, 10**8))
contents = texts | st.lists(texts.map(lambda text: {"type": "text", "text": text}), min_size=1, max_size=2)


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """One call that a model asks for."""
    function = {"name": draw(names), "arguments": json.dumps(draw(arguments))}
    return {"id": draw(names), "type": "function", "function": function}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """One chat message."""
    role = draw(st.sampled_from(["system", "user", "assistant", "tool"]))
    if role == "tool":
        return {"role": role, "tool_call_id": draw(names), "content": draw(texts)}
    if role == "assistant" and draw(st.booleans()):
        return {"role": role, "content": None, "tool_calls": draw(st.lists(calls(), min_size=1, max_size=2))}
    return {"role": role, "content": draw(contents)}


@st.composite
def answers(draw: st.DrawFn) -> Choice:
    """What a model said."""
    asked = draw(st.lists(calls(), max_size=2))
    message: dict[str, Any] = {"role": "assistant", "content": draw(texts)}
    if draw(st.booleans()):
        message["reasoning_content"] = draw(texts)
    return Choice(
        {**message, "tool_calls": asked} if asked else message, draw(st.sampled_from(["stop", "length", None]))
    )


@st.composite
def llm_calls(draw: st.DrawFn) -> Step:
    """A call of a model, as it is recorded."""
    exchange = Exchange(
        url=CHAT_URL,
        model=draw(names),
        messages=tuple(draw(st.lists(messages(), max_size=4))),
        tools=tuple(
            {"type": "function", "function": {"name": name, "parameters": {}}} for name in draw(st.lists(names))
        ),
        settings=draw(st.fixed_dictionaries({}, optional={"temperature": st.floats(0, 2), "seed": st.integers(0, 99)})),
        choices=(draw(answers()),),
        usage=draw(st.builds(Usage, counts, counts, counts, counts, counts)),
        answer_id=draw(st.just("") | names),
        answer_model=draw(names),
    )
    raised = draw(st.none() | st.builds(Failure, names, texts, st.just(b"")))
    return exchanges.llm_step(0, exchange, draw(times), raised)


@st.composite
def tool_calls(draw: st.DrawFn) -> Step:
    """A call of a tool, as it is recorded."""
    raised = draw(st.none() | st.builds(Failure, names, texts, st.just(b"")))
    return exchanges.tool_step(0, draw(names), draw(arguments), draw(json_values), draw(times), raised)


@st.composite
def http_calls(draw: st.DrawFn) -> Step:
    """Another HTTP call; its bodies are not told."""
    answered = draw(st.booleans())
    response = Response({"status": draw(st.sampled_from([200, 404, 503])), "headers": []} if answered else None, (),
                        End.COMPLETE if answered else End.OPEN, None, 5)  # fmt: skip
    head = {"method": "GET", "url": "https://shop.example/orders/7?x=1", "headers": []}
    return Step("0.0", 0, Kind.HTTP, "GET /orders/7", (), draw(st.integers(0, 10**6)), Request(head, b""), response)


notes = st.builds(
    lambda text, labels, data, at_us: exchanges.note_step(0, {"text": text, "labels": labels, "data": data}, at_us),
    texts, st.lists(names, max_size=2), arguments, st.integers(0, 10**6),
)  # fmt: skip


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """A trace of such steps, some of them within a tool."""
    found = draw(st.lists(llm_calls() | tool_calls() | http_calls() | notes, max_size=6))
    found.sort(key=lambda step: step.started_us)
    steps: list[Step] = []
    for number, step in enumerate(found):
        tools = [one.id for one in steps if one.kind is Kind.TOOL]
        within = draw(st.sampled_from([None, *tools]))
        steps.append(step._replace(id=f"0.{number}", index=number, within=within))
    last = max((step.started_us + step.response.duration_us for step in steps), default=0)
    tags = draw(st.dictionaries(names, texts, max_size=2))
    trace = Trace(
        "aff3", draw(names), STARTED, STARTED + last * 1000, draw(st.sampled_from(["ok", "error"])), tags=tags
    )
    return Tape(trace, tuple(steps))


def told(step: Step) -> tuple[Any, ...]:
    """What must survive of a step, and in which order."""
    answer = step.response
    raised = None if answer.failure is None else (answer.failure.type, answer.failure.message)
    when = step.started_us, 0 if step.kind is Kind.NOTE else answer.duration_us
    if step.kind is Kind.LLM:
        asked, summary = dialects.read_request(views.request_view(step), step.request.head["url"]), views.summary(step)
        said = summary.text, summary.calls, summary.finish, summary.reasoning, summary.answered
        used = summary.input_tokens, summary.output_tokens, summary.cached_tokens, summary.reasoning_tokens
        listed = [message for message in asked.messages if message != dialects.Message(message.role)]
        asks = asked.model, asked.system, listed, asked.tools, dict(asked.settings)
        return (step.kind, asks, said, used, summary.cache_write_tokens, raised, when, bool(step.within))
    if step.kind is Kind.NOTE:
        return (step.kind, step.request.head["note"], when)
    if step.kind is Kind.HTTP:
        return (step.kind, step.name, step.request.head["url"], views.summary(step).status, when, bool(step.within))
    return (step.kind, step.name, views.step_view(step), raised, when, bool(step.within))


def exported(*found: Tape) -> bytes:
    """Traces as OTLP/JSON."""
    file = io.BytesIO()
    otlp.write(found, file)
    return file.getvalue()


def read_back(content: bytes) -> list[Tape]:
    """What is read of a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file.json")
        path.write_bytes(content)
        return read(path)


@given(tapes())
def test_what_is_exported_comes_back(tape: Tape) -> None:
    """Models, messages, tool calls, results, usage, failures, notes, times and order survive OTLP and back."""
    (back,) = read_back(exported(tape))
    assert [told(step) for step in back.steps] == [told(step) for step in tape.steps]
    kept = (back.trace.name, back.trace.outcome, back.trace.tags, back.trace.started_ns)
    started_ns = STARTED
    assert kept == (tape.trace.name, tape.trace.outcome, tape.trace.tags, started_ns)
    assert back.trace.ended_ns == tape.trace.ended_ns
    assert back.trace.provenance["imported"]["lacks"]


@given(tapes())
def test_the_same_trace_gives_the_same_bytes(tape: Tape) -> None:
    """Ids and times come from the trace; and a second export of what came back says the same again."""
    content = exported(tape)
    assert exported(tape) == content
    (back,) = read_back(content)
    (again,) = read_back(exported(back))
    assert [told(step) for step in again.steps] == [told(step) for step in back.steps]


words = st.sampled_from(
    ["resourceSpans", "scopeSpans", "spans", "attributes", "key", "value", "stringValue", "intValue", "arrayValue",
     "values", "kvlistValue", "traceId", "spanId", "parentSpanId", "name", "events", "startTimeUnixNano", "status",
     "code", "context", "trace_id", "span_id", "start_time", "messages", "role", "content", "tool_calls", "function",
     "arguments", "traj", "reward", "data", "batches", "span_kind", "tool_call_id", "system_prompt", "mistake_step",
     "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.request.model", "gen_ai.operation.name", "parts",
     "llm.input_messages.0.message.role", "llm.input_messages.0", "openinference.span.kind", "gen_ai.usage",
     "gen_ai.prompt.0.role", "gen_ai.prompt", "events", "gen_ai.tool.name", "llm.token_count.prompt", "metadata"]
)  # fmt: skip
leaf = leaves | st.sampled_from(
    ["assistant", "user", "tool", "LLM", "TOOL", "chat", "execute_tool", "[{}]", '{"a": 1}', "5", "gen_ai.choice"]
)
trees = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5), max_leaves=30
)
strange_spans = st.dictionaries(words, trees, max_size=8).map(
    lambda given: {"resourceSpans": [{"scopeSpans": [{"spans": [
        {"traceId": "1" * 32, "spanId": "2" * 16, "name": "x", "attributes": [
            {"key": key, "value": {"stringValue": value}} for key, value in given.items()]}]}]}]}
)  # fmt: skip


@given(trees | strange_spans | st.lists(trees, max_size=3))
def test_no_json_breaks_the_reader(document: Any) -> None:
    """Whatever a file holds, it is read or refused in a sentence; what is read can be shown and exported."""
    try:
        found = read_back(json.dumps(document).encode())
    except (UsageError, DamagedData):
        return
    for tape in found:
        for step in tape.steps:
            views.summary(step)
            views.step_view(step)
    assert exported(*found)


@given(st.binary(max_size=60), st.booleans())
def test_no_bytes_break_the_reader(content: bytes, packed: bool) -> None:
    """Bytes that are no JSON, or a gzip file that is none, are refused in a sentence."""
    try:
        read_back(b"\x1f\x8b\x08\x00" + content if packed else content)
    except (UsageError, DamagedData):
        return


def test_recorded_calls_of_other_dialects_are_exported() -> None:
    """Anthropic's blocks and a tool's result within a user's message come out as parts of messages."""
    body = {"model": "claude-x", "system": "Be brief.", "max_tokens": 9, "messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"}]}]}  # fmt: skip
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1", "stop_reason": "end_turn",
              "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Rain."}],
              "usage": {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 2}}  # fmt: skip
    head = {
        "method": "POST",
        "url": "https://api.anthropic.com/v1/messages",
        "headers": [["content-type", "application/json"]],
    }
    response = Response(
        {"status": 200, "headers": head["headers"]}, (Piece(7, json.dumps(answer).encode()),), End.COMPLETE, None, 9
    )
    step = Step("0.0", 0, Kind.LLM, "messages", (), 0, Request(head, json.dumps(body).encode()), response)
    spans = otlp.resource_spans(Tape(Trace("t", "t", STARTED), (step,)))["scopeSpans"][0]["spans"]
    given = {one["key"]: next(iter(one["value"].values())) for one in spans[1]["attributes"]}
    assert (spans[1]["name"], spans[1]["kind"]) == ("chat claude-x", 3)
    assert spans[1]["parentSpanId"] == spans[0]["spanId"]
    assert (given["gen_ai.provider.name"], given["gen_ai.request.max_tokens"]) == ("anthropic", "9")
    assert json.loads(given["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    asked = json.loads(given["gen_ai.input.messages"])
    assert asked[1]["parts"] == [{"type": "tool_call", "id": "t1", "name": "look", "arguments": {"at": 1}}]
    assert asked[2]["parts"][0] | {"name": ""} == {
        "type": "tool_call_response",
        "id": "t1",
        "response": "rain",
        "name": "",
    }
    assert json.loads(given["gen_ai.output.messages"]) == [{"role": "assistant", "finish_reason": "end_turn", "parts": [
        {"type": "reasoning", "content": "hm"}, {"type": "text", "content": "Rain."}]}]  # fmt: skip
    assert (given["gen_ai.usage.input_tokens"], given["gen_ai.usage.cache_read.input_tokens"]) == ("8", "3")
    assert values.to_json(values.encode(None)) is None
