"""The closing of clients by coroutines. Among real connections that takes turns of the event loop; a replay has no
connections, and goes on where the recording did."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from rashomon import boundary
from rashomon.model import Event, Lane
from rashomon.recorders import lanes, loops
from rashomon.recorders.loops import LoopState

KINDS = ("httpx", "httpx2", "aiohttp", "claude", "mcp")
"""What is closed. Closings of a line are counted for each by itself: a client that only the body of a tool has asked
for is not there to be closed in a replay, and must not pass its number on to another."""

OF_KIND = 1_000_000
"""The closings of the first of `KINDS` have numbers from here on, those of the second from twice that. Recordings from
before that count all closings of a line together, from 0."""


class _Aside:
    """The witness of what a library does among its real connections, and that is no call."""

    leaf = True
    pace = None
    number = None


_ASIDE: Any = _Aside()


async def before_closing(kind: str) -> None:
    """In a replay, of whoever closes a client of a kind: if another one was closed before, which is not there now, wait
    until it would have been. What is closed next may be in use meanwhile."""
    guard: Any = boundary.guard_here()
    if boundary.conductor is None or guard is None or boundary.place_now() is None or lanes.is_quiet():
        return
    line, within = lanes.current_line(), _within()

    def told(unclosed: tuple[Event, Lane, int], state: LoopState) -> None:
        loops.note(guard, *unclosed, state.place(), within)

    number = 0 if line.closings_of is None else line.closings_of.get(kind, 0)
    settling = boundary.conductor.settle_unclosed(_key(line, kind, number), told)
    if settling is not None:
        await settling


async def closing(kind: str, close: Callable[[], Awaitable[Any]]) -> Any:
    """Close a client of a kind, and go on where the recording did."""
    await before_closing(kind)
    guard: Any = boundary.guard_here()
    before = boundary.place_now()
    ticker = boundary.ticker
    if guard is None or before is None or ticker is None or lanes.is_quiet():
        return await close()
    line, within = lanes.current_line(), _within()
    together, number = line.next_closing(kind)
    key = _key(line, kind, number)

    def told(state: LoopState) -> None:
        loops.note(guard, *key, state.place(), within)

    token = boundary.inside.set(_ASIDE)
    is_closed = False
    try:
        return await close()
    except GeneratorExit:  # of this coroutine: see `boundary.is_closing`
        is_closed = True
        raise
    finally:
        boundary.leave(token)
        if boundary.conductor is not None:
            settling = boundary.conductor.settle_closing(key, together, told)
        else:
            settling = None
            if boundary.place_now() != before:
                settling = ticker.settle(lambda place: loops.note(guard, *key, place, within), True)
        if settling is not None and not is_closed:
            await settling


def _key(line: lanes.Line, kind: str, number: int) -> tuple[Event, Lane, int]:
    return (Event.CLOSE, line.lane, OF_KIND * (1 + KINDS.index(kind)) + number)


def _within() -> int | None:
    enclosing = boundary.inside.get()
    return None if enclosing is None else enclosing.number


def closes(kind: str, original: Any) -> Any:
    """A client's closing method that keeps its place."""

    @functools.wraps(original)
    async def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await closing(kind, lambda: original(self, *args, **kwargs))

    return close
