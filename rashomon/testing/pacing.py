"""When bytes go out, and in which pieces: delays, chunk boundaries, and gates that a test opens.

A chunking takes the units that a dialect produced (the events of a stream, or a whole body) and yields the
pieces to send, lazily, so that it also works on a stream that never ends.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

Seconds: TypeAlias = float | Callable[[], float]
Chunking: TypeAlias = Callable[[Iterable[bytes]], Iterator[bytes]]
ChunkingLike: TypeAlias = Chunking | int | Sequence[int] | None


def by_event(units: Iterable[bytes]) -> Iterator[bytes]:
    """One piece for each event of a stream: what the providers nearly always do."""
    return (unit for unit in units if unit)


def whole(units: Iterable[bytes]) -> Iterator[bytes]:
    """Everything in one piece. Not for streams without an end."""
    body = b"".join(units)
    if body:
        yield body


def by_bytes(size: int) -> Chunking:
    """Pieces of `size` bytes, wherever that cuts: in an event, in a JSON number, in a UTF-8 character."""
    if size < 1:
        raise ValueError(f"A piece of {size} bytes cannot be sent. Use 1 or more.")

    def cut(units: Iterable[bytes]) -> Iterator[bytes]:
        held = bytearray()
        for unit in units:
            held += unit
            while len(held) >= size:
                yield bytes(held[:size])
                del held[:size]
        if held:
            yield bytes(held)

    return cut


def at_offsets(offsets: Sequence[int]) -> Chunking:
    """Pieces that end at these byte offsets of the body (ascending); the rest is one piece for each event."""
    if list(offsets) != sorted(set(offsets)) or any(offset < 1 for offset in offsets):
        raise ValueError(f"The offsets {list(offsets)} are not ascending from 1. Sort them and drop doubles.")

    def cut(units: Iterable[bytes]) -> Iterator[bytes]:
        ends, sent, held = list(offsets), 0, b""
        for unit in units:
            held += unit
            while ends and sent + len(held) >= ends[0]:
                size = ends.pop(0) - sent
                yield held[:size]
                sent, held = sent + size, held[size:]
            if not ends and held:
                yield held
                sent, held = sent + len(held), b""
        if held:
            yield held

    return cut


def inside_characters(units: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces that end inside every UTF-8 character of more than one byte, and at each event's end."""
    for unit in units:
        start = 0
        for position, byte in enumerate(unit):
            if byte >= 0xC0:  # the first byte of a character that has more
                yield unit[start : position + 1]
                start = position + 1
        if start < len(unit):
            yield unit[start:]


def chunking_of(value: ChunkingLike) -> Chunking:
    """A chunking from its short form: None is by event, a number by bytes, a sequence offsets."""
    if value is None:
        return by_event
    if isinstance(value, int):
        return by_bytes(value)
    return value if callable(value) else at_offsets(value)


def jitter(low: float, high: float, *, seed: int) -> Callable[[], float]:
    """A delay drawn evenly between `low` and `high` seconds; the same seed draws the same sequence."""
    rng, lock = random.Random(seed), threading.Lock()

    def draw() -> float:
        with lock:
            return rng.uniform(low, high)

    return draw


def seconds(value: Seconds) -> float:
    """A delay's length, drawn when it is a function; never negative."""
    return max(0.0, value() if callable(value) else value)


class Gate:
    """Holds an answer until the test releases it, so that no test needs to sleep.

    `after` pieces are sent before the gate; with 0 not even the head goes out. A gate that was released once
    stays open. Used by `ProviderServer.hold`.
    """

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self._reached = threading.Event()
        self._lock = threading.Lock()
        self._open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def wait_until_reached(self, timeout: float = 10.0) -> None:
        """Block until an answer stands at the gate. Raises TimeoutError after `timeout` seconds."""
        if not self._reached.wait(timeout):
            raise TimeoutError(f"No answer reached the gate within {timeout} s. Send the request that it holds.")

    @property
    def reached(self) -> bool:
        """Whether an answer stands, or stood, at the gate."""
        return self._reached.is_set()

    def release(self) -> None:
        """Let the held answers go on. Callable from any thread, more than once."""
        with self._lock:
            self._open = True
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def passed(self) -> None:
        """Wait in the server's loop until released."""
        event = asyncio.Event()
        with self._lock:
            if self._open:
                event.set()
            else:
                self._waiting.append((asyncio.get_running_loop(), event))
        self._reached.set()
        await event.wait()
