"""Laws of views: whatever the bytes are, they are shown, and the line for the list is safe to print."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rashomon import views
from rashomon.model import End, Failure, Kind, Piece, Request, Response, Step

_TYPES = [
    "application/json",
    "text/event-stream",
    "text/plain",
    "",
    "image/png",
    "multipart/form-data; boundary=x",
]
_ENCODINGS = ["", "gzip", "deflate", "br", "zstd", "gzip, deflate", "unknown"]
_WORDS = [
    "index", "delta", "choices", "message", "content", "tool_calls", "function", "arguments", "id", "type", "usage",
    "output", "output_index", "content_index", "item", "text", "response", "content_block", "partial_json", "error",
    "data", "embedding", "model", "role", "summary", "part", "name", "input", "citation", "stop_reason",
    "prompt_tokens", "input_tokens", "cache_read_input_tokens", "incomplete_details", "status", "messages", "prompt",
]  # fmt: skip
_KINDS = [
    "message_start", "content_block_start", "content_block_delta", "message_delta", "message", "error", "tool_use",
    "text_delta", "input_json_delta", "thinking_delta", "citations_delta", "signature_delta", "function_call",
    "response.created", "response.completed", "response.failed", "response.output_item.added", "output_text",
    "response.output_item.done", "response.output_text.delta", "response.output_text.done", "response.refusal.delta",
    "response.function_call_arguments.delta", "response.reasoning_summary_text.delta", "chat.completion.chunk",
]  # fmt: skip

leaves = st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.text(max_size=5) | st.sampled_from(_KINDS)
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
)
events = st.dictionaries(st.sampled_from(_WORDS), json_values, max_size=5).flatmap(
    lambda event: st.sampled_from(_KINDS).map(lambda kind: {"type": kind, **event})
)
choice_events = st.lists(json_values, max_size=3).map(lambda choices: {"choices": choices})


def as_stream(found: list[Any]) -> bytes:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in found).encode()


bodies = (
    st.binary(max_size=80)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.lists(events | choice_events, max_size=6).map(as_stream)
    | st.builds(lambda start, body: start + body, st.sampled_from([b"\x1f\x8b", b"data: ", b"{", b"["]), st.binary())
)
headers = st.builds(
    lambda kind, encoding: [["Content-Type", kind], ["content-encoding", encoding]],
    st.sampled_from(_TYPES),
    st.sampled_from(_ENCODINGS),
)
heads = st.none() | st.builds(
    lambda status, found: {"status": status, "headers": found}, st.sampled_from([200, 429]), headers
)
responses = st.builds(
    lambda head, pieces, end, failure: Response(head, tuple(Piece(0, data) for data in pieces), end, failure),
    heads,
    st.lists(bodies, max_size=3),
    st.sampled_from(End),
    st.none() | st.builds(Failure, st.text(max_size=9), st.text(max_size=9), st.binary(max_size=4)),
)
requests = st.builds(
    Request,
    st.builds(lambda url, found: {"method": "POST", "url": url, "headers": found}, st.text(max_size=20), headers)
    | st.sampled_from([{"ref": "m:f", "flavour": "function"}, {"ref": "m:f", "flavour": "generator"}, {}]),
    bodies,
)
steps = st.builds(
    lambda kind, name, request, response: Step("0.0", 0, kind, name, (), 0, request, response),
    st.sampled_from(Kind),
    st.text(max_size=10),
    requests,
    responses,
)


def is_safe(line: str) -> bool:
    """No control character, line separator, lone surrogate or change of direction."""
    return not any(
        unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(char) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        for char in line
    )


@given(steps)
def test_every_step_has_a_view_and_a_line(step: Step) -> None:
    """No bytes, no head and no shape of JSON make a view fail, and no line can take over a terminal."""
    view, said = views.step_view(step), views.summary(step)
    json.dumps(view)
    for line in (said.title, views.request_title(step), said.model or "", said.finish or ""):
        assert is_safe(line)
        assert len(line) <= 160
    said.text.encode("utf-8")


@given(steps)
def test_a_view_is_made_of_the_bytes_alone(step: Step) -> None:
    """Looking twice shows the same, and how an answer was cut into chunks does not show in a body."""
    assert repr(views.step_view(step)) == repr(views.step_view(step))
    if "url" in step.request.head:
        joined = step.response._replace(pieces=(Piece(0, step.response.body),))
        assert repr(views.response_view(step)) == repr(views.response_view(step._replace(response=joined)))


@given(json_values | st.text(), st.integers(1, 60))
def test_a_line_is_never_longer_than_asked(value: Any, width: int) -> None:
    """Whatever the value, its line fits and prints."""
    line = views.text_of(value, width)
    assert len(line) <= width
    assert is_safe(line)


sent_events = st.lists(
    st.tuples(st.text("abé\u2028 ", min_size=1), st.text("xyz:", max_size=5)),
    max_size=6,
)


@given(sent_events, st.sampled_from(["\n", "\r\n", "\r"]))
def test_events_are_read_back_as_they_were_sent(sent: list[tuple[str, str]], newline: str) -> None:
    """Names and data of events survive the wire, with every line ending."""
    body = "".join(f"event: {name}{newline}data: {data}{newline}{newline}" for data, name in sent)
    assert views.sse_events(body.encode()) == [(name, data) for data, name in sent]
