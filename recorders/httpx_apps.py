"""Clients that call an application of the program's own: ASGI, WSGI, and what test clients stand on.

Nothing leaves the process there, so such a call is no step: the application runs again in a replay, and the calls that
it makes are steps like any other. Where an SDK calls a model through it, it stands for a provider, or before one: that
is a step, and what happens inside it is recorded as part of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, TypeVar

from rashomon.boundary import inside
from rashomon.model import Kind
from rashomon.recorders import lanes
from rashomon.recorders.endpoints import classify

T = TypeVar("T")
_NAMES = ("ASGITransport", "WSGITransport")
_TEST_CLIENTS = "TestClientTransport"
"""How the classes of Starlette's and Litestar's test clients end."""
_DEPTH = 3
_BY_SDK = "x-stainless-lang"
"""A header that the SDKs of OpenAI and Anthropic send, and no client of an application's own."""


class Apps:
    """How a transport of one of the two modules is known for one that calls an application."""

    def __init__(self, module: ModuleType) -> None:
        self._apps = tuple(getattr(module, name) for name in _NAMES if hasattr(module, name))
        self._bases = (module.BaseTransport, module.AsyncBaseTransport)

    def reached_by(self, transport: Any, depth: int = 0) -> bool:
        """Whether all that goes through a transport ends at an application; one may wrap others."""
        if isinstance(transport, self._apps) or type(transport).__name__.endswith(_TEST_CLIENTS):
            return True
        if depth == _DEPTH:
            return False
        wrapped = [one for one in getattr(transport, "__dict__", {}).values() if isinstance(one, self._bases)]
        return bool(wrapped) and all(self.reached_by(one, depth + 1) for one in wrapped)


def is_step(request: Any) -> bool:
    """Whether a request to an application is a call of a model."""
    if _BY_SDK not in request.headers:
        return False
    kind, _ = classify(request.method, request.url.raw_path.decode("ascii", "replace"))
    return kind is Kind.LLM


def enclosing(live: Callable[[], T]) -> Callable[[], T]:
    """A call within which others are recorded, on a line of their own: see `lanes.inner`."""
    line = lanes.spawn()

    def run() -> T:
        _open()
        with lanes.inner(line):
            return live()

    return run


def enclosing_async(live: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """The same, where it is awaited."""
    line = lanes.spawn()

    async def run() -> T:
        _open()
        with lanes.inner(line):
            return await live()

    return run


def _open() -> None:
    witness: Any = inside.get()
    if witness is not None:
        witness.leaf = False
