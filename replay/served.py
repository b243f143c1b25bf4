"""Watching how a call ends that is answered from the recording: what it got there, it must not lose here in silence."""

from __future__ import annotations

from collections.abc import Callable

from rashomon.boundary import Pace, Place, Witness
from rashomon.model import Divergence, End, Event, Step

_GOT = frozenset({End.COMPLETE, End.ERROR})


class ServedWitness:
    """The witness of a served call. Tells when it is cancelled before it has all that its recorded step got.

    One that is cancelled when all of it has come ends as in the recording, where that race is not written down. So
    does one that is cancelled where the recorded call ended: `over` says whether that place has been reached.
    """

    __slots__ = ("_diverge", "_done", "_inner", "_left", "_over", "_step", "leaf", "number")

    def __init__(
        self, inner: Witness, step: Step, diverge: Callable[[Divergence], None], over: Callable[[], bool]
    ) -> None:
        self._inner, self._step, self._diverge, self._over = inner, step, diverge, over
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

    def piece(self, data: bytes) -> None:
        """As `Witness.piece`."""
        self._left -= len(data)
        self._inner.piece(data)

    def ended(self, end: End, error: BaseException | None = None) -> None:
        """As `Witness.ended`; the first one counts."""
        if not self._done:
            self._done = True
            lost = end is End.CANCELLED and self._left > 0 and self._step.response.end in _GOT
            if lost and not self._over():
                step = self._step
                self._diverge(
                    Divergence(
                        "cancelled",
                        f"{step.name} was cancelled here; recorded step {step.id} got its whole answer.",
                        None if self.number is None else str(self.number),
                        step.id,
                    )
                )
        self._inner.ended(end, error)
