"""What the shims of `http.client` and of urllib3, which stands on it, have in common.

Addresses, heads and watched answers; and a recorded answer as bytes from a socket.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rashomon.model import End, Head, Response
from rashomon.recorders import vcr_stubs

PORTS = {"http": 80, "https": 443}
_VERSIONS = {9: "HTTP/0.9", 10: "HTTP/1.0", 11: "HTTP/1.1"}


def text_of(value: Any) -> str:
    """A header's name or value as text."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def absolute(scheme: str, host: str, port: int | None, path: str) -> str:
    """The address of a path on a host; the scheme's own port is left out."""
    named = f"[{host}]" if ":" in host else host
    return f"{scheme}://{named}{'' if port in (None, PORTS.get(scheme)) else f':{port}'}{path}"


def head_of(answer: Any, headers: Iterable[tuple[Any, Any]]) -> Head:
    """The head of an answer as it is recorded."""
    return {
        "status": answer.status,
        "headers": [[text_of(name), text_of(value)] for name, value in headers],
        "reason": answer.reason or "",
        "http_version": _VERSIONS.get(answer.version, "HTTP/1.1"),
    }


_watching: dict[tuple[type, type], Any] = {}


def watching(watch: type, base: type) -> Any:
    """The watched kind of a class of answers, under the same name: `watch` stands before `base`."""
    found = _watching.get((watch, base))
    if found is None:
        own = {"__module__": base.__module__, "__qualname__": base.__qualname__}
        found = _watching[watch, base] = type(base.__name__, (watch, base), own)
    return found


_Failing = Callable[[], BaseException]


class TapeFile(io.BufferedIOBase):
    """The recorded bytes as http.client reads them from a socket: head, and body in its framing.

    A read gives what there is, and a failure comes with the first read that finds nothing.
    """

    def __init__(self, head: bytes, pieces: Iterator[bytes], failure: _Failing | None) -> None:
        self._left, self._pieces, self._failure = head, pieces, failure

    def readable(self) -> bool:
        return True

    def _more(self) -> bool:
        if not self._left:
            self._left = next(self._pieces, b"")
        return bool(self._left)

    def _take(self, size: int) -> bytes:
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def _collected(self, parts: list[bytes]) -> bytes:
        if not parts and self._failure is not None:
            raise self._failure()
        return b"".join(parts)

    def read(self, size: int | None = -1) -> bytes:
        wanted = sys.maxsize if size is None or size < 0 else size
        parts: list[bytes] = []
        while wanted and self._more():
            parts.append(self._take(wanted))
            wanted -= len(parts[-1])
        return self._collected(parts) if wanted else b"".join(parts)

    def read1(self, size: int = -1) -> bytes:
        if size == 0:
            return b""
        return self._collected([self._take(sys.maxsize if size < 0 else size)] if self._more() else [])

    def readline(self, size: int | None = -1) -> bytes:
        wanted = sys.maxsize if size is None or size < 0 else size
        parts: list[bytes] = []
        while wanted and self._more():
            end = self._left.find(b"\n") + 1
            parts.append(self._take(min(wanted, end or len(self._left))))
            wanted -= len(parts[-1])
            if end and parts[-1].endswith(b"\n"):
                break
        return self._collected(parts)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def peek(self, size: int = 0) -> bytes:
        return self._left if self._more() else b""


def wire_of(response: Response, failure: Callable[[Response], BaseException]) -> TapeFile:
    """A recorded answer as it comes from a socket; `failure` makes what is raised where it breaks off."""
    head: Head = response.head or {}
    pairs = [(str(name), str(value)) for name, value in head["headers"]]
    lines = [f"{head.get('http_version', 'HTTP/1.1')} {head['status']} {head.get('reason', '')}"]
    lines += [f"{name}: {value}" for name, value in pairs]
    coding = ",".join(value for name, value in pairs if name.lower() == "transfer-encoding").lower()
    chunked = "chunked" in (part.strip() for part in coding.split(","))
    complete = response.end is End.COMPLETE

    def pieces() -> Iterator[bytes]:
        for piece in response.pieces:
            if piece.data:
                yield b"%x\r\n%b\r\n" % (len(piece.data), piece.data) if chunked else piece.data
        if chunked and complete:
            yield b"0\r\n\r\n"

    raw = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    return TapeFile(raw, pieces(), None if complete else lambda: failure(response))


@functools.cache
def _socket_class() -> type:
    class TapeSocket(vcr_stubs.load("vcr.stubs").VCRFakeSocket):  # type: ignore[misc]
        """vcrpy's socket that reaches nobody; what is read from it is on the tape."""

        def __init__(self, wire: TapeFile) -> None:
            self._wire = wire

        def sendall(self, data: Any) -> None:
            """The request was compared with the recorded one already."""

        def makefile(self, *args: Any, **kwargs: Any) -> TapeFile:
            return self._wire

    return TapeSocket


def tape_socket(wire: TapeFile) -> Any:
    """A socket from which an answer can be read. Raises ImportError if vcrpy is not installed."""
    return _socket_class()(wire)
