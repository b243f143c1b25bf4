"""The gates that wait for a request to hold."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .http import Received
from .pacing import Gate


class Gates:
    """Gates in the order in which they were set; each holds one request that it matches."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Gate, Callable[[Received], bool] | None]] = []
        self._all: list[Gate] = []
        self._lock = threading.Lock()

    def add(self, gate: Gate, match: Callable[[Received], bool] | None = None) -> None:
        """Hold the next request for which `match` is true at this gate."""
        with self._lock:
            self._waiting.append((gate, match))
            self._all.append(gate)

    def take(self, request: Received) -> Gate | None:
        """The gate that holds this request, if any."""
        with self._lock:
            for entry in self._waiting:
                if entry[1] is None or entry[1](request):
                    self._waiting.remove(entry)
                    return entry[0]
        return None

    def release_all(self) -> None:
        """Open every gate, for the end of a test."""
        with self._lock:
            gates, self._all = self._all, []
            self._waiting.clear()
        for gate in gates:
            gate.release()
