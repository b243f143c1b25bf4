"""Which recorded line each line of a replay is, where a program starts its tasks in another order."""

from __future__ import annotations

from rashomon.model import Lane


class Aliases:
    """Lines that have shown, by what they ask, that they are another line of the recording; and what they started."""

    def __init__(self) -> None:
        self._known: dict[Lane, Lane] = {}

    def add(self, lane: Lane, recorded: Lane) -> bool:
        """A call of `lane` was answered by a step of `recorded`. True when that is news."""
        if self.of(lane) == recorded:
            return False
        self._known[lane] = recorded
        return True

    def of(self, lane: Lane) -> Lane:
        """The recorded line that a line is; itself, unless it or one that started it is known to be another."""
        if self._known:
            for size in range(len(lane), 0, -1):
                recorded = self._known.get(lane[:size])
                if recorded is not None:
                    return recorded + lane[size:]
        return lane
