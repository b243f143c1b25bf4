"""Laws of dialects: whatever is cut, changed or mixed, an answer is read, and streams say what whole answers say."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rashomon import dialects, views
from rashomon.streams import aws_events, sse_events
from tests.dialect_samples import AWS, SAMPLES, SSE, Sample, aws_stream, chat_chunk, sse

samples = st.sampled_from(list(SAMPLES.values()))
leaves = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=6)
foreign = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a value."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def changed(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The value with something else at a path."""
    if not path:
        return other
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], other)
    return copy


@st.composite
def mutated_json(draw: st.DrawFn, text: str) -> str:
    """A JSON text with some values replaced by foreign ones, removed, or taken from another place."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    for _ in range(draw(st.integers(1, 3))):
        found = places(value)
        path = draw(st.sampled_from(found))
        other = draw(foreign | st.sampled_from(found).map(lambda one: ("at", one)))
        if isinstance(other, tuple):
            there = value
            for key in other[1]:
                there = there[key]
            other = there
        value = changed(value, path, other)
    return json.dumps(value)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Sample, bytes]:
    """A sample, and its answer (or another's) after something happened to it."""
    sample, body = draw(samples), draw(samples).answer
    if draw(st.booleans()):
        body = sample.answer
    kind = draw(st.sampled_from(["cut", "flip", "json", "json", "events"]))
    if kind == "cut":
        return sample, body[: draw(st.integers(0, len(body)))]
    if kind == "flip":
        flipped = bytearray(body)
        for at in draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=8)):
            flipped[at] = draw(st.integers(0, 255))
        return sample, bytes(flipped)
    if sample.content_type == AWS and sample.answer is body:
        events = [(name, draw(mutated_json(json.dumps(data)))) for name, data in aws_events(body)]
        return sample, aws_stream(*[(name, text.encode()) for name, text in draw(st.permutations(events))])
    if body[:1] in (b"{", b"["):
        return sample, draw(mutated_json(body.decode())).encode()
    texts = [draw(mutated_json(text)) for _, text in sse_events(body)]
    order = draw(st.permutations(texts)) if kind == "events" else texts
    return sample, "".join(f"data: {text}\n\n" for text in order).encode()


@given(mutated(), st.sampled_from([200, 429]))
def test_nothing_makes_reading_fail(case: tuple[Sample, bytes], status: int) -> None:
    """A mutated, cut or foreign answer has a summary whose values are what they should be."""
    sample, body = case
    step = sample.step(body, status)
    said = views.summary(step)
    assert said.decoded in ("whole", "partly", "raw", None)
    assert (said.decoded == "partly") == bool(said.unknown)
    assert list(said.unknown) == sorted(set(said.unknown))
    assert len(said.unknown) <= 16
    counts = (said.input_tokens, said.output_tokens, said.cached_tokens, said.cache_write_tokens, said.reasoning_tokens)
    assert all(count is None or (type(count) is int and count >= 0) for count in counts)
    texts = (said.text, said.reasoning, said.title, said.refusal, said.error_message, said.dialect, said.tier)
    for text in (*texts, said.error_type, said.answered, *said.unknown):
        assert text is None or isinstance(text, str)
        (text or "").encode("utf-8")
    for call in said.calls:
        assert isinstance(call.id, str)
        assert isinstance(call.name, str)
    json.dumps(views.response_view(step))


@given(foreign | st.builds(lambda one: one.request, samples), st.data())
def test_any_request_is_read(request: Any, data: st.DataObject) -> None:
    """Whatever JSON was sent, what it asks is found or not, and nothing is raised."""
    changed_request = json.loads(data.draw(mutated_json(json.dumps(request))))
    for url in ("", data.draw(samples).url, data.draw(st.text())):
        asked = dialects.read_request(changed_request, url)
        assert asked.system is None or isinstance(asked.system, str)
        assert all(isinstance(message.text, str) for message in asked.messages)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.none() | texts, st.lists(texts, min_size=1, max_size=3), st.data())
def test_the_opening_is_what_the_request_says(system: str | None, said: list[str], data: st.DataObject) -> None:
    """The system prompt of the opening is that of the request, in every dialect, and the first message is its first."""
    turns = [{"role": "user", "content": text} for text in said]
    parts = [{"text": part} for part in (system or "").split(" ")]
    beside = {"system": system} if system is not None else {}
    asks: list[tuple[str, dict[str, Any]]] = [
        ("messages", {"messages": [*([{"role": "system", "content": system}] if system is not None else ()), *turns]}),
        ("messages", {**beside, "messages": turns}),
        ("messages", {"messages": turns, **({"system": parts} if system else {})}),
        ("input", {"input": turns, **({"instructions": system} if system is not None else {})}),
        ("contents", {"contents": turns, "systemInstruction": {"parts": parts}}),
    ]
    member, request = data.draw(st.sampled_from(asks))
    values = {key: value for key, value in request.items() if not isinstance(value, list)}
    lists = {key: value for key, value in request.items() if isinstance(value, list)}
    elements = [
        (f"{key}[{n}]", json.dumps(one).encode()) for key, found in lists.items() for n, one in enumerate(found)
    ]
    found = dialects.opening(values, elements)
    assert found.system == dialects.read_request(request).system
    first = next(one for one in request[member] if one["role"] == "user")
    assert found.first == json.dumps(first).encode()


@given(st.dictionaries(st.text(max_size=5), foreign), st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=40))))
def test_any_opening_is_read(values: dict[str, Any], elements: list[tuple[str, bytes]]) -> None:
    """Values and elements of no known shape open no conversation, and nothing is raised."""
    dialects.opening(values, elements)
    for name in ("messages[0]", "system[0]", "input[1]"):
        dialects.opening(values, [(name, content) for _, content in elements])
    for name in ("system", "input", "systemInstruction", "model"):
        dialects.opening(dict.fromkeys([name], next(iter(values.values()), None)), [])


@given(st.lists(st.tuples(st.integers(0, 2), texts), max_size=12), st.data())
def test_texts_of_choices_are_joined_as_they_came(pieces: list[tuple[int, str]], data: st.DataObject) -> None:
    """However the pieces of several choices take turns, each choice has its own, in order."""
    body = sse(*[chat_chunk({"content": text}, index) for index, text in pieces], "[DONE]")
    view = views.body_view({"headers": [["content-type", SSE]]}, body)
    found = (
        {choice["index"]: choice["message"]["content"] for choice in view["choices"]} if isinstance(view, dict) else {}
    )
    expected: dict[int, str] = {}
    for index, text in pieces:
        expected[index] = expected.get(index, "") + text
    assert found == expected


@given(
    st.lists(
        st.tuples(st.text("abc-", min_size=1, max_size=9), st.dictionaries(st.text(max_size=4), leaves, max_size=2))
    )
)
def test_amazons_messages_are_read_back(events: list[tuple[str, dict[str, Any]]]) -> None:
    """Names and payloads of an Amazon stream survive the wire."""
    sent = [(name, json.loads(json.dumps(data), parse_constant=str)) for name, data in events]
    assert aws_events(aws_stream(*events)) == sent


@given(st.binary(max_size=200))
def test_any_bytes_are_an_amazon_stream_or_not(body: bytes) -> None:
    """Reading foreign bytes ends, and tells all of them."""
    events = aws_events(body)
    assert len(events) == bool(body)
