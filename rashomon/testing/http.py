"""HTTP/1.1 on asyncio streams: as much of RFC 9112 as the clients of LLM providers use, and no more.

The framing is explicit: a `Response` says which pieces go out, one write for each, so that a test decides
where a chunk ends, where the connection is cut and what the client has seen by then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs, unquote

from .pacing import Gate, Seconds

MAX_HEAD = 64 * 1024  # bytes of request line and headers
MAX_BODY = 256 * 1024 * 1024  # bytes of a request body

Headers: TypeAlias = tuple[tuple[str, str], ...]
Framing: TypeAlias = Literal["length", "chunked"]
Ending: TypeAlias = Literal["complete", "cut", "stall"]


class BadHttp(Exception):
    """What arrived is no HTTP/1.1 request; `status` is what to answer before closing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived.

    `index` counts the requests of a server from 0, `connection` its connections; `target` is the request
    target as sent, `path` its decoded path, `params` what a route's pattern matched.
    """

    index: int
    connection: int
    method: str
    target: str
    path: str
    headers: Headers
    body: bytes
    params: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's fields."""
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)

    def json(self) -> Any:
        """The body as JSON, None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to send: `pieces` go out one by one, each in a write (and a chunk) of its own.

    With framing "length" the pieces are a plain body whose length is `declared_length`, by default the sum
    of the pieces. `ending` says what follows the last piece: the proper end, a closed connection, or silence
    until the client leaves. `status` 0 closes the connection without an answer. `delay` (seconds) comes
    before the head, `piece_delay` before each piece but the first; `gate` holds the answer until released.
    """

    status: int
    headers: Headers = ()
    pieces: Iterable[bytes] = ()
    framing: Framing = "length"
    ending: Ending = "complete"
    declared_length: int | None = None
    delay: float = 0.0
    piece_delay: Seconds = 0.0
    gate: Gate | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What went out for a request; `ending` is "complete", "cut", "stalled" or "client left"."""

    status: int
    headers: Headers
    chunks: tuple[bytes, ...]
    ending: str

    @property
    def body(self) -> bytes:
        """The body's bytes, without framing."""
        return b"".join(self.chunks)


def json_response(status: int, value: Any, headers: Headers = ()) -> Response:
    """A plain answer that carries JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, (("content-type", "application/json"), *headers), (body,))


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, Headers] | None:
    """Request line and headers: (method, target, headers); None when the client closed between requests."""
    try:
        block = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as exc:
        if exc.partial:
            raise BadHttp(400, "The request's head ended too early.") from exc
        return None
    except asyncio.LimitOverrunError as exc:
        raise BadHttp(431, "The request's head is too long.") from exc
    lines = block.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadHttp(400, "The request line is not HTTP/1.1.")
    headers = []
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadHttp(400, "A header line has no name.")
        headers.append((name, value.strip()))
    return parts[0], parts[1], tuple(headers)


async def read_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Headers) -> bytes:
    """The request's body, by its Content-Length or chunked coding."""
    found = {name.lower(): value for name, value in headers}
    if found.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        if "chunked" in found.get("transfer-encoding", "").lower():
            return await _read_chunks(reader)
        size = found.get("content-length", "0")
        if not size.isdigit():
            raise BadHttp(400, "Content-Length is not a number.")
        if int(size) > MAX_BODY:
            raise BadHttp(413, "The request's body is too long.")
        return await reader.readexactly(int(size)) if size != "0" else b""
    except asyncio.IncompleteReadError as exc:
        raise BadHttp(400, "The request's body ended too early.") from exc


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        try:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        except ValueError as exc:
            raise BadHttp(400, "A chunk has no size.") from exc
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":  # trailer fields carry nothing that we use
                pass
            return bytes(body)
        if size < 0 or len(body) + size > MAX_BODY:
            raise BadHttp(413, "The request's body is too long.")
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise BadHttp(400, "A chunk is longer than its size.")


def path_of(target: str) -> str:
    """The decoded path of a request target in origin or absolute form."""
    path = target.partition("?")[0]
    if "://" in path:
        path = "/" + path.split("/", 3)[3] if path.count("/") > 2 else "/"
    return unquote(path)


def encode_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Status line and headers as bytes. Values that no latin-1 holds go out as UTF-8."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Overloaded" if status == 529 else "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    if any("\n" in line or "\r" in line for line in lines):
        raise ValueError("A response header holds a line break. Remove it from the header's value.")
    text = "\r\n".join(lines) + "\r\n\r\n"
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")


def framed_headers(response: Response, pieces: Iterable[bytes]) -> tuple[Headers, Iterable[bytes]]:
    """The response's headers with the framing's own, and the pieces, counted when their length is needed."""
    if response.status in (204, 304) or 100 <= response.status < 200:
        return response.headers, ()
    if response.framing == "chunked":
        return (*response.headers, ("transfer-encoding", "chunked")), pieces
    counted = tuple(pieces)
    length = response.declared_length if response.declared_length is not None else sum(map(len, counted))
    return (*response.headers, ("content-length", str(length))), counted
