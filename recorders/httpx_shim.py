"""The shim for `httpx` and `httpx2`, sync and async; the openai and anthropic SDKs stand on them.

A client asks `_transport_for_url` for a transport each time it sends; there we hand out one that
crosses the boundary. So clients made before installation are caught, custom transports too, and the
SDK rebuilds its own objects from the recorded bytes.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from rashomon import boundary
from rashomon.boundary import Scribe, Witness, cross, cross_async, end_of, guard_here, make, make_async, sent
from rashomon.model import Call, End, Head, Kind, Request, Response
from rashomon.recorders.endpoints import classify
from rashomon.recorders.httpx_apps import Apps, enclosing, enclosing_async, is_step
from rashomon.recorders.httpx_streams import recorded_failure, stream_classes


class _Shim:
    """What the classes below need of one of the two modules."""

    def __init__(self, module: ModuleType) -> None:
        self.response: Any = module.Response
        self.known: dict[tuple[str, bytes], tuple[Kind, str]] = {}
        self.sync_stream, self.async_stream = stream_classes(module)
        self.plain_body: Any = module.ByteStream
        self.told_body = type("ByteStream", (_ToldBody, module.ByteStream), {})
        self.transports = (module.HTTPTransport, module.AsyncHTTPTransport)
        self.apps = Apps(module)

    def call(self, request: Any, body: bytes) -> Call:
        url = request.url
        method = request.method
        key = (method, url.raw_path)
        known = self.known.get(key)
        if known is None:
            known = classify(method, url.raw_path.decode("ascii", "replace"))
            if len(self.known) < 1000:
                self.known[key] = known
        kind, name = known
        head = {"method": method, "url": str(url), "headers": request.headers.raw}
        return Call(kind, name, Request(head, body))

    def rebuild(self, head: Head, stream: Any) -> Any:
        """A recorded answer as the module's own response."""
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head["headers"]]
        extensions = {
            "http_version": head.get("http_version", "HTTP/1.1").encode("latin-1"),
            "reason_phrase": head.get("reason", "").encode("latin-1"),
        }
        return self.response(head["status"], headers=headers, stream=stream, extensions=extensions)


class _Codec:
    """Answers of one of the two modules, blocking or not: `stream` is the class of their streams."""

    def __init__(self, shim: _Shim, stream: Any) -> None:
        self.shim, self.stream = shim, stream

    def tee(self, answer: Any, witness: Witness) -> Any:
        extensions = answer.extensions
        witness.began(
            {
                "status": answer.status_code,
                "headers": answer.headers.raw,
                "reason": extensions.get("reason_phrase", b"").decode("latin-1"),
                "http_version": extensions.get("http_version", b"HTTP/1.1").decode("latin-1"),
            }
        )
        if hasattr(answer, "_content"):
            _read_already(answer, witness)
        else:
            answer.stream = self.stream(witness, answer.stream, None)
        return answer

    def play(self, response: Response, witness: Witness) -> Any:
        if response.head is None:
            error = recorded_failure(response)
            witness.ended(end_of(error), error)
            raise error
        witness.began(response.head)
        return self.shim.rebuild(response.head, self.stream(witness, None, response))

    async def discard(self, answer: Any) -> None:
        try:
            await answer.aclose()
        except Exception:
            pass  # its connection is gone: there is nothing left to release


def _read_already(answer: Any, witness: Witness) -> None:
    """A custom transport may return a response that holds its content; nobody will read its stream."""
    stream = answer.stream
    witness.piece(b"".join(stream) if hasattr(stream, "__iter__") else answer.content)
    witness.ended(End.COMPLETE)


def _describe(shim: _Shim, request: Any, body: bytes) -> Call | None:
    """The call, or None when it cannot be described and may be made all the same."""
    try:
        return shim.call(request, body)
    except Exception as error:  # a request of a shape that we do not know
        guard = guard_here()
        if guard is not None:
            guard.failed(error)
        return None


class _ToldBody:
    """The body of a request: says when it has been taken, for then the request is on its way."""

    def __init__(self, body: bytes) -> None:
        self._stream = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._stream
        sent()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._stream
        sent()


class _Transport:
    """What both have in common: a transport for one request, and the call that it makes.

    `scribe` takes a call that is described later; only the module's own transports say when.
    """

    __slots__ = ("_body", "_codec", "_request", "_scribe", "_shim", "_transport")

    def __init__(self, shim: _Shim, codec: _Codec, transport: Any, scribe: Scribe | None = None) -> None:
        self._shim, self._codec, self._transport, self._scribe = shim, codec, transport, scribe

    def _tells(self, request: Any, body: bytes) -> bool:
        """Whether the request will say when it has gone out."""
        self._request, self._body = request, body
        shim = self._shim
        stream = type(request.stream)
        if stream is shim.plain_body:
            request.stream = shim.told_body(body)
            return True
        return stream is shim.told_body  # it is sent once more

    def describe(self) -> Call:
        return self._shim.call(self._request, self._body)


class _SyncTransport(_Transport):
    """A transport for one request."""

    __slots__ = ()

    def handle_request(self, request: Any) -> Any:
        body = request.read()
        scribe = self._scribe
        live = partial(self._transport.handle_request, request)
        if scribe is not None and self._tells(request, body):
            return make(scribe, scribe.put_off(self), live, self._codec)
        call = _describe(self._shim, request, body)
        return live() if call is None else cross(call, live, self._codec)


class _AsyncTransport(_Transport):
    """The same, for an async client."""

    __slots__ = ()

    async def handle_async_request(self, request: Any) -> Any:
        body = await request.aread()
        scribe = self._scribe
        live = partial(self._transport.handle_async_request, request)
        if scribe is not None and self._tells(request, body):
            return await make_async(scribe, scribe.put_off(self), live, self._codec)
        call = _describe(self._shim, request, body)
        return await (live() if call is None else cross_async(call, live, self._codec))


class _SyncAppTransport(_Transport):
    """A transport to an application of the program's own: `rashomon.recorders.httpx_apps`."""

    __slots__ = ()

    def handle_request(self, request: Any) -> Any:
        live = partial(self._transport.handle_request, request)
        if not is_step(request):
            return live()
        call = _describe(self._shim, request, request.read())
        return live() if call is None else cross(call, enclosing(live), self._codec)


class _AsyncAppTransport(_Transport):
    """The same, for an async client."""

    __slots__ = ()

    async def handle_async_request(self, request: Any) -> Any:
        live = partial(self._transport.handle_async_request, request)
        if not is_step(request):
            return await live()
        call = _describe(self._shim, request, await request.aread())
        return await (live() if call is None else cross_async(call, enclosing_async(live), self._codec))


_shims: dict[str, _Shim] = {}


def _shim_for(module: ModuleType) -> _Shim:
    shim = _shims.get(module.__name__)
    if shim is None:
        shim = _shims[module.__name__] = _Shim(module)
    return shim


def patch(module: ModuleType) -> None:
    """Let every client of `httpx` or `httpx2` cross the boundary."""
    shim = _shim_for(module)
    _patch_class(module.Client, shim, _SYNC, _Codec(shim, shim.sync_stream))
    _patch_class(module.AsyncClient, shim, _ASYNC, _Codec(shim, shim.async_stream))
    _patch_closing(module.__name__, module.AsyncHTTPTransport)
    _patch_end(module.__name__, module.AsyncClient)


def _patch_closing(kind: str, cls: Any) -> None:
    """Let asyncio's clients close their connections at a place that a replay finds again."""
    if hasattr(cls.aclose, "__wrapped__"):
        return
    cls.aclose = _closes(kind, cls.aclose)
    cls.__aexit__ = _closes(kind, cls.__aexit__)


def _patch_end(kind: str, cls: Any) -> None:
    """A client refuses requests from the moment that its closing begins: it begins where it did."""
    if not hasattr(cls.aclose, "__wrapped__"):
        cls.aclose = _ends(kind, cls.aclose)
        cls.__aexit__ = _ends(kind, cls.__aexit__)


def _ends(kind: str, original: Any) -> Any:
    @functools.wraps(original)
    async def close(self: Any, *args: Any) -> Any:
        if boundary.conductor is not None:
            from rashomon.recorders import closings

            await closings.before_closing(kind)
        return await original(self, *args)

    return close


def _closes(kind: str, original: Any) -> Any:
    @functools.wraps(original)
    async def close(self: Any, *args: Any) -> Any:
        if "rashomon.recorders.loops" not in sys.modules:
            return await original(self, *args)
        from rashomon.recorders import closings

        return await closings.closing(kind, lambda: original(self, *args))

    return close


_SYNC: Any = (_SyncTransport, _SyncAppTransport)
_ASYNC: Any = (_AsyncTransport, _AsyncAppTransport)


def _patch_class(cls: Any, shim: _Shim, classes: Any, codec: Any) -> None:
    transport_class, app_class = classes
    original = cls._transport_for_url
    if hasattr(original, "__rashomon__"):
        return

    def _transport_for_url(self: Any, url: Any) -> Any:
        transport = original(self, url)
        guard: Any = guard_here()
        if guard is None:
            return transport
        if type(transport) in shim.transports and hasattr(guard, "put_off"):
            return transport_class(shim, codec, transport, guard)
        return (app_class if shim.apps.reached_by(transport) else transport_class)(shim, codec, transport)

    _transport_for_url.__rashomon__ = True  # type: ignore[attr-defined]
    cls._transport_for_url = _transport_for_url


def wrap_client(client: Any) -> bool:
    """Record the calls of one client: an httpx client, or an SDK's that holds one as `_client`.

    Returns False when `client` is neither.
    """
    inner = client if hasattr(client, "_transport_for_url") else getattr(client, "_client", None)
    if inner is None or not hasattr(inner, "_transport_for_url"):
        return False
    roots = (cls.__module__.partition(".")[0] for cls in type(inner).__mro__)
    root = next((name for name in roots if name in ("httpx", "httpx2")), None)
    if root is None:
        return False
    original = type(inner)._transport_for_url
    if not hasattr(original, "__rashomon__"):  # else it is recorded already, as every client is
        shim = _shim_for(sys.modules[root])
        asynchronous = hasattr(inner, "aclose")
        classes = _ASYNC if asynchronous else _SYNC
        codec = _Codec(shim, shim.async_stream if asynchronous else shim.sync_stream)

        def _transport_for_url(url: Any) -> Any:
            transport = original(inner, url)
            return classes[shim.apps.reached_by(transport)](shim, codec, transport)

        inner._transport_for_url = _transport_for_url
    return True
