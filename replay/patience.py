"""A program that only waits: time costs a replay nothing, so that what is never answered would go on for ever."""

from __future__ import annotations

from rashomon import real
from rashomon.errors import Missed

_WAITS = 10_000
_VIRTUAL_US = 3600 * 10**6
_SECONDS = 1.0


class Patience:
    """Counts the waits that the recording does not have since anything that it has came."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Something came."""
        self._waits, self._from_us, self._from = 0, 0, 0.0

    def lost(self, now_us: int) -> bool:
        """To be told of each wait, with the time on the virtual clock. True when there have been thousands of them, for
        more than an hour of virtual time and a second of the real one."""
        self._waits += 1
        if self._waits == 1:
            self._from_us, self._from = now_us, real.monotonic()
        return (
            self._waits > _WAITS and now_us - self._from_us > _VIRTUAL_US and real.monotonic() - self._from > _SECONDS
        )

    def missed(self) -> Missed:
        """What ends the program."""
        return Missed(
            f"The program only waits: {self._waits:,} times by now, and nothing of the recording is left that would "
            "come. The recorded program was ended from outside, or what it waited for came from there."
        )
