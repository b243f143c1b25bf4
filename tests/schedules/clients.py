"""The clients that the programs use: real SDKs and HTTP libraries, made on first use, and tools."""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import rashomon

if TYPE_CHECKING:  # at run time each is loaded by the first leaf that needs it: all of them take two seconds
    import aiohttp
    import anthropic
    import openai

KEY = "sk-test-0123456789abcdef"
MODEL = "gpt-4o-mini"
_results = count()
bodies_run: Counter[str] = Counter()
"""How often the body of each tool ran in this process; a replay must not run any."""


def chat_of(asks: str, **more: Any) -> dict[str, Any]:
    """The arguments of a chat completion."""
    return {"model": MODEL, "messages": [{"role": "user", "content": asks}], **more}


def message_of(asks: str) -> dict[str, Any]:
    """The arguments of an Anthropic message."""
    return {"model": "claude-sonnet-5", "max_tokens": 200, "messages": [{"role": "user", "content": asks}]}


def things_url(base: str, asks: str) -> str:
    """The address of a plain HTTP resource."""
    return f"{base}/things/it?q={quote(asks)}"


def load(kinds: frozenset[str], libraries: frozenset[str]) -> None:
    """Import what these kinds of leaves need, before there are threads.

    The openai SDK's modules import each other, and two threads that begin with different ones may wait for each other
    for ever, or meet half a module: that is Python's import system, and nothing to be tested here.
    """

    if "message" in kinds:
        import anthropic.resources.messages  # noqa: F401
    for library in libraries:
        importlib.import_module(library)


class Clients:
    """Blocking clients, shared by all threads of a program, as their documentation allows.

    None verifies certificates, of which there are none here: loading those to verify with takes longer than a program.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @functools.cached_property
    def openai(self) -> openai.OpenAI:
        """The openai SDK."""
        import openai

        http = openai.DefaultHttpxClient(verify=False, trust_env=False)
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEY, http_client=http)

    @functools.cached_property
    def anthropic(self) -> anthropic.Anthropic:
        """The anthropic SDK."""
        import anthropic

        http = anthropic.DefaultHttpxClient(verify=False, trust_env=False)
        return anthropic.Anthropic(base_url=self.url, api_key=KEY, http_client=http)

    def get(self, library: str, asks: str) -> str:
        """The body of a GET, by one of the libraries."""
        url = things_url(self.url, asks)
        if library == "requests":
            import requests

            with requests.Session() as session:
                session.trust_env = False
                return session.get(url).text
        if library == "urllib.request":
            import urllib.request

            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url) as answer:
                return str(answer.read(), "utf-8")
        module = importlib.import_module(library)
        with module.Client(verify=False, trust_env=False) as client:
            text: str = client.get(url).text
            return text

    def close(self) -> None:
        """Close what was made."""
        for name in ("openai", "anthropic"):
            if name in self.__dict__:
                self.__dict__[name].close()


class LoopClients:
    """The clients of one event loop."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session: aiohttp.ClientSession | None = None

    @functools.cached_property
    def openai(self) -> openai.AsyncOpenAI:
        """The openai SDK."""
        import openai

        http = openai.DefaultAsyncHttpxClient(verify=False, trust_env=False)
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=KEY, http_client=http)

    @functools.cached_property
    def anthropic(self) -> anthropic.AsyncAnthropic:
        """The anthropic SDK."""
        import anthropic

        http = anthropic.DefaultAsyncHttpxClient(verify=False, trust_env=False)
        return anthropic.AsyncAnthropic(base_url=self.url, api_key=KEY, http_client=http)

    async def get(self, library: str, asks: str) -> str:
        """The body of a GET, by one of the libraries."""
        url = things_url(self.url, asks)
        if library == "aiohttp":
            import aiohttp

            self._session = self._session or aiohttp.ClientSession()
            async with self._session.get(url) as answer:
                return await answer.text()
        module = importlib.import_module(library)
        async with module.AsyncClient(verify=False, trust_env=False) as client:
            text: str = (await client.get(url)).text
            return text

    async def close(self) -> None:
        """Close what was made."""
        if self._session is not None:
            await self._session.close()
        for name in ("openai", "anthropic"):
            if name in self.__dict__:
                await self.__dict__[name].close()


class NotFound(Exception):
    """What a tool of the programs raises."""


def _result(tool: str, asks: str) -> str:
    """What no run of a tool returned before."""
    bodies_run[tool] += 1
    return f"{tool} {asks} #{os.getpid()}-{next(_results)}"


@rashomon.tool
def look_up(asks: str, fails: bool) -> str:
    """A tool that returns at once, or raises."""
    if fails:
        raise NotFound(_result("look_up", asks))
    return _result("look_up", asks)


@rashomon.tool
def list_pages(asks: str, fails: bool) -> Iterator[str]:
    """A tool that is a generator; it may raise in the middle."""
    for page in range(3):
        if fails and page == 2:
            raise NotFound(_result("list_pages", asks))
        yield _result("list_pages", f"{asks} {page}")


@rashomon.tool
async def fetch(asks: str, fails: bool) -> str:
    """A tool that waits."""
    await asyncio.sleep(0.001)
    if fails:
        raise NotFound(_result("fetch", asks))
    return _result("fetch", asks)


@rashomon.tool
async def follow(asks: str, fails: bool) -> AsyncIterator[str]:
    """A tool that is an async generator; it may raise in the middle."""
    for page in range(3):
        await asyncio.sleep(0 if page % 2 else 0.001)
        if fails and page == 2:
            raise NotFound(_result("follow", asks))
        yield _result("follow", f"{asks} {page}")
