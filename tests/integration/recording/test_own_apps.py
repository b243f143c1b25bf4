"""Clients that call an application of the program's own: it runs in a replay too, and what it calls is recorded."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import openai
import pytest

import rashomon
from rashomon.model import Kind, Tape
from rashomon.testing import ProviderServer

MODULES = pytest.mark.parametrize("module", [httpx, httpx2], ids=lambda module: module.__name__)


@rashomon.tool
def shout(text: str) -> str:
    """A tool."""
    return text.upper()


class Agent:
    """An application that asks a model: twice at once where it is asynchronous, once where it is not."""

    def __init__(self, server: ProviderServer) -> None:
        self.url, self.served = server.openai_url, 0

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        """As an ASGI application."""
        question = json.loads((await receive())["body"])["q"]
        async with openai.AsyncOpenAI(base_url=self.url, api_key="sk-test") as client:
            asking = [client.chat.completions.create(**_request(f"{question} {n}")) for n in range(2)]
            answers = [_said(one) for one in await asyncio.gather(*asking)]
        self.served += 1
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps([*answers, shout(question)]).encode()})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        """As a WSGI application."""
        question = json.loads(environ["wsgi.input"].read())["q"]
        with openai.OpenAI(base_url=self.url, api_key="sk-test") as client:
            answer = _said(client.chat.completions.create(**_request(question)))
        self.served += 1
        start_response("200 OK", [("content-type", "application/json")])
        return [json.dumps([answer, shout(question)]).encode()]


def _request(question: str) -> Any:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": question}]}


def _said(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def _names(tape: Tape) -> list[tuple[str, bool]]:
    """Each step's name, and whether it was made within another."""
    return sorted((step.name, step.within is not None) for step in tape.steps)


def held(run: Callable[[], Any], server: ProviderServer, last_tape: Callable[[], Tape]) -> Tape:
    """Record, stop the provider, replay; the recording. Both give the same."""
    with rashomon.trace("apps"):
        recorded = run()
    server.stop()
    original = last_tape()
    with rashomon.replay(original) as replaying:
        assert run() == recorded
    replaying.check()
    assert _names(last_tape()) == _names(original)
    return original


def asked(module: ModuleType, transport: Any, path: str = "/ask") -> Any:
    """What an application answers to two questions at once."""

    async def ask() -> list[Any]:
        async with module.AsyncClient(transport=transport, base_url="http://app") as client:
            answers = await asyncio.gather(*[client.post(path, json={"q": q}) for q in ("one", "two")])
        return [answer.json() for answer in answers]

    return asyncio.run(ask())


@MODULES
@pytest.mark.parametrize("path", ["/ask", "/chats/7/messages"])
def test_what_an_application_calls_is_recorded(
    module: ModuleType, path: str, home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """Its models and tools are the steps, and not the call of it, whatever its path is called; it runs in a replay."""
    agent = Agent(server)
    tape = held(lambda: asked(module, module.ASGITransport(app=agent.asgi), path), server, last_tape)
    assert _names(tape) == [("chat.completions", False)] * 4 + [("shout", False)] * 2
    assert agent.served == 4


@MODULES
def test_a_wsgi_application(
    module: ModuleType, home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """The same for a blocking client."""
    agent = Agent(server)

    def run() -> Any:
        with module.Client(transport=module.WSGITransport(app=agent.wsgi), base_url="http://app") as client:
            return client.post("/ask", json={"q": "one"}).json()

    tape = held(run, server, last_tape)
    assert _names(tape) == [("chat.completions", False), ("shout", False)]
    assert agent.served == 2


def test_a_transport_that_wraps_one(home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """A transport of the program's own around an application's leads to the same application."""

    class Retrying(httpx2.AsyncBaseTransport):
        def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
            self.inner = inner

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            answer: httpx2.Response = await self.inner.handle_async_request(request)
            return answer

    agent = Agent(server)
    tape = held(lambda: asked(httpx2, Retrying(Retrying(httpx2.ASGITransport(app=agent.asgi)))), server, last_tape)
    assert len(tape.steps) == 6


def test_what_may_leave_the_process_is_a_step(
    home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """A transport that chooses between an application and the network, and one that only pretends, are recorded."""

    class Choosing(httpx2.AsyncBaseTransport):
        def __init__(self) -> None:
            self.app, self.network = httpx2.ASGITransport(app=Agent(server).asgi), httpx2.AsyncHTTPTransport()

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            return await self.network.handle_async_request(request)

    def pretending(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=[])

    async def look(transport: Any, url: str) -> None:
        async with httpx2.AsyncClient(transport=transport) as client:
            await client.get(url)

    for transport, url in ((Choosing(), server.url), (httpx2.MockTransport(pretending), "http://app/")):
        with rashomon.trace("apps"):
            asyncio.run(look(transport, url))
        assert len(last_tape().steps) == 1


def test_a_test_client_is_known_by_its_name(home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """Starlette's and Litestar's test clients have transports of their own, which are called so."""
    agent = Agent(server)

    class _TestClientTransport(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            answer: httpx2.Response = httpx2.WSGITransport(app=agent.wsgi).handle_request(request)
            return answer

    def run() -> Any:
        with httpx2.Client(transport=_TestClientTransport()) as client:
            return client.post("http://app/ask", json={"q": "one"}).json()

    assert _names(held(run, server, last_tape)) == [("chat.completions", False), ("shout", False)]


def test_an_sdk_that_calls_a_model_through_an_application(
    home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """It stands before a provider: a step, answered from the tape in a replay; what it called is within it."""
    upstream, served = server.openai_url, []

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        question = json.loads((await receive())["body"])["messages"][0]["content"]
        async with openai.AsyncOpenAI(base_url=upstream, api_key="sk-test") as client:
            asking = [asyncio.create_task(client.chat.completions.create(**_request(f"{question}?"))) for _ in "ab"]
            answers = [await one for one in asking]
        served.append(question)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answers[0].model_dump_json().encode()})

    def run() -> list[str]:
        async def ask() -> list[str]:
            through = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=gateway))
            async with openai.AsyncOpenAI(base_url="http://gateway/v1", api_key="sk-x", http_client=through) as client:
                first = [client.chat.completions.create(**_request(f"question {n}")) for n in range(2)]
                answers = await asyncio.gather(*first)
            async with openai.AsyncOpenAI(base_url=upstream, api_key="sk-test") as client:
                after = asyncio.create_task(client.chat.completions.create(**_request("after")))
                return [_said(one) for one in (*answers, await after)]

        return asyncio.run(ask())

    with rashomon.trace("apps"):
        recorded = run()
    server.stop()
    original = last_tape()
    assert _names(original) == [("chat.completions", False)] * 3 + [("chat.completions", True)] * 4
    assert {step.kind for step in original.steps} == {Kind.LLM}
    with rashomon.replay(original) as replaying:
        assert run() == recorded
    replaying.check()
    assert (len(served), len(last_tape().steps)) == (2, 3)


WRAPPED = """
import httpx2
from rashomon.recorders import httpx_shim
for transport in (httpx2.WSGITransport(app=print), httpx2.HTTPTransport()):
    client = httpx2.Client(transport=transport)
    httpx_shim.wrap_client(client)
    print(type(client._transport_for_url(httpx2.URL("http://app"))).__name__)
"""


def test_a_client_that_is_wrapped_by_itself() -> None:
    """Without `install()`, in a process of its own: the two kinds of transports are told apart, too."""
    done = subprocess.run([sys.executable, "-c", WRAPPED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["_SyncAppTransport", "_SyncTransport"]
