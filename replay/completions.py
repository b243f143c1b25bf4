"""The order of a replay: completions are handed out one after the other, as they happened.

Every completion of the recording has its place in one list for each process. Who waits for an answer, a timer,
a wake-up or a sleep waits for its entry to come to the head of that list. Nothing real is waited for.

When the entry at the head is not asked for and nothing can move any more that would ask for it, the recording has
been left: the earliest entry that is waited for comes next, and the order is no longer exact.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from threading import Condition, RLock, get_ident
from typing import Any, NamedTuple

from rashomon import boundary, collector, real
from rashomon.model import Event, Lane, Tape
from rashomon.replay.aliases import Aliases
from rashomon.replay.clock import VirtualClock
from rashomon.replay.patience import Patience
from rashomon.replay.score import Key, Score, loop_of
from rashomon.replay.stillness import Children, Stillness, Turn, children
from rashomon.replay.waiters import Waiter, is_cancelled, kick, running_state

LOOK_S = 0.005
"""How often a waiting thread looks whether anything can still move."""
_PATIENCE_S = 10.0
"""How long the head of the list is waited for although something is moving."""
_CHILD_PATIENCE_S = 5.0
"""The same while there are child processes, and no thread is moving: one of them may be waited for."""


_HELD_S = 10.0
"""How long a child process that was killed in the recording stands where that ends, at most."""


class Label(NamedTuple):
    """Where in the recording a loop is."""

    loop: int
    epoch: int
    tick: int


class Completions:
    """The completions of one process, and who waits for them. `left` is told, once, that the order is no longer exact.

    This half knows threads; `replay.conductor.Conductor` adds event loops.
    """

    def __init__(self, tape: Tape, process: int | None, clock: VirtualClock, left: Callable[[str], None]) -> None:
        self.clock, self._left = clock, left
        self._changed = Condition(RLock())
        self._numbers = count()
        self.live = 0
        """Calls that are being made for real."""
        self.exact = True
        self._said = False
        self._read(tape, process)

    def _read(self, tape: Tape, process: int | None) -> None:
        self._score = Score(tape, process)
        self._aliases = Aliases()
        self._timers: dict[Waiter, tuple[Key, int]] = {}
        """The timers of event loops that are waited for: what was asked for, and the delay in microseconds."""
        self._waiting: dict[int, Waiter] = {}
        self._unordered: list[tuple[int, int, Waiter]] = []
        self._orphans: list[tuple[Any, Any]] = []
        self._over: deque[str] = deque()
        """The steps with whose answers the program has done since anybody looked."""
        self._blocked: set[int] = set()
        self._deaf: set[int] = set()
        """The numbers of the loops whose threads wait for a blocking call."""
        self._labels: dict[int, Label] = {}
        self._bound: set[int] = set()
        """The numbers of the loops that are known to be those of their labels."""
        self._loops_before = (0, 0)
        self._stillness = Stillness()
        self._turn = Turn()
        self._patience = Patience()
        self._strangers = children()
        self._children = Children(self._strangers)
        ours = next((one for one in tape.trace.processes if one.number == process), None)
        self._killed = ours.lane if ours is not None and not ours.ended else ()
        """The lane of a child process that was killed in the recording."""

    def begin(self, loops: int, place: tuple[int, int, int]) -> None:
        """The replay begins in a process that has had so many loops, with the running one at `place`."""
        begun = self._score.begin
        self._loops_before = (0 if begun is None else begun.number, loops)
        if begun is not None and begun.loop >= 0 and place[0] >= 0:
            self._labels[place[0]] = Label(begun.loop, begun.epoch, begun.tick)
            self._bound.add(place[0])

    def _label(self, state: Any) -> Label:
        """Where in the recording a loop is; a new one is at the beginning of the loop that was made there."""
        label = self._labels.get(state.number)
        if label is None:
            recorded, here = self._loops_before
            label = self._labels[state.number] = Label(state.number - here + recorded, 0, 0)
        return label

    def _wait_for(self, index: int, waiter: Waiter, state: Any) -> None:
        """Somebody waits for an entry. The first one of a loop, whose state is given, shows which loop of the recording
        it is: what several threads begin at once has no order of its own."""
        self._waiting[index] = waiter
        loop = loop_of(self._score.entries[index])
        if state is None or loop is None or state.number in self._bound:
            return
        self._bound.add(state.number)
        label = self._label(state)
        for number, other in self._labels.items():
            if other.loop == loop and number not in self._bound:
                self._labels[number] = other._replace(loop=label.loop)
        self._labels[state.number] = label._replace(loop=loop)

    def after_fork(self, tape: Tape, process: int | None) -> None:
        """In a forked child: its own entries."""
        self._changed = Condition(RLock())
        self._read(tape, process)

    def wait(self, key: Key, told: Callable[[], None]) -> bool:
        """Block this thread until the completion is due. False, at once, when no order is known for it."""
        with self._changed:
            index = self._score.find(key)
            if index is None or index in self._waiting:  # a line that was taken for this one may wait for it
                return False
            waiter = Waiter(None, told, self.clock.now_us + self._score.lasted(index))
            self._wait_for(index, waiter, running_state())
            self._block(waiter)
        return True

    def sleep(self, key: Key, seconds: float, told: Callable[[], None]) -> None:
        """A blocking sleep: until its turn, or until nothing is left that would come before it."""
        event, lane, number = key
        if self.wait((event, self._aliases.of(lane), number), told):
            return
        self._await_end(lane)
        if not boundary.other_threads():  # nobody whom it could come before or behind
            self.clock.advance(int(seconds * 1e6))
            self._only_waits()
            told()
            return
        with self._changed:
            waiter = Waiter(None, told, self.clock.now_us + int(seconds * 1e6))
            heapq.heappush(self._unordered, (waiter.due_us, next(self._numbers), waiter))
            self._block(waiter)

    def _block(self, waiter: Waiter) -> None:
        """Wait, with the lock held, until somebody has released it; release the next one when nothing moves."""
        ident = get_ident()
        deaf = running_state()
        if deaf is not None:
            self._deaf.add(deaf.number)
            self._label(deaf)
        try:
            while True:
                self._blocked.add(ident)  # anew: a timer of this thread's loop may have been handed out meanwhile
                self._move()
                if waiter.released or (self._stuck() and self._skip() and waiter.released):
                    break
                self._changed.wait(LOOK_S)
                if waiter.released:
                    break
        finally:
            self._blocked.discard(ident)
            if deaf is not None:
                self._deaf.discard(deaf.number)
            self._stillness.reset()

    def await_children(self) -> None:
        """Let the child processes come to where they can come by themselves."""
        self._children.wait()

    def rest(self) -> None:
        """This thread has finished a job, or ends."""
        with self._changed:
            if self._turn.rest(get_ident()):
                self._move()

    def close(self) -> None:
        """The replay ends and the program goes on: what still waits gets its answer, timers run by the real clock."""
        with self._changed:
            now_us = self.clock.now_us
            waiters = [*self._waiting.values(), *(waiter for _, _, waiter in self._unordered)]
            self._waiting.clear()
            self._unordered.clear()
            self._score.finish_all()
            for waiter in waiters:
                rearm = getattr(waiter.release, "rearm", None)
                if rearm is None:
                    self._release(waiter)
                else:
                    waiter.due_us -= now_us
                    rearm()
                if waiter.state is not None:
                    kick(waiter.state)

    def served(self, step: str) -> None:
        """A recorded tool answers: what happened inside it will not be asked for."""
        with self._changed:
            self._patience.reset()
            for index in self._score.inside(step):
                self._score.finish(index)
            self._move()

    def over(self, step: str) -> None:
        """The program has done with an answer, maybe before its recorded end.

        Waits for nobody: the garbage collector may close an answer in any thread, whatever lock that holds just then,
        and who is at work here may be waiting for that lock. Such a one sees to it as soon as it is done.
        """
        self._over.append(step)
        if not collector.is_running() and self._changed.acquire(blocking=False):
            try:
                self._move()
            finally:
                self._changed.release()

    def _pass_over(self) -> None:
        """What is left of an answer that is over will not be asked for."""
        while self._over:
            for index in self._score.answer(self._over.popleft()):
                if index not in self._waiting:
                    self._score.finish(index)
        while (head := self._score.head()) is not None and head not in self._waiting:
            if not self._score.is_mark(head) and not self._is_unclosed(head):
                break
            self._score.finish(head)

    def _is_unclosed(self, head: int) -> bool:
        """True for the closing of a client that ended, in the recording, at a turn to which its loop has come. It would
        have been begun before: that client is not here, since the body of a tool, which is not run, had asked for it.
        """
        entry = self._score.entries[head]
        if entry.event is not Event.CLOSE or entry.step is not None or entry.loop < 0:
            return False
        place = Label(entry.loop, entry.epoch, entry.tick)
        return any(label.loop == entry.loop and label >= place for label in self._labels.values())

    def _move(self) -> None:
        """Hand out to threads what is due; wake the loop whose turn it is."""
        while (due := self._due()) is not None:
            if self._turn.taken(self._blocked):
                return
            state = self._waiting[due].state
            if state is not None:
                if state.loop._thread_id != get_ident():
                    kick(state)
                return
            self._hand_out(due)

    def _due(self) -> int | None:
        """The entry whose turn it is, if somebody waits for it. A loop whose thread waits for a blocking call is deaf:
        what stands there for it has to wait, or cannot come."""
        self._pass_over()
        head = self._score.head()
        if head is None or not self._deaf:
            return head if head in self._waiting else None
        loops = {label.loop for number, label in self._labels.items() if number in self._deaf}
        for index in self._score.left():
            waiter = self._waiting.get(index)
            if waiter is None and loop_of(self._score.entries[index]) not in loops and not self._score.is_mark(index):
                return None
            if waiter is not None and not self._is_deaf(waiter):
                return index
        return None

    def _hand_out(self, index: int) -> None:
        waiter = self._waiting.pop(index)
        self._score.finish(index)
        self._patience.reset()
        if waiter.state is not None:
            self._note_place(index, self._label(waiter.state))
        self.clock.advance_to(self._score.entries[index].at_us if self.exact else waiter.due_us)
        self._release(waiter)

    def _release(self, waiter: Waiter) -> None:
        waiter.released = True
        self._timers.pop(waiter, None)
        ident = waiter.ident if waiter.state is None else waiter.state.loop._thread_id
        self._blocked.discard(ident)
        self._turn.give(ident)
        waiter.release()
        self._stillness.reset()
        self._changed.notify_all()

    def _stuck(self, watching: bool = False) -> bool:
        """True when nothing in this process can move that would ask for the head of the list."""
        seconds = self._stillness.seconds
        if self.live:
            return False
        if watching and seconds < 0.2:
            return False
        if not self._stillness.reached(self._blocked):
            return seconds > _PATIENCE_S
        return seconds > _CHILD_PATIENCE_S or not self._has_children()

    def _has_children(self) -> bool:
        return bool(children() - self._strangers)

    def _skip(self) -> bool:
        """Nothing can move: hand out the earliest of what is waited for. False when nothing can be.

        A timer that did not fire in the recording fires when nothing that the recording has would have come before it:
        an answer takes as long as it took then, whenever it is asked for.
        """
        if self._without_closing():
            return True
        while self._unordered and is_cancelled(self._unordered[0][2]):
            heapq.heappop(self._unordered)
        self._deaf |= {waiter.state.number for waiter in self._waiting.values() if self._is_elsewhere(waiter)}
        heard = [index for index, waiter in self._waiting.items() if not self._is_deaf(waiter)]
        recorded = min(heard, default=None)
        due_us = min((self._waiting[index].due_us for index in heard), default=None)
        on_time = self._due() is not None  # somebody has just come to wait for the head of the list
        first = min((one for one in self._unordered if not self._is_deaf(one[2])), default=None)
        if first is not None and not on_time and (due_us is None or first[0] < due_us):
            self._note_left()
            self._unordered.remove(first)
            heapq.heapify(self._unordered)
            at_us, _, waiter = first
            if waiter in self._timers:
                self._await_end(self._timers[waiter][0][1])
            self.clock.advance_to(at_us)
            self._release(waiter)
            if waiter.state is not None:
                kick(waiter.state)
            self._only_waits()
            return True
        if recorded is None:
            return False
        if recorded == self._due():
            here = self._waiting[recorded].state is running_state()
            self._move()
            return not here  # what is for this loop itself it gets when its turn comes
        self._note_left()
        self._leave_out(recorded)
        waiter = self._waiting[recorded]
        if waiter.state is None or waiter.state is running_state():
            self._hand_out(recorded)
        self._move()
        return True

    def _only_waits(self) -> None:
        """A wait that the recording does not have has ended. Raises `Missed` when there is nothing but such waits."""
        if self._patience.lost(self.clock.now_us):
            missed = self._patience.missed()
            self._patience.reset()
            if not self.live and not self._has_children():
                raise missed

    def _await_end(self, lane: Lane) -> None:
        """A child process that was killed in the recording has come to where that ends, in a wait of its own line: it
        waits to be killed again. A worker of a pool has jobs of other lines, which another one may have had."""
        killed = self._killed
        if killed and lane[: len(killed)] == killed and self._score.head() is None:
            self._killed = ()
            real.sleep(_HELD_S)

    def _without_closing(self) -> bool:
        """A client or an answer that is not closed here, or had no connections: nobody waits for that, and the order
        of all else is what it was. So it is where the body of a tool, which is not run, would have opened them."""
        self._pass_over()
        head = self._score.head()
        if head is None or head in self._waiting or self._score.entries[head].event is not Event.CLOSE:
            return False
        self._score.finish(head)
        self._move()
        return True

    def _is_deaf(self, waiter: Waiter) -> bool:
        return waiter.state is not None and waiter.state.number in self._deaf

    def _is_elsewhere(self, waiter: Waiter) -> bool:
        """True for a loop whose thread neither runs nor waits here: a lock of the program's own holds it."""
        return waiter.state is not None and waiter.state.loop._thread_id not in self._blocked

    def _leave_out(self, recorded: int) -> None:
        """What stands before an entry, and is not asked for, will not be; nor what follows in the same lanes."""
        score = self._score
        absent = {score.lane(index) for index in score.left() if index < recorded}
        waited = {score.lane(index) for index in self._waiting}
        for index in list(score.left()):
            lane = score.lane(index)
            if index not in self._waiting and (index < recorded or (lane in absent and lane not in waited)):
                score.finish(index)

    def _note_left(self) -> None:
        head = self._score.head()
        if self.exact and head is not None:
            self.exact = False
            self._say(f"The next completion of the recording, the {self._score.told(head)}, was never waited for.")

    def _note_place(self, index: int, label: Label) -> None:
        """A loop is handed an entry at `label`: say so where that is another turn than the recorded one."""
        entry = self._score.entries[index]
        if entry.loop >= 0 and not self._score.is_mark(index) and (entry.loop, entry.epoch, entry.tick) != label:
            self._say(f"The {self._score.told(index)} came in another turn of its event loop than in the recording.")

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            self._left(why)
