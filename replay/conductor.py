"""The event loops of a replay: each goes on where it did in the recording, without waiting for anything real.

A loop asks here in place of its selector. What it was handed at a tick of the recording it is handed at that tick
again; when it has nothing to do, the entry at the head of the list begins its next epoch. What is waited for and
cannot come ends the replay with an explanation.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable
from functools import partial
from threading import get_ident
from typing import Any, NamedTuple

from rashomon import boundary, real
from rashomon.boundary import NOWHERE
from rashomon.errors import Missed
from rashomon.model import Event, Lane
from rashomon.replay.completions import LOOK_S, Completions, Label
from rashomon.replay.score import Key
from rashomon.replay.waiters import Waiter, alike, rearm, running_loop, running_state, watches_more

Told = Callable[[Any], None]
"""Writes a completion down where it is handed out; is given the loop's state."""


class Until(NamedTuple):
    """Where somebody who is cancelled learns of it: the completion, and what writes it down. Not `always`: only who is
    cancelled in the turn before that, since the recording has no cancellation there; who is so earlier learns at once.
    """

    key: Key
    told: Told
    always: bool = True


_END_S = 2.0
"""How long an event loop that nothing can wake is watched before the replay ends."""


class Conductor(Completions):
    """Hands out the completions of one process, to its threads and its event loops."""

    def settle(self, key: Key, told: Told, until: Until | None = None) -> Awaitable[None] | None:
        """For a coroutine: what to await until the completion is due; None when it did not wait in the recording.

        `told` is called with the loop's state at that moment. `until` is where who is cancelled meanwhile learns of it:
        where the recorded call ended, if it was cancelled there. Without it that is at once.
        """
        state = running_state()
        with self._changed:
            index = self._score.find(key)
            if index is None or state is None:
                return None
            due_us = self.clock.now_us + self._score.lasted(index)
            if until is None:
                future = state.loop.create_future()
                self._wait_for(index, Waiter(state, lambda: _release(future, told, state), due_us), state)
            else:
                future = self._held(state, until, index, told)
                self._wait_for(index, Waiter(state, lambda: _end(future, told, state), due_us), state)
            return future  # type: ignore[no-any-return]

    def settle_closing(self, key: Key, together: int, told: Told) -> Awaitable[None] | None:
        """The same for the closing of a client, which ends where it ended, cancelled or not. `together` is its number
        in a recording that counts closings of all kinds together."""
        if not self._score.has(key):
            key = (key[0], key[1], together)
        return self.settle(key, told, Until(key, told))

    def settle_unclosed(self, key: Key, told: Callable[[Key, Any], None]) -> Awaitable[None] | None:
        """For who is about to close a client and had closed another one before that, which the body of a tool, which is
        not run, would have made: what to await until that had been closed. `told` is given its key."""
        with self._changed:
            own = self._score.find(key)
            before = None if own is None else self._score.unclosed(own, self._waiting)
            return None if before is None else self.settle(before, partial(told, before))

    def _held(self, state: Any, until: Until, index: int | None = None, told: Told | None = None) -> Any:
        """A future for somebody who waits for an entry, or for nothing: a cancellation comes when `until` does."""

        def hold() -> bool:
            with self._changed:
                end = self._score.find(until.key)
                if end is None or not self.exact or self._is_past(end, state):
                    return False
                if not until.always and not self._is_past(end, state, 1):
                    return False
                self._closed_before(end)
                if index is not None and index != end and told is not None:
                    self._waiting[index] = Waiter(state, lambda: told(state), self.clock.now_us)
                self._waiting[end] = Waiter(state, lambda: _end(future, until.told, state), self.clock.now_us)
                self._orphans = [orphan for orphan in self._orphans if orphan[0] is not future]
                return True

        assert boundary.ticker is not None  # it made the state
        future = boundary.ticker.held(hold)
        return future

    def ends(self, key: Key) -> None:
        """A call has been cancelled whose end this is."""
        with self._changed:
            end = self._score.find(key)
            if end is not None:
                self._closed_before(end)

    def _closed_before(self, end: int) -> None:
        """An answer that came for nobody, as its caller had been cancelled, was closed before the call ended."""
        closing = self._score.find((Event.CLOSE, self._score.entries[end].step, 0))
        if closing is not None and closing < end and closing not in self._waiting:
            self._score.finish(closing)

    def _is_past(self, index: int, state: Any, early: int = 0) -> bool:
        """True when a loop has come to the tick of an entry, or to within `early` of it."""
        entry, label = self._score.entries[index], self._label(state)
        return (entry.loop, entry.epoch) == label[:2] and entry.tick <= label.tick + early

    def has_come(self, key: Key, told: Told) -> bool:
        """True when the running loop is at the tick of this completion already; then it has been handed out with that.

        A cancellation reaches a live call in the tick in which it is made, where the call was about to go on anyway.
        """
        state = running_state()
        with self._changed:
            index = self._score.find(key)
            if state is None or index is None or not self._is_past(index, state):
                return False
            self._has_come(index, state, told)
            return True

    def _has_come(self, index: int, state: Any, told: Told) -> None:
        self._score.finish(index)
        self._note_place(index, self._label(state))
        self.clock.advance_to(self._score.entries[index].at_us)
        told(state)

    def is_to_come(self, state: Any, key: Key, told: Told, then: Callable[[], object]) -> bool:
        """True when a loop that is not running now has to run on until this completion, with which `then` is called."""
        event, lane, number = key
        with self._changed:
            self._pass_over()
            index = self._score.find((event, self._aliases.of(lane), number))
            if index is None:
                return False
            if self._is_past(index, state):
                self._has_come(index, state, told)
                return False

            def release() -> None:
                told(state)
                then()

            self._wait_for(index, Waiter(state, release, self.clock.now_us), state)
            return True

    def has(self, key: Key) -> bool:
        """True when the recording has this completion."""
        return self._score.has(key)

    def ended(self, step: str) -> bool:
        """True when the recorded end of a call has been handed out. Waits for nobody, like `over`."""
        key = (Event.END, step, 0)
        return self._score.has(key) and self._score.find(key) is None

    def orphan(self, message: str, until: Until) -> Awaitable[None]:
        """What a call awaits that was cancelled in the recording; fails with `message` when nothing cancels it."""
        state = running_state()
        future = running_loop().create_future() if state is None else self._held(state, until)
        self._orphans.append((future, message))
        return future  # type: ignore[no-any-return]

    def at_once(self, lane: Lane, number: int) -> bool:
        """True when the recorded time limit of this line and number had passed when it was set."""
        return self._score.at_once(self._aliases.of(lane), number)

    def timer(self, loop: Any, when: float, key: Any, callback: Callable[[], None], context: Any) -> Any:
        """A timer of a loop: fires when the recorded one did, or, unrecorded, when its time has come."""
        from asyncio import TimerHandle

        _, lane, number, _, delay_us = key
        handle = TimerHandle(when, callback, (), loop, context)
        state = loop._rashomon

        def release() -> None:
            if not handle.cancelled():
                loop._ready.append(handle)

        waiter = Waiter(state, release, self.clock.now_us + delay_us)
        with self._changed:
            self._timers[waiter] = (Event.TIMER, lane, number), delay_us
            self._await_timer(waiter)
        release.__dict__.update(cancelled=handle.cancelled, rearm=lambda: rearm(loop, handle, waiter))
        return handle

    def _await_timer(self, waiter: Waiter) -> None:
        """Have a timer wait for the entry of its line; for its time, where the recording has none like it."""
        (event, lane, number), delay_us = self._timers[waiter]
        recorded = self._aliases.of(lane)
        index = self._score.find((event, recorded, number))
        if index is None or not alike(self._score.entries[index].delay_us, delay_us):
            heapq.heappush(self._unordered, (waiter.due_us, next(self._numbers), waiter))
            return
        other = self._waiting.get(index)
        self._wait_for(index, waiter, waiter.state)
        if other is not None and other in self._timers:  # it was taken for the line that this one is
            heapq.heappush(self._unordered, (other.due_us, next(self._numbers), other))

    def stands_for(self, lane: Lane, recorded: Lane) -> None:
        """A call of a line was answered by a step of another recorded line: its timers are those of that one too."""
        with self._changed:
            if not self._aliases.add(lane, recorded):
                return
            moved = [waiter for waiter, ((_, own, _), _) in self._timers.items() if own[: len(lane)] == lane]
            for index in [index for index, waiter in self._waiting.items() if waiter in moved]:
                del self._waiting[index]
            self._unordered = [one for one in self._unordered if one[2] not in moved]
            heapq.heapify(self._unordered)
            for waiter in moved:
                self._await_timer(waiter)

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
            index = self._score.find((Event.WAKE, self._aliases.of(lane), number))
            if index in self._waiting:
                index = None  # of a line that was taken for the one that this is
            waiter = Waiter(state, release, self.clock.now_us)
            if index is not None:
                self._wait_for(index, waiter, state)
            else:
                heapq.heappush(self._unordered, (waiter.due_us, next(self._numbers), waiter))
            self._stillness.reset()

    def select(self, state: Any, timeout: float | None, wait: Callable[[float | None], Any]) -> Any:
        """In place of a loop's `select`: hands out what is due; never waits while something can be handed out."""
        idle = timeout is None or timeout > 0
        with self._changed:
            self._deaf.discard(state.number)
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
        ident = get_ident()
        try:
            while events is None or not events:
                with self._changed:
                    if ident not in self._blocked:
                        self._stillness.reset()
                        self._blocked.add(ident)
                    if self._hand_out_idle(state) or state.loop._ready:
                        self._blocked.discard(ident)
                        return wait(0)
                events = self._idle(state, timeout, wait)
                if events is not None:
                    break
        finally:
            with self._changed:  # or another thread takes this one for waiting, and then for held up by a lock
                self._blocked.discard(ident)
        return events

    def _is_due(self, state: Any) -> bool:
        """True when this loop had been handed something by this tick of the recording that depends on other threads:
        a wake-up that has not come yet, or what stands behind a completion of another thread."""
        label = self._label(state)
        index = self._score.first_of_loop(label.loop)
        if index is None:
            return False
        entry = self._score.entries[index]
        if entry.epoch != label.epoch or entry.tick > label.tick:
            return False
        return index in self._waiting or entry.event is Event.WAKE

    def _await_due(self, state: Any) -> None:
        """With the lock held: wait for the other threads, as long as any of them can move."""
        ident = get_ident()
        self._stillness.reset()
        try:
            while self._is_due(state):
                self._blocked.add(ident)  # anew: who is handed something does not wait any more
                if self._stuck() and not self._skip():
                    return
                self._hand_out_here(state)
                if self._is_due(state):
                    self._changed.wait(LOOK_S)
                    self._hand_out_here(state)
        finally:
            self._blocked.discard(ident)

    def _idle(self, state: Any, timeout: float | None, wait: Callable[[float | None], Any]) -> Any:
        """Nothing of this loop's is due. Events when something real happened; None to look again."""
        with self._changed:
            alone = len(boundary.threads) <= len(self._blocked) and not self.live
            stuck = self._stuck(watches_more(state))
            if stuck and self._skip():
                return None
            ended = stuck and self._stillness.seconds > _END_S and not watches_more(state)
            if ended and not self._has_children():
                self._give_up()
                return None
        before = real.monotonic()
        slice_s = LOOK_S if timeout is None else min(timeout, LOOK_S)
        if alone and watches_more(state):
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
        while (due := self._due_in_tick(state)) is not None:
            entry, label = self._score.entries[due], self._label(state)
            if self._waiting[due].state is not state or entry.loop < 0:
                break
            here = entry.loop == label.loop  # another loop's, in a program that has been changed, has no place here
            if here and (entry.epoch != label.epoch or entry.tick > label.tick):
                break
            self._hand_out(due)
        self._move()

    def _due_in_tick(self, state: Any) -> int | None:
        """The entry whose turn it is; or one of this loop's tick behind a call that blocks the loop in that tick: what
        was ready when the tick began stands behind such a call where it ran after it."""
        due, head = self._due(), self._score.head()
        if due is not None or head is None:
            return due
        label, entry = self._label(state), self._score.entries[head]
        if entry.loop >= -1 or (-2 - entry.loop, entry.epoch, entry.tick) != label:
            return None
        for index in self._score.left():
            entry = self._score.entries[index]
            if entry.loop == label.loop and not self._score.is_mark(index):
                here = index in self._waiting and entry.epoch == label.epoch and entry.tick <= label.tick
                return index if here else None
        return None

    def _hand_out_idle(self, state: Any) -> bool:
        """This loop has nothing to do: the head of the list, when it is for this loop, begins its epoch."""
        self._move()
        due = self._due()
        if due is None or self._waiting[due].state is not state:
            return False
        if self._turn.taken((*self._blocked, get_ident())):
            return False
        entry = self._score.entries[due]
        self._labels[state.number] = Label(entry.loop, entry.epoch, entry.tick)
        self._hand_out(due)
        self._hand_out_here(state)
        if self._is_due(state):  # of the same turn, and some other thread is still on its way to it
            self._await_due(state)
        return True

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


def _release(future: Any, told: Told, state: Any) -> None:
    told(state)
    if not future.done():
        future.set_result(None)


def _end(future: Any, told: Told, state: Any) -> None:
    told(state)
    future.due()
