"""One client connection: requests in, answers out, in order, until either side closes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeAlias

from .http import (
    MAX_HEAD,
    BadHttp,
    Headers,
    Received,
    Response,
    Sent,
    encode_head,
    framed_headers,
    json_response,
    path_of,
    read_body,
    read_head,
)
from .pacing import Gate, seconds
from .request_log import RequestLog

KEPT_BYTES = 32 * 1024 * 1024  # of one answer in the log; an endless stream must not fill the memory

Handler: TypeAlias = Callable[[Received], Awaitable[Response]]


class ConnectionProtocol(asyncio.StreamReaderProtocol):
    """A stream protocol that also tells when the client has left, while an answer is being written."""

    def __init__(self, connected: Callable[[ConnectionProtocol, asyncio.StreamWriter], None]) -> None:
        self.reader = asyncio.StreamReader(limit=MAX_HEAD)
        self.gone = asyncio.Event()
        super().__init__(self.reader, lambda _, writer: connected(self, writer))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected. Without TCP_NODELAY a chunk could wait 40 ms for the previous one's ACK."""
        # asyncio sets it only for sockets that were made with an explicit protocol number.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def eof_received(self) -> bool | None:
        """The client has sent its last byte. The clients of providers never half-close, so it has left."""
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, properly or not."""
        self.gone.set()
        super().connection_lost(exc)


class Connection:
    """Reads requests, has them handled, and writes the answers exactly as their `Response` says."""

    def __init__(
        self,
        number: int,
        protocol: ConnectionProtocol,
        writer: asyncio.StreamWriter,
        handler: Handler,
        log: RequestLog,
        indexes: count[int],
        failures: list[Exception],
    ) -> None:
        self._number = number
        self._reader = protocol.reader
        self._gone = protocol.gone
        self._writer = writer
        self._handler = handler
        self._log = log
        self._indexes = indexes
        self._failures = failures

    async def run(self) -> None:
        """Serve until the connection ends; closes it in every case."""
        try:
            while await self._serve_one():
                pass
        except BadHttp as exc:
            response = json_response(exc.status, {"error": {"message": str(exc)}}, (("connection", "close"),))
            headers, pieces = framed_headers(response, response.pieces)
            self._writer.write(encode_head(response.status, headers) + b"".join(pieces))
        except ConnectionError:
            pass  # the client has left; the log has it
        except asyncio.CancelledError:
            self._writer.transport.abort()  # the server stops: what the client has not read yet is dropped
            raise
        except Exception as exc:  # raised by the pieces or headers of a scripted answer: the connection is cut
            self._failures.append(exc)
        finally:
            self._writer.close()

    async def _serve_one(self) -> bool:
        head = await read_head(self._reader)
        if head is None:
            return False
        method, target, headers = head
        body = await read_body(self._reader, self._writer, headers)
        request = Received(next(self._indexes), self._number, method, target, path_of(target), headers, body)
        self._log.add_received(request)
        chunks: list[bytes] = []
        ending, status = "client left", 0
        sent_headers: Headers = ()
        try:
            response = await self._handler(request)
            status, sent_headers = response.status, response.headers
            ending = await self._send(request, response, chunks)
        except ConnectionError:
            pass  # ending says it
        finally:
            self._log.add_sent(request, Sent(status, sent_headers, tuple(chunks), ending))
        return ending == "complete" and (request.header("connection") or "").lower() != "close"

    async def _send(self, request: Received, response: Response, chunks: list[bytes]) -> str:
        delay, gate = response.delay, response.gate
        if (delay and await self._leaves_within(delay)) or (gate and not gate.after and await self._held(gate)):
            return "client left"
        if not response.status:
            return "cut"
        headers, pieces = framed_headers(response, response.pieces)
        if request.method == "HEAD":
            pieces = ()
        unsent = encode_head(response.status, headers)
        chunked = response.framing == "chunked" and ("transfer-encoding", "chunked") in headers
        kept = 0
        for position, piece in enumerate(pieces):
            if position and await self._waits(response, position):
                return "client left"
            self._writer.write(unsent + (b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece))
            unsent = b""
            kept += len(piece)
            if kept <= KEPT_BYTES:
                chunks.append(piece)
            await self._writer.drain()
            if chunked:
                await asyncio.sleep(0)  # an endless stream must leave the loop to the other connections
                if self._gone.is_set():
                    return "client left"
        return await self._end(response, unsent, chunked and request.method != "HEAD", len(chunks))

    async def _end(self, response: Response, unsent: bytes, chunked: bool, sent: int) -> str:
        if response.ending != "complete":
            self._writer.write(unsent)
            await self._writer.drain()
            if response.ending == "cut":
                return "cut"
            await self._gone.wait()
            return "stalled"
        gate = response.gate
        if gate and gate.after and gate.after >= sent and await self._held(gate):
            return "client left"
        self._writer.write(unsent + (b"0\r\n\r\n" if chunked else b""))
        await self._writer.drain()
        return "complete"

    async def _waits(self, response: Response, position: int) -> bool:
        """Delay and gate before a piece; true when the client left meanwhile."""
        gate = response.gate
        if gate and gate.after == position and await self._held(gate):
            return True
        pause = seconds(response.piece_delay)
        return bool(pause) and await self._leaves_within(pause)

    async def _held(self, gate: Gate) -> bool:
        """Wait at a gate; true when the client left first."""
        waits = [asyncio.ensure_future(gate.passed()), asyncio.ensure_future(self._gone.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return self._gone.is_set()

    async def _leaves_within(self, pause: float) -> bool:
        """Wait `pause` seconds; true when the client left before they were over."""
        try:
            async with asyncio.timeout(pause):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True
