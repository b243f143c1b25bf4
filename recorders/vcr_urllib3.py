"""urllib3 (and so requests and botocore): every attempt of a pool to make a request crosses the boundary.

The choice is made for each request, so pools and sessions of any age are caught. A live request takes
urllib3's own way on the pool's own connection; the answer's class is replaced by a subclass that reports
the bytes as they come off the wire, before they are decoded. A played answer is parsed by urllib3 itself
from a socket that holds the recorded bytes; the pool's connection stays closed.

Two things differ from an unwatched program: a body that can be read only once (a generator, a pipe) is
read before the request is sent, and headers that http.client adds by itself are not on the tape. Trailers
of chunked answers are not kept. An answer of a class that urllib3 did not make (another recorder's, HTTP/2)
ends as leaked, with its head only.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable, Generator
from types import ModuleType
from typing import Any

from rashomon import interruptions
from rashomon.boundary import Witness, cross, end_of, guard_here
from rashomon.model import Call, End, Request, Response
from rashomon.recorders.endpoints import classify
from rashomon.recorders.http_wire import absolute, head_of, tape_socket, text_of, watching, wire_of
from rashomon.recorders.vcr_shim import Cassette, say_once

_POSITIONAL = ("body", "headers", "retries", "timeout", "chunked", "response_conn", "preload_content",
               "decode_content", "enforce_content_length")  # fmt: skip
_TUNNEL = "_rashomon_tunnel"
_PROXIED = "_rashomon_proxied"  # a failure behind a proxy is not the proxy's; urllib3 asks the connection


def patch(module: ModuleType) -> None:
    """Patch the pools of `urllib3.connectionpool`. Raises RuntimeError for urllib3 1.x."""
    pool, https = module.HTTPConnectionPool, module.HTTPSConnectionPool
    send = pool._make_request
    if hasattr(send, "__rashomon__"):
        return
    if "preload_content" not in send.__code__.co_varnames:
        raise RuntimeError("this is urllib3 1.x; 2.0 or newer is needed")
    pool._make_request = _crossing(send, https._prepare_proxy)
    pool.urlopen = _with_readable_body(pool.urlopen)
    https._prepare_proxy = _deferred(https._prepare_proxy)


def _crossing(send: Callable[..., Any], tunnel: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    def _make_request(self: Any, conn: Any, method: str, url: str, *args: Any, **options: Any) -> Any:
        if guard_here() is None:
            return send(self, conn, method, url, *args, **options)
        options.update(zip(_POSITIONAL, args, strict=False))
        preload = options.get("preload_content", True)
        try:
            data, rewind = _content(options.get("body"))
            call = _call(self, method, url, options.get("headers"), data)
        except Exception as error:  # recording must not break the program
            interruptions.pass_on(error)
            say_once(f"a request is not recorded: {type(error).__name__}: {error}. The program goes on.")
            return send(self, conn, method, url, **options)

        def live() -> Any:
            rewind()
            held = {"preload_content": False, "response_conn": None} if preload else {}
            try:
                if conn.__dict__.pop(_TUNNEL, False):
                    _open_tunnel(self, conn, url, tunnel)
                return send(self, conn, method, url, **{**options, **held})
            except Exception as error:
                if conn.proxy and conn.has_connected_to_proxy:
                    vars(error)[_PROXIED] = True
                raise

        answer = cross(call, live, UrllibCassette(self, conn, method, url, options))
        if preload and isinstance(answer, _response_class()) and answer._body is None:
            _preload(self, answer, options)
        return answer

    _make_request.__rashomon__ = True  # type: ignore[attr-defined]
    return _make_request


def _preload(pool: Any, answer: Any, options: dict[str, Any]) -> None:
    """Read the whole body, as urllib3 does in the answer's constructor, where it has no pool yet."""
    answer._pool = None
    answer._body = answer.read(decode_content=options.get("decode_content", True))
    answer._pool, answer._connection = pool, options.get("response_conn")


def _with_readable_body(urlopen: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(urlopen)
    def watched(self: Any, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> Any:
        if body is not None and guard_here() is not None:
            body = _rereadable(body)
        return urlopen(self, method, url, body, *args, **kwargs)

    return watched


def _deferred(tunnel: Callable[..., Any]) -> Callable[..., Any]:
    """A pool opens its tunnel through a proxy before the request is known; wait until it goes live."""

    @functools.wraps(tunnel)
    def _prepare_proxy(self: Any, conn: Any) -> Any:
        if guard_here() is None:
            return tunnel(self, conn)
        conn.__dict__[_TUNNEL] = True
        return None

    return _prepare_proxy


def _open_tunnel(pool: Any, conn: Any, url: str, tunnel: Callable[..., Any]) -> None:
    try:
        tunnel(pool, conn)
    except OSError as error:  # what urlopen does about a failing tunnel
        pool._raise_timeout(err=error, url=pool.proxy.url, timeout_value=conn.timeout)
        raise


# ------------------------------------------------------------------------------------------- requests


def _call(pool: Any, method: str, url: str, headers: Any, body: bytes) -> Call:
    path = url if url.startswith("/") else "/" + url.partition("://")[2].partition("/")[2]
    kind, name = classify(method, path)
    pairs = [[text_of(key), text_of(value)] for key, value in headers.items()] if headers else []
    return Call(kind, name, Request({"method": method, "url": _absolute(pool, url), "headers": pairs}, body))


def _absolute(pool: Any, url: str) -> str:
    if not url.startswith("/"):
        return url  # to a forwarding proxy
    return absolute(pool.scheme, pool.host, pool.port, url)


def _bytes(chunk: Any) -> bytes:
    return chunk.encode("utf-8") if isinstance(chunk, str) else bytes(chunk)


def _rereadable(body: Any) -> Any:
    """The body in a form that can be read for the record and then sent."""
    if hasattr(body, "read"):
        try:
            body.seek(body.tell())
        except (AttributeError, OSError, ValueError):  # a pipe, or an object with `read` alone
            return io.BytesIO(_bytes(body.read()))
        return body
    return list(body) if hasattr(body, "__next__") else body


def _content(body: Any) -> tuple[bytes, Callable[[], Any]]:
    """The body's bytes, and what makes it ready to be sent after that."""
    if body is None:
        return b"", _nothing
    if isinstance(body, (str, bytes, bytearray, memoryview)):
        return _bytes(body), _nothing
    if hasattr(body, "read"):
        start = body.tell()
        return _bytes(body.read()), lambda: body.seek(start)
    try:
        return bytes(memoryview(body)), _nothing
    except TypeError:
        return b"".join(map(_bytes, body)), _nothing


def _nothing() -> None:
    """There is nothing to rewind."""


# -------------------------------------------------------------------------------------------- answers


def _response_class() -> Any:
    return sys.modules["urllib3.response"].HTTPResponse


class UrllibCassette(Cassette):
    """Keeps or plays the answer to one attempt of a pool."""

    __slots__ = ("_conn", "_method", "_options", "_pool", "_url")

    def __init__(self, pool: Any, conn: Any, method: str, url: str, options: dict[str, Any]) -> None:
        self._pool, self._conn, self._method, self._url, self._options = pool, conn, method, url, options

    def keep(self, answer: Any, witness: Witness) -> Any:
        known = isinstance(answer, _response_class())
        message = getattr(getattr(answer, "_original_response", None), "msg", None)
        headers = (message or answer.headers).items()
        witness.began(head_of(answer, headers))
        if known:
            return _watch(answer, witness)
        witness.ended(End.LEAKED)
        return answer

    def rebuild(self, response: Response, witness: Witness) -> Any:
        options = self._options
        wire = wire_of(response, self.failure)
        stand_in = sys.modules["urllib3.connection"].HTTPConnection("tape")
        stand_in.sock = tape_socket(wire)
        kept = ("decode_content", "enforce_content_length")
        limits = {name: options[name] for name in kept if name in options}
        stand_in.request(self._method, self._url, preload_content=False, **limits)
        answer = stand_in.getresponse()
        _measure(answer, response)
        answer.retries, answer._pool = options.get("retries"), self._pool
        if not options.get("preload_content", True):
            answer._connection = options.get("response_conn")
        return _watch(answer, witness)

    def repair(self, error: BaseException) -> None:
        if vars(error).pop(_PROXIED, False):
            self._conn._has_connected_to_proxy = True
        if type(error).__module__ != "urllib3.exceptions":
            return
        for name, value in (("pool", self._pool), ("conn", self._conn)):
            if name not in vars(error):
                try:
                    setattr(error, name, value)
                except AttributeError:
                    pass  # where `pool` is an old name of `conn`, it cannot be set


def _measure(answer: Any, response: Response) -> None:
    """A body whose secrets were replaced is not as long as its header says; read what there is."""
    raw = answer._original_response
    if response.end is End.COMPLETE and raw.length:
        raw.length = answer.length_remaining = sum(len(piece.data) for piece in response.pieces)


def _watch(answer: Any, witness: Witness) -> Any:
    """The answer itself, as an instance of a class that reports what it reads from the wire."""
    cls = watching(_Watching, type(answer))
    answer._rashomon, answer._rashomon_busy = witness, False
    answer.__class__ = cls
    if answer._fp is None or answer._fp.isclosed():  # there is no body
        witness.ended(End.COMPLETE)
    return answer


class _Watching:
    """What a watched answer does besides: reports the bytes from the wire, and how they end."""

    _rashomon: Witness
    _rashomon_busy: bool

    def _fp_read(self: Any, amt: int | None = None, **options: Any) -> Any:
        data = super()._fp_read(amt, **options)  # type: ignore[misc]
        if data:
            self._rashomon.piece(bytes(data))
        if self._rashomon_at_end(data, amt):
            self._rashomon.ended(End.COMPLETE)
        return data

    def _raw_read(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._raw_read(*args, **kwargs)  # type: ignore[misc]
        except BaseException as error:
            self._rashomon.ended(end_of(error), error)
            raise

    def _update_chunk_length(self: Any) -> Any:
        self._rashomon_busy = True  # a bad length makes it close itself, and that is no CLOSED
        try:
            return super()._update_chunk_length()  # type: ignore[misc]
        finally:
            self._rashomon_busy = False

    def _handle_chunk(self: Any, amt: int | None) -> Any:
        data = super()._handle_chunk(amt)  # type: ignore[misc]
        self._rashomon.piece(bytes(data))
        return data

    def read_chunked(self: Any, *args: Any, **kwargs: Any) -> Generator[bytes, None, None]:
        try:
            yield from super().read_chunked(*args, **kwargs)  # type: ignore[misc]
        except GeneratorExit:
            self._rashomon.ended(End.CLOSED)
            raise
        except BaseException as error:
            self._rashomon.ended(end_of(error), error)
            raise
        self._rashomon.ended(End.COMPLETE)

    def close(self: Any) -> None:
        super().close()  # type: ignore[misc]
        if not self._rashomon_busy:
            self._rashomon.ended(End.CLOSED)

    def __del__(self: Any) -> None:
        if not sys.is_finalizing():
            self._rashomon.ended(End.LEAKED)
        super().__del__()  # type: ignore[misc]

    def _rashomon_at_end(self: Any, data: Any, amt: int | None) -> bool:
        left = getattr(self._fp, "length", None)
        closed: bool = self._fp.isclosed()
        if left:  # cut short: an IncompleteRead follows where lengths are enforced
            return closed and not self.enforce_content_length
        return left == 0 or closed or (not data and amt != 0)
