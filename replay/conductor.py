"""The order of a replay: hands out recorded completions one after the other, as they happened.

Every completion of the recording has its place in one list for each process. Who waits for an answer, a timer,
a wake-up or a sleep waits for its entry to come to the head of that list. On an event loop an entry is handed out
at its tick; in a thread, when it is its turn. Nothing real is waited for.

When the entry at the head is not asked for and nothing can move any more that would ask for it, the recording has
been left: the earliest entry that is waited for comes next, and the order is no longer exact. What is waited for and
cannot come ends the replay with an explanation.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from threading import Condition, RLock, get_ident
from typing import Any, NamedTuple

from rashomon import boundary, real
from rashomon.boundary import NOWHERE, Witness
from rashomon.errors import Missed
from rashomon.model import Event, Lane, Point, Step, Tape
from rashomon.replay.clock import VirtualClock
from rashomon.replay.stillness import Stillness, Turn, children

Key = tuple[Event, Any, int]
_LOOK_S = 0.005
"""How often a waiting thread looks whether anything can still move."""
_PATIENCE_S = 10.0
"""How long the head of the list is waited for although something is moving."""
_CHILD_PATIENCE_S = 60.0
_END_S = 2.0
"""How long an event loop that nothing can wake is watched before the replay ends."""


class Waiter:
    """Somebody who waits for an entry: a loop (with its state), or a thread."""

    __slots__ = ("due_us", "ident", "release", "released", "state")

    def __init__(self, state: Any, release: Callable[[], None], due_us: int = 0) -> None:
        self.state, self.release, self.due_us = state, release, due_us
        self.ident = get_ident()
        self.released = False


class Label(NamedTuple):
    """Where in the recording a loop is."""

    loop: int
    epoch: int
    tick: int


class Conductor:
    """Hands out the completions of one process. `left` is told, once, that the order is no longer exact."""

    def __init__(self, tape: Tape, process: int | None, clock: VirtualClock, left: Callable[[str], None]) -> None:
        self.clock, self._left = clock, left
        self._changed = Condition(RLock())
        self._numbers = count()
        self.live = 0
        """Calls that are being made for real."""
        self.exact = True
        self._read(tape, process)

    def _read(self, tape: Tape, process: int | None) -> None:
        own = [point for point in tape.points if process is None or point.process == process]
        self._begins = [point for point in own if point.event is Event.BEGIN]
        self._entries = _in_order([point for point in own if point.event is not Event.BEGIN])
        self._index = {_key(point): number for number, point in enumerate(self._entries)}
        self._done = bytearray(len(self._entries))
        self._by_loop: dict[int, deque[int]] = {}
        for number, point in enumerate(self._entries):
            if point.loop >= 0:
                self._by_loop.setdefault(point.loop, deque()).append(number)
        self._head = 0
        self._waiting: dict[int, Waiter] = {}
        self._unordered: list[tuple[int, int, Waiter]] = []
        self._orphans: list[tuple[Any, Any]] = []
        self._blocked: set[int] = set()
        self._deaf: set[int] = set()
        """The numbers of the loops whose threads wait for a blocking call."""
        self._labels: dict[int, Label] = {}
        self._loops_before = (0, 0)
        self._lanes = {step.id: step.lane for step in tape.steps}
        self._inner = _inner(tape, self._entries)
        self._stillness = Stillness()
        self._turn = Turn()
        self._strangers = children()

    def begin(self, loops: int, place: tuple[int, int, int]) -> None:
        """The replay begins in a process that has had so many loops, with the running one at `place`."""
        begun = self._begins[0] if self._begins else None
        self._loops_before = (0 if begun is None else begun.number, loops)
        if begun is not None and begun.loop >= 0 and place[0] >= 0:
            self._labels[place[0]] = Label(begun.loop, begun.epoch, begun.tick)

    def _label(self, state: Any) -> Label:
        """Where in the recording a loop is; a new one is at the beginning of the loop that was made there."""
        label = self._labels.get(state.number)
        if label is None:
            recorded, here = self._loops_before
            label = self._labels[state.number] = Label(state.number - here + recorded, 0, 0)
        return label

    def after_fork(self, tape: Tape, process: int | None) -> None:
        """In a forked child: its own entries."""
        self._changed = Condition(RLock())
        self._read(tape, process)

    # what is asked for

    def known(self, key: Key) -> bool:
        """True when the recording has this completion, and it has not been handed out."""
        index = self._index.get(key)
        return index is not None and not self._done[index]

    def wait(self, key: Key, told: Callable[[], None]) -> bool:
        """Block this thread until the completion is due. False, at once, when no order is known for it."""
        with self._changed:
            index = self._index.get(key)
            if index is None or self._done[index]:
                return False
            waiter = Waiter(None, told)
            self._waiting[index] = waiter
            self._block(waiter)
        return True

    def sleep(self, key: Key, seconds: float, told: Callable[[], None]) -> None:
        """A blocking sleep: until its turn, or until nothing is left that would come before it."""
        if self.wait(key, told):
            return
        with self._changed:
            waiter = Waiter(None, told, self.clock.now_us + int(seconds * 1e6))
            heapq.heappush(self._unordered, (waiter.due_us, next(self._numbers), waiter))
            self._block(waiter)

    def _block(self, waiter: Waiter) -> None:
        """Wait, with the lock held, until somebody has released it; release the next one when nothing moves."""
        ident = get_ident()
        deaf = _running_state()
        if deaf is not None:
            self._deaf.add(deaf.number)
            self._label(deaf)
        self._blocked.add(ident)
        try:
            while True:
                self._move()
                if waiter.released or (self._stuck() and self._skip() and waiter.released):
                    break
                self._changed.wait(_LOOK_S)
                if waiter.released:
                    break
        finally:
            self._blocked.discard(ident)
            if deaf is not None:
                self._deaf.discard(deaf.number)
            self._stillness.reset()

    def rest(self) -> None:
        """This thread has finished a job, or ends."""
        with self._changed:
            if self._turn.rest(get_ident()):
                self._move()

    def settle(self, key: Key, told: Callable[[Any], None]) -> Awaitable[None] | None:
        """For a coroutine: what to await until the completion is due; None when it did not wait in the recording.

        `told` is called with the loop's state at that moment.
        """
        loop = _running_loop()
        state = getattr(loop, "_rashomon", None)
        with self._changed:
            index = self._index.get(key)
            if index is None or self._done[index] or state is None:
                return None
            future = loop.create_future()

            def release() -> None:
                if not future.done():
                    told(state)
                    future.set_result(None)

            self._waiting[index] = Waiter(state, release)
            return future  # type: ignore[no-any-return]

    def orphan(self, message: str) -> Awaitable[None]:
        """What a call awaits that was cancelled in the recording; fails with `message` when nothing cancels it."""
        future = _running_loop().create_future()
        self._orphans.append((future, message))
        return future  # type: ignore[no-any-return]

    def timer(self, loop: Any, when: float, key: Any, callback: Callable[[], None], context: Any) -> Any:
        """A timer of a loop: fires when the recorded one did, or, unrecorded, when its time has come."""
        from asyncio import TimerHandle

        _, lane, number, _, delay_us = key
        handle = TimerHandle(when, callback, (), loop, context)
        state = loop._rashomon

        def release() -> None:
            if not handle.cancelled():
                loop._ready.append(handle)

        with self._changed:
            index = self._index.get((Event.TIMER, lane, number))
            waiter = Waiter(state, release, self.clock.now_us + delay_us)
            if index is not None and not self._done[index] and _alike(self._entries[index].delay_us, delay_us):
                self._waiting[index] = waiter
            else:
                heapq.heappush(self._unordered, (waiter.due_us, next(self._numbers), waiter))
        release.__dict__.update(cancelled=handle.cancelled, rearm=lambda: _rearm(loop, handle, waiter))
        return handle

    def close(self) -> None:
        """The replay ends and the program goes on: what still waits gets its answer, timers run by the real clock."""
        with self._changed:
            now_us = self.clock.now_us
            waiters = [*self._waiting.values(), *(waiter for _, _, waiter in self._unordered)]
            self._waiting.clear()
            self._unordered.clear()
            self._done = bytearray(b"\1" * len(self._entries))
            for waiter in waiters:
                rearm = getattr(waiter.release, "rearm", None)
                if rearm is None:
                    self._release(waiter)
                else:
                    waiter.due_us -= now_us
                    rearm()
                if waiter.state is not None:
                    _kick(waiter.state)

    def woken(self, loop: Any, key: Any, handle: Any) -> None:
        """Another thread wakes a loop: the loop learns of it when it did in the recording."""
        guard, lane, number, within = key
        state = loop._rashomon

        def release() -> None:
            from rashomon.boundary import ticker

            place = NOWHERE if ticker is None else state.place()
            scribe = getattr(guard, "scribe", guard)
            scribe.note_point(Event.WAKE, lane, number, place, within)
            if not handle._cancelled:
                loop._ready.append(handle)

        with self._changed:
            index = self._index.get((Event.WAKE, lane, number))
            waiter = Waiter(state, release, self.clock.now_us)
            if index is not None and not self._done[index]:
                self._waiting[index] = waiter
            else:
                heapq.heappush(self._unordered, (waiter.due_us, next(self._numbers), waiter))
            self._stillness.reset()

    def served(self, step: str) -> None:
        """A recorded tool answers: what happened inside it will not be asked for."""
        with self._changed:
            for index in self._inner.get(step, ()):
                self._done[index] = 1
            self._move()

    def over(self, step: str) -> None:
        """The program has done with an answer, maybe before its recorded end."""
        with self._changed:
            for event in (Event.HEAD, Event.END):
                self._pass((event, step, 0))
            number = 0
            while self._pass((Event.PIECE, step, number)):
                number += 1
            self._move()

    def _pass(self, key: Key) -> bool:
        index = self._index.get(key)
        if index is None:
            return False
        if index not in self._waiting:
            self._done[index] = 1
        return True

    # handing out

    def _move(self) -> None:
        """Hand out to threads what is due; wake the loop whose turn it is."""
        while (due := self._due()) is not None:
            if self._turn.taken(self._blocked):
                return
            state = self._waiting[due].state
            if state is not None:
                if state.loop._thread_id != get_ident():
                    _kick(state)
                return
            self._hand_out(due)

    def _due(self) -> int | None:
        """The entry whose turn it is, if somebody waits for it. A loop whose thread waits for a blocking call is deaf:
        what stands there for it has to wait, or cannot come."""
        head = self._next()
        if head is None or not self._deaf:
            return head if head in self._waiting else None
        loops = {label.loop for number, label in self._labels.items() if number in self._deaf}
        for index in range(head, len(self._entries)):
            if self._done[index]:
                continue
            waiter = self._waiting.get(index)
            if waiter is None and _loop_of(self._entries[index]) not in loops:
                return None
            if waiter is not None and (waiter.state is None or waiter.state.number not in self._deaf):
                return index
        return None

    def _hand_out(self, index: int) -> None:
        waiter = self._waiting.pop(index)
        self._done[index] = 1
        self.clock.advance_to(self._entries[index].at_us)
        self._release(waiter)

    def _release(self, waiter: Waiter) -> None:
        waiter.released = True
        if waiter.state is None:
            self._blocked.discard(waiter.ident)
        self._turn.give(waiter.ident)
        waiter.release()
        self._stillness.reset()
        self._changed.notify_all()

    def select(self, state: Any, timeout: float | None, wait: Callable[[float | None], Any]) -> Any:
        """In place of a loop's `select`: hands out what is due; never waits while something can be handed out."""
        idle = timeout is None or timeout > 0
        if not idle:
            with self._changed:
                label = self._label(state)
                self._labels[state.number] = label._replace(tick=label.tick + 1)
                self._hand_out_here(state)
                if self._is_due(state):
                    self._await_due(state)
            return wait(0)
        events = wait(0)
        if events:
            return events
        self._stillness.reset()
        ident = get_ident()
        try:
            while events is None or not events:
                with self._changed:
                    self._blocked.add(ident)
                    if self._hand_out_idle(state) or state.loop._ready:
                        return wait(0)
                events = self._idle(state, timeout, wait)
                if events is not None:
                    break
        finally:
            self._blocked.discard(ident)
        return events

    def _is_due(self, state: Any) -> bool:
        """True when this loop had been handed something by this tick of the recording that depends on other threads:
        a wake-up that has not come yet, or what stands behind a completion of another thread."""
        label = self._label(state)
        index = self._first_of_loop(label.loop)
        if index is None:
            return False
        entry = self._entries[index]
        if entry.epoch != label.epoch or entry.tick > label.tick:
            return False
        return index in self._waiting or entry.event is Event.WAKE

    def _first_of_loop(self, loop: int) -> int | None:
        """The first entry of a recorded loop that has not been handed out."""
        own = self._by_loop.get(loop)
        while own and self._done[own[0]]:
            own.popleft()
        return own[0] if own else None

    def _await_due(self, state: Any) -> None:
        """With the lock held: wait for the other threads, as long as any of them can move."""
        ident = get_ident()
        self._stillness.reset()
        self._blocked.add(ident)
        try:
            while self._is_due(state):
                if self._stuck() and not self._skip():
                    return
                self._hand_out_here(state)
                if self._is_due(state):
                    self._changed.wait(_LOOK_S)
                    self._hand_out_here(state)
        finally:
            self._blocked.discard(ident)

    def _idle(self, state: Any, timeout: float | None, wait: Callable[[float | None], Any]) -> Any:
        """Nothing of this loop's is due. Events when something real happened; None to look again."""
        with self._changed:
            alone = len(boundary.threads) <= len(self._blocked) and not self.live
            stuck = self._stuck(_watches_more(state))
            if stuck and self._skip():
                return None
            if stuck and self._stillness.seconds > _END_S and not _watches_more(state):
                self._give_up()
                return None
        before = real.monotonic()
        slice_s = _LOOK_S if timeout is None else min(timeout, _LOOK_S)
        if alone and _watches_more(state):
            slice_s = 0.05
        events = wait(slice_s)
        if self.live or state.loop._scheduled:
            self.clock.advance(int((real.monotonic() - before) * 1e6))
        if events:
            self._stillness.reset()
            return events
        return [] if state.loop._scheduled and timeout is not None else None

    def _hand_out_here(self, state: Any) -> None:
        """What is due at this tick of this loop."""
        while (due := self._due()) is not None:
            entry, label = self._entries[due], self._label(state)
            if self._waiting[due].state is not state or entry.loop < 0:
                break
            if (entry.loop, entry.epoch) != label[:2] or entry.tick > label.tick:
                break
            self._hand_out(due)
        self._move()

    def _hand_out_idle(self, state: Any) -> bool:
        """This loop has nothing to do: the head of the list, when it is for this loop, begins its epoch."""
        self._move()
        due = self._due()
        if due is None or self._waiting[due].state is not state:
            return False
        if self._turn.taken((*self._blocked, get_ident())):
            return False
        entry = self._entries[due]
        self._labels[state.number] = Label(entry.loop, entry.epoch, entry.tick)
        self._hand_out(due)
        self._hand_out_here(state)
        return True

    def _next(self) -> int | None:
        while self._head < len(self._entries) and self._done[self._head]:
            self._head += 1
        return self._head if self._head < len(self._entries) else None

    # when the recording has been left

    def _stuck(self, watching: bool = False) -> bool:
        """True when nothing in this process can move that would ask for the head of the list."""
        seconds = self._stillness.seconds
        if self.live:
            return False
        if watching and seconds < 0.2:
            return False
        if not self._stillness.reached(self._blocked):
            return seconds > _PATIENCE_S
        return seconds > _CHILD_PATIENCE_S or not children() - self._strangers

    def _skip(self) -> bool:
        """Hand out the earliest of what is waited for. False when nothing is."""
        while self._unordered and _is_cancelled(self._unordered[0][2]):
            heapq.heappop(self._unordered)
        heard = [
            index
            for index, waiter in self._waiting.items()
            if waiter.state is None or waiter.state.number not in self._deaf
        ]
        recorded = min(heard, default=None)
        due = None if recorded is None else self._entries[recorded].at_us
        if self._unordered and (due is None or self._unordered[0][0] <= due):
            due_us, _, waiter = heapq.heappop(self._unordered)
            self.clock.advance_to(due_us)
            self._note_left()
            self._release(waiter)
            if waiter.state is not None:
                _kick(waiter.state)
            return True
        if recorded is None:
            return False
        self._note_left()
        absent = {self._lane(entry) for entry in self._entries[self._head : recorded]}
        waited = {self._lane(self._entries[index]) for index in self._waiting}
        for index in range(self._head, len(self._entries)):
            lane = self._lane(self._entries[index])
            if index not in self._waiting and (index < recorded or (lane in absent and lane not in waited)):
                self._done[index] = 1
        self._move()
        return True

    def _lane(self, entry: Point) -> Lane:
        return entry.lane if entry.step is None else self._lanes.get(entry.step, ())

    def _note_left(self) -> None:
        head = self._next()
        if not self.exact or head is None:
            return
        self.exact = False
        entry = self._entries[head]
        what = f"{entry.event} of step {entry.step}" if entry.step else f"{entry.event} of lane {entry.lane}"
        self._left(f"The next completion of the recording, the {what}, was never waited for.")

    def _give_up(self) -> None:
        """The loop waits for what cannot come."""
        self._orphans = [(future, message) for future, message in self._orphans if not future.done()]
        if self._orphans:
            future, message = self._orphans.pop(0)
            future.set_exception(Missed(message))
            self._stillness.reset()
            return
        raise Missed(
            "The program waits, and nothing is left in the recording that could wake it: no answer, no timer, no "
            "other thread and no child process. In the recording something came from outside of what is recorded."
        )


class StepPace:
    """The `boundary.Pace` of one served step."""

    __slots__ = ("_conductor", "_step", "_witness")

    def __init__(self, conductor: Conductor, step: Step, witness: Witness) -> None:
        self._conductor, self._step, self._witness = conductor, step, witness

    def wait(self, event: Event, number: int = 0) -> None:
        key = (event, self._step.id, number)
        if not self._conductor.wait(key, lambda: boundary.completed(self._witness, event, number)):
            self._conductor.clock.advance_to(self._time(event, number))

    def settle(self, event: Event, number: int = 0) -> Awaitable[None] | None:
        key = (event, self._step.id, number)
        settling = self._conductor.settle(key, lambda state: self._witness.at(event, number, state.place()))
        if settling is None and event is not Event.CLOSE:
            self._conductor.clock.advance_to(self._time(event, number))
        return settling

    async def cancelled(self) -> None:
        try:
            await self._conductor.orphan(
                f"Step {self._step.id} was cancelled here in the recording, and nothing cancels it in this replay."
            )
        except BaseException:
            settling = self.settle(Event.END)
            if settling is not None:
                await settling
            raise

    def over(self) -> None:
        """The answer has been read, closed or dropped."""
        self._conductor.over(self._step.id)

    def _time(self, event: Event, number: int) -> int:
        step = self._step
        pieces = step.response.pieces
        if event is Event.PIECE and number < len(pieces):  # a stub may have more of them
            return step.started_us + pieces[number].offset_us
        if event is Event.HEAD and pieces:
            return step.started_us + pieces[0].offset_us
        return step.started_us + step.response.duration_us


def _in_order(points: list[Point]) -> list[Point]:
    """The points of each loop by their places. A place is written down one tick ahead, when a timer of the tick
    before may still fire; and what blocks the loop's thread during a tick comes behind what the tick began with."""
    for loop in {_loop_of(point) for point in points} - {None}:
        own = [index for index, point in enumerate(points) if _loop_of(point) == loop]
        ordered = sorted((points[index] for index in own), key=lambda point: (point.epoch, point.tick, point.loop < 0))
        for index, point in zip(own, ordered, strict=True):
            points[index] = point
    return points


def _loop_of(point: Point) -> int | None:
    """The loop in whose thread a completion was handed out."""
    return None if point.loop == -1 else max(point.loop, -2 - point.loop)


def _key(point: Point) -> Key:
    return (point.event, point.lane if point.step is None else point.step, point.number)


def _inner(tape: Tape, entries: Iterable[Point]) -> dict[str, list[int]]:
    """Of each step that others were made within: the entries of all that happened inside it."""
    above = {step.id: step.within for step in tape.steps}
    found: dict[str, list[int]] = {}
    for index, point in enumerate(entries):
        outer = point.within if point.step is None else above.get(point.step)
        while outer is not None:
            found.setdefault(outer, []).append(index)
            outer = above.get(outer)
    return found


def _running_loop() -> Any:
    from asyncio import _get_running_loop

    return _get_running_loop()


def _running_state() -> Any:
    """The state of the event loop that runs in this thread, if one does."""
    ticker = boundary.ticker
    return None if ticker is None else ticker.state()


def _kick(state: Any) -> None:
    """Let a loop that may be waiting look again."""
    try:
        state.loop._write_to_self()
    except Exception:
        pass  # it is closed: nobody waits there


def _watches_more(state: Any) -> bool:
    """True when a loop waits for real connections or pipes besides its own."""
    try:
        return len(state.loop._selector.get_map()) > 1
    except Exception:
        return False  # a selector that does not say: nothing is known of such


def _alike(recorded_us: int, now_us: int) -> bool:
    """True when two timers may be the same: one that runs for minutes is not the one that ran for milliseconds."""
    return abs(recorded_us - now_us) <= max(100_000, recorded_us // 2)


def _rearm(loop: Any, handle: Any, waiter: Waiter) -> None:
    """Give a timer to the loop itself; `waiter.due_us` is how long it has still to run."""
    handle._when = real.monotonic() + waiter.due_us / 1e6
    if not handle.cancelled():
        heapq.heappush(loop._scheduled, handle)
        handle._scheduled = True


def _is_cancelled(waiter: Waiter) -> bool:
    cancelled = getattr(waiter.release, "cancelled", None)
    return cancelled is not None and cancelled()
