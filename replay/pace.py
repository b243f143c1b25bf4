"""When each completion of one recorded answer is due."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from rashomon import boundary
from rashomon.boundary import Witness
from rashomon.errors import Missed
from rashomon.model import End, Event, Kind, Step
from rashomon.replay.conductor import Conductor, Until
from rashomon.replay.score import Key
from rashomon.replay.waiters import running_loop

_PATIENCE_S = 10.0
"""How much longer than in the recording trio's clock, which is the real one, may take to cancel a call."""


async def _on_trio(recorded_us: int, message: str) -> None:
    """Wait to be cancelled where no loop of asyncio's runs. Raises `Missed` when nothing does it."""
    trio = sys.modules.get("trio")
    if trio is not None:
        await trio.sleep(recorded_us / 1e6 + _PATIENCE_S)
    raise Missed(message)


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
        settling: Any = self._conductor.settle(key, self._told(event, number), self._until(event, key))
        withheld = (self._step.response.head or {}).get("withheld")
        if withheld and settling is not None:
            settling.withheld = withheld
        if settling is None and event is not Event.CLOSE:
            self._conductor.clock.advance_to(self._time(event, number))
        return settling  # type: ignore[no-any-return]

    def _told(self, event: Event, number: int) -> Callable[[Any], None]:
        return lambda state: self._witness.at(event, number, state.place())

    def _until(self, event: Event, key: Key) -> Until | None:
        """Where the caller learns of it who is cancelled while it waits for this; None: at once."""
        step, ended = self._step, (Event.END, self._step.id, 0)
        if event is Event.PIECE:
            return None
        if event is Event.CLOSE:
            return Until(key, self._told(event, key[2]))
        if event is Event.END:
            return Until(key, self._told(event, 0), step.response.end is End.CANCELLED)
        if self._conductor.has((Event.PIECE, step.id, 0)):
            return None
        for_nobody = step.kind is Kind.TOOL or step.response.end in (End.CANCELLED, End.CLOSED)
        return Until(ended, self._told(Event.END, 0)) if for_nobody else None

    def ending(self) -> Awaitable[None] | None:
        key = (Event.END, self._step.id, 0)
        self._conductor.ends(key)
        if self._conductor.has_come(key, self._told(Event.END, 0)):
            return None
        return self.settle(Event.END)

    async def cancelled(self) -> None:
        known = self._step.response.end is End.CANCELLED
        what = "was cancelled here" if known else "has nothing more"
        message = f"Step {self._step.id} {what} in the recording, and nothing cancels it in this replay."
        try:
            if running_loop() is None:
                await _on_trio(self._step.response.duration_us, message)
            else:
                await self._conductor.orphan(message, Until((Event.END, self._step.id, 0), self._told(Event.END, 0)))
        except BaseException as error:
            settling = self.ending()
            if settling is not None and not boundary.is_closing(error):
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
