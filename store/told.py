"""What the ledger keeps of each journal, so that it can be read on where reading ended."""

from __future__ import annotations

from typing import Any, NamedTuple

from rashomon.journal_parts import TracePart
from rashomon.model import Divergence, Uncontrolled

MARKS = (1 << 127) - 1
"""What `Member.mark` and `Member.late` are taken modulo of."""


class Member(NamedTuple):
    """What a process says of a trace, beside steps, reads and points. Counts are of all that was read so far."""

    info: dict[str, Any]
    end: dict[str, Any] | None = None
    end_us: int = 0
    connections: int = 0
    missed: tuple[str, ...] = ()
    divergences: tuple[Divergence, ...] = ()
    uncontrolled: tuple[Uncontrolled, ...] = ()
    foreign: tuple[str, ...] = ()
    """Other processes that are named as enclosing something."""
    reads: int = 0
    launched: int = 0
    points: int = 0
    mark: int = 0
    """A number that the frames about the trace determine, in whatever order: those that its reader placed."""
    late: int = 0
    """The same of the frames that were applied to steps in the store."""

    @property
    def whole_mark(self) -> int:
        """A number that all frames about the trace determine, however they were read."""
        return (self.mark + self.late) % MARKS

    def part(self) -> TracePart:
        """The same as `rashomon.tapes` knows it."""
        return TracePart(
            self.info, self.end, self.end_us, (), self.connections, self.missed, self.divergences,
            uncontrolled=self.uncontrolled,
        )  # fmt: skip


class Resume(NamedTuple):
    """What must be known of a journal to go on reading it: plain values. Bodies are in the store."""

    offset: int = 0
    check: int = 0
    """Checksum of the last bytes before it."""
    steps: int = 0
    headers: dict[int, list[str]] = {}
    sites: dict[int, list[Any]] = {}
    traces: dict[int, str] = {}
    bases: list[int] = []
    """Numbers of the steps whose bodies later ones may build on."""
    tape: bool = False
    """True for a tape file: it is never read on."""
