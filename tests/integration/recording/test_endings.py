"""The five ways in which an answer ends, recorded and played."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

import rashomon
from rashomon.model import End, Step, Tape
from rashomon.testing import Fault, ProviderServer

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}], "stream": True}
HEADERS = {"authorization": "Bearer sk-test-0123456789abcdef"}


def only_step(tape: Tape) -> Step:
    """The one step of a tape."""
    (step,) = tape.steps
    return step


async def cancelled_call(url: str, after: float | None) -> str:
    """A call that is given up: before its head, or in its stream."""
    async with httpx2.AsyncClient(headers=HEADERS) as client:

        async def call() -> list[bytes]:
            async with client.stream("POST", url + "/chat/completions", json=BODY) as response:
                return [chunk async for chunk in response.aiter_raw()]

        try:
            await asyncio.wait_for(call(), after)
        except TimeoutError:
            return "timed out"
        return "answered"


@pytest.mark.parametrize("after", [0, 2], ids=["before the head", "in the stream"])
async def test_cancelled(after: int, home: Path, last_tape: Callable[[], Tape]) -> None:
    """A call that a timeout cancelled is recorded as cancelled; replayed, the program times out again."""
    fault = Fault.stall(after=after)
    with ProviderServer(seed=1, faults=[fault]) as server:
        with rashomon.trace("cancelled"):
            assert await cancelled_call(server.openai_url, 0.3) == "timed out"
        tape = last_tape()
        step = only_step(tape)
        assert step.response.end is End.CANCELLED
        if step.response.head is None:
            with rashomon.replay(tape) as replaying:
                assert await cancelled_call(server.openai_url, 0.3) == "timed out"
            replaying.check()
        else:
            with pytest.raises(rashomon.Missed, match="was cancelled"), rashomon.replay(tape):
                await cancelled_call(server.openai_url, None)


def test_leaked(home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """An answer that the program drops without closing it is recorded as leaked, with what was read."""

    def drop(client: httpx2.Client) -> bytes:
        request = client.build_request("POST", server.openai_url + "/chat/completions", json=BODY, headers=HEADERS)
        return next(client.send(request, stream=True).iter_raw())

    with httpx2.Client() as client, rashomon.trace("leaked"):
        first = drop(client)
        gc.collect()
    step = only_step(last_tape())
    assert step.response.end in (End.LEAKED, End.CLOSED)
    assert step.response.body.startswith(first)


@pytest.mark.parametrize(
    ("fault", "end"),
    [(None, End.COMPLETE), (Fault.cut(after=2), End.ERROR), (Fault.disconnect(), End.ERROR)],
    ids=["complete", "cut", "disconnected"],
)
def test_complete_and_error(fault: Any, end: End, home: Path, last_tape: Callable[[], Tape]) -> None:
    """A whole answer is complete; one that the provider breaks off is an error, and is raised again."""
    with ProviderServer(seed=1, faults=[fault] if fault else []) as server:

        def call() -> Any:
            try:
                with httpx2.stream("POST", server.openai_url + "/chat/completions", json=BODY, headers=HEADERS) as got:
                    return list(got.iter_raw())
            except httpx2.TransportError as error:
                return type(error), str(error)

        with rashomon.trace("ends"):
            first = call()
    assert only_step(last_tape()).response.end is end
    with rashomon.replay(last_tape()) as replaying:
        assert call() == first
    replaying.check()


def test_first_chunk_is_not_held_back(home: Path, last_tape: Callable[[], Tape]) -> None:
    """The first chunk reaches the program while the provider still holds the second."""
    with ProviderServer(seed=1) as server:
        gate = server.hold("/chat/completions", after=1)
        with (
            rashomon.trace("gated"),
            httpx2.stream("POST", server.openai_url + "/chat/completions", json=BODY, headers=HEADERS) as response,
        ):
            chunks = response.iter_raw()
            assert next(chunks).startswith(b"data: ")
            gate.wait_until_reached()
            gate.release()
            assert len(list(chunks)) > 1
    assert only_step(last_tape()).response.end is End.COMPLETE


@pytest.mark.parametrize("streamed", [False, True], ids=["before the head", "in the stream"])
def test_a_failure_of_an_unknown_class(streamed: bool, home: Path, last_tape: Callable[[], Tape]) -> None:
    """An exception whose class is gone is a miss, which an SDK neither wraps nor retries, and nothing goes out."""
    fault = Fault.cut(after=2) if streamed else Fault.disconnect()
    with ProviderServer(seed=1, faults=[fault]) as server:
        client = openai.OpenAI(base_url=server.openai_url, api_key="sk-test-0123456789abcdef", max_retries=0)

        def call() -> list[Any]:
            asked: Any = [{"role": "user", "content": "a"}]
            return list(client.chat.completions.create(model="gpt-4o", messages=asked, stream=True))

        with rashomon.trace("gone"), pytest.raises((openai.APIConnectionError, httpx2.TransportError)):
            call()
        tape = last_tape()
        step = only_step(tape)
        assert step.response.failure is not None
        failure = step.response.failure._replace(type="no_such_module:Gone")
        changed = step._replace(response=step.response._replace(failure=failure))
        before = len(server.requests)
        client = client.with_options(max_retries=2)
        altered = tape._replace(steps=(changed,))
        with pytest.raises(rashomon.Missed, match="cannot be raised again"), rashomon.replay(altered):
            call()
        assert len(server.requests) == before


@rashomon.tool
async def waits_long(number: int) -> int:
    """A tool that does not come to its end."""
    await asyncio.sleep(10)
    return number


@pytest.mark.parametrize("what", ["tool", "head", "closing"])
def test_a_coroutine_that_is_closed(what: str, home: Path, last_tape: Callable[[], Tape]) -> None:
    """Who drives a coroutine by hand may close it while it waits: that does not fail, recorded or replayed."""

    class Body(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{}"

        async def aclose(self) -> None:
            await asyncio.sleep(10)

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if what == "head":
            await asyncio.sleep(10)
        return httpx2.Response(200, stream=Body())

    async def ask() -> None:
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        response = await client.send(client.build_request("GET", "http://provider/"), stream=True)
        await response.aclose()

    async def main() -> None:
        coro: Any = waits_long(1) if what == "tool" else ask()
        waiting = coro.send(None)
        while waiting is None or waiting.done():
            await asyncio.sleep(0)
            waiting = coro.send(None)
        waiting._asyncio_future_blocking = False
        for _ in range(3):  # the loop turns meanwhile
            await asyncio.sleep(0)
        coro.close()

    with rashomon.trace("closed"):
        asyncio.run(main())
    tape = last_tape()
    assert only_step(tape).response.end in (End.CANCELLED, End.CLOSED)
    with rashomon.replay(tape) as replaying:
        asyncio.run(main())
    replaying.check()
