"""Where in the life of its event loop a completion reaches the program, so that a replay can repeat it.

A loop's life is counted in epochs and ticks: a tick is one turn of the loop, and an epoch ends when nothing
is ready to run. Where anything else is ready, a recorded call does not hand its answer on at once but at the start of
the next tick, behind all that is ready by then. That place can be found again in a replay, where nothing of what a live
call does inside the loop happens. Timers and wake-ups by other threads are counted as completions too.

On loops without a selector (uvloop) turns cannot be counted; a replay goes by the order of completions there.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from rashomon import boundary, collector
from rashomon.boundary import NOWHERE, Place
from rashomon.model import Event, Lane
from rashomon.real import perf_counter_ns
from rashomon.recorders import lanes
from rashomon.recorders.ambient.sites import USER, Patched, asker, of_file

Release = Callable[[Place], None]


class LoopState:
    """One event loop: its number in the process, where it is, and what it hands out next."""

    __slots__ = ("here", "looked", "loop", "number", "pending", "turned_ns")

    def __init__(self, loop: Any, number: int) -> None:
        self.loop, self.number = loop, number
        self.here: Place = (number, 0, 0)
        """Where it is: another object after each turn."""
        self.looked = True
        """Whether it looked for what its sockets bring when it turned last."""
        self.turned_ns = 0
        """When this tick began, by `rashomon.real.perf_counter_ns`."""
        self.pending: list[tuple[Release, Any]] = []
        """Who is told the place of the next turn, and the future that then has come; or None."""

    def place(self) -> Place:
        """Where it is."""
        return self.here

    def settle(self, note: Release) -> Awaitable[None]:
        """As `boundary.Ticker.settle`, for a coroutine of this loop, without `held`."""
        future = self.loop.create_future()
        self.pending.append((note, future))
        return future  # type: ignore[no-any-return]


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
        number, epoch, tick = state.here
        if state.pending:
            timeout = 0
        place = state.here = (number, epoch + 1, 0) if timeout is None or timeout > 0 else (number, epoch, tick + 1)
        if not state.pending and boundary.conductor is None:
            events, state.looked = real(timeout), True
        else:
            events = hand_out(place, timeout)
        state.turned_ns = perf_counter_ns()
        return events

    def hand_out(place: Place, timeout: float | None) -> Any:
        pending, state.pending = state.pending, []
        for release, future in pending:
            release(place)
            if future is not None and not future.done():
                future.set_result(None)
        conductor = boundary.conductor
        if conductor is not None:
            return conductor.select(state, timeout, real)
        state.looked = not (pending and state.looked)  # a turn that is ours takes half the time without; the next looks
        return real(timeout) if state.looked else []

    return select


class _Ticker:
    """The `boundary.Ticker` of asyncio's own loops."""

    def place(self) -> Place | None:
        state = getattr(_running(), "_rashomon", None)
        return None if state is None else state.here

    def state(self) -> LoopState | None:
        return getattr(_running(), "_rashomon", None)

    def loops(self) -> int:
        return _loops

    def settle(self, note: Callable[[Place], None], held: bool = False) -> Awaitable[None]:
        state: LoopState = _running()._rashomon
        if not held:
            return state.settle(note)
        future = self.held(_always)

        def release(place: Place) -> None:
            note(place)
            future.due()

        state.pending.append((release, None))
        return future  # type: ignore[no-any-return]

    def held(self, hold: Callable[[], bool]) -> Any:
        return _held(hold, loop=_running())


_running: Callable[[], Any] = lambda: None  # noqa: E731  # asyncio's own once it is loaded
_held: Any = None
"""The class of `Ticker.held`, once asyncio is loaded."""


_INSISTING = 20
"""Who cancels for the so many-th time does it in each turn, as anyio does: the loop would never come to wait again."""


def _always() -> bool:
    return True


def _held_class(base: Any) -> Any:
    class Held(base):  # type: ignore[misc]
        """Waits for a completion. Who is cancelled while a call ends learns of it where the call's end has its place:
        which cancellation came first within a turn of the loop is not to be found again otherwise."""

        withheld = 0
        """So many cancellations the body of the recorded tool has kept from its caller."""
        _cancelled: tuple[Any, ...] | None = None
        _times = 0

        def __init__(self, hold: Callable[[], bool], loop: Any) -> None:
            super().__init__(loop=loop)
            self._hold = hold

        def cancel(self, msg: Any = None) -> bool:
            if self.done():
                return False
            if self.withheld:
                self.withheld -= 1
                return True
            self._times += 1
            if self._times <= _INSISTING and (self._cancelled is not None or self._hold()):
                self._cancelled = (msg,)
                return True
            return super().cancel(msg)  # type: ignore[no-any-return]

        def due(self) -> None:
            """The completion has come."""
            if self._cancelled is not None:
                super().cancel(*self._cancelled)
            elif not self.done():
                self.set_result(None)

    return Held


def patch_asyncio(module: Any) -> None:
    """Count turns, timers and wake-ups (`asyncio.base_events`)."""
    global _held, _running
    _running = module.events._get_running_loop
    _held = _held_class(module.futures.Future)
    boundary.ticker = _Ticker()
    base = module.BaseEventLoop
    _patch_run(base)
    _patch_time(base, _task_of(module.tasks), module.time)
    _patch_timers(base)
    _patch_wakes(base)
    _patch_shutdown(base)
    _patch_dropped(base)
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
        key = timer_key(guard, when - self.time())
        if boundary.conductor is None:
            return original(self, when, fired, key, callback, *args, context=context)
        return boundary.conductor.timer(self, when, key, functools.partial(fired, key, callback, *args), context)

    base.call_at = call_at


def timer_key(guard: Any, delay_s: float) -> Any:
    """What names a timer that is made here: guard, lane, number, enclosing step, microseconds until it is due."""
    line = lanes.current_line()
    number = line.next_timer()
    enclosing = boundary.inside.get()
    return guard, line.lane, number, None if enclosing is None else enclosing.number, max(0, int(delay_s * 1e6))


def fired(key: Any, callback: Any, *args: Any) -> None:
    """A timer is due: note where, and that it was so when the tick began; do what it was made for."""
    guard, lane, number, within, delay_us = key
    state = getattr(_running(), "_rashomon", None)
    place, turned_ns = (NOWHERE, None) if state is None else (state.place(), state.turned_ns)
    getattr(guard, "scribe", guard).note_point(Event.TIMER, lane, number, place, within, delay_us, turned_ns)
    callback(*args)


def _task_of(tasks: Any) -> Callable[[Any], Any]:
    """`current_task`, or what it does where it is written in Python: it is asked a dozen times during one call."""
    running: Any = getattr(tasks, "_current_tasks", None)
    plain = running is not None and hasattr(tasks.current_task, "__code__")
    return running.get if plain else tasks.current_task  # type: ignore[no-any-return]


def _patch_time(base: Any, current_task: Callable[[Any], Any], clocks: Any) -> None:
    """The clock of a loop: what a task reads there, itself or through asyncio, is as other reads of a clock are. The
    loop's own timers, among them those of live calls, go by the real one."""
    original = base.time
    is_plain = original.__module__ == base.__module__

    @functools.wraps(original)
    def time(self: Any) -> float:
        # twice in each turn the loop itself asks: that must cost next to nothing, and to ask for a frame does not
        task = current_task(self)
        clock = clocks.monotonic  # what is patched would ask who is asking, and that is asyncio
        is_real = is_plain and type(clock) is Patched
        if task is None and is_real:
            return clock.original()  # type: ignore[no-any-return]
        guard = None if task is None else boundary.guard_here()
        if guard is None or getattr(self, "_rashomon", None) is None or lanes.is_quiet():
            return clock.original() if is_real else original(self)  # type: ignore[no-any-return]
        frame, who = asker(sys._getframe(1))
        if who == USER:
            return guard.read("clock", "time.monotonic", lambda: original(self), frame)  # type: ignore[no-any-return]
        if not guard.isolates:
            return original(self)  # type: ignore[no-any-return]
        return guard.library_read("clock", "time.monotonic", lambda: original(self))  # type: ignore[no-any-return]

    base.time = time


AT_ONCE = -1
"""In the place of a timer's delay: a time limit had passed when it was set, and no timer was made."""


def patch_limits(module: Any) -> None:
    """`asyncio.timeout` looks at the clock when it is entered: on a busy machine a limit may have passed by then. Note
    it, and let a replay find it so (`asyncio.timeouts`)."""
    original = module.Timeout.reschedule

    @functools.wraps(original)
    def reschedule(self: Any, when: float | None) -> None:
        guard: Any = boundary.guard_here()
        place = boundary.place_now()
        if guard is None or when is None or place is None or lanes.is_quiet():
            return original(self, when)  # type: ignore[no-any-return]
        line = lanes.current_line()
        conductor = boundary.conductor
        if conductor is not None and conductor.at_once(line.lane, line.timers):
            original(self, float("-inf"))
            self._when = when
        else:
            original(self, when)
            if hasattr(getattr(self, "_timeout_handler", None), "when"):  # a `TimerHandle`
                return None
        enclosing = boundary.inside.get()
        within = None if enclosing is None else enclosing.number
        scribe = getattr(guard, "scribe", guard)
        return scribe.note_point(Event.TIMER, line.lane, line.next_timer(), place, within, AT_ONCE)  # type: ignore[no-any-return]

    module.Timeout.reschedule = reschedule


def _patch_shutdown(base: Any) -> None:
    """A loop ends its own pool of threads in a thread. It has one only if somebody made it, who may have been the body
    of a tool: the thread counts as nobody's."""
    original = base.shutdown_default_executor

    @functools.wraps(original)
    async def shutdown_default_executor(self: Any, *args: Any, **options: Any) -> None:
        with lanes.quietly():
            await original(self, *args, **options)

    base.shutdown_default_executor = shutdown_default_executor


DROPPED = "an async generator"
_WHEN_FOUND = "it was dropped before its end, and is closed when the garbage collector finds it"


def _patch_dropped(base: Any) -> None:
    """Async generators of the program's own that only the garbage collector finds: when their cleanup runs depends on
    how much the process has allocated, which is not the same in a replay."""
    original = base._asyncgen_finalizer_hook

    @functools.wraps(original)
    def finalizer(self: Any, agen: Any) -> None:
        guard: Any = boundary.current() if collector.is_running() else None
        if guard is not None and agen.ag_frame is not None and of_file(agen.ag_code.co_filename) == USER:
            scribe = getattr(guard, "scribe", guard)
            scribe.uncontrolled(DROPPED, _WHEN_FOUND, agen.ag_frame)
        original(self, agen)

    base._asyncgen_finalizer_hook = finalizer


def note(guard: Any, event: Event, lane: Lane, number: int, place: Place, within: int | None = None) -> None:
    """Tell a recorder, or what a replay writes into."""
    scribe = getattr(guard, "scribe", guard)
    scribe.note_point(event, lane, number, place, within)


def _patch_wakes(base: Any) -> None:
    original = base.call_soon_threadsafe

    @functools.wraps(original)
    def call_soon_threadsafe(self: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        state = getattr(self, "_rashomon", None)
        key = None if state is None else wake_key(self, args)
        if key is None:
            return original(self, callback, *args, context=context)
        handle = sys.modules["asyncio"].Handle(callback, args, self, context)
        if boundary.conductor is not None:
            boundary.conductor.woken(self, key, handle)
            original(self, nothing)
        else:
            original(self, _woken, state, key, handle)
        return handle

    base.call_soon_threadsafe = call_soon_threadsafe


def wake_key(loop: Any, args: tuple[Any, ...]) -> Any:
    """Who wakes the loop: guard, lane, number, enclosing step. None when it does not count."""
    if args and type(args[0]).__name__ == "async_generator_athrow":
        return None  # the garbage collector closes a dropped async generator, in whatever thread it runs
    tagged = getattr(args[1], "_rashomon_lane", None) if len(args) == 2 else None
    if tagged is None and _running() is loop:
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

    state.pending.append((release, None))


def nothing() -> None:
    """Wakes a loop up."""
