"""How much goes into one transaction: a lot while nobody waits for the store, little while somebody does.

Each transaction has its price, whatever it writes: the ends of two dozen tables are written anew. In long ones a step
costs half as much. A long one is given up when somebody comes to wait, and done again in short ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from rashomon.store import ingestion
from rashomon.store.connection import LOG_BYTES, ROW_GROUP
from rashomon.store.portions import Portion

STEP_IN_MEMORY, PLACE_IN_MEMORY = 1024, 256
"""So many bytes a step, and a read of the clock, weigh beside parts: about what their rows take."""

FIRST_BYTES, LEAST_BYTES = 1536 * 1024, 256 * 1024
"""Of the first batch, and of any: how fast this machine writes is learnt as it goes."""

GROUP_BYTES = 10 << 20
"""A batch that has more than half a group of rows waits for the other half, to at most so many bytes: what makes a
group DuckDB writes into its file at once, anything else into its log first."""

CALM_S = 1.0
"""For so long after somebody was last seen to wait, batches are short."""


class Weight(NamedTuple):
    """About how many bytes a portion takes in memory, and how many steps are in it."""

    size: int = 0
    steps: int = 0


def weight(portion: Portion) -> Weight:
    """What a portion weighs."""
    contents = sum([len(content) for _, content in portion.parts])
    packed = sum([len(row[2]) for chunk in portion.chunks for row in chunk.rows])
    places = sum([len(found) for found in portion.places.values()])
    steps = len(portion.heads)
    return Weight(contents + packed + STEP_IN_MEMORY * (steps + len(portion.late)) + PLACE_IN_MEMORY * places, steps)


class Pace:
    """The sizes of batches, by how long those before took."""

    def __init__(self) -> None:
        self._short = self._long = float(min(ingestion.BATCH_BYTES, FIRST_BYTES))
        self._s_a_byte = 0.0
        self._asked = -CALM_S
        self.written = 0
        """About how many bytes have been written."""
        self.logs = True
        """Whether a batch like the last goes into a log, and that into the file later; else all of it at once."""
        self.yields = False
        """Whether those who wait for the store can be seen, so that a long batch can be given up for them."""

    def asked(self) -> None:
        """Somebody is seen to wait."""
        self._asked, self._long = time.monotonic(), 0.0

    @property
    def room(self) -> float:
        """How many bytes may be written at once by now."""
        return max(self._short, self._long) if self.is_calm else self._short

    def is_full(self, size: int, steps: int) -> bool:
        """Whether so much is to be written by now."""
        room = self.room
        if size < room:
            return False
        waits = room >= ingestion.BATCH_BYTES and ROW_GROUP // 2 <= steps < ROW_GROUP
        return not waits or size >= GROUP_BYTES

    def fitting(self, weights: Sequence[Weight]) -> int:
        """How many of some portions, of which there is at least one, may be written at once by now."""
        size = steps = 0
        for count, one in enumerate(weights, 1):
            size, steps = size + one.size, steps + one.steps
            if self.is_full(size, steps):
                return count
        return len(weights)

    def expected_s(self, size: int) -> float | None:
        """How long a batch will take; None for one that is not given up."""
        return size * self._s_a_byte if self.is_calm and size > self._short else None

    def took(self, size: int, steps: int, seconds: float, long: bool) -> None:
        """Learn from a batch."""
        self.written += size
        self.logs = size < LOG_BYTES or steps >= ROW_GROUP // 2
        self._s_a_byte = seconds / max(size, 1)
        if long:
            self._long = _fit(self._long, ingestion.LONG_S, seconds)
        else:
            self._short = _fit(self._short, ingestion.BATCH_S, seconds)
            self._long = _fit(max(self._long, 2 * self._short), 1.0, 1.0)

    @property
    def is_calm(self) -> bool:
        """Whether nobody waits, nor did a moment ago."""
        return self.yields and time.monotonic() - self._asked >= CALM_S


def _fit(size: float, wanted_s: float, took_s: float) -> float:
    fits = size * min(2.0, wanted_s / max(took_s, 1e-3))
    return min(ingestion.BATCH_BYTES, max(LEAST_BYTES, fits))
