"""Spans of other tools, in each form that conventions had: the same call is read out of all of them."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rashomon import dialects, views
from rashomon.dialects import Message, ToolCall, ToolResult
from rashomon.errors import DamagedData, UsageError
from rashomon.interchange import exchanges, read
from rashomon.interchange import otlp as otlp_file
from rashomon.model import End, Grade, Kind, Match, Step, Tape
from tests import steps
from tests.steps import llm
from tests.support import ROOT

TRACE = "5b8efff798038103d269b633813fc60c"
START = 1_700_000_000_123_456_789

ASKED = (
    Message("user", "Weather in Paris?"),
    Message("assistant", "", (ToolCall("call_1", "get_weather", {"city": "Paris"}),)),
    Message("tool", tool_results=(ToolResult("call_1", "", "rainy, 57°F"),)),
)
ANSWER = "It is raining in Paris."

PARTS = [
    {"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]},
    {"role": "assistant", "parts": [
        {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}}]},
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "rainy, 57°F"}]},
]  # fmt: skip
OUTPUT = [{"role": "assistant", "parts": [{"type": "text", "content": ANSWER}], "finish_reason": "stop"}]
SYSTEM = [{"type": "text", "content": "Be brief."}]
CALLS = [{"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}]

FACTS = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 52,
    "gen_ai.usage.output_tokens": 17,
}


def any_value(value: Any) -> dict[str, Any]:
    """A value as OTLP/JSON has it."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(one) for one in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": any_value(one)} for key, one in value.items()]}}
    return {"stringValue": value}


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP/JSON has them."""
    return [{"key": key, "value": any_value(value)} for key, value in values.items()]


def otlp_span(values: dict[str, Any], events: Any = (), **more: Any) -> dict[str, Any]:
    """A span of OTLP/JSON; `events` are (name, attributes)."""
    told = [{"name": name, "timeUnixNano": START, "attributes": attributes(own)} for name, own in events]
    span: dict[str, Any] = {"traceId": TRACE, "spanId": "eee19b7ec3c1b174", "name": "chat gpt-4o", "kind": 3,
            "startTimeUnixNano": str(START), "endTimeUnixNano": str(START + 2_000_000),
            "attributes": attributes(values), "events": told}  # fmt: skip
    return {**span, **more}


def otlp(*spans: dict[str, Any], scopes: str = "scopeSpans") -> dict[str, Any]:
    """An export request."""
    resource = {"attributes": attributes({"service.name": "shop"})}
    return {"resourceSpans": [{"resource": resource, scopes: [{"scope": {"name": "x"}, "spans": list(spans)}]}]}


def read_back(folder: Path, document: Any) -> list[Tape]:
    """The traces of a document that was written to a file."""
    path = folder / "spans.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read(path)


def only_step(folder: Path, document: Any) -> Step:
    """The one step of the one trace."""
    (tape,) = read_back(folder, document)
    (step,) = tape.steps
    return step


def asked_of(step: Step) -> dialects.Asked:
    """What a call of a model asks."""
    return dialects.read_request(views.request_view(step), step.request.head["url"])


FORMS: dict[str, tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]] = {
    "attributes, structured": (
        {"gen_ai.provider.name": "openai", "gen_ai.input.messages": PARTS, "gen_ai.output.messages": OUTPUT,
         "gen_ai.system_instructions": SYSTEM}, []),
    "attributes, as JSON": (
        {"gen_ai.provider.name": "openai", "gen_ai.input.messages": json.dumps(PARTS),
         "gen_ai.output.messages": json.dumps(OUTPUT), "gen_ai.system_instructions": json.dumps(SYSTEM)}, []),
    "one event with all": (
        {"gen_ai.provider.name": "openai"},
        [("gen_ai.client.inference.operation.details",
          {"gen_ai.input.messages": json.dumps(PARTS), "gen_ai.output.messages": json.dumps(OUTPUT),
           "gen_ai.system_instructions": json.dumps(SYSTEM)})]),
    "an event for each message": (
        {"gen_ai.system": "openai"},
        [("gen_ai.system.message", {"content": "Be brief."}),
         ("gen_ai.user.message", {"content": "Weather in Paris?"}),
         ("gen_ai.assistant.message", {"tool_calls": json.dumps(CALLS)}),
         ("gen_ai.tool.message", {"content": "rainy, 57°F", "id": "call_1"}),
         ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": json.dumps({"content": ANSWER})})]),
    "Azure's events": (
        {"gen_ai.system": "openai"},
        [("gen_ai.system.message", {"gen_ai.event.content": json.dumps({"content": "Be brief."})}),
         ("gen_ai.user.message", {"gen_ai.event.content": json.dumps({"content": "Weather in Paris?"})}),
         ("gen_ai.assistant.message", {"gen_ai.event.content": json.dumps({"tool_calls": CALLS})}),
         ("gen_ai.tool.message", {"gen_ai.event.content": json.dumps({"content": "rainy, 57°F", "id": "call_1"})}),
         ("gen_ai.choice", {"gen_ai.event.content": json.dumps(
             {"index": 0, "finish_reason": "stop", "message": {"content": ANSWER}})})]),
    "one event for the prompt, one for the completion": (
        {"gen_ai.system": "openai"},
        [("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps([
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"},
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "call_1", "content": "rainy, 57°F"}])}),
         ("gen_ai.content.completion", {"gen_ai.completion": json.dumps([{"role": "assistant", "content": ANSWER}])})]),
    "OpenLLMetry": (
        {"gen_ai.system": "OpenAI", "llm.request.type": "chat",
         "gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be brief.",
         "gen_ai.prompt.1.role": "user", "gen_ai.prompt.1.content": "Weather in Paris?",
         "gen_ai.prompt.2.role": "assistant", "gen_ai.prompt.2.tool_calls.0.id": "call_1",
         "gen_ai.prompt.2.tool_calls.0.name": "get_weather",
         "gen_ai.prompt.2.tool_calls.0.arguments": '{"city": "Paris"}',
         "gen_ai.prompt.3.role": "tool", "gen_ai.prompt.3.content": "rainy, 57°F",
         "gen_ai.prompt.3.tool_call_id": "call_1",
         "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": ANSWER,
         "gen_ai.completion.0.finish_reason": "stop"}, []),
    "Logfire's events": (
        {"gen_ai.system": "openai", "events": json.dumps([
            {"event.name": "gen_ai.system.message", "role": "system", "content": "Be brief."},
            {"event.name": "gen_ai.user.message", "role": "user", "content": "Weather in Paris?"},
            {"event.name": "gen_ai.assistant.message", "role": "assistant", "tool_calls": CALLS},
            {"event.name": "gen_ai.tool.message", "role": "tool", "content": "rainy, 57°F", "id": "call_1"},
            {"event.name": "gen_ai.choice", "index": 0, "message": {"role": "assistant", "content": ANSWER}}])}, []),
    "Logfire's request": (
        {"gen_ai.system": "openai", "request_data": json.dumps({"model": "gpt-4o", "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"},
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "call_1", "content": "rainy, 57°F"}]}),
         "response_data": json.dumps({"message": {"role": "assistant", "content": ANSWER}})}, []),
    "Vercel's AI SDK": (
        {"gen_ai.system": "openai", "ai.operationId": "ai.generateText.doGenerate", "ai.response.text": ANSWER,
         "ai.prompt.messages": json.dumps([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather in Paris?"}]},
            {"role": "assistant", "content": [
                {"type": "tool-call", "toolCallId": "call_1", "toolName": "get_weather", "args": {"city": "Paris"}}]},
            {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "call_1", "result": "rainy, 57°F"}]},
         ])}, []),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_call_is_read_whatever_the_form(form: str, tmp_path: Path) -> None:
    """Model, prompt, messages, tool calls, answer and usage come out of each form of the conventions."""
    values, events = FORMS[form]
    step = only_step(tmp_path, otlp(otlp_span({**FACTS, **values}, events)))
    asked, summary = asked_of(step), views.summary(step)
    assert (step.kind, step.name, step.response.duration_us) == (Kind.LLM, "chat.completions", 2000)
    assert (asked.model, asked.system, asked.messages) == ("gpt-4o", "Be brief.", ASKED)
    assert (summary.text, summary.finish, summary.status) == (ANSWER, "stop", 200)
    assert (summary.input_tokens, summary.output_tokens, summary.answered) == (52, 17, "gpt-4o-2024-08-06")
    assert asked.settings.get("temperature") == 0.5
    assert summary.decoded == "whole"


def flat_openinference() -> dict[str, Any]:
    """The same call in OpenInference's flat attributes."""
    return {
        "openinference.span.kind": "LLM",
        "llm.provider": "openai",
        "llm.model_name": "gpt-4o",
        "llm.response.model_name": "gpt-4o-2024-08-06",
        "llm.invocation_parameters": '{"temperature": 0.5, "model": "gpt-4o"}',
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "Be brief.",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.contents.0.message_content.type": "text",
        "llm.input_messages.1.message.contents.0.message_content.text": "Weather in Paris?",
        "llm.input_messages.2.message.role": "assistant",
        "llm.input_messages.2.message.tool_calls.0.tool_call.id": "call_1",
        "llm.input_messages.2.message.tool_calls.0.tool_call.function.name": "get_weather",
        "llm.input_messages.2.message.tool_calls.0.tool_call.function.arguments": '{"city": "Paris"}',
        "llm.input_messages.3.message.role": "tool",
        "llm.input_messages.3.message.tool_call_id": "call_1",
        "llm.input_messages.3.message.content": "rainy, 57°F",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": ANSWER,
        "llm.finish_reason": "stop",
        "llm.token_count.prompt": 52,
        "llm.token_count.completion": 17,
        "llm.token_count.total": 69,
        "llm.tools.0.tool.json_schema": json.dumps(
            {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
        ),
    }


def nested_openinference() -> dict[str, Any]:
    """The same attributes as lists of objects with flat names, as a data frame of Phoenix has them."""
    flat = flat_openinference()
    kept = {name: value for name, value in flat.items() if "messages" not in name and "tools" not in name}
    return {
        **kept,
        "llm.tools": [{"tool.json_schema": flat["llm.tools.0.tool.json_schema"]}],
        "llm.input_messages": [
            {"message.role": "system", "message.content": "Be brief."},
            {"message.role": "user", "message.content": "Weather in Paris?"},
            {"message": {"role": "assistant", "tool_calls": [{"tool_call.id": "call_1", "tool_call.function.name":
                "get_weather", "tool_call.function.arguments": '{"city": "Paris"}'}]}},
            {"message.role": "tool", "message.tool_call_id": "call_1", "message.content": "rainy, 57°F"},
        ],
        "llm.output_messages": [{"message.role": "assistant", "message.content": ANSWER}],
    }  # fmt: skip


def phoenix_rest(values: dict[str, Any]) -> dict[str, Any]:
    """A page of spans as Phoenix's REST API gives it."""
    span: dict[str, Any] = {"id": "U3Bhbjox", "name": "ChatCompletion",
            "context": {"trace_id": TRACE, "span_id": "eee19b7ec3c1b174"},
            "span_kind": "LLM", "parent_id": None, "start_time": "2023-11-14T22:13:20.123456+00:00",
            "end_time": "2023-11-14T22:13:20.125456Z", "status_code": "OK", "status_message": "",
            "attributes": values, "events": []}  # fmt: skip
    return {"data": [span], "next_cursor": None}


def phoenix_row(values: dict[str, Any]) -> str:
    """A line of a data frame of spans, in JSON: a column for each attribute, times in milliseconds."""
    row = {"name": "ChatCompletion", "span_kind": "LLM", "parent_id": None, "start_time": 1_700_000_000_123,
           "end_time": 1_700_000_000_125, "status_code": "UNSET", "status_message": "", "events": [],
           "context.span_id": "eee19b7ec3c1b174", "context.trace_id": TRACE,
           **{f"attributes.{name}": value for name, value in values.items()},
           "attributes.session.id": None}  # fmt: skip
    return json.dumps(row) + "\n"


def console(values: dict[str, Any]) -> dict[str, Any]:
    """A span as the Python SDK prints it."""
    return {"name": "ChatCompletion", "context": {"trace_id": f"0x{TRACE}", "span_id": "0xeee19b7ec3c1b174",
            "trace_state": "[]"}, "kind": "SpanKind.CLIENT", "parent_id": None,
            "start_time": "2023-11-14T22:13:20.123456Z", "end_time": "2023-11-14T22:13:20.125456Z",
            "status": {"status_code": "UNSET"}, "attributes": values, "events": [], "links": [],
            "resource": {"attributes": {"service.name": "shop"}, "schema_url": ""}}  # fmt: skip


OPEN_FORMS: dict[str, Callable[[], Any]] = {
    "OTLP": lambda: otlp(otlp_span(flat_openinference())),
    "REST, flat": lambda: phoenix_rest(flat_openinference()),
    "REST, nested": lambda: phoenix_rest(nested_openinference()),
    "data frame": lambda: phoenix_row(nested_openinference()),
    "two lines": lambda: phoenix_row(nested_openinference()) + phoenix_row(nested_openinference()),
    "console": lambda: console(flat_openinference()),
    "list": lambda: [console(flat_openinference())],
}


@pytest.mark.parametrize("form", OPEN_FORMS)
def test_an_openinference_call_is_read_whatever_the_dump(form: str, tmp_path: Path) -> None:
    """Flat, nested, exported by Phoenix or printed by an SDK: the same call, and a span told twice is one."""
    (tape,) = read_back(tmp_path, OPEN_FORMS[form]())
    (step,) = tape.steps
    asked, summary = asked_of(step), views.summary(step)
    assert (asked.model, asked.system, asked.messages) == ("gpt-4o", "Be brief.", ASKED)
    assert [tool.name for tool in asked.tools] == ["get_weather"]
    assert (summary.text, summary.finish, summary.input_tokens, summary.output_tokens) == (ANSWER, "stop", 52, 17)
    assert tape.trace.id == TRACE
    assert abs(tape.trace.started_ns - START) < 1_000_000
    assert step.response.duration_us in (2000, 2000)
    assert tape.trace.provenance["imported"]["format"] == "openinference"


def test_a_kind_in_one_convention_and_the_rest_in_another(tmp_path: Path) -> None:
    """A span that has OpenInference's kind and OpenTelemetry's messages is read by the latter."""
    values, _ = FORMS["attributes, as JSON"]
    step = only_step(tmp_path, otlp(otlp_span({**FACTS, **values, "openinference.span.kind": "LLM"})))
    assert (asked_of(step).messages, views.summary(step).text) == (ASKED, ANSWER)


def test_an_image_is_kept(tmp_path: Path) -> None:
    """A picture in a message is one in the chat form, by its address."""
    first, address = "llm.input_messages.0.message.contents.1.message_content", "https://img.example/bike.png"
    values = {"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.input_messages.0.message.role": "user",
              "llm.input_messages.0.message.contents.0.message_content.type": "text",
              "llm.input_messages.0.message.contents.0.message_content.text": "what is it?",
              f"{first}.type": "image", f"{first}.image.image.url": address}  # fmt: skip
    request: Any = views.request_view(only_step(tmp_path, otlp(otlp_span(values))))
    assert request["messages"][0]["content"] == [
        {"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": address}}]  # fmt: skip


def test_tools_stand_within_tools_and_structure_is_passed_over(tmp_path: Path) -> None:
    """Spans of agents give no steps; a call made by a tool stands within it; a client's own HTTP span is no step."""
    agent = otlp_span({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "clerk"}, name="clerk",
                      spanId="a" * 16, kind=1)  # fmt: skip
    tool = otlp_span({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "refund",
                      "gen_ai.tool.call.arguments": '{"order": 7}', "gen_ai.tool.call.result": '["done"]',
                      "gen_ai.tool.call.id": "call_9"}, spanId="b" * 16, parentSpanId="a" * 16, kind=1)  # fmt: skip
    llm = otlp_span({**FACTS}, spanId="c" * 16, parentSpanId="b" * 16, startTimeUnixNano=START + 1000)
    http = otlp_span({"http.request.method": "POST", "url.full": "https://api.openai.com/v1/chat/completions"},
                     spanId="d" * 16, parentSpanId="c" * 16, startTimeUnixNano=START + 1500)  # fmt: skip
    other = otlp_span({"http.request.method": "GET", "url.full": "https://shop/orders/7?x=1",
                       "http.response.status_code": 404}, spanId="e" * 16, startTimeUnixNano=START + 2000)  # fmt: skip
    (tape,) = read_back(tmp_path, otlp(http, llm, other, tool, agent, scopes="instrumentationLibrarySpans"))
    assert [(step.kind, step.name, step.within) for step in tape.steps] == [
        (Kind.TOOL, "refund", None), (Kind.LLM, "chat.completions", "0.0"),
        (Kind.HTTP, "GET /orders/7", None)]  # fmt: skip
    assert views.step_view(tape.steps[0]) == {"request": {"order": 7}, "response": ["done"]}
    assert views.summary(tape.steps[2]).status == 404
    assert tape.trace.tags == {"service": "shop", "agent": "clerk"}
    assert tape.trace.provenance["imported"]["structure"] == {"clerk": 1, "chat gpt-4o": 1}


def test_a_call_without_its_content_says_so(tmp_path: Path) -> None:
    """Where an instrumentation left messages or usage out, the trace says that it lacks them."""
    told = FORMS["attributes, as JSON"][0]
    lacks = []
    for values in ({"gen_ai.request.model": "m"}, FACTS, FACTS | told):
        (tape,) = read_back(tmp_path, otlp(otlp_span(values)))
        lacks.append(set(tape.trace.provenance["imported"]["lacks"]) - set(exchanges.LACKS))
    assert lacks == [{exchanges.MESSAGES, exchanges.USAGE}, {exchanges.MESSAGES}, set()]


def test_vercels_tools_and_wrappers(tmp_path: Path) -> None:
    """A tool of Vercel's AI SDK is a tool; the span around a call, which repeats it, is structure."""
    outer = otlp_span({"ai.operationId": "ai.generateText", "ai.model.id": "gpt-4o", "gen_ai.request.model": "gpt-4o"},
                      spanId="a" * 16, name="ai.generateText")  # fmt: skip
    tool = otlp_span({"ai.operationId": "ai.toolCall", "ai.toolCall.name": "get_weather", "ai.toolCall.id": "call_1",
                      "ai.toolCall.args": '{"city": "Paris"}', "ai.toolCall.result": '{"sky": "rain"}'},
                     spanId="b" * 16, parentSpanId="a" * 16, name="ai.toolCall", kind=1)  # fmt: skip
    step = only_step(tmp_path, otlp(outer, tool))
    assert (step.kind, step.name, step.request.head["call"]) == (Kind.TOOL, "get_weather", "call_1")
    assert views.step_view(step) == {"request": {"city": "Paris"}, "response": {"sky": "rain"}}


@pytest.mark.parametrize("ids", [("", "", ""), ("a" * 16, "a" * 16, ""), ("a" * 16, "b" * 16, "a" * 16)])
def test_spans_without_a_root_are_not_lost(ids: tuple[str, str, str], tmp_path: Path) -> None:
    """No ids at all, a span that is its own parent, two that are each other's: the calls are there."""
    own, parent, other = ids
    spans = [otlp_span(FACTS, spanId=own, parentSpanId=parent)]
    if other:
        spans.append(otlp_span(FACTS, spanId=parent, parentSpanId=other, startTimeUnixNano="1"))
    (tape,) = read_back(tmp_path, otlp(*spans))
    assert len(tape.steps) == 1, "of two that are within each other, the outer one is the call"
    assert tape.trace.outcome == "ok"


def test_a_replay_of_ours_keeps_its_grades(tmp_path: Path) -> None:
    """How a call of a replay was answered comes back, so that what the recording answered is not paid again."""
    assert only_step(tmp_path, otlp(otlp_span(FACTS | {"rashomon.grade": "exact"}))).match == Match(Grade.EXACT)
    assert only_step(tmp_path, otlp(otlp_span(FACTS | {"rashomon.grade": "?"}))).match is None


def test_times_that_cannot_be(tmp_path: Path) -> None:
    """A span that ended before it began took no time, and never less."""
    (tape,) = read_back(tmp_path, otlp(otlp_span(FACTS, startTimeUnixNano="2000", endTimeUnixNano="1000")))
    assert (tape.trace.started_ns, tape.trace.ended_ns) == (2000, 2000)


@pytest.mark.parametrize(
    ("start", "end"),
    [(1.7e18 + 256, 1_700_000_001_000_000_256), ("1.7e18", "1700000001000000000"), (1.7e18, 1.700000001e18)],
)
def test_times_as_floats_are_read(start: Any, end: Any, tmp_path: Path) -> None:
    """JavaScript writes nanoseconds as floats: a call of a second is none of 56 years, nor of 1970."""
    (tape,) = read_back(tmp_path, otlp(otlp_span(FACTS, startTimeUnixNano=start, endTimeUnixNano=end)))
    assert tape.trace.started_ns == int(float(start))
    assert tape.steps[0].response.duration_us == 1_000_000
    assert exchanges.TIMES not in tape.trace.provenance["imported"]["lacks"]


def test_spans_without_times_have_those_of_the_file(tmp_path: Path) -> None:
    """What tells no times began when the file was written, took no time, and says what it lacks."""
    span = otlp_span(FACTS, [("rashomon.note", {"text": "hm"})])
    span["events"][0].pop("timeUnixNano")
    untimed = {name: value for name, value in span.items() if "UnixNano" not in name}
    path = tmp_path / "spans.json"
    path.write_text(json.dumps(otlp(untimed)))
    os.utime(path, ns=(START, START))
    (tape,) = read(path)
    assert (tape.trace.started_ns, [step.started_us for step in tape.steps]) == (START, [0, 0])
    assert exchanges.TIMES in tape.trace.provenance["imported"]["lacks"]
    (ended,) = read_back(tmp_path, otlp({**untimed, "endTimeUnixNano": str(START)}))
    assert (ended.trace.started_ns, ended.trace.ended_ns) == (START, START)
    assert ended.steps[0].response.duration_us == 0


def test_the_service_tier_goes_along(tmp_path: Path) -> None:
    """Prices depend on the tier that was asked for and the one that served: both are exported and read."""
    asked = {**steps.asked(steps.user("hello")), "service_tier": "auto"}
    call = llm({**steps.said("hi"), "service_tier": "priority"}, asked)
    out = io.BytesIO()
    otlp_file.write([steps.tape([call])], out)
    assert b'"openai.response.service_tier"' in out.getvalue()
    step = only_step(tmp_path, out.getvalue().decode())
    assert views.summary(step).tier == "priority"
    assert json.loads(step.request.body)["service_tier"] == "auto"


def test_embeddings_keep_their_usage(tmp_path: Path) -> None:
    """An answer of which another tool told the tokens and no vectors is one of embeddings all the same."""
    told = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "text-embedding-3-small",
            "gen_ai.usage.input_tokens": 9, "gen_ai.provider.name": "openai"}  # fmt: skip
    for more in ({}, {"gen_ai.embeddings.count": 2}):
        said = views.summary(only_step(tmp_path, otlp(otlp_span(told | more))))
        assert (said.dialect, said.input_tokens) == ("openai.embeddings", 9)


def test_an_http_call_without_a_status_has_ended(tmp_path: Path) -> None:
    """A client's span that tells its end and no status is an ended call, not one that never ended."""
    told = {"http.method": "GET", "http.url": "https://shop.example/orders"}
    step = only_step(tmp_path, otlp(otlp_span(told)))
    assert (step.kind, step.response.end) == (Kind.HTTP, End.COMPLETE)


def test_a_failed_call_is_a_failed_step(tmp_path: Path) -> None:
    """An exception is a failure with its type and text; a status of the provider is an answer with that status."""
    raised = otlp_span(FACTS | {"error.type": "TimeoutError"}, [
        ("exception", {"exception.type": "builtins.TimeoutError", "exception.message": "too late"})],
        status={"code": 2, "message": "no"}, spanId="a" * 16)  # fmt: skip
    refused = otlp_span(FACTS | {"error.type": "rate_limit", "http.response.status_code": 429},
                        status={"code": "STATUS_CODE_ERROR", "message": "slow down"}, spanId="b" * 16)  # fmt: skip
    (tape,) = read_back(tmp_path, otlp(raised, refused))
    first, second = tape.steps
    assert first.response.failure is not None
    assert (first.response.failure.type, first.response.failure.message) == ("builtins.TimeoutError", "too late")
    assert first.response.end is End.ERROR
    assert tape.trace.outcome == "error"
    assert (views.summary(second).status, second.response.failure) == (429, None)


def test_several_traces_and_ids_in_base64(tmp_path: Path) -> None:
    """A file may hold several traces, one request a line, with ids in base64 and the names of the .proto file."""
    one = otlp(otlp_span(FACTS, traceId="W47/95gDgQPSabYzgT/GDA==", spanId="7uGbfsPBsXQ="))
    other = {"resource_spans": [{"scope_spans": [{"spans": [{
        "trace_id": "0" * 31 + "1", "span_id": "1" * 16, "name": "x", "kind": "SPAN_KIND_CLIENT",
        "start_time_unix_nano": START + 5, "end_time_unix_nano": START + 6,
        "attributes": [{"key": "gen_ai.request.model", "value": {"string_value": "m"}},
                       {"key": "gen_ai.usage.input_tokens", "value": {"int_value": "7"}}]}]}]}]}  # fmt: skip
    tapes = read_back(tmp_path, "\n".join(map(json.dumps, (one, other))))
    assert [tape.trace.id for tape in tapes] == [TRACE, "0" * 31 + "1"]
    assert views.summary(tapes[1].steps[0]).input_tokens == 7


def test_a_gzipped_file_and_a_cut_line(tmp_path: Path) -> None:
    """A gzipped file is read as it is; a cut last line is left out and counted."""
    whole = json.dumps(otlp(otlp_span(FACTS)))
    path = tmp_path / "spans.jsonl.gz"
    path.write_bytes(gzip.compress(f"{whole}\n{whole[:100]}".encode()))
    (tape,) = read(path)
    assert tape.trace.provenance["imported"]["unread_lines"] == 1
    assert tape.trace.provenance["imported"]["file"] == "spans.jsonl.gz"


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", UsageError, "is empty"),
        (b"\xff\xfe\x00", UsageError, "is no text"),
        (b"hello there", UsageError, "is no JSON"),
        (b'{"a": [1, 2', DamagedData, "broken JSON"),
        (b'{"a": 1}', UsageError, "neither spans nor messages: it is an object with 'a'"),
        (b"[]", UsageError, "neither spans nor messages"),
        (b"7", UsageError, "neither spans nor messages"),
        (gzip.compress(b'{"resourceSpans": []}' * 1000, mtime=0)[:40], DamagedData, "broken gzip"),
        (b"[" * 100_000, DamagedData, "nested too deeply"),
        (
            json.dumps(otlp(otlp_span({"db.system": "postgres"}, kind=1))).encode(),
            UsageError,
            "none of which is a call",
        ),
    ],
)
def test_what_is_none_of_it_is_refused(content: bytes, error: type[Exception], says: str, tmp_path: Path) -> None:
    """Any other file is named for what is wrong with it, with what to do."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(error, match=says):
        read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file and a folder are the user's error."""
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            read(path)


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "fixtures" / "spans").glob("*.json")))
def test_what_real_instrumentations_wrote_is_read(name: str) -> None:
    """Spans that public instrumentations of the openai SDK printed: the call is whole, down to cached tokens."""
    (tape,) = read(ROOT / "fixtures" / "spans" / name)
    (step,) = tape.steps
    asked, summary = asked_of(step), views.summary(step)
    assert (tape.trace.name, asked.model, asked.system) == ("agent run", "gpt-4o", "Be brief.")
    assert [message.role for message in asked.messages] == ["user", "assistant", "tool"]
    assert asked.messages[1].tool_calls == (ToolCall("call_1", "get_weather", {"city": "Paris"}),)
    assert asked.messages[2].tool_results[0].content == "rainy"
    assert [tool.name for tool in asked.tools] == ["get_weather"]
    assert (summary.text, summary.calls) == ("Let me look.", (ToolCall("call_2", "get_weather", {"city": "Rome"}),))
    used = summary.input_tokens, summary.output_tokens, summary.cached_tokens, summary.reasoning_tokens
    assert used == (52, 17, 20, 3)
    assert (asked.settings.get("temperature"), summary.answered) == (0.5, "gpt-4o-2024-08-06")
    assert tape.trace.provenance["imported"]["lacks"] == list(exchanges.LACKS)


def test_an_error_in_an_answer_of_status_200_comes_back_as_one(tmp_path: Path) -> None:
    """It is a failed span with the provider's words, and no exception: nothing was raised."""
    told = llm({"error": {"type": "overloaded_error", "message": "Overloaded"}})
    out = io.BytesIO()
    otlp_file.write([steps.tape([told])], out)
    (span,) = (one for one in json.loads(out.getvalue())["resourceSpans"][0]["scopeSpans"][0]["spans"]
               if one["kind"] == 3)  # fmt: skip
    assert span["status"] == {"code": 2, "message": "Overloaded"}
    step = only_step(tmp_path, json.loads(out.getvalue()))
    summary = views.summary(step)
    assert (summary.status, summary.error_type, summary.error_message) == (200, "overloaded_error", "Overloaded")
    assert step.response.failure is None
