"""aiohttp: every request that a session sends crosses the boundary, each hop of a redirect by itself.

A client middleware of ours, the innermost one, is added to each request for as long as somebody is
watching. So aiohttp itself does everything around it, live and on a replay: redirects, history, cookies,
retries, `raise_for_status`, timeouts. A live answer's `content` is replaced by a stream that reports what
the program reads; one read is one piece. A played answer is vcrpy's stand-in for a response, given back
aiohttp's own class, over a stream that holds one piece at a time.

aiohttp decompresses bodies in its parser, so the pieces on the tape are the decoded bytes, whatever the
headers say; they are played as such. `readchunk` and `iter_chunks` say of every played piece of a chunked
answer that an HTTP chunk ends with it. WebSockets and other upgrades are not recorded; it is told that they were made.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import sys
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from types import ModuleType
from typing import Any

from rashomon import interruptions
from rashomon.boundary import (
    Pace,
    Place,
    Witness,
    cross_async,
    end_of,
    guard_here,
    handed_out,
    inside,
    leave,
    place_now,
    told,
)
from rashomon.errors import ReplayStop
from rashomon.model import Call, End, Event, Request, Response
from rashomon.recorders import closings, coverage, lanes, vcr_stubs
from rashomon.recorders.endpoints import classify
from rashomon.recorders.vcr_shim import Cassette, say_once

_Failing = Callable[[Response], BaseException]
_CHARSET = ("utf-8", "surrogateescape")  # how aiohttp reads headers
_RAN_OUT = f"{TimeoutError.__module__}:{TimeoutError.__qualname__}"
_ENDS = (asyncio.CancelledError, TimeoutError, ReplayStop)
_HOUSEKEEPING = ("close", "_close", "_close_immediately", "_release", "_cleanup", "_cleanup_closed", "_available")
_LEFT = (End.CANCELLED, End.LEAKED, End.OPEN)
"""How a call may end of which a read was cancelled: closed, dropped in a cycle, or kept until the program ends."""
_READING = ("read", "readany", "readline", "readuntil", "readexactly")
_OWN = ("_inner", "_witness", "_count", "_cut")
"""What a stream that reports has of its own: `_cut` while the last read was cancelled."""
_HANDED_ON = ("__repr__", "exception", "on_eof", "feed_eof", "feed_data", "is_eof", "at_eof", "wait_eof",
              "unread_data", "get_read_buffer_limits", "set_read_chunk_size", "begin_http_chunk_receiving",
              "end_http_chunk_receiving")  # fmt: skip


def patch(module: ModuleType) -> None:
    """Patch the sessions of `aiohttp.client`. Raises RuntimeError for aiohttp before 3.12."""
    session = module.ClientSession
    original = session._request
    if hasattr(original, "__rashomon__"):
        return
    if "middlewares" not in inspect.signature(original).parameters:
        raise RuntimeError("this aiohttp has no client middlewares; 3.12 or newer is needed")

    @functools.wraps(original)
    def _request(self: Any, method: str, str_or_url: Any, **options: Any) -> Any:
        if guard_here() is not None:
            chosen = options.get("middlewares")
            theirs = (self._middlewares if chosen is None else chosen) or ()
            options["middlewares"] = (*theirs, functools.partial(_cross, self, options.get("read_bufsize")))
        return original(self, method, str_or_url, **options)

    _request.__rashomon__ = True  # type: ignore[attr-defined]
    session._request = _request
    session.close = closings.closes("aiohttp", session.close)
    connector = sys.modules["aiohttp.connector"].BaseConnector
    for name in _HOUSEKEEPING:
        if hasattr(connector, name):
            setattr(connector, name, _aside(getattr(connector, name)))


def _aside(original: Any) -> Any:
    """A method that keeps house among real connections: a replay has none, so its tasks and timers do not count."""

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if guard_here() is None:
            return original(self, *args, **kwargs)
        with lanes.quietly():
            return original(self, *args, **kwargs)

    return method


async def _cross(session: Any, limit: int | None, request: Any, send: Callable[[Any], Awaitable[Any]]) -> Any:
    """The middleware: one hop."""
    if guard_here() is None:
        return await send(request)
    if "Upgrade" in request.headers:
        return await _upgraded(request, send)
    body = request.body
    data = await body.as_bytes() if hasattr(body, "as_bytes") else bytes(body or b"")
    try:
        call = _call(request, data)
    except Exception as error:  # recording must not break the program
        interruptions.pass_on(error)
        say_once(f"a request is not recorded: {type(error).__name__}: {error}. The program goes on.")
        return await send(request)
    return await cross_async(call, lambda: send(request), AiohttpCassette(session, request, limit))


async def _upgraded(request: Any, send: Callable[[Any], Awaitable[Any]]) -> Any:
    """A WebSocket's handshake. One that goes out over a connection that is there already must be told of as well."""
    before = frozenset(coverage.announced)
    peer = f"{request.url.host}:{request.url.port}"
    guard: Any = guard_here()
    if guard.isolates:
        coverage.reached(peer)
    answer = await send(request)
    transport = getattr(answer.connection, "transport", None)
    socket = None if transport is None else transport.get_extra_info("socket")
    used = coverage.announced if socket is None else {os.fstat(socket.fileno()).st_ino}  # None: it was refused
    if not guard.isolates and before.issuperset(used):
        coverage.reached(peer)
    return answer


def _call(request: Any, body: bytes) -> Call:
    kind, name = classify(request.method, request.url.raw_path)
    headers = [[str(key), str(value)] for key, value in request.headers.items()]
    head = {"method": request.method, "url": str(request.url), "headers": headers}
    return Call(kind, name, Request(head, body))


class AiohttpCassette(Cassette):
    """Keeps or plays the answer to one hop."""

    __slots__ = ("_limit", "_request", "_session")

    def __init__(self, session: Any, request: Any, limit: int | None) -> None:
        self._session, self._request, self._limit = session, request, limit or session._read_bufsize

    def keep(self, answer: Any, witness: Witness) -> Any:
        version = answer.version
        raw = answer.raw_headers
        witness.began(
            {
                "status": answer.status,
                "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in raw],
                "reason": answer.reason or "",
                "http_version": f"HTTP/{version.major}.{version.minor}" if version else "HTTP/1.1",
            }
        )
        _watch(answer, witness)
        return answer

    def rebuild(self, response: Response, witness: Witness) -> Any:
        request, session, head = self._request, self._session, response.head or {}
        answer = _stubs().MockClientResponse(request.method, request.original_url, request_info=request.request_info)
        answer.__class__ = request.response_class or sys.modules["aiohttp"].ClientResponse
        answer._traces, answer._session = request._traces, session
        answer._resolve_charset, answer._closed = session._resolve_charset, False
        _fill_head(answer, head)
        chunked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
        paced = witness.pace is not None
        answer.content = _tape_stream()(response, self.failure, chunked, self._limit, paced)
        answer.content.on_eof(answer._response_eof)
        _watch(answer, witness)
        return answer

    def limits(self, response: Response) -> Any:
        """aiohttp's total limit cancels the task, and makes a TimeoutError of that where it waits for the head."""
        ran_out = response.failure is not None and response.failure.type == _RAN_OUT
        return self._request._timer if ran_out else contextlib.nullcontext()

    def repair(self, error: BaseException) -> None:
        state = vars(error)
        cause = state.get("_os_error")
        if isinstance(error, OSError) and isinstance(cause, OSError):
            error.errno, error.strerror = cause.errno, cause.strerror
        if "_conn_key" in state:
            state["_conn_key"] = self._request.connection_key
        if isinstance(error, sys.modules["aiohttp"].ClientResponseError):
            state.setdefault("request_info", self._request.request_info)
            state.setdefault("history", ())


def _fill_head(answer: Any, head: dict[str, Any]) -> None:
    """What aiohttp's `ClientResponse.start` takes from the parsed head."""
    from aiohttp import HttpVersion
    from multidict import CIMultiDict, CIMultiDictProxy

    major, _, minor = head.get("http_version", "HTTP/1.1").removeprefix("HTTP/").partition(".")
    raw = tuple((str(name).encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
                for name, value in head["headers"])  # fmt: skip
    known = _header_names()
    pairs = [(known.get(name.lower()) or name.decode(*_CHARSET), value.decode(*_CHARSET)) for name, value in raw]
    answer.version = HttpVersion(int(major), int(minor or 0))
    answer.status, answer.reason = head["status"], head.get("reason", "")
    answer._headers, answer._raw_headers = CIMultiDictProxy(CIMultiDict(pairs)), raw
    cookies = answer._headers.getall("Set-Cookie", ())
    if cookies:
        answer._raw_cookie_headers = tuple(cookies)


@functools.cache
def _header_names() -> dict[bytes, str]:
    """The names that aiohttp's compiled parser writes in its own case; the one in Python does not."""
    from aiohttp import hdrs, http_parser
    from multidict import istr

    if http_parser.HttpResponseParser is http_parser.HttpResponseParserPy:
        return {}
    return {name.lower().encode(): name for name in vars(hdrs).values() if isinstance(name, istr)}


def _watch(answer: Any, witness: Witness) -> None:
    content = answer.content
    if content.at_eof():  # there is no body
        witness.ended(End.COMPLETE)
    else:
        answer.content = _tee_stream()(content, witness)


class _Teeing:
    """Reads from another stream and reports it. What is not about reading is the other's."""

    __slots__ = ()

    def __init__(self: Any, inner: Any, witness: Witness) -> None:
        self._inner, self._witness, self._count, self._cut = inner, witness, 0, False

    def __getattr__(self: Any, name: str) -> Any:  # the slots of aiohttp's class are empty
        if name in _OWN:
            raise AttributeError(name)
        return getattr(self._inner, name)

    def set_exception(self: Any, exc: Any, *args: Any, **kwargs: Any) -> None:
        """The response is released or closed before its end."""
        self._inner.set_exception(exc, *args, **kwargs)
        self._witness.ended(End.CANCELLED if self._cut else End.CLOSED)

    def __del__(self: Any) -> None:
        if getattr(self, "_cut", False):  # nobody closed it, and nobody reads on
            self._witness.ended(End.CANCELLED)

    async def readchunk(self: Any) -> Any:
        return await _report(self, self._inner.readchunk(), lambda found: found[0])

    def read_nowait(self: Any, n: int = -1) -> bytes:
        data: bytes = self._inner.read_nowait(n)
        _passed(self, data)
        return data


async def _report(stream: Any, reading: Coroutine[Any, Any, Any], data_of: Callable[[Any], bytes]) -> Any:
    """One read: told to the witness, and gone on with where a replay can. Who is cancelled in it may read on."""
    pace = stream._witness.pace
    if pace is not None:
        settling = _next_of(stream._inner, pace, stream._count)
        if settling is not None:
            try:
                await settling
            except asyncio.CancelledError:
                reading.close()
                stream._cut = True
                raise
            except BaseException as error:
                reading.close()
                stream._witness.ended(end_of(error), error)
                raise
    # what comes right after a read that was cancelled was waited for there: it has its own place in the order
    before = None if stream._cut else place_now()
    try:
        found = await _left(reading, inside.set(stream._witness))
    except asyncio.IncompleteReadError as error:
        await _got(stream, error.partial, before)
        raise
    except asyncio.CancelledError:
        stream._cut = True
        raise
    except BaseException as error:  # a line that is too long, for one, is not the stream's end
        if error is stream._inner.exception() or isinstance(error, _ENDS):
            await told(stream._witness, error, before)
        raise
    await _got(stream, data_of(found), before)
    return found


async def _got(stream: Any, data: bytes, before: Place | None) -> None:
    """What was read. Who is cancelled as it comes finds it there with the next read."""
    if stream._witness.pace is None:
        event, number = (Event.PIECE, stream._count) if data else (Event.END, 0)
        settling = handed_out(stream._witness, event, number, before)
        if settling is not None:
            try:
                await settling
            except BaseException:
                stream._cut = True
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # aiohttp would rather not have it used, and has nothing else
                    stream._inner.unread_data(data)
                raise
    _passed(stream, data)


def _passed(stream: Any, data: bytes) -> None:
    stream._cut = False
    if data:
        stream._count += 1
        stream._witness.piece(data)
    if stream._inner.at_eof():
        stream._witness.ended(End.COMPLETE)


def _next_of(taped: Any, pace: Pace, number: int) -> Awaitable[None] | None:
    """What a reader of a played answer waits for."""
    if not taped.finished():
        return pace.settle(Event.PIECE, number)
    return pace.cancelled() if taped.was_left() else pace.settle(Event.END)


async def _left(reading: Awaitable[Any], token: Any) -> Any:
    """What a library does while it reads belongs to the call; what follows is the program's own again."""
    try:
        return await reading
    finally:
        leave(token)


def _reading(name: str) -> Any:
    async def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await _report(self, getattr(self._inner, name)(*args, **kwargs), lambda found: found)

    read.__name__ = name
    return read


def _handing_on(name: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._inner, name)(*args, **kwargs)

    method.__name__ = name
    return method


@functools.cache
def _tee_stream() -> Any:
    """A subclass of aiohttp's stream in which nothing is left to the base class but the iterators."""
    from aiohttp.streams import StreamReader

    own: dict[str, Any] = {"__slots__": _OWN}
    own |= {name: _reading(name) for name in _READING}
    own |= {name: _handing_on(name) for name in _HANDED_ON if hasattr(StreamReader, name)}
    if hasattr(StreamReader, "total_raw_bytes"):
        own["total_raw_bytes"] = property(lambda self: self._inner.total_raw_bytes)
    return type("StreamReader", (_Teeing, StreamReader), own)


class _Taped:
    """vcrpy's stream without a connection, given one recorded piece whenever it has run empty."""

    _exception: BaseException | None

    def __init__(self: Any, response: Response, failure: _Failing, chunked: bool, limit: int, paced: bool) -> None:
        super().__init__(b"")  # type: ignore[call-arg]
        self._paced = paced
        self._low_water, self._high_water, self._eof = limit, limit * 2, False
        self._recorded, self._failure, self._chunked = response, failure, chunked
        self._pieces = [piece.data for piece in reversed(response.pieces) if piece.data]
        if not self._pieces and response.end is End.COMPLETE:
            self.feed_eof()

    async def _wait(self: Any, func_name: str) -> None:
        if not self._paced:
            await asyncio.sleep(0)  # others may run here, as they may while a real answer is awaited
        if self._exception is not None:
            raise self._exception
        self._next()

    def read_nowait(self: Any, n: int = -1) -> bytes:
        if not self._buffer and not self._eof:
            self._next()
        data: bytes = super().read_nowait(n)  # type: ignore[misc]
        return data

    async def wait_eof(self: Any) -> None:
        while not self._eof:
            await self._wait("wait_eof")

    def finished(self: Any) -> bool:
        """True when no piece is left to be played."""
        return not self._pieces

    def was_left(self: Any) -> bool:
        """True when its reader may have been cancelled in the recording, behind all pieces that there are."""
        return self._recorded.end in _LEFT

    def _next(self: Any) -> None:
        if not self._pieces:
            error = self._failure(self._recorded)
            self.set_exception(error)
            raise error
        if self._chunked:
            self.begin_http_chunk_receiving()
        self.feed_data(self._pieces.pop())
        if self._chunked:
            self.end_http_chunk_receiving()
        if not self._pieces and self._recorded.end is End.COMPLETE:
            self.feed_eof()


@functools.cache
def _stubs() -> Any:
    return vcr_stubs.load("vcr.stubs.aiohttp_stubs")


@functools.cache
def _tape_stream() -> Any:
    return type("StreamReader", (_Taped, _stubs().MockStream), {})
