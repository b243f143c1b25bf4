"""The SDKs' own objects, recorded against a server and replayed without one, compare equal field by field."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import openai
import pydantic
import pytest

import rashomon
from rashomon.model import End, Kind, Tape
from rashomon.testing import ProviderServer

ORDER_TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_order",
        "description": "Look up an order.",
        "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
    },
}
HELLO: Any = [{"role": "user", "content": "Hello there, how are you?"}]
ASK: Any = [{"role": "user", "content": "Where is order A-1042? Use get_order."}]


class Verdict(pydantic.BaseModel):
    """A structured answer."""

    answer: str
    confident: bool


def _headers(raw: Any) -> list[tuple[str, str]]:
    """All headers in order; of a cookie, which is a secret and not on the tape, only that it is there."""
    return [(name, "" if name == "set-cookie" else value) for name, value in raw.headers.multi_items()]


def openai_plain(client: openai.OpenAI) -> list[Any]:
    return [client.chat.completions.create(model="gpt-4o", messages=HELLO)]


def openai_tools(client: openai.OpenAI) -> list[Any]:
    return [client.chat.completions.create(model="gpt-4o", messages=ASK, tools=[ORDER_TOOL])]


def openai_stream(client: openai.OpenAI) -> list[Any]:
    options: Any = {"include_usage": True}
    return list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, stream_options=options))


def openai_raw(client: openai.OpenAI) -> list[Any]:
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
    return [raw.status_code, _headers(raw), raw.content, raw.http_response.http_version, raw.parse()]


def openai_streamed_bytes(client: openai.OpenAI) -> list[Any]:
    with client.chat.completions.with_streaming_response.create(model="gpt-4o", messages=HELLO, stream=True) as raw:
        return [_headers(raw), list(raw.http_response.iter_raw())]


def openai_structured(client: openai.OpenAI) -> list[Any]:
    return [client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Verdict)]


def openai_responses(client: openai.OpenAI) -> list[Any]:
    plain = client.responses.create(model="gpt-4o", input="Hello there")
    streamed = list(client.responses.create(model="gpt-4o", input="Hello again", stream=True))
    return [plain, *streamed]


def openai_embeddings(client: openai.OpenAI) -> list[Any]:
    return [client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])]


def openai_error(client: openai.OpenAI) -> list[Any]:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="fault:400", messages=HELLO)
    return [caught.value.status_code, caught.value.body, _headers(caught.value.response)]


OPENAI = [openai_plain, openai_tools, openai_stream, openai_raw, openai_streamed_bytes, openai_structured,
          openai_responses, openai_embeddings, openai_error]  # fmt: skip


def record_and_replay(server: ProviderServer, tape: Callable[[], Tape], run: Callable[[], list[Any]]) -> list[Any]:
    """Run live under a trace, stop the server, run from the tape; assert equality; return the answers."""
    with rashomon.trace("sdk"):
        recorded = run()
    server.stop()
    original = tape()
    with rashomon.replay(original) as replaying:
        replayed = run()
    replaying.check()
    assert replayed == recorded
    contents = [
        sorted((step.request.body, step.response.body, len(step.response.pieces)) for step in made.steps)
        for made in (original, tape())
    ]
    assert contents[0] == contents[1]
    return recorded


@pytest.mark.parametrize("scenario", OPENAI, ids=lambda scenario: scenario.__name__)
def test_openai_sync(scenario: Any, home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """Every way of calling openai gives back equal objects, headers and chunks."""
    client = openai.OpenAI(base_url=server.openai_url, api_key="sk-test", max_retries=0)
    assert record_and_replay(server, last_tape, lambda: scenario(client))


def test_openai_async(home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """The async client: plain, streamed, raw and structured, on loops of their own."""

    async def scenario() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=server.openai_url, api_key="sk-test") as client:
            stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            raw = await client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
            return [
                await client.chat.completions.create(model="gpt-4o", messages=ASK, tools=[ORDER_TOOL]),
                [chunk async for chunk in stream],
                [raw.status_code, _headers(raw), raw.content],
                await client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Verdict),
                [event async for event in await client.responses.create(model="gpt-4o", input="Hi", stream=True)],
                await client.embeddings.create(model="text-embedding-3-small", input="a"),
            ]

    assert record_and_replay(server, last_tape, lambda: asyncio.run(scenario()))


def test_anthropic_sync(home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """anthropic: messages, stream helper, tools, thinking, raw response."""
    client = anthropic.Anthropic(base_url=server.anthropic_url, api_key="sk-ant-test", max_retries=0)
    schema = ORDER_TOOL["function"]["parameters"]
    tool: Any = {"name": "get_order", "description": "Look up an order.", "input_schema": schema}
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}

    def scenario() -> list[Any]:
        with client.messages.stream(model="claude-opus-4-8", max_tokens=300, messages=HELLO) as stream:
            events = list(stream)
            final = stream.get_final_message()
        raw = client.messages.with_raw_response.create(model="claude-opus-4-8", max_tokens=300, messages=HELLO)
        return [
            client.messages.create(model="claude-opus-4-8", max_tokens=300, messages=ASK, tools=[tool]),
            events,
            final,
            client.messages.create(model="claude-opus-4-8", max_tokens=3000, messages=HELLO, thinking=thinking),
            list(
                client.messages.create(
                    model="claude-opus-4-8", max_tokens=3000, messages=HELLO, thinking=thinking, stream=True
                )
            ),
            [_headers(raw), raw.http_response.content, raw.parse()],
        ]

    assert record_and_replay(server, last_tape, scenario)


def test_anthropic_async(home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """anthropic's async client, plain and streamed at the same time."""

    async def scenario() -> list[Any]:
        async with anthropic.AsyncAnthropic(base_url=server.anthropic_url, api_key="sk-ant-test") as client:

            async def streamed() -> list[Any]:
                async with client.messages.stream(model="claude-opus-4-8", max_tokens=300, messages=HELLO) as stream:
                    return [event async for event in stream]

            plain = client.messages.create(model="claude-opus-4-8", max_tokens=300, messages=ASK)
            return list(await asyncio.gather(plain, streamed()))

    assert record_and_replay(server, last_tape, lambda: asyncio.run(scenario()))


def test_six_equal_calls_at_once(home: Path, last_tape: Callable[[], Tape]) -> None:
    """Six gathered calls with one content and six answers: on replay each caller gets its own."""
    with ProviderServer(seed=11) as server:

        async def scenario() -> list[Any]:
            async with openai.AsyncOpenAI(base_url=server.openai_url, api_key="sk-test") as client:
                calls = [
                    client.chat.completions.create(model="gpt-4o", messages=HELLO, temperature=1) for _ in range(6)
                ]
                return [answer.id for answer in await asyncio.gather(*calls)]

        recorded = record_and_replay(server, last_tape, lambda: asyncio.run(scenario()))
    assert len(set(recorded)) == 6


def test_errors_and_retries(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A 429, a 500, a 529, a malformed body and cut connections end in the same exceptions on replay."""

    def scenario() -> list[Any]:
        seen: list[Any] = []
        client = openai.OpenAI(base_url=server.openai_url, api_key="sk-test", max_retries=0)
        for fault in ("429:retry_after=1", "500", "529", "malformed", "disconnect", "cut:after=0"):
            try:
                client.chat.completions.create(
                    model="gpt-4o", messages=HELLO, extra_headers={"x-rashomon-fault": fault}, user=fault
                )
            except Exception as error:
                cause = error.__cause__
                seen.append((type(error), str(error), type(cause), str(cause)))
        chunks: list[Any] = []
        try:
            for chunk in client.chat.completions.create(
                model="gpt-4o", messages=HELLO, stream=True, extra_headers={"x-rashomon-fault": "cut:after=3"}
            ):
                chunks.append(chunk)
        except Exception as error:
            seen.append((type(error), str(error), chunks))
        return seen

    with ProviderServer(seed=3) as server:
        recorded = record_and_replay(server, last_tape, scenario)
    assert len(recorded) == 7


def test_a_stream_that_the_program_leaves(home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """A stream closed after two chunks is recorded as closed and replays to the same two chunks."""
    client = openai.OpenAI(base_url=server.openai_url, api_key="sk-test")

    def scenario() -> list[Any]:
        with client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True) as stream:
            iterator = iter(stream)
            return [next(iterator), next(iterator)]

    with rashomon.trace("left early"):
        recorded = scenario()
    assert last_tape().steps[0].response.end is End.CLOSED
    server.stop()
    with rashomon.replay(last_tape()) as replaying:
        assert scenario() == recorded
    replaying.check()


def test_wrap_records_one_client_only(home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """`rashomon.wrap` needs no install, and a custom transport's calls are steps like any other."""
    client = rashomon.wrap(openai.OpenAI(base_url=server.openai_url, api_key="sk-test"))
    with rashomon.trace("wrapped"):
        client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert [step.kind for step in last_tape().steps] == [Kind.LLM]
