"""Programs on Claude's Agent SDK, whose agent is in another program: a replay does not start it.

The SDK's transport is played by a class of the same shape; `tests/frameworks/test_claude_agent.py` has the SDK itself.
"""

from __future__ import annotations

import asyncio
import json
import random
import types
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import rashomon
from rashomon.errors import Escaped, Missed
from rashomon.model import End, Kind, Tape
from rashomon.recorders import claude_agent
from tests.support import tapes_of


class AgentFailedError(Exception):
    """What the SDK raises where its command has failed."""


class SubprocessCLITransport:
    """Speaks with an agent that says `Said WHAT` a moment after each prompt, and then its result.

    Prompts with `fail` end it with an error. `started` counts agents, over all.
    """

    started = 0

    def __init__(self, *args: str) -> None:
        self.args = args
        self._cli_path: str | None = None
        self._ready = False
        self._said: asyncio.Queue[Any] = asyncio.Queue()

    def _build_command(self) -> list[str]:
        assert self._cli_path is not None
        return [self._cli_path, *self.args]

    async def connect(self) -> None:
        if "missing" in self.args:
            raise AgentFailedError("there is no such command")
        type(self).started += 1
        self._cli_path = "/usr/bin/claude"
        await asyncio.sleep(0.001)
        self._ready = True

    async def write(self, data: str) -> None:
        asked = json.loads(data)
        if asked["type"] == "control_request":
            told: Any = {"request_id": asked["request_id"], "subtype": "success"}
            self._later({"type": "control_response", "response": told})
        elif asked["type"] == "user" and "fail" in asked["message"]["content"]:
            self._later(AgentFailedError("exit code 1"))
        elif asked["type"] == "user":
            text = f"Said {asked['message']['content']} {random.SystemRandom().random()}"
            self._later({"type": "assistant", "text": text}, {"type": "result"})

    def _later(self, *messages: Any) -> None:
        delay = random.SystemRandom().random() / 50
        for number, message in enumerate(messages):
            asyncio.get_running_loop().call_later(delay + number / 1000, self._said.put_nowait, message)

    async def end_input(self) -> None:
        self._said.put_nowait(None)

    def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        while (message := await self._said.get()) is not None:
            if isinstance(message, Exception):
                raise message
            yield message

    async def close(self) -> None:
        self._ready = False
        await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def sdk() -> None:
    """The shim, on the class above."""
    claude_agent.patch(types.SimpleNamespace(SubprocessCLITransport=SubprocessCLITransport))  # type: ignore[arg-type]


async def ask(transport: Any, *prompts: str) -> list[str]:
    """A conversation as the SDK holds it: a task reads, requests wait for their own answer, prompts for a result."""
    texts: list[str] = []
    results: asyncio.Queue[Any] = asyncio.Queue()
    pending: dict[str, asyncio.Event] = {}

    async def read() -> None:
        try:
            async for message in transport.read_messages():
                if message["type"] == "control_response":
                    pending[message["response"]["request_id"]].set()
                elif message["type"] == "assistant":
                    texts.append(message["text"])
                else:
                    results.put_nowait(None)
        except AgentFailedError as error:
            results.put_nowait(error)

    await transport.connect()
    reading = asyncio.create_task(read())
    try:
        request = f"req_1_{random.SystemRandom().getrandbits(32):x}"
        pending[request] = asyncio.Event()
        told = {"type": "control_request", "request_id": request, "request": {"subtype": "initialize"}}
        await transport.write(json.dumps(told))
        await asyncio.wait_for(pending[request].wait(), 20)
        for prompt in prompts:
            await transport.write(json.dumps({"type": "user", "message": {"role": "user", "content": prompt}}))
            error = await asyncio.wait_for(results.get(), 20)
            if error is not None:
                texts.append(f"failed: {error}")
                return texts
        await transport.end_input()
        await reading
        return texts
    finally:
        reading.cancel()
        await transport.close()


def record(home: Path, program: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[Any, Tape]:
    """What the program returns, and its recording."""
    with rashomon.trace("agents"):
        seen = asyncio.run(program())
    return seen, tapes_of(home)[-1]


def replay(tape: Tape, program: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """The same from its recording; no agent is started."""
    before = SubprocessCLITransport.started
    with rashomon.replay(tape) as replaying:
        seen = asyncio.run(program())
    assert replaying.divergences == ()
    assert SubprocessCLITransport.started == before
    return seen


def test_a_conversation(home: Path) -> None:
    """Each thing that is sent is a call of a tool, under the name of what it is; what comes is one stream of messages.
    The SDK's own request has another id in each run, and its answer comes all the same."""

    async def program() -> list[str]:
        return await ask(SubprocessCLITransport("--model", "opus"), "hello", "bye")

    seen, tape = record(home, program)
    assert [text.rpartition(" ")[0] for text in seen] == ["Said hello", "Said bye"]
    names = ["start", "messages", "request", "prompt", "prompt", "end"]
    assert sorted(step.name for step in tape.steps) == sorted(f"claude.{name}" for name in names)
    assert {step.kind for step in tape.steps} == {Kind.TOOL}
    assert tape.trace.coverage.complete
    for _ in range(3):
        assert replay(tape, program) == seen


def test_agents_beside_each_other(home: Path) -> None:
    """Six that were started with the same words and are asked the same: each has its own answers again, in the order in
    which they came."""
    order: list[str] = []

    async def one() -> list[str]:
        texts = await ask(SubprocessCLITransport("--print"), "the same", "again")
        order.extend(texts)
        return texts

    async def program() -> list[list[str]]:
        order.clear()
        return await asyncio.gather(*(one() for _ in range(6)))

    seen, tape = record(home, program)
    came = list(order)
    assert len({text for texts in seen for text in texts}) == 12
    for _ in range(5):
        assert (replay(tape, program), order) == (seen, came)


def test_failures(home: Path) -> None:
    """A command that is not there, and one that fails in the middle of a conversation."""

    async def program() -> list[Any]:
        try:
            await SubprocessCLITransport("missing").connect()
        except AgentFailedError as error:
            failed = str(error)
        return [failed, *await ask(SubprocessCLITransport(), "hello", "fail now", "never asked")]

    seen, tape = record(home, program)
    assert (seen[0], seen[-1]) == ("there is no such command", "failed: exit code 1")
    ends = {(step.name, step.response.end) for step in tape.steps}
    assert {("claude.start", End.ERROR), ("claude.messages", End.ERROR)} <= ends
    assert replay(tape, program) == seen


def test_another_question_is_asked_of_nobody(home: Path) -> None:
    """A prompt that is not in the recording is a divergence, also where tools may go live: there is no agent."""
    asked = "hello"

    async def program() -> list[str]:
        return await ask(SubprocessCLITransport(), asked)

    _, tape = record(home, program)
    asked, before = "something else", SubprocessCLITransport.started
    for live in ((), ("tool",)):
        with pytest.raises(Missed), rashomon.replay(tape, live=live) as replaying:
            asyncio.run(program())
        assert [one.kind for one in replaying.divergences if one.step or one.recorded]
    assert SubprocessCLITransport.started == before


def test_what_nobody_expects_to_be_sent(home: Path) -> None:
    """Text that is no JSON, JSON of other shapes, and an SDK that builds its command in another way: all of it reaches
    the agent, and a replay has it too."""
    shapes = ['["user"]', '"user", "message": "text"', '"new", "a": 1', '"control_request", "request": [1]']
    odd = ["no json", "[1]", "3", *(f'{{"type": {shape}}}' for shape in shapes)]
    sent: list[str] = []

    class Other(SubprocessCLITransport):
        def _build_command(self) -> list[str]:
            raise AttributeError("_options")

    async def program() -> int:
        transport = Other()
        await transport.connect()
        for text in odd:
            await transport.write(text)
        return len(odd)

    async def only_note(self: Any, data: str) -> None:
        sent.append(data)

    patched = SubprocessCLITransport.write
    SubprocessCLITransport.write = claude_agent._writing(only_note)  # type: ignore[method-assign]
    try:
        seen, tape = record(home, program)
        assert sent == odd
        assert len(tape.steps) == 1 + len(odd)
        assert replay(tape, program) == seen
        assert sent == odd
    finally:
        SubprocessCLITransport.write = patched  # type: ignore[method-assign]


def test_a_conversation_that_is_left(home: Path) -> None:
    """A program that stops listening, or is cancelled while it waits."""

    async def program() -> str:
        transport = SubprocessCLITransport()
        try:
            async with asyncio.timeout(0.05):
                await ask(transport, "hello", *["more"] * 1000)
        except TimeoutError:
            return "too slow"
        return "done"

    seen, tape = record(home, program)
    assert seen == "too slow"
    assert replay(tape, program) == seen


def test_an_agent_from_before_the_trace(home: Path) -> None:
    """What goes to an agent that was started where nothing was recorded slips past: the trace says so, and a replay
    refuses it."""

    async def program(transport: Any) -> None:
        await transport.write(json.dumps({"type": "user", "message": {"role": "user", "content": "hello"}}))

    async def both(way: Any) -> None:
        transport = SubprocessCLITransport()
        await transport.connect()
        with way:
            await program(transport)

    asyncio.run(both(rashomon.trace("agents")))
    tape = tapes_of(home)[-1]
    assert tape.trace.coverage.missed == ("claude:started-outside-of-the-trace",)
    with pytest.raises(Escaped):
        asyncio.run(both(rashomon.replay(tape)))
