"""`sys.stdin` of a launched program.

What one line of control reads from it in one way is one call of a tool, whose answer has a piece for each read: of a
loop over a thousand lines there are not a thousand steps.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from rashomon import boundary, interruptions
from rashomon.boundary import Interceptor, Play
from rashomon.model import End
from rashomon.recorders import lanes
from rashomon.recorders.standard_input import (
    QUESTIONS,
    Aside,
    begin,
    call_of,
    hearing,
    wait_as_then,
    was_terminal,
)

_MOST_STREAMS = 256


def adopt() -> None:
    """In a launched process, before its program runs: what it reads from `sys.stdin` is seen."""
    old = sys.stdin
    if not begin() or type(old) is not io.TextIOWrapper or old.fileno() != 0:
        return
    newline = None if os.name == "nt" else "\n"  # as Python opens it
    new = _Text(_Bytes(old.buffer.raw), old.encoding, old.errors, newline)
    new.mode = old.mode  # type: ignore[misc]
    _kept_open.append(old)
    sys.stdin = sys.__stdin__ = new  # type: ignore[misc]


_kept_open: list[Any] = []
"""Without us nothing would hold the stream that Python made, and with it the descriptor would be closed."""


class _Way(NamedTuple):
    """Who reads, and how: what it reads belongs to one call."""

    trace: int
    lane: Any
    within: Any
    name: str
    size: int | None


class _Source:
    """What `watched` takes for a generator: its next value is whatever is read next."""

    read: Callable[[], Any]
    left = -1
    """In a replay: how many reads the recording holds before one that nothing came for."""

    def send(self, _: Any) -> Any:
        with Aside():
            return self.read()

    def close(self) -> None:
        """Nothing more is read."""


_Stream = tuple[_Source, Generator[Any, Any, Any]]
_streams: dict[_Way, _Stream] = {}


def _heard(name: str, size: int | None, read: Callable[[], Any]) -> Any:
    """What is read from stdin: `name` is the method, `size` what it was asked for. Raises what `read` raises."""
    guard: Any = None if size == 0 else hearing()  # click finds out so whether a stream has text or bytes
    if guard is None or guard.stdin.endswith(QUESTIONS):
        return read()
    enclosing = boundary.inside.get()
    within = None if enclosing is None else enclosing.number
    way = _Way(id(getattr(guard, "scribe", guard)), lanes.here()[0], within, name, size)
    stream = _streams.pop(way, None)
    if stream is None:
        if len(_streams) >= _MOST_STREAMS:
            _end(next(iter(_streams)))
        stream = _open(guard, name, size)
    source, generator = stream
    source.read = read
    if source.left == 0:
        wait_as_then()
    source.left -= 1
    value = next(generator)
    _streams[way] = stream
    return value


def _open(guard: Interceptor, name: str, size: int | None) -> _Stream:
    from rashomon.recorders.tool_generators import played, watched

    arguments = {} if size is None else {"size": size}
    verdict = guard.arrive(call_of(name, f"sys:{name.removeprefix('sys.')}", "generator", arguments))
    source = _Source()
    if isinstance(verdict, Play):
        if verdict.response.end is End.OPEN:
            source.left = len(verdict.response.pieces)
        return source, played(verdict.response, verdict.witness)
    return source, watched(name, source, verdict.witness, None)


def _end(way: _Way) -> None:
    stream = _streams.pop(way, None)
    if stream is not None:
        try:
            stream[1].close()
        except Exception as error:  # recording must not break the program
            interruptions.pass_on(error)


def end(trace: object = None) -> None:
    """No more is read into the trace of this recorder, or by this process at all. Never raises."""
    for way in list(_streams):
        if trace is None or way.trace == id(trace):
            _end(way)


def reset() -> None:
    """In a forked child: what its parent has begun to read is not its own."""
    _streams.clear()


class _Bytes(io.BufferedReader):
    """`sys.stdin.buffer`."""

    def read(self, size: int | None = -1, /) -> bytes:
        return _heard("sys.stdin.buffer.read", _size(size), lambda: super(_Bytes, self).read(size))  # type: ignore[no-any-return]

    def read1(self, size: int = -1, /) -> bytes:
        return _heard("sys.stdin.buffer.read1", _size(size), lambda: super(_Bytes, self).read1(size))  # type: ignore[no-any-return]

    def peek(self, size: int = 0, /) -> bytes:
        return _heard("sys.stdin.buffer.peek", None, lambda: super(_Bytes, self).peek(size))  # type: ignore[no-any-return]

    def readline(self, size: int | None = -1, /) -> bytes:
        read = super().readline
        return _heard("sys.stdin.buffer.readline", _size(size), lambda: read(size))  # type: ignore[no-any-return]

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def readinto(self, buffer: Any, /) -> int:
        return self._into(buffer, self.read)

    def readinto1(self, buffer: Any, /) -> int:
        return self._into(buffer, self.read1)

    def _into(self, buffer: Any, read: Callable[[int], bytes]) -> int:
        with memoryview(buffer).cast("B") as view:
            data = read(len(view))
            view[: len(data)] = data
        return len(data)


def patch_mcp(module: Any) -> None:
    """A server of mcp 2 moves its stdin to another descriptor, and reads it there."""
    original = getattr(module, "_claim_fd", None)  # mcp 1 reads `sys.stdin.buffer`
    if original is None:
        return

    def claim(fd: int, stream: Any, *rest: Any) -> Any:
        claimed, release = original(fd, stream, *rest)
        if type(stream) is _Text and type(claimed) is io.BufferedReader:
            claimed = _Bytes(claimed.detach())
        return claimed, release

    module._claim_fd = claim


class _Text(io.TextIOWrapper):
    """`sys.stdin`."""

    def read(self, size: int | None = -1, /) -> str:
        return _heard("sys.stdin.read", _size(size), lambda: super(_Text, self).read(size))  # type: ignore[no-any-return]

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        return _heard("sys.stdin.readline", _size(size), lambda: super(_Text, self).readline(size))  # type: ignore[no-any-return]

    def __next__(self) -> str:  # type: ignore[override]
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def isatty(self) -> bool:
        was = was_terminal()
        return super().isatty() if was is None else was


def _size(size: int | None) -> int | None:
    return None if size is None or size < 0 else size
