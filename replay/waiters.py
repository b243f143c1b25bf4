"""Who waits for a completion in a replay, and what can be done with the event loops that they wait in."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from threading import get_ident
from typing import Any

from rashomon import boundary, real


class Waiter:
    """Somebody who waits for an entry: a loop (with its state), or a thread."""

    __slots__ = ("due_us", "ident", "release", "released", "state")

    def __init__(self, state: Any, release: Callable[[], None], due_us: int = 0) -> None:
        self.state, self.release, self.due_us = state, release, due_us
        self.ident = get_ident()
        self.released = False


def running_loop() -> Any:
    """The event loop that runs in this thread, if one does."""
    from asyncio import _get_running_loop

    return _get_running_loop()


def running_state() -> Any:
    """The state of the event loop that runs in this thread, if one does."""
    ticker = boundary.ticker
    return None if ticker is None else ticker.state()


def kick(state: Any) -> None:
    """Let a loop that may be waiting look again."""
    try:
        state.loop._write_to_self()
    except Exception:
        pass  # it is closed: nobody waits there


def watches_more(state: Any) -> bool:
    """True when a loop waits for real connections or pipes besides its own."""
    try:
        return len(state.loop._selector.get_map()) > 1
    except Exception:
        return False  # a selector that does not say: nothing is known of such


def alike(recorded_us: int, now_us: int) -> bool:
    """True when two timers may be the same: one that runs for minutes is not the one that ran for milliseconds."""
    return abs(recorded_us - now_us) <= max(100_000, recorded_us // 2)


def rearm(loop: Any, handle: Any, waiter: Waiter) -> None:
    """Give a timer to the loop itself; `waiter.due_us` is how long it has still to run."""
    handle._when = real.monotonic() + waiter.due_us / 1e6
    if not handle.cancelled():
        heapq.heappush(loop._scheduled, handle)
        handle._scheduled = True


def is_cancelled(waiter: Waiter) -> bool:
    """True for a timer that the program has cancelled."""
    cancelled = getattr(waiter.release, "cancelled", None)
    return cancelled is not None and cancelled()
