"""The standard library's own HTTP client (`http.client`, and so `urllib.request`, `xmlrpc.client`, httplib2).

A request crosses the boundary when its headers have ended, before anything is sent; its answer is asked for later, and
belongs to the same call. A played answer is parsed by `http.client` itself from a socket that holds the recorded bytes.

Not recorded, and therefore in the trace as connections without a call: a connection that the program opens by itself
before it sends a request, and a request whose body it sends piece by piece behind the headers. urllib3 stands on this
module and has a shim of its own, at its pools.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any, NamedTuple

from rashomon import interruptions
from rashomon.boundary import (
    GoLive,
    Interceptor,
    Play,
    Witness,
    called,
    end_of,
    first_of,
    guard_here,
    handed_over,
)
from rashomon.model import Call, End, Request, Response
from rashomon.recorders.endpoints import classify
from rashomon.recorders.http_wire import PORTS, absolute, head_of, tape_socket, text_of, watching, wire_of
from rashomon.recorders.vcr_shim import Cassette, say_once

_REQUEST, _EXCHANGE = "_rashomon_request", "_rashomon_exchange"
_SENT = "_rashomon_sent"
"""Set on a failure that came behind the request: it is raised where the answer is asked for."""


class _Begun(NamedTuple):
    """A request that the program is putting together."""

    method: str
    url: str
    headers: list[list[str]]


class _Exchange(NamedTuple):
    """A request that has gone out, or is answered from a recording."""

    guard: Interceptor
    verdict: GoLive | Play


def patch(module: ModuleType) -> None:
    """Let every connection of `http.client` cross the boundary."""
    connection: Any = module.HTTPConnection
    if hasattr(connection.endheaders, "__rashomon__"):
        return
    for name, make in (("putrequest", _begins), ("putheader", _collects), ("endheaders", _sends),
                       ("getresponse", _answers), ("close", _closes)):  # fmt: skip
        original = getattr(connection, name)
        patched = functools.wraps(original)(make(original))
        patched.__rashomon__ = True  # type: ignore[attr-defined]
        setattr(connection, name, patched)


def patch_httplib2(module: ModuleType) -> None:
    """httplib2 opens its connections before it sends: let the request do that, as it does by itself."""
    for name in ("HTTPConnectionWithTimeout", "HTTPSConnectionWithTimeout"):
        connection: Any = getattr(module, name)
        connection.connect = _deferred(connection.connect)


def _deferred(original: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(original)
    def connect(self: Any) -> None:
        asks = sys._getframe(1).f_code.co_name == "_conn_request"
        return None if asks and guard_here() is not None else original(self)

    return connect


# ------------------------------------------------------------------------------------------------------------ requests


_by_pools: dict[type, bool] = {}


def _is_of_a_pool(connection: Any) -> bool:
    """Whether a pool of urllib3, of whatever distribution, makes the requests of such connections."""
    kind = type(connection)
    if kind not in _by_pools:
        _by_pools[kind] = any("urllib3" in one.__module__ for one in kind.__mro__)
    return _by_pools[kind]


def _begins(original: Callable[..., None]) -> Callable[..., None]:
    def putrequest(self: Any, method: str, url: str, *args: Any, **options: Any) -> None:
        if guard_here() is None or _is_of_a_pool(self):
            return original(self, method, url, *args, **options)
        _abandon(self)
        vars(self)[_REQUEST] = _Begun(str(method), str(url or "/"), [])
        return original(self, method, url, *args, **options)

    return putrequest


def _collects(original: Callable[..., None]) -> Callable[..., None]:
    def putheader(self: Any, header: Any, *values: Any) -> None:
        original(self, header, *values)
        begun: _Begun | None = vars(self).get(_REQUEST)
        if begun is not None:
            begun.headers.append([text_of(header), "\r\n\t".join(map(text_of, values))])

    return putheader


def _sends(original: Callable[..., None]) -> Callable[..., None]:
    def endheaders(self: Any, message_body: Any = None, **options: Any) -> None:
        begun: _Begun | None = vars(self).pop(_REQUEST, None)
        guard = guard_here()
        if begun is None or guard is None or (message_body is None and _announces_a_body(begun)):
            return original(self, message_body, **options)
        message_body = _held(message_body)
        try:
            call = _call(self, begun, _bytes_of(message_body))
        except Exception as error:  # recording must not break the program
            interruptions.pass_on(error)
            say_once(f"a request is not recorded: {type(error).__name__}: {error}. The program goes on.")
            return original(self, message_body, **options)
        verdict = guard.arrive(call)
        vars(self)[_EXCHANGE] = _Exchange(guard, verdict)
        if isinstance(verdict, Play):
            return _pretend(self, verdict)
        try:
            return called(verdict.witness, lambda: original(self, message_body, **options))
        except BaseException:
            vars(self).pop(_EXCHANGE, None)
            raise

    return endheaders


def _announces_a_body(begun: _Begun) -> bool:
    """Whether the program is going to send one behind the headers."""
    told = {name.lower(): value for name, value in begun.headers}
    return "transfer-encoding" in told or told.get("content-length", "0") != "0"


def _held(body: Any) -> Any:
    """The body in a form that can be read for the record and then sent. Raises what reading it raises."""
    if hasattr(body, "read"):
        data = body.read()
        return data.encode("iso-8859-1") if isinstance(data, str) else data
    return list(body) if hasattr(body, "__next__") else body


def _bytes_of(body: Any) -> bytes:
    """Raises TypeError for what http.client will refuse."""
    if body is None:
        return b""
    try:
        return bytes(memoryview(body))
    except TypeError:
        return b"".join(body)


def _call(connection: Any, begun: _Begun, body: bytes) -> Call:
    method, url, headers = begun
    path = url if url.startswith("/") else "/" + url.partition("://")[2].partition("/")[2]
    kind, name = classify(method, path)
    return Call(kind, name, Request({"method": method, "url": _absolute(connection, url), "headers": headers}, body))


def _absolute(connection: Any, url: str) -> str:
    if "://" in url:
        return url  # to a forwarding proxy
    scheme = "https" if connection.default_port == PORTS["https"] else "http"
    tunnelled = connection._tunnel_host
    host, port = (tunnelled, connection._tunnel_port) if tunnelled else (connection.host, connection.port)
    return absolute(scheme, host, port, url)


def _pretend(connection: Any, verdict: Play) -> None:
    """The request has gone out, as far as the connection knows. Raises what the recorded sending raised."""
    response, witness = verdict
    failure = _failure(response)
    if failure is not None and not vars(failure).pop(_SENT, False):
        vars(connection).pop(_EXCHANGE, None)
        if witness.pace is not None:
            witness.pace.wait(first_of(response))
        witness.ended(end_of(failure), failure)
        raise failure
    del connection._buffer[:]
    connection._HTTPConnection__state = "Request-sent"


def _failure(response: Response) -> BaseException | None:
    return _Answer(None).failure(response) if response.head is None and response.failure is not None else None


# ------------------------------------------------------------------------------------------------------------- answers


def _answers(original: Callable[..., Any]) -> Callable[..., Any]:
    def getresponse(self: Any) -> Any:
        exchange: _Exchange | None = vars(self).pop(_EXCHANGE, None)
        if exchange is None:
            return original(self)
        guard, verdict = exchange
        witness = verdict.witness
        codec = _Answer(lambda: original(self), self)
        if isinstance(verdict, Play):
            if witness.pace is not None:
                witness.pace.wait(first_of(verdict.response))
            return codec.play(verdict.response, witness)

        def live() -> Any:
            try:
                return original(self)
            except Exception as error:
                vars(error)[_SENT] = True
                raise

        return handed_over(guard, witness, called(witness, live), codec)

    return getresponse


def _closes(original: Callable[..., None]) -> Callable[..., None]:
    def close(self: Any) -> None:
        _abandon(self)
        return original(self)

    return close


def _abandon(connection: Any) -> None:
    """Nobody will ask for the answer to what has gone out."""
    exchange: _Exchange | None = vars(connection).pop(_EXCHANGE, None)
    if exchange is not None:
        exchange.verdict.witness.ended(End.CLOSED)


class _Answer(Cassette):
    """Keeps or plays the answer to one request; `parse` is the connection's own `getresponse`."""

    __slots__ = ("_connection", "_parse")

    def __init__(self, parse: Callable[[], Any] | None, connection: Any = None) -> None:
        self._parse, self._connection = parse, connection

    def keep(self, answer: Any, witness: Witness) -> Any:
        witness.began(head_of(answer, answer.headers.items()))
        return _watch(answer, witness)

    def rebuild(self, response: Response, witness: Witness) -> Any:
        connection = self._connection
        connection.sock = tape_socket(wire_of(response, self.failure))
        assert self._parse is not None
        answer = self._parse()
        connection.sock = None  # the next request may go elsewhere
        if response.end is End.COMPLETE and answer.length:  # secrets in it were replaced: read what there is
            answer.length = sum(len(piece.data) for piece in response.pieces)
        return _watch(answer, witness)

    def repair(self, error: BaseException) -> None:
        """It has no objects of this process."""


def _watch(answer: Any, witness: Witness) -> Any:
    """The answer itself, as an instance of a class that reports what is read from it."""
    answer._rashomon, answer._rashomon_busy = witness, False
    answer.__class__ = watching(_Watching, type(answer))
    if answer.isclosed() or (answer.length == 0 and not answer.chunked):  # there is no body
        witness.ended(End.COMPLETE)
    return answer


class _Watching:
    """What a watched answer does besides: reports the body's bytes, and how they end."""

    _rashomon: Witness
    _rashomon_busy: bool

    def read(self: Any, amt: int | None = None) -> bytes:
        return self._rashomon_read(super().read, amt)  # type: ignore[misc,no-any-return]

    def read1(self: Any, n: int = -1) -> bytes:
        return self._rashomon_read(super().read1, n)  # type: ignore[misc,no-any-return]

    def readline(self: Any, limit: int = -1) -> bytes:
        return self._rashomon_read(super().readline, limit)  # type: ignore[misc,no-any-return]

    def readinto(self: Any, b: Any) -> int:
        into = super().readinto  # type: ignore[misc]
        count = 0

        def read(buffer: Any) -> bytes:
            nonlocal count
            count = into(buffer)
            with memoryview(buffer).cast("B") as view:
                return bytes(view[:count])

        self._rashomon_read(read, b)
        return count

    def _rashomon_read(self: Any, read: Callable[[Any], bytes], asked: Any) -> bytes:
        if self._rashomon_busy:  # one way to read is built on another
            return read(asked)
        self._rashomon_busy = True
        try:
            data = read(asked)
        except BaseException as error:
            partial = getattr(error, "partial", b"")
            if isinstance(partial, bytes) and partial:
                self._rashomon.piece(partial)
            self._rashomon.ended(end_of(error), error)
            raise
        finally:
            self._rashomon_busy = False
        if data:
            self._rashomon.piece(data)
        if self.isclosed() or (self.length == 0 and not self.chunked):
            self._rashomon.ended(End.COMPLETE)
        return data

    def close(self: Any) -> None:
        super().close()  # type: ignore[misc]
        self._rashomon.ended(End.CLOSED)

    def __del__(self: Any) -> None:
        if not sys.is_finalizing():
            self._rashomon.ended(End.LEAKED)
        with suppress(ValueError):  # the collector has closed what it reads from before
            super().__del__()  # type: ignore[misc]
