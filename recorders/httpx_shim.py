"""The shim for `httpx` and `httpx2`, sync and async; the openai and anthropic SDKs stand on them.

A client asks `_transport_for_url` for a transport each time it sends; there we hand out one that
crosses the boundary. So clients made before installation are caught, custom transports too, and the
SDK rebuilds its own objects from the recorded bytes.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

from rashomon import values
from rashomon.boundary import (
    Pace,
    Witness,
    blocking_place,
    completed,
    cross,
    cross_async,
    end_of,
    guard_here,
    handed_out,
    inside,
    place_now,
    told,
)
from rashomon.boundary import threads as _threads
from rashomon.errors import Missed
from rashomon.model import Call, End, Event, Head, Kind, Request, Response
from rashomon.recorders import lanes
from rashomon.recorders.endpoints import classify

_UNFINISHED = {
    End.CLOSED: "the recorded program stopped reading it there",
    End.CANCELLED: "the recorded call was cancelled there",
    End.LEAKED: "the recorded program dropped it there",
    End.OPEN: "the recorded process was killed there",
}


def ran_out(response: Response) -> Missed:
    """What a program gets that reads on where the recording ends."""
    size = sum(len(piece.data) for piece in response.pieces)
    why = _UNFINISHED.get(response.end, "nothing more was recorded")
    return Missed(f"The tape holds {size} bytes of this answer and the program asks for more: {why}.")


def recorded_failure(response: Response) -> BaseException:
    """The exception that the recorded call ended with; `Missed` when this program does not know its class.

    `Missed` and no plain exception: an SDK would take that for a failed connection, and try again.
    """
    if response.failure is None:
        return ran_out(response)
    try:
        return values.decode_failure(response.failure)
    except values.NotRebuildable as gone:
        return Missed(f"The recorded failure of this call cannot be raised again: {gone}.")


class _Shim:
    """What the classes below need of one of the two modules."""

    def __init__(self, module: ModuleType) -> None:
        self.response: Any = module.Response
        self.known: dict[tuple[str, bytes], tuple[Kind, str]] = {}
        self.sync_stream, self.async_stream = _stream_classes(module)

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
        return Call(kind, name, Request({"method": method, "url": str(url), "headers": request.headers.raw}, body))

    def begin(self, answer: Any, witness: Witness) -> None:
        """Report the head of a live answer."""
        extensions = answer.extensions
        witness.began(
            {
                "status": answer.status_code,
                "headers": answer.headers.raw,
                "reason": extensions.get("reason_phrase", b"").decode("latin-1"),
                "http_version": extensions.get("http_version", b"HTTP/1.1").decode("latin-1"),
            }
        )

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
        self.shim.begin(answer, witness)
        if not _read_already(answer, witness):
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


def _read_already(answer: Any, witness: Witness) -> bool:
    """A custom transport may return a response that holds its content; nobody will read its stream."""
    if not hasattr(answer, "_content"):
        return False
    stream = answer.stream
    witness.piece(b"".join(stream) if hasattr(stream, "__iter__") else answer.content)
    witness.ended(End.COMPLETE)
    return True


def _stream_classes(module: ModuleType) -> tuple[Any, Any]:
    """The two stream classes, made once for each module: a client checks for its own base classes."""
    return (
        type("SyncTee", (_SyncTee, module.SyncByteStream), {}),
        type("AsyncTee", (_AsyncTee, module.AsyncByteStream), {}),
    )


class _SyncTee:
    """Reports what passes: from the wire, or from the tape."""

    def __init__(self, witness: Witness, inner: Any, recorded: Response | None) -> None:
        self._witness, self._inner = witness, inner
        # one iterator for good: who reads on by iterating anew gets what is left, as from a connection
        self._recorded = None if recorded is None else _recorded(recorded, witness.pace)

    def __iter__(self) -> Iterator[bytes]:
        witness = self._witness
        report = witness.piece
        live = self._recorded is None
        number = 0
        try:
            for chunk in self._inner if self._recorded is None else self._recorded:
                if live and len(_threads) > 1:
                    witness.at(Event.PIECE, number, blocking_place())
                    number += 1
                report(chunk)
                yield chunk
        except GeneratorExit:
            witness.ended(End.CLOSED)
            raise
        except BaseException as error:
            if live:
                completed(witness, Event.END)
            witness.ended(end_of(error), error)
            raise
        if live and len(_threads) > 1:
            completed(witness, Event.END)
        witness.ended(End.COMPLETE)

    def close(self) -> None:
        try:
            if self._inner is not None:
                self._inner.close()
        finally:
            self._witness.ended(End.CLOSED)


def _recorded(response: Response, pace: Pace | None) -> Iterator[bytes]:
    for number, piece in enumerate(response.pieces):
        if pace is not None:
            pace.wait(Event.PIECE, number)
        yield piece.data
    if pace is not None:
        pace.wait(Event.END)
    if response.failure is not None and response.end is End.ERROR:
        raise recorded_failure(response)
    if response.end is not End.COMPLETE:
        raise ran_out(response)


class _AsyncTee:
    """The same, for an async client. It goes on where a replay can: see `boundary.handed_out`."""

    def __init__(self, witness: Witness, inner: Any, recorded: Response | None) -> None:
        self._witness, self._inner, self._closings = witness, inner, 0
        # one iterator for good, as above
        self._chunks = aiter(inner) if recorded is None else _recorded_async(recorded, witness.pace)
        self._live = recorded is None
        self._number = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        witness, chunks, live = self._witness, self._chunks, self._live
        report = witness.piece
        while True:
            before = place_now() if live else None
            token = inside.set(witness) if live else None
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                _leave(token)
                settling = handed_out(witness, Event.END, 0, before) if live else None
                witness.ended(End.COMPLETE)
                if settling is not None:
                    await settling
                return
            except BaseException as error:
                _leave(token)
                if live:
                    await told(witness, error, before)
                else:
                    witness.ended(end_of(error), error)
                raise
            _leave(token)
            settling = handed_out(witness, Event.PIECE, self._number, before) if live else None
            self._number += 1
            report(chunk)
            try:
                if settling is not None:
                    await settling
                yield chunk
            except GeneratorExit:
                witness.ended(End.CLOSED)
                raise
            except BaseException as error:
                witness.ended(end_of(error), error)
                raise

    async def aclose(self) -> None:
        pace, number = self._witness.pace, self._closings
        self._closings += 1
        try:
            if self._inner is not None:
                await self._close_live(number)
            elif pace is not None and not lanes.is_quiet():
                await _close_recorded(pace, number)
        finally:
            self._witness.ended(End.CLOSED)

    async def _close_live(self, number: int) -> None:
        if lanes.is_quiet():  # the garbage collector's doing: when it comes says nothing about the program
            await self._inner.aclose()
            return
        before = place_now()
        token = inside.set(self._witness)
        try:
            await self._inner.aclose()
        except BaseException:
            _leave(token)
            settling = handed_out(self._witness, Event.CLOSE, number, before)
            if settling is not None:
                await settling
            raise
        _leave(token)
        settling = handed_out(self._witness, Event.CLOSE, number, before)
        if settling is not None:
            await settling


def _leave(token: Any) -> None:
    """What follows is the program's own again: it may run in another context, when a generator is closed late."""
    if token is not None:
        try:
            inside.reset(token)
        except ValueError:
            inside.set(None)


async def _close_recorded(pace: Pace, number: int) -> None:
    settling = pace.settle(Event.CLOSE, number)
    if settling is not None:
        try:
            await settling
        except BaseException:
            settling = pace.settle(Event.CLOSE, number)  # what closing did when it was cancelled took its time
            if settling is not None:
                await settling
            raise


async def _recorded_async(response: Response, pace: Pace | None) -> AsyncIterator[bytes]:
    for number, piece in enumerate(response.pieces):
        settling = None if pace is None else pace.settle(Event.PIECE, number)
        if settling is not None:
            await settling
        yield piece.data
    if pace is not None and response.end is End.CANCELLED:
        await pace.cancelled()
    settling = None if pace is None else pace.settle(Event.END)
    if settling is not None:
        await settling
    if response.failure is not None and response.end is End.ERROR:
        raise recorded_failure(response)
    if response.end is not End.COMPLETE:
        raise ran_out(response)


def _describe(shim: _Shim, request: Any, body: bytes) -> Call | None:
    """The call, or None when it cannot be described and may be made all the same."""
    try:
        return shim.call(request, body)
    except Exception as error:  # a request of a shape that we do not know
        guard = guard_here()
        if guard is not None:
            guard.failed(error)
        return None


class _SyncTransport:
    """A transport for one request."""

    __slots__ = ("_codec", "_shim", "_transport")

    def __init__(self, shim: _Shim, codec: _Codec, transport: Any) -> None:
        self._shim, self._codec, self._transport = shim, codec, transport

    def handle_request(self, request: Any) -> Any:
        body = request.read()
        call = _describe(self._shim, request, body)
        if call is None:
            return self._transport.handle_request(request)
        return cross(call, lambda: self._transport.handle_request(request), self._codec)


class _AsyncTransport:
    """The same, for an async client."""

    __slots__ = ("_codec", "_shim", "_transport")

    def __init__(self, shim: _Shim, codec: _Codec, transport: Any) -> None:
        self._shim, self._codec, self._transport = shim, codec, transport

    async def handle_async_request(self, request: Any) -> Any:
        body = await request.aread()
        call = _describe(self._shim, request, body)
        if call is None:
            return await self._transport.handle_async_request(request)
        return await cross_async(call, lambda: self._transport.handle_async_request(request), self._codec)


_shims: dict[str, _Shim] = {}


def _shim_for(module: ModuleType) -> _Shim:
    shim = _shims.get(module.__name__)
    if shim is None:
        shim = _shims[module.__name__] = _Shim(module)
    return shim


def patch(module: ModuleType) -> None:
    """Let every client of `httpx` or `httpx2` cross the boundary."""
    shim = _shim_for(module)
    _patch_class(module.Client, shim, _SyncTransport, _Codec(shim, shim.sync_stream))
    _patch_class(module.AsyncClient, shim, _AsyncTransport, _Codec(shim, shim.async_stream))
    _patch_closing(module.AsyncHTTPTransport)


def _patch_closing(cls: Any) -> None:
    """Let asyncio's clients close their connections at a place that a replay finds again."""
    if hasattr(cls.aclose, "__wrapped__"):
        return
    cls.aclose = _closes(cls.aclose)
    cls.__aexit__ = _closes(cls.__aexit__)


def _closes(original: Any) -> Any:
    @functools.wraps(original)
    async def close(self: Any, *args: Any) -> Any:
        loops = sys.modules.get("rashomon.recorders.loops")
        if loops is None:
            return await original(self, *args)
        return await loops.closing(lambda: original(self, *args))

    return close


def _patch_class(cls: Any, shim: _Shim, transport_class: Any, codec: Any) -> None:
    original = cls._transport_for_url
    if hasattr(original, "__rashomon__"):
        return

    def _transport_for_url(self: Any, url: Any) -> Any:
        transport = original(self, url)
        return transport if guard_here() is None else transport_class(shim, codec, transport)

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
        transport_class: Any = _AsyncTransport if asynchronous else _SyncTransport
        codec = _Codec(shim, shim.async_stream if asynchronous else shim.sync_stream)
        inner._transport_for_url = lambda url: transport_class(shim, codec, original(inner, url))
    return True
