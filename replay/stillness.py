"""Whether anything else in this process can still move: other threads, child processes, real connections.

A replay that waits its turn must know when the turn cannot come. On Linux the kernel says of each thread how
long it has run and how long it has been ready to run; while neither grows, it waits for something.
Elsewhere the processor time of the whole process has to do.
"""

from __future__ import annotations

import os
import threading
import time as _time
from collections.abc import Collection

from rashomon import boundary, real

_SAMPLES = 3
"""So many looks in a row must find nothing moving."""


class Stillness:
    """Watches the threads of this process but those that are known to wait."""

    def __init__(self) -> None:
        self._seen: object = None
        self._same = 0
        self._since = real.monotonic()

    def reset(self) -> None:
        """Something has happened: begin to watch anew."""
        self._seen, self._same, self._since = None, 0, real.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been since the last reset."""
        return real.monotonic() - self._since

    def reached(self, waiting: Collection[int]) -> bool:
        """True when no thread but those waiting (by `threading.get_ident()`) can move. To be asked again and again,
        some milliseconds apart."""
        others = [thread.native_id for ident, thread in list(boundary.threads.items()) if ident not in waiting]
        if not others:
            return True
        measured = _measure([number for number in others if number is not None])
        self._same = self._same + 1 if measured == self._seen else 0
        self._seen = measured
        return self._same >= _SAMPLES


def _measure(numbers: list[int]) -> object:
    """Changes whenever one of these threads runs, or wants to."""
    found = []
    for number in numbers:
        try:
            with open(f"/proc/self/task/{number}/schedstat", "rb") as file:
                ran, waited, _ = file.read().split()
        except (OSError, ValueError):
            if not os.path.exists("/proc/self/schedstat"):
                return round(_process_time(), 4)
            continue  # it has ended
        found.append((number, ran, waited))
    return found


_process_time = _time.process_time  # the real one: this module is loaded before a replay patches anything


def has_children() -> bool:
    """True when this process has child processes that have not been waited for."""
    try:
        with open(f"/proc/self/task/{threading.get_native_id()}/children", "rb") as file:
            if file.read().strip():
                return True
        for name in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{name}/children", "rb") as file:
                if file.read().strip():
                    return True
    except OSError:
        pass  # not Linux, or without this file: nothing is known
    return False
