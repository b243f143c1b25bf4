"""Watching how a call ends that is answered from the recording: what it got there, it must not lose here in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rashomon.boundary import Pace, Place, Witness
from rashomon.errors import Missed
from rashomon.model import OVERTAKEN, OVERTAKEN_AT_END, Divergence, End, Event, Step

_OVERTAKEN = frozenset({OVERTAKEN, OVERTAKEN_AT_END})
_MISSED = f"{Missed.__module__}:{Missed.__qualname__}"


class Order(Protocol):
    """What a `replay.conductor.Conductor` knows of the order of completions."""

    def ended(self, step: str) -> bool:
        """True when the recorded end of a call has been handed out."""


class ServedWitness:
    """The witness of a served call. Tells when it is cancelled before it has all that its recorded step got, a failure
    included, and when the program gets `Missed` in place of what was recorded, which it may well swallow.

    One that is cancelled ends as the recorded one where that had as much: what came in the turn of the loop in which
    its caller was cancelled found nobody there.
    """

    __slots__ = ("_diverge", "_done", "_inner", "_left", "_order", "_step", "leaf", "number")

    def __init__(self, inner: Witness, step: Step, diverge: Callable[[Divergence], None], order: Order) -> None:
        self._inner, self._step, self._diverge, self._order = inner, step, diverge, order
        self._left = sum(len(piece.data) for piece in step.response.pieces)
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

    def piece(self, data: bytes, number: int = 0, place: Place | None = None) -> None:
        """As `Witness.piece`."""
        self._left -= len(data)
        self._inner.piece(data, number, place)

    def overtaken(self, at_end: bool = False) -> None:
        """As `Witness.overtaken`."""
        self._inner.overtaken(at_end)

    def ended(self, end: End, error: BaseException | None = None) -> None:
        """As `Witness.ended`; the first one counts."""
        if not self._done:
            self._done = True
            if isinstance(error, Missed):
                self._unplayed(error)
            elif end is End.CANCELLED:
                self._cancelled()
            else:
                self._heard(end)
        self._inner.ended(end, error)

    def _unheard(self) -> int:
        """So many bytes of the recorded answer came as its caller was cancelled, who never had them."""
        recorded = self._step.response
        unheard = OVERTAKEN in self._step.marks and recorded.end is not End.ERROR and recorded.pieces
        return len(recorded.pieces[-1].data) if unheard else 0

    def _cancelled(self) -> None:
        """It was cancelled: with what the recorded caller had, who then was cancelled as well?"""
        step, left, unheard = self._step, self._left, self._unheard()
        recorded, overtaken = step.response.end, _OVERTAKEN.intersection(step.marks)
        if recorded is End.ERROR and not (overtaken and left <= 0):
            self._tell(f"was cancelled here; recorded step {step.id} went on until it failed.")
        elif recorded is End.COMPLETE and (left > unheard or not overtaken):
            self._tell(f"was cancelled here; recorded step {step.id} got its whole answer.")
        elif left > unheard and (recorded is End.CANCELLED or not self._order.ended(step.id)):
            self._tell(f"was cancelled here before it had as much as recorded step {step.id} got.")
        else:
            self._heard(End.CANCELLED)

    def _heard(self, end: End) -> None:
        """Did the recorded caller never have something that has come here, since it was cancelled then?"""
        step = self._step
        if OVERTAKEN in step.marks and step.response.end is End.ERROR:
            more = "failed" if end is End.ERROR else ""
        elif OVERTAKEN_AT_END in step.marks:
            more = "got its whole answer" if end is End.COMPLETE else ""
        else:
            more = "got a piece of an answer" if self._left < self._unheard() else ""
        if more:
            self._tell(f"{more} here; recorded step {step.id} was cancelled just as that came.")

    def _tell(self, what: str) -> None:
        number = None if self.number is None else str(self.number)
        self._diverge(Divergence("cancelled", f"{self._step.name} {what}", number, self._step.id))

    def _unplayed(self, error: Missed) -> None:
        """The tape cannot give what the recorded step got, or not all that is asked for."""
        step, failure = self._step, self._step.response.failure
        again = failure is not None and failure.type == _MISSED  # a replay of a replay gets what that one had
        if not again and step.response.end is not End.OPEN:  # a thread that the recorded end of the program cut off
            number = None if self.number is None else str(self.number)
            summary = f"{step.name} got nothing from recorded step {step.id}: {error}"
            self._diverge(Divergence("unplayable", summary, number, step.id))
