"""Watching how a call ends that is answered from the recording: what it got there, it must not lose here in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rashomon.boundary import Pace, Place, Witness
from rashomon.errors import Missed
from rashomon.model import Divergence, End, Event, Step
from rashomon.replay.score import Key

_GOT = frozenset({End.COMPLETE, End.ERROR})
_MISSED = f"{Missed.__module__}:{Missed.__qualname__}"


class Order(Protocol):
    """What a `replay.conductor.Conductor` knows of the order of completions."""

    exact: bool

    def ended(self, step: str) -> bool:
        """True when the recorded end of a call has been handed out."""

    def gave_up(self, step: str) -> bool:
        """True when a call was cancelled in a turn of the loop before that of its recorded end."""

    def at_hand(self, key: Key) -> bool:
        """True when a completion has been handed out, or is due in the next turn of the running loop."""


class ServedWitness:
    """The witness of a served call. Tells when it is cancelled before it has all that its recorded step got, a failure
    included, and when the program gets `Missed` in place of what was recorded, which it may well swallow.

    One that is cancelled when all of it has come ends as in the recording, where that race is not written down. So
    does one that is cancelled where the recorded call ended, or, if that was cancelled as well, in the turn of the loop
    in which its next piece came there and found nobody.
    """

    __slots__ = ("_diverge", "_done", "_inner", "_left", "_order", "_pieces", "_step", "leaf", "number")

    def __init__(self, inner: Witness, step: Step, diverge: Callable[[Divergence], None], order: Order) -> None:
        self._inner, self._step, self._diverge, self._order = inner, step, diverge, order
        self._left = sum(len(piece.data) for piece in step.response.pieces)
        self._pieces = 0
        self._done = False
        self.leaf = inner.leaf
        self.number = inner.number

    @property
    def pace(self) -> Pace | None:
        """When each completion is due."""
        return self._inner.pace

    @pace.setter
    def pace(self, pace: Pace | None) -> None:
        self._inner.pace = pace

    def at(self, event: Event, number: int, place: Place) -> None:
        """As `Witness.at`."""
        self._inner.at(event, number, place)

    def began(self, head: dict[str, object]) -> None:
        """As `Witness.began`."""
        self._inner.began(head)

    def piece(self, data: bytes) -> None:
        """As `Witness.piece`."""
        self._left -= len(data)
        self._pieces += 1
        self._inner.piece(data)

    def ended(self, end: End, error: BaseException | None = None) -> None:
        """As `Witness.ended`; the first one counts."""
        if not self._done:
            self._done = True
            step, order = self._step, self._order
            failed = step.response.end is End.ERROR
            in_time = order.ended(step.id) and not (failed and order.gave_up(step.id))
            if end is End.CANCELLED and (failed or self._left > 0) and not in_time:
                self._lost()
            elif isinstance(error, Missed):
                self._unplayed(error)
        self._inner.ended(end, error)

    def _unplayed(self, error: Missed) -> None:
        """The tape cannot give what the recorded step got, or not all that is asked for."""
        step, failure = self._step, self._step.response.failure
        again = failure is not None and failure.type == _MISSED  # a replay of a replay gets what that one had
        if not again and step.response.end is not End.OPEN:  # a thread that the recorded end of the program cut off
            number = None if self.number is None else str(self.number)
            summary = f"{step.name} got nothing from recorded step {step.id}: {error}"
            self._diverge(Divergence("unplayable", summary, number, step.id))

    def _lost(self) -> None:
        """It was cancelled with something left of what its recorded step got."""
        step = self._step
        whole = step.response.end in _GOT
        both = step.response.end is End.CANCELLED
        if both and self._order.exact and self._order.at_hand((Event.PIECE, step.id, self._pieces)):
            return
        if step.response.end is End.ERROR:
            summary = f"{step.name} was cancelled here; recorded step {step.id} went on until it failed."
        elif whole:
            summary = f"{step.name} was cancelled here; recorded step {step.id} got its whole answer."
        else:
            summary = f"{step.name} was cancelled here before it had as much as recorded step {step.id} got."
        self._diverge(Divergence("cancelled", summary, None if self.number is None else str(self.number), step.id))
