"""The current anthropic SDK, unchanged, against the provider server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from pydantic import BaseModel

from rashomon.testing import Fault, ModelRequest, ProviderServer, Reply, Script, ToolCall, echo

ASKED: Any = [{"role": "user", "content": "Grüße aus 東京, please repeat."}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def client() -> Iterator[Anthropic]:
    """An SDK client of a server that answers with what it was asked."""
    with (
        ProviderServer(echo, seed=1) as server,
        Anthropic(base_url=server.anthropic_url, api_key="sk-test", max_retries=0) as client,
    ):
        yield client


def test_a_message_carries_text_usage_and_request_id(client: Anthropic) -> None:
    """A plain message has text, stop reason, usage, and the id of its header."""
    message = client.messages.create(model="claude-sonnet-5", max_tokens=100, messages=ASKED, system="Be kind.")
    assert message.content[0].type == "text"
    assert message.content[0].text == ASKED[0]["content"]
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 5
    assert message.usage.cache_read_input_tokens == 0
    assert (message._request_id or "").startswith("req_")
    raw = client.messages.with_raw_response.create(model="claude-sonnet-5", max_tokens=100, messages=ASKED)
    assert raw.headers["anthropic-ratelimit-requests-limit"] == "4000"


def test_raw_events_come_in_anthropic_s_order(client: Anthropic) -> None:
    """A stream opens the message, pings after the first block began, and closes block and message."""
    with client.messages.with_streaming_response.create(
        model="claude-sonnet-5", max_tokens=100, messages=ASKED, stream=True
    ) as response:
        names = [line.removeprefix("event: ") for line in response.iter_lines() if line.startswith("event: ")]
    assert list(dict.fromkeys(names)) == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_stream_helper_gives_text_and_the_final_message(client: Anthropic) -> None:
    """`messages.stream` yields the text in pieces and puts the message together."""
    with client.messages.stream(model="claude-sonnet-5", max_tokens=100, messages=ASKED) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == ASKED[0]["content"]
    assert len(pieces) > 2
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 1


def test_thinking_text_and_two_tool_calls_in_one_turn() -> None:
    """Thinking blocks carry a signature; parallel calls keep their own arguments, plain and streamed."""
    calls = (
        ToolCall("get_weather", {"city": "Rome"}),
        ToolCall("get_weather", {"city": "Oslo"}),
        ToolCall("now"),
    )
    reply = Reply("Let me look.", calls, "Two cities are asked for.")
    settings: Any = {"type": "enabled", "budget_tokens": 1024}
    with (
        ProviderServer(Script([reply])) as server,
        Anthropic(base_url=server.anthropic_url, api_key="sk-test") as client,
    ):
        ask: Any = {"model": "claude-sonnet-5", "max_tokens": 2000, "messages": ASKED, "tools": [WEATHER]}
        plain = client.messages.create(**ask, thinking=settings)
        with client.messages.stream(**ask, thinking=settings) as stream:
            kinds = {event.type for event in stream}
            streamed = stream.get_final_message()
    assert "signature" in kinds
    messages: list[Any] = [plain, streamed]
    for message in messages:
        thinking, text, *uses = message.content
        assert thinking.type == "thinking"
        assert thinking.thinking == "Two cities are asked for."
        assert len(thinking.signature) > 100
        assert text.type == "text"
        assert [use.input for use in uses if use.type == "tool_use"] == [
            {"city": "Rome"},
            {"city": "Oslo"},
            {},
        ]
        assert message.stop_reason == "tool_use"
    assert [block.to_dict() for block in plain.content[:2]] == [block.to_dict() for block in streamed.content[:2]]


def test_the_bundled_assistant_calls_a_tool_and_tells_its_result() -> None:
    """The assistant calls the tool with the city, thinks when asked to, and quotes the result."""
    asked: Any = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    ask: Any = {"model": "claude-sonnet-5", "max_tokens": 2000, "tools": [WEATHER]}
    ask["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    with (
        ProviderServer(seed=2) as server,
        Anthropic(base_url=server.anthropic_url, api_key="sk-test") as client,
    ):
        first = client.messages.create(**ask, messages=asked)
        assert first.content[0].type == "thinking"
        use = first.content[-1]
        assert use.type == "tool_use"
        assert use.input == {"city": "Lisbon"}
        result = {
            "type": "tool_result",
            "tool_use_id": use.id,
            "content": [{"type": "text", "text": '{"celsius": 21}'}],
        }
        more: Any = [
            *asked,
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [result]},
        ]
        second = client.messages.create(**ask, messages=more)
        counted = client.messages.count_tokens(model="claude-sonnet-5", messages=more, tools=[WEATHER])
    told = second.content[-1]
    assert told.type == "text"
    assert "celsius 21" in told.text
    assert counted.input_tokens == second.usage.input_tokens


def test_structured_output_fits_the_asked_model() -> None:
    """`messages.parse` gets an instance of the asked model."""

    class Sum(BaseModel):
        """What the answer has to look like."""

        total: int
        currency: str

    with ProviderServer() as server, Anthropic(base_url=server.anthropic_url, api_key="sk-test") as client:
        message = client.messages.parse(
            model="claude-sonnet-5",
            max_tokens=500,
            messages=[{"role": "user", "content": "It comes to 42 in all."}],
            output_format=Sum,
        )
    assert message.parsed_output is not None
    assert message.parsed_output.total == 42


def test_the_async_client_streams_concurrently() -> None:
    """Twenty async streams at once each give their own text."""

    async def ask(client: AsyncAnthropic, number: int) -> str:
        messages: Any = [{"role": "user", "content": f"number {number}"}]
        async with client.messages.stream(model="claude-sonnet-5", max_tokens=100, messages=messages) as stream:
            return "".join([piece async for piece in stream.text_stream])

    async def ask_all(url: str) -> list[str]:
        async with AsyncAnthropic(base_url=url, api_key="sk-test") as client:
            return await asyncio.gather(*(ask(client, number) for number in range(20)))

    with ProviderServer(echo) as server:
        assert asyncio.run(ask_all(server.anthropic_url)) == [f"number {number}" for number in range(20)]


def test_errors_have_anthropic_s_shapes() -> None:
    """Overload, rate limit, wrong key and bad requests become the SDK's own exceptions."""
    faults = [Fault.status(529), Fault.status(429, retry_after=3), Fault.error_event(3)]
    with (
        ProviderServer(echo, faults=faults) as server,
        Anthropic(base_url=server.anthropic_url, api_key="sk-test", max_retries=0) as client,
    ):
        ask: Any = {"model": "claude-sonnet-5", "max_tokens": 10, "messages": ASKED}
        with pytest.raises(anthropic.OverloadedError, match="Overloaded"):
            client.messages.create(**ask)
        with pytest.raises(anthropic.RateLimitError) as limited:
            client.messages.create(**ask)
        assert limited.value.response.headers["retry-after"] == "3"
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            list(client.messages.create(**ask, stream=True))
        with pytest.raises(anthropic.BadRequestError, match="user"):
            client.messages.create(**ask | {"messages": [{"role": "robot", "content": ""}]})
        with pytest.raises(anthropic.AuthenticationError, match="x-api-key"):
            client.with_options(api_key="invalid").messages.create(**ask)


def test_unanswered_tool_calls_are_refused(client: Anthropic) -> None:
    """A tool_use block without its tool_result is a 400 that names the id."""
    use: Any = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
    messages: Any = [*ASKED, {"role": "assistant", "content": [use]}, {"role": "user", "content": "and?"}]
    with pytest.raises(anthropic.BadRequestError, match="toolu_1"):
        client.messages.create(model="claude-sonnet-5", max_tokens=100, messages=messages)


def test_a_model_may_be_async_and_sees_the_thinking_switch() -> None:
    """An async model function is awaited, and knows that thinking was asked for."""

    async def model(request: ModelRequest) -> Reply:
        await asyncio.sleep(0)
        return Reply(f"thinking is {request.thinking}, limit {request.max_tokens}")

    with (
        ProviderServer(model) as server,
        Anthropic(base_url=server.anthropic_url, api_key="sk-test") as client,
    ):
        message = client.messages.create(
            model="claude-sonnet-5", max_tokens=50, messages=ASKED, thinking={"type": "adaptive"}
        )
    assert message.content[0].type == "text"
    assert message.content[0].text == "thinking is True, limit 50"
