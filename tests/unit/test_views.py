"""What people see of a step: bodies as JSON, streams as one message, a line for a list."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from rashomon import views
from rashomon.commands import step_text
from rashomon.dialects import ToolCall, read_answer
from rashomon.model import End, Failure, Kind, Response
from tests.dialect_samples import ANTHROPIC
from tests.steps import http, llm, tape, tool

SSE = [["Content-Type", "text/event-stream; charset=utf-8"]]


def sse(*events: Any, names: bool = False) -> bytes:
    out = []
    for event in events:
        data = event if isinstance(event, str) else json.dumps(event)
        out.append((f"event: {event['type']}\n" if names else "") + f"data: {data}\n\n")
    return "".join(out).encode()


# ---------------------------------------------------------------------------------------------- bodies


def test_an_llm_request_is_its_body() -> None:
    """Paths into a model's request begin with its own fields."""
    step = llm({}, {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]})
    assert views.request_view(step) == {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


def test_an_http_step_shows_method_url_status_and_the_headers_a_program_acts_on() -> None:
    """An HTTP step is shown with its address and without the headers that only name the exchange."""
    headers = [["content-type", "text/plain"], ["retry-after", "3"], ["date", "today"]]
    step = http(Kind.HTTP, b"a=1", b"busy", status=503, headers=headers, url="http://x/orders?id=1")
    assert views.step_view(step) == {
        "request": {"method": "POST", "url": "http://x/orders?id=1", "body": "a=1"},
        "response": {"status": 503, "headers": {"retry-after": "3"}, "body": "busy"},
    }
    assert views.summary(step).title == "POST /orders?id=1 503"


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data)[2:-4]),
        ("gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
        ("gzip", lambda data: data),
        ("gzip, deflate", lambda data: zlib.compress(gzip.compress(data))),
    ],
)
def test_compressed_bodies_are_read(encoding: str, encode: Any) -> None:
    """Every spelling of gzip and deflate is decoded, and so is a body that only claims to be compressed."""
    headers = [["content-type", "application/json"], ["Content-Encoding", encoding]]
    step = llm(encode(b'{"choices": [], "n": 1}'), headers=headers)
    assert views.response_view(step) == {"choices": [], "n": 1}


def test_a_cut_gzip_body_shows_what_came() -> None:
    """A stream that was closed early is read as far as it goes."""
    text = "".join(f"line {n}\n" for n in range(500))
    cut = gzip.compress(text.encode())[:-200]
    step = http(Kind.HTTP, b"", cut, headers=[["content-encoding", "gzip"]], end=End.CLOSED)
    view = views.response_view(step)
    assert isinstance(view, dict)
    assert view["$end"] == "closed"
    assert text.startswith(view["body"])
    assert len(view["body"]) > 100


def test_bytes_are_shown_as_hex_and_still_compared_whole() -> None:
    """Two different images with one beginning are two different views."""
    first, second = (bytes([0xFF]) * 400 + bytes([n]) for n in (1, 2))
    a, b = (views.body_view({"headers": []}, data) for data in (first, second))
    assert isinstance(a, dict)
    assert a["size"] == 401
    assert str(a["$bytes"]).startswith("ffff")
    assert a != b
    assert views.body_view(None, b"\xff\xfe") == {"$bytes": "fffe", "size": 2}


def test_an_error_status_and_a_raised_failure_are_part_of_the_view() -> None:
    """What went wrong stands beside what came."""
    step = llm({"error": {"message": "Rate limit reached"}}, status=429)
    assert views.response_view(step) == {"error": {"message": "Rate limit reached"}, "$status": 429}
    assert views.summary(step).title == "gpt-4o → 429 Rate limit reached"
    failed = step._replace(
        response=Response(None, (), End.ERROR, Failure("httpx:ConnectError", "refused")),
    )
    assert views.response_view(failed) == {"$failure": {"type": "httpx:ConnectError", "message": "refused"}}
    assert views.summary(failed).title == "gpt-4o → raised ConnectError: refused"


# ----------------------------------------------------------------------------------------------- tools


def test_a_tool_is_shown_as_a_call() -> None:
    """A tool's line reads like the call that was made."""
    step = tool({"order_id": "A-1042"}, {"status": "shipped"})
    assert views.step_view(step) == {"request": {"order_id": "A-1042"}, "response": {"status": "shipped"}}
    assert views.summary(step).title == 'get_order(order_id="A-1042") → {"status": "shipped"}'


def test_a_generator_shows_the_list_of_what_it_yielded() -> None:
    """One value or many: a generator's result is a list."""
    assert views.response_view(tool({}, 1, flavour="generator")) == [1]
    assert views.response_view(tool({}, 1, 2, flavour="async generator")) == [1, 2]
    assert views.response_view(tool({}, flavour="generator")) == []


def test_a_tool_that_raised_says_what() -> None:
    """A failure is shown in place of a result."""
    step = tool({"order_id": "B"}, failure=Failure("builtins:KeyError", "'B'"))
    assert views.response_view(step) == {"$failure": {"type": "builtins:KeyError", "message": "'B'"}}
    assert views.summary(step).title == "get_order(order_id=\"B\") raised KeyError: 'B'"


# --------------------------------------------------------------------------------------------- streams


def test_server_sent_events_are_split_as_the_standard_says() -> None:
    """Comments, every line ending, several data lines, no space, and U+2028 inside data."""
    body = "\ufeff: hello\r\nevent: a\r\ndata: 1\r\ndata:2\r\n\r\nevent: empty\n\ndata: x\u2028y\rid: 7\r\rdata: cut"
    assert views.sse_events(body.encode()) == [("a", "1\n2"), ("", "x\u2028y"), ("", "cut")]


def test_a_chat_stream_becomes_the_message_it_would_have_been() -> None:
    """Text, refusal, parallel tool calls and usage of a stream read as without streaming."""

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {
            "id": "c1",
            "object": "chat.completion.chunk",
            "model": "gpt-4o-x",
            "choices": [choice],
            "usage": None,
        }

    def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, **more, "function": {"arguments": arguments}}]}

    body = sse(
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"content": "Let me "}),
        chunk({"content": "look."}),
        chunk(
            {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "call_a",
                        "type": "function",
                        "function": {"name": "f", "arguments": ""},
                    }
                ]
            }
        ),
        chunk(call(0, '{"x":')),
        chunk(
            {
                "tool_calls": [
                    {
                        "index": 1,
                        "id": "call_b",
                        "type": "function",
                        "function": {"name": "g", "arguments": ""},
                    }
                ]
            }
        ),
        chunk(call(0, "1}")),
        chunk(call(1, "{}")),
        chunk({}, "tool_calls"),
        {"id": "c1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
        "[DONE]",
    )
    step = llm(body, headers=SSE)
    assert views.response_view(step) == {
        "id": "c1",
        "object": "chat.completion",
        "model": "gpt-4o-x",
        "usage": {"prompt_tokens": 9, "completion_tokens": 4},
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Let me look.",
                    "refusal": None,
                    "tool_calls": [
                        {
                            "id": "call_a",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"x":1}'},
                        },
                        {"id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                    ],
                },
                "finish_reason": "tool_calls",
                "logprobs": None,
            }
        ],
    }
    said = views.summary(step)
    assert said[:7] == ("gpt-4o", 9, 4, 200, "tool_calls", "Let me look.", "gpt-4o → 2 tool calls")
    assert (said.dialect, said.decoded, said.answered) == ("openai.chat", "whole", "gpt-4o-x")
    assert said.calls == (ToolCall("call_a", "f", {"x": 1}), ToolCall("call_b", "g", {}))


def test_an_anthropic_stream_becomes_a_message_with_thinking_and_tool_use() -> None:
    """Thinking keeps its signature, tool input is parsed, usage is what the end of the stream says."""
    body = sse(
        {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "claude",
         "content": [], "stop_reason": None,
         "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0,
         "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "m."}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig=="}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1,
         "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"x": '}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}},
        {"type": "message_stop"},
        names=True,
    )  # fmt: skip
    step = llm(body, {"model": "claude", "messages": []}, headers=SSE)
    view = views.response_view(step)
    assert isinstance(view, dict)
    assert view["content"] == [
        {"type": "thinking", "thinking": "Hmm.", "signature": "sig=="},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
    ]
    assert view["usage"] == {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 20}
    said = views.summary(step)
    assert said[:7] == ("claude", 15, 20, 200, "tool_use", "", "claude → f(x=1)")
    assert (said.dialect, said.decoded) == ("anthropic.messages", "whole")
    assert (said.cached_tokens, said.cache_write_tokens, said.reasoning) == (5, None, "Hmm.")


def test_a_responses_stream_is_its_completed_response_and_a_cut_one_what_had_come() -> None:
    """The final event is the answer; without it, items and texts are put together from what came."""
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    done = {"id": "r", "object": "response", "status": "completed", "model": "gpt-4o", "output": [
        {**item, "content": [{"type": "output_text", "text": "Hello you"}]}],
        "usage": {"input_tokens": 3, "output_tokens": 2}}  # fmt: skip
    events = [
        {
            "type": "response.created",
            "response": {"id": "r", "object": "response", "status": "in_progress", "output": []},
        },
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hello "},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "you"},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"a":'},
        {"type": "response.completed", "response": done},
    ]
    whole = llm(sse(*events, names=True), headers=SSE)
    assert views.response_view(whole) == done
    assert views.summary(whole).title == 'gpt-4o → "Hello you"'
    broken = {"type": "error", "code": "server_error", "message": "Overloaded", "param": None}
    failed = llm(sse(*events[:-1], broken, names=True), headers=SSE)
    assert views.summary(failed).title.endswith(", then Overloaded")
    cut = views.response_view(llm(sse(*events[:-1], names=True), headers=SSE, end=End.CLOSED))
    assert isinstance(cut, dict)
    assert cut["output"][0]["content"] == [{"type": "output_text", "text": "Hello you"}]
    assert cut["output"][1]["arguments"] == '{"a":'
    assert cut["$end"] == "closed"


def test_a_stream_of_no_known_dialect_is_a_list_of_events() -> None:
    """Nothing is lost of a stream that nobody here knows."""
    body = b'event: tick\ndata: {"n": 1}\n\ndata: plain\n\n'
    step = http(Kind.HTTP, b"", body, headers=SSE)
    view = views.response_view(step)
    assert isinstance(view, dict)
    assert view["body"] == [{"event": "tick", "data": {"n": 1}}, {"data": "plain"}]


# ----------------------------------------------------------------------------------------- single lines


def test_a_line_cannot_take_over_the_terminal() -> None:
    """Escape sequences, control characters, bidi overrides and lone surrogates do not reach the screen."""
    hostile = "a\x1b[31mred\x1b]0;title\x07\x07\x9b\u202eb\r\nc\ud800\u200b"
    assert views.text_of(hostile) == "aredb c\ufffd"
    assert views.text_of({"k": hostile}).isprintable()
    assert views.summary(tool({hostile: hostile}, hostile)).title.isprintable()


def test_a_long_text_is_cut_in_the_middle_and_a_long_value_at_its_end() -> None:
    """A line is never longer than asked, and both ends of a text are seen."""
    line = views.text_of("begin " + "x" * 100_000 + " end", 40)
    assert len(line) == 40
    assert line.startswith("begin")
    assert line.endswith("end")
    assert "…" in line
    value = views.text_of([{"n": n} for n in range(100_000)], 30)
    assert len(value) == 30
    assert value.startswith('[{"n": 0}')
    assert value.endswith("…")


def test_embeddings_say_how_many_and_how_long() -> None:
    """Vectors are counted, in either wire form."""
    assert read_answer({"data": [{"embedding": [0.1] * 8}, {"embedding": [0.2] * 8}]}).note == "2 vectors of 8"
    assert read_answer({"data": [{"embedding": "AAAAAAAAAAAAAAAAAAAAAA=="}]}).note == "1 vector of 4"


def test_the_facts_of_a_call_tell_what_was_read() -> None:
    """Model, dialect, counts within counts, errors and refusals stand in a line each."""
    facts = step_text.facts(tape([]).trace, ANTHROPIC.step())
    assert "model     claude-sonnet-4-5, answered by claude-sonnet-4-5-20250929" in facts
    assert "tokens    35 in (20 cached) (5 written to the cache), 7 out" in facts
    error = {"error": {"type": "x", "message": "slow\x1b[31m\ndown"}, "shiny": 1, "choices": []}
    facts = step_text.facts(tape([]).trace, llm(error, status=429))
    assert "dialect   openai.chat, decoded partly, unknown: shiny" in facts
    assert "error     x: slow down" in facts
    assert "\x1b" not in facts
