"""When a call is written down: before its connection is opened, else as soon as its request has gone out."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

import rashomon
from rashomon import journal
from rashomon.journal import Code
from rashomon.model import End, Tape
from rashomon.recorders import httpx_shim
from rashomon.testing import ProviderServer

MODULES = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
HEADERS = {"authorization": "Bearer sk-not-a-real-key-0123456789"}
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello."}]}


def frames(home: Path) -> list[list[Any]]:
    """What is on the disk now."""
    (path,) = (home / "journals").glob("*.rsj")
    return list(journal.read(path).frames)


def wait_for_calls(home: Path, count: int) -> None:
    """Until so many calls are on the disk."""
    end = time.monotonic() + 20
    while sum(frame[0] == Code.CALL for frame in frames(home)) < count:
        assert time.monotonic() < end, f"there are fewer than {count} calls on the disk"


@MODULES
def test_a_call_is_on_the_disk_while_its_answer_is_waited_for(
    module: ModuleType, home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """Over a connection that is open already, a blocking client's call is written while the provider thinks."""
    url = f"{server.openai_url}/chat/completions"
    with rashomon.trace("held"), module.Client() as client:
        client.post(url, json=BODY, headers=HEADERS)
        gate = server.hold("/chat/completions")
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(client.post(url, json=BODY, headers=HEADERS)))
        asking.start()
        gate.wait_until_reached()
        wait_for_calls(home, 2)
        assert not answers
        gate.release()
        asking.join()
    first, second = last_tape().steps
    assert second.request.body == first.request.body
    assert second.response.end is End.COMPLETE


@MODULES
def test_the_same_with_an_async_client(
    module: ModuleType, home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """An async client's call is written while the provider thinks; one that is cancelled then is a whole step."""
    url = f"{server.openai_url}/chat/completions"

    async def run() -> None:
        async with module.AsyncClient() as client:
            await client.post(url, json=BODY, headers=HEADERS)
            gate = server.hold("/chat/completions")
            asking = asyncio.create_task(client.post(url, json=BODY, headers=HEADERS))
            await asyncio.to_thread(gate.wait_until_reached)
            await asyncio.to_thread(wait_for_calls, home, 2)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    with rashomon.trace("held"):
        asyncio.run(run())
    first, second = last_tape().steps
    assert (second.request.body, second.response.end) == (first.request.body, End.CANCELLED)


@MODULES
def test_a_call_is_on_the_disk_before_its_connection(module: ModuleType, home: Path, server: ProviderServer) -> None:
    """Connecting may take long or end the program: the call stands before the connection that it opens."""
    with rashomon.trace("connecting"):
        for _ in range(3):
            with module.Client() as client:
                client.post(f"{server.openai_url}/chat/completions", json=BODY, headers=HEADERS)
    place = {Code.CALL: 1, Code.CONNECT: 4}  # of the step's number in a frame
    told = [(frame[0], frame[place[frame[0]]]) for frame in frames(home) if frame[0] in place]
    assert told == [(code, step) for step in range(3) for code in (Code.CALL, Code.CONNECT)]


@MODULES
def test_a_call_that_is_never_sent(module: ModuleType, home: Path, last_tape: Callable[[], Tape]) -> None:
    """Where nobody listens, the call is a step with its request and its failure."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1/chat/completions"
    with rashomon.trace("refused"), module.Client() as client, pytest.raises(module.ConnectError):
        client.post(url, json=BODY, headers=HEADERS)
    (step,) = last_tape().steps
    assert step.response.end is End.ERROR
    assert b"Hello." in step.request.body


@MODULES
def test_a_request_that_is_sent_twice(
    module: ModuleType, home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """A request that the program keeps is the same request afterwards: it can be read, and sent once more."""
    with rashomon.trace("twice"), module.Client() as client:
        request = client.build_request("POST", f"{server.openai_url}/chat/completions", json=BODY, headers=HEADERS)
        bodies = []
        for _ in range(2):
            assert client.send(request).status_code == 200
            bodies.append(b"".join(request.stream))
        assert isinstance(request.stream, module.ByteStream)
    assert bodies == [request.content] * 2
    assert [step.request.body for step in last_tape().steps] == bodies


@MODULES
def test_calls_of_many_threads(
    module: ModuleType, home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """Each of eight threads over one client gets its own steps, with the bodies that it sent."""
    url = f"{server.openai_url}/chat/completions"

    def work(name: str) -> None:
        for number in range(5):
            client.post(url, json={**BODY, "user": f"{name}.{number}"}, headers=HEADERS)

    with rashomon.trace("threads"), module.Client() as client:
        threads = [threading.Thread(target=work, args=(str(name),)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    steps = last_tape().steps
    users = sorted((step.lane, step.request.body.split(b'"user":')[1].strip(b' "}').decode()) for step in steps)
    assert users == [((name,), f"{name}.{number}") for name in range(8) for number in range(5)]


@MODULES
def test_an_interruption_while_the_call_is_written(
    module: ModuleType,
    home: Path,
    server: ProviderServer,
    last_tape: Callable[[], Tape],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C that comes then reaches the program, and the call is a step with its request all the same."""
    url = f"{server.openai_url}/chat/completions"
    describe, interruptions = httpx_shim._Shim.call, [KeyboardInterrupt()]

    def interrupted(*args: Any) -> Any:
        if interruptions:
            raise interruptions.pop()
        return describe(*args)

    with rashomon.trace("interrupted"), module.Client() as client:
        client.post(url, json=BODY, headers=HEADERS)
        monkeypatch.setattr(httpx_shim._Shim, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.post(url, json=BODY, headers=HEADERS)
        client.post(url, json=BODY, headers=HEADERS)
    steps = last_tape().steps
    assert [step.response.end for step in steps] == [End.COMPLETE, End.CANCELLED, End.COMPLETE]
    assert {step.request.body for step in steps} == {steps[0].request.body}
    assert not any(step.marks for step in steps)
