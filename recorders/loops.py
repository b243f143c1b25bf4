"""Where in the life of its event loop a completion reaches the program, so that a replay can repeat it.

A loop's life is counted in epochs and ticks: a tick is one turn of the loop, and an epoch ends when nothing
is ready to run. A recorded call does not hand its answer on at once but at the start of the next tick, behind
all that is ready by then. That place can be found again in a replay, where nothing of what a live call does
inside the loop happens. Timers and wake-ups by other threads are counted as completions too.

On loops without a selector (uvloop) nothing is counted; a replay goes by the order of completions there.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from threading import get_ident
from typing import Any

from rashomon import boundary
from rashomon.boundary import NOWHERE, Place
from rashomon.model import Event, Lane
from rashomon.real import perf_counter_ns
from rashomon.recorders import lanes

Release = Callable[[Place], None]


class LoopState:
    """One event loop: its number in the process, where it is, and what it hands out next."""

    __slots__ = ("epoch", "loop", "number", "pending", "tick", "turned_ns")

    def __init__(self, loop: Any, number: int) -> None:
        self.loop, self.number = loop, number
        self.epoch = self.tick = 0
        self.turned_ns = 0
        """When this tick began, by `rashomon.real.perf_counter_ns`."""
        self.pending: list[Release] = []

    def place(self) -> Place:
        """Where it is."""
        return (self.number, self.epoch, self.tick)


_loops = 0


def attach(loop: Any) -> LoopState | None:
    """Begin to count the turns of a loop, once; None for a loop without a selector."""
    state = getattr(loop, "_rashomon", None)
    if state is not None:
        return state  # type: ignore[no-any-return]
    selector = getattr(loop, "_selector", None)
    if selector is None or not hasattr(selector, "select"):
        return None
    global _loops
    state = LoopState(loop, _loops)
    _loops += 1
    try:
        loop._rashomon = state
        selector.select = _counting(state, selector.select)
    except AttributeError:  # a loop or a selector with slots
        return None
    return state


def _counting(state: LoopState, real: Callable[[float | None], Any]) -> Callable[..., Any]:
    def select(timeout: float | None = None) -> Any:
        pending = state.pending
        if pending:
            timeout = 0
        if timeout is None or timeout > 0:
            state.epoch += 1
            state.tick = 0
        else:
            state.tick += 1
        if pending:
            state.pending = []
            place = (state.number, state.epoch, state.tick)
            for release in pending:
                release(place)
        conductor = boundary.conductor
        events = real(timeout) if conductor is None else conductor.select(state, timeout, real)
        state.turned_ns = perf_counter_ns()
        return events

    return select


class _Ticker:
    """The `boundary.Ticker` of asyncio's own loops."""

    def place(self) -> Place | None:
        loop = _running()
        state = None if loop is None else getattr(loop, "_rashomon", None)
        return None if state is None else (state.number, state.epoch, state.tick)

    def state(self) -> LoopState | None:
        return getattr(_running(), "_rashomon", None)

    def loops(self) -> int:
        return _loops

    def settle(self, note: Callable[[Place], None]) -> Awaitable[None]:
        loop = _running()
        future = loop.create_future()

        def release(place: Place) -> None:
            note(place)
            if not future.done():
                future.set_result(None)

        loop._rashomon.pending.append(release)
        return future  # type: ignore[no-any-return]


_running: Callable[[], Any] = lambda: None  # noqa: E731  # asyncio's own once it is loaded


def patch_asyncio(module: Any) -> None:
    """Count turns, timers and wake-ups (`asyncio.base_events`)."""
    global _running
    _running = module.events._get_running_loop
    boundary.ticker = _Ticker()
    base = module.BaseEventLoop
    _patch_run(base)
    _patch_timers(base)
    _patch_wakes(base)
    running = _running()
    if running is not None:
        attach(running)


def _patch_run(base: Any) -> None:
    original = base.run_forever

    @functools.wraps(original)
    def run_forever(self: Any) -> Any:
        attach(self)
        return original(self)

    base.run_forever = run_forever


def _patch_timers(base: Any) -> None:
    original = base.call_at

    @functools.wraps(original)
    def call_at(self: Any, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        guard = boundary.guard_here()
        if guard is None or lanes.is_quiet() or getattr(self, "_rashomon", None) is None:
            return original(self, when, callback, *args, context=context)
        line = lanes.current_line()
        number = line.next_timer()
        enclosing = boundary.inside.get()
        delay_us = max(0, int((when - self.time()) * 1e6))
        key = (guard, line.lane, number, None if enclosing is None else enclosing.number, delay_us)
        if boundary.conductor is None:
            return original(self, when, _fired, key, callback, *args, context=context)
        return boundary.conductor.timer(self, when, key, functools.partial(_fired, key, callback, *args), context)

    base.call_at = call_at


def _fired(key: Any, callback: Any, *args: Any) -> None:
    """A timer is due: note where, and that it was so when the tick began; do what it was made for."""
    guard, lane, number, within, delay_us = key
    state = getattr(_running(), "_rashomon", None)
    place, turned_ns = (NOWHERE, None) if state is None else (state.place(), state.turned_ns)
    getattr(guard, "scribe", guard).note_point(Event.TIMER, lane, number, place, within, delay_us, turned_ns)
    callback(*args)


def note(guard: Any, event: Event, lane: Lane, number: int, place: Place, within: int | None = None) -> None:
    """Tell a recorder, or what a replay writes into."""
    scribe = getattr(guard, "scribe", guard)
    scribe.note_point(event, lane, number, place, within)


class _Aside:
    """The witness of what a library does among its real connections, and that is no call."""

    leaf = True
    pace = None
    number = None


_ASIDE: Any = _Aside()


async def closing(close: Callable[[], Awaitable[Any]]) -> Any:
    """Close a client. With real connections that takes its time, and a replay has none: it goes on where the recording
    did."""
    guard: Any = boundary.guard_here()
    before = boundary.place_now()
    ticker = boundary.ticker
    if guard is None or before is None or ticker is None or lanes.is_quiet():
        return await close()
    line = lanes.current_line()
    key = (Event.CLOSE, line.lane, line.next_closing())
    scribe = getattr(guard, "scribe", guard)
    token = boundary.inside.set(_ASIDE)
    try:
        return await close()
    finally:
        boundary.inside.reset(token)
        if boundary.conductor is not None:
            settling = boundary.conductor.settle(key, lambda state: scribe.note_point(*key, state.place()))
        else:
            settling = None
            if boundary.place_now() != before:
                settling = ticker.settle(lambda place: scribe.note_point(*key, place))
        if settling is not None:
            await settling


def closes(original: Any) -> Any:
    """A client's closing method that keeps its place."""

    @functools.wraps(original)
    async def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await closing(lambda: original(self, *args, **kwargs))

    return close


def _patch_wakes(base: Any) -> None:
    original = base.call_soon_threadsafe

    @functools.wraps(original)
    def call_soon_threadsafe(self: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        state = getattr(self, "_rashomon", None)
        key = None if state is None else _wake_key(self, args)
        if key is None:
            return original(self, callback, *args, context=context)
        handle = sys.modules["asyncio"].Handle(callback, args, self, context)
        if boundary.conductor is not None:
            boundary.conductor.woken(self, key, handle)
            original(self, _nothing)
        else:
            original(self, _woken, state, key, handle)
        return handle

    base.call_soon_threadsafe = call_soon_threadsafe


def _wake_key(loop: Any, args: tuple[Any, ...]) -> Any:
    """Who wakes the loop: guard, lane, number, enclosing step. None when it does not count."""
    if args and type(args[0]).__name__ == "async_generator_athrow":
        return None  # the garbage collector closes a dropped async generator, in whatever thread it runs
    tagged = getattr(args[1], "_rashomon_lane", None) if len(args) == 2 else None
    if tagged is None and getattr(loop, "_thread_id", None) == get_ident():
        return None
    guard, line, enclosing = lanes.last_of_thread() if tagged is None else tagged
    if guard is None or line is None or (enclosing is not None and enclosing.leaf):
        return None
    return (guard, line.lane, line.next_wake(), None if enclosing is None else enclosing.number)


def _woken(state: LoopState, key: Any, handle: Any) -> None:
    """In the loop's thread: hand it out at a place that a replay can find again."""
    guard, lane, number, within = key

    def release(place: Place) -> None:
        note(guard, Event.WAKE, lane, number, place, within)
        if not handle._cancelled:
            state.loop._ready.append(handle)

    state.pending.append(release)


def _nothing() -> None:
    """Wakes a loop up."""
