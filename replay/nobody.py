"""A scribe for a replay whose trace is not kept."""

from __future__ import annotations

from types import FrameType
from typing import Any

from rashomon.boundary import Place, Witness
from rashomon.model import Call, Divergence, Event, Lane, Match
from rashomon.parties import SilentWitness


class Nobody:
    """Writes nothing."""

    def open(self, call: Call, match: Match | None) -> Witness:
        return _Silent()

    def connected(self, peer: str, frame: FrameType | None = None) -> None: ...

    def diverged(self, divergence: Divergence) -> None: ...

    def reaching(self, action: str, target: tuple[str, ...], frame: FrameType | None) -> None: ...

    def note_read(self, kind: str, what: str, value: Any, frame: FrameType) -> None: ...

    def note_sleep(self, seconds: float, number: int, frame: FrameType) -> None: ...

    def note_point(
        self,
        event: Event,
        lane: Lane,
        number: int,
        place: Place,
        within: int | None = None,
        delay_us: int = 0,
        at_ns: int | None = None,
    ) -> None: ...

    def uncontrolled(self, what: str, reason: str, frame: FrameType | None = None) -> None: ...


class _Silent(SilentWitness):
    leaf = False
