"""The current openai SDK, unchanged, against the provider server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from rashomon.testing import Message, ModelRequest, ProviderServer, Reply, Script, ToolCall, Usage, echo

MULTIPLY: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
CHAT_TOOL: Any = {
    "type": "function",
    "function": {"name": "multiply", "description": "", "parameters": MULTIPLY},
}
FLAT_TOOL: Any = {
    "type": "function",
    "name": "multiply",
    "description": "",
    "parameters": MULTIPLY,
    "strict": True,
}
ASKED: Any = [{"role": "user", "content": "Bitte nenne die Größe: 12 Ångström, dann höre auf."}]


class Event(BaseModel):
    """What a structured output has to look like."""

    name: str
    date: str
    participants: list[str]


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    """A server that answers with what it was asked."""
    with ProviderServer(echo, seed=1) as server:
        yield server


@pytest.fixture
def client(server: ProviderServer) -> Iterator[OpenAI]:
    """An SDK client that reports the first error instead of trying again."""
    with OpenAI(base_url=server.openai_url, api_key="sk-test", max_retries=0) as client:
        yield client


def test_a_chat_completion_carries_text_usage_and_request_id(client: OpenAI) -> None:
    """A plain completion has text, finish reason, the detail fields of usage, and the id of its header."""
    completion = client.chat.completions.create(model="gpt-4.1", messages=ASKED)
    assert completion.choices[0].message.content == ASKED[0]["content"]
    assert completion.choices[0].finish_reason == "stop"
    assert completion._request_id is not None
    assert completion._request_id.startswith("req_")
    usage = completion.usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 10
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 0
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 0


def test_a_chat_stream_is_the_same_text_in_pieces(client: OpenAI) -> None:
    """The deltas of a stream join to the answer; the usage comes last, in a chunk without choices."""
    stream = client.chat.completions.create(
        model="gpt-4.1", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == ASKED[0]["content"]
    assert len([piece for piece in pieces if piece]) > 5
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


def test_parallel_tool_calls_arrive_whole_and_in_pieces() -> None:
    """Two tool calls of one turn come out of a plain answer and, from deltas, out of a stream."""
    calls = (
        ToolCall("multiply", {"a": 1231, "b": 2331}, id="call_one"),
        ToolCall("multiply", {"a": 2, "b": -3}),
    )
    with (
        ProviderServer(Script([Reply(tool_calls=calls)])) as server,
        OpenAI(base_url=server.openai_url, api_key="sk-test") as client,
    ):
        plain = client.chat.completions.create(model="gpt-4.1", messages=ASKED, tools=[CHAT_TOOL])
        with client.chat.completions.stream(model="gpt-4.1", messages=ASKED, tools=[CHAT_TOOL]) as stream:
            events = [event.type for event in stream]
            streamed = stream.get_final_completion()
    for completion in (plain, streamed):
        message = completion.choices[0].message
        assert completion.choices[0].finish_reason == "tool_calls"
        assert message.content is None
        assert message.tool_calls is not None
        found = [(call.id, call.function.name, json.loads(call.function.arguments))
                 for call in message.tool_calls if call.type == "function"]  # fmt: skip
        assert found[0] == ("call_one", "multiply", {"a": 1231, "b": 2331})
        assert found[1][1:] == ("multiply", {"a": 2, "b": -3})
        assert found[1][0].startswith("call_")
    assert events.count("tool_calls.function.arguments.done") == 2


def test_tool_results_reach_the_model_with_the_call_that_they_answer() -> None:
    """The model sees a tool's result with its call's name and arguments, and the system prompt apart."""
    seen: list[ModelRequest] = []

    def model(request: ModelRequest) -> Reply:
        seen.append(request)
        return Reply("fine")

    call = {"id": "c1", "type": "function", "function": {"name": "multiply", "arguments": '{"a": 2, "b": 3}'}}
    conversation: Any = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "2 times 3?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"product": 6}'},
    ]
    with ProviderServer(model) as server, OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
        client.chat.completions.create(
            model="gpt-4.1", messages=conversation, tools=[CHAT_TOOL], temperature=0.5, seed=9, stop=["END"]
        )
    request = seen[0]
    assert (request.system, request.temperature, request.seed, request.stop) == (
        "Be short.",
        0.5,
        9,
        ("END",),
    )
    assert request.messages[0] == Message("user", "2 times 3?")
    assert request.tool_results[0].name == "multiply"
    assert request.tool_results[0].arguments == {"a": 2, "b": 3}
    assert request.tool_results[0].json() == {"product": 6}
    assert request.tools[0].parameters == MULTIPLY


def test_raw_and_streaming_responses_show_the_provider_s_headers(client: OpenAI) -> None:
    """`with_raw_response` and `with_streaming_response` give headers and the same parsed object."""
    raw = client.chat.completions.with_raw_response.create(model="gpt-4.1", messages=ASKED)
    assert raw.headers["openai-version"] == "2020-10-01"
    assert int(raw.headers["openai-processing-ms"]) > 0
    assert raw.headers["x-ratelimit-limit-requests"] == "10000"
    assert raw.parse().choices[0].message.content == ASKED[0]["content"]
    with client.chat.completions.with_streaming_response.create(model="gpt-4.1", messages=ASKED) as response:
        assert response.headers["x-request-id"].startswith("req_")
        assert response.parse().choices[0].message.content == ASKED[0]["content"]
    with client.chat.completions.with_streaming_response.create(
        model="gpt-4.1", messages=ASKED, stream=True
    ) as response:
        assert list(response.iter_lines())[-2:] == ["data: [DONE]", ""]


def test_parse_returns_an_instance_of_the_asked_model() -> None:
    """The bundled assistant fills a JSON schema, so that `parse` works for chat and for responses."""
    text = "Alice and Bob meet at the Science Fair on Friday."
    with ProviderServer() as server, OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
        chat = client.chat.completions.parse(
            model="gpt-4.1", messages=[{"role": "user", "content": text}], response_format=Event
        )
        response = client.responses.parse(model="gpt-4.1", input=text, text_format=Event)
    for event in (chat.choices[0].message.parsed, response.output_parsed):
        assert event is not None
        assert event.date == "Friday"
        assert event.participants[:2] == ["Alice", "Bob"]


def test_a_response_and_its_stream_agree(client: OpenAI) -> None:
    """The events come in OpenAI's order and end with the response that `create` gives."""
    plain = client.responses.create(model="gpt-4.1", input="Reply please.", instructions="Be short.")
    assert plain.output_text == "Reply please."
    assert plain.usage is not None
    assert plain.usage.output_tokens_details.reasoning_tokens == 0
    with client.responses.stream(model="gpt-4.1", input="Reply please.", instructions="Be short.") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert list(dict.fromkeys(event.type for event in events)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert final.output_text == plain.output_text
    assert final.usage == plain.usage


def test_a_response_goes_on_from_a_previous_one_with_tool_results(server: ProviderServer) -> None:
    """`previous_response_id` brings back the earlier items, so that a tool's result finds its call."""
    with ProviderServer() as assistant, OpenAI(base_url=assistant.openai_url, api_key="sk-test") as client:
        first = client.responses.create(
            model="o4-mini", input="multiply 1231 by 2331", tools=[FLAT_TOOL], reasoning={"effort": "low"}
        )
        call = next(item for item in first.output if item.type == "function_call")
        assert json.loads(call.arguments) == {"a": 1231, "b": 2331}
        assert first.output[0].type == "reasoning"
        second = client.responses.create(
            model="o4-mini",
            previous_response_id=first.id,
            input=[{"type": "function_call_output", "call_id": call.call_id, "output": "2869461"}],
            tools=[FLAT_TOOL],
        )
        assert "2869461" in second.output_text
        assert client.responses.retrieve(second.id) == second
        with pytest.raises(openai.BadRequestError, match="resp_none"):
            client.responses.create(model="o4-mini", previous_response_id="resp_none", input="hello")


def test_responses_stream_tool_calls_and_reasoning() -> None:
    """A streamed response carries the reasoning's summary and the pieces of a call's arguments."""
    reply = Reply("Well.", (ToolCall("multiply", {"a": 1, "b": 2}),), "I have to multiply.", usage=Usage(9, 8, 4, 3))
    with (
        ProviderServer(Script([reply])) as server,
        OpenAI(base_url=server.openai_url, api_key="sk-test") as client,
    ):
        stream = client.responses.create(
            model="o4-mini", input="1 times 2", tools=[FLAT_TOOL], reasoning={"summary": "auto"}, stream=True
        )
        events = list(stream)
    last = events[-1]
    assert last.type == "response.completed"
    assert [item.type for item in last.response.output] == ["reasoning", "message", "function_call"]
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(pieces) == '{"a":1,"b":2}'
    thoughts = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert "".join(thoughts) == "I have to multiply."
    assert last.response.usage is not None
    assert last.response.usage.input_tokens_details.cached_tokens == 4
    assert last.response.usage.output_tokens_details.reasoning_tokens == 3


def test_embeddings_are_the_same_in_both_encodings_and_near_for_like_texts(client: OpenAI) -> None:
    """Vectors follow from the text, have the asked length, and texts that share words are nearer."""
    texts = ["refund for a broken kettle", "a broken kettle, refund please", "weather in Paris"]
    packed = client.embeddings.create(model="text-embedding-3-small", input=texts)
    plain = client.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="float")
    vectors = [entry.embedding for entry in packed.data]
    assert [len(vector) for vector in vectors] == [1536] * 3
    for vector, entry in zip(vectors, plain.data, strict=True):
        assert vector == pytest.approx(entry.embedding, abs=1e-6)

    def likeness(left: list[float], right: list[float]) -> float:
        return sum(a * b for a, b in zip(left, right, strict=True))

    assert likeness(vectors[0], vectors[1]) > 0.6 > likeness(vectors[0], vectors[2])
    short = client.embeddings.create(model="text-embedding-3-small", input="kettle", dimensions=8)
    assert len(short.data[0].embedding) == 8
    assert short.usage.prompt_tokens > 0


def test_models_are_listed_and_found(client: OpenAI) -> None:
    """GET /v1/models lists models, and one can be looked up by its id."""
    names = [model.id for model in client.models.list()]
    assert "gpt-4.1" in names
    assert client.models.retrieve("gpt-4.1").id == "gpt-4.1"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-none")


def test_the_async_client_runs_many_calls_at_once(server: ProviderServer) -> None:
    """Fifty concurrent async calls, half of them streams, each get their own answer."""

    async def ask(client: AsyncOpenAI, number: int) -> str:
        messages: Any = [{"role": "user", "content": f"number {number}"}]
        if number % 2:
            completion = await client.chat.completions.create(model="gpt-4.1", messages=messages)
            return completion.choices[0].message.content or ""
        stream = await client.chat.completions.create(model="gpt-4.1", messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def ask_all() -> list[str]:
        async with AsyncOpenAI(base_url=server.openai_url, api_key="sk-test") as client:
            return await asyncio.gather(*(ask(client, number) for number in range(50)))

    assert asyncio.run(ask_all()) == [f"number {number}" for number in range(50)]


def test_several_choices_are_answered_apart() -> None:
    """`n` asks the model once for each choice, plain and streamed."""
    with ProviderServer(seed=3) as server, OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
        plain = client.chat.completions.create(model="gpt-4.1", messages=ASKED, n=6)
        texts = [choice.message.content for choice in plain.choices]
        assert len(texts) == 6
        assert len(set(texts)) > 1
        stream = client.chat.completions.create(model="gpt-4.1", messages=ASKED, n=2, stream=True)
        assert {chunk.choices[0].index for chunk in stream} == {0, 1}


def test_length_and_stop_sequences_end_an_answer(client: OpenAI) -> None:
    """`max_completion_tokens` and `stop` cut the answer and say so in the finish reason."""
    short = client.chat.completions.create(model="gpt-4.1", messages=ASKED, max_completion_tokens=3)
    assert short.choices[0].finish_reason == "length"
    assert len(short.choices[0].message.content or "") < len(ASKED[0]["content"])
    stopped = client.chat.completions.create(model="gpt-4.1", messages=ASKED, stop=[", dann"])
    assert stopped.choices[0].message.content == "Bitte nenne die Größe: 12 Ångström"


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"messages": []}, openai.BadRequestError, "empty array"),
        ({"messages": [{"role": "robot", "content": "x"}]}, openai.BadRequestError, "robot"),
        ({"temperature": "hot"}, openai.BadRequestError, "temperature"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]},
            openai.BadRequestError,
            "preceding",
        ),
    ],
)
def test_a_request_that_openai_refuses_gets_its_error(
    client: OpenAI, change: dict[str, Any], error: type[openai.APIStatusError], text: str
) -> None:
    """Bad parameters come back as OpenAI's 400, which the SDK turns into its own exception."""
    with pytest.raises(error, match=text) as caught:
        client.chat.completions.create(**({"model": "gpt-4.1", "messages": ASKED} | change))
    assert caught.value.type == "invalid_request_error"


def test_a_wrong_or_missing_key_is_refused(server: ProviderServer) -> None:
    """A key that contains "invalid", and no key at all, get a 401."""
    wrong = OpenAI(base_url=server.openai_url, api_key="sk-invalid-key")
    with wrong, pytest.raises(openai.AuthenticationError, match="sk-inv"):
        wrong.chat.completions.create(model="gpt-4.1", messages=ASKED)
    body = {"model": "gpt-4.1", "messages": ASKED}
    answer = httpx.post(f"{server.openai_url}/chat/completions", json=body)
    assert answer.status_code == 401
    assert httpx.post(f"{server.openai_url}/nonsense", json=body, headers={"authorization": "x"}).status_code == 404
    broken = httpx.post(f"{server.openai_url}/responses", content=b"{", headers={"authorization": "x"})
    assert broken.json()["error"]["type"] == "invalid_request_error"


def test_an_exception_of_the_model_reaches_the_caller_at_once() -> None:
    """A bug in a scripted model is a 500 that names it, is not tried again, and is kept in `failures`."""

    def model(request: ModelRequest) -> Reply:
        raise KeyError("no such reply")

    with ProviderServer(model) as server, OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
        with pytest.raises(openai.InternalServerError, match="KeyError: 'no such reply'"):
            client.chat.completions.create(model="gpt-4.1", messages=ASKED)
        assert len(server.requests) == 1
        assert isinstance(server.failures[0], KeyError)
