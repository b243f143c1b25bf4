"""The virtual clock of a replay: it moves when recorded completions are handed out, and not by itself."""

from __future__ import annotations

from threading import RLock

from rashomon.model import Process, Tape, Trace

_STEP_US = 1
"""What each look at the clock adds: code that spins until a deadline reaches it, the same way in every replay."""


def span(tape: Tape) -> tuple[float, float]:
    """When a recording began and ended, in Unix seconds; a killed one ended with its last step."""
    trace = tape.trace
    last = max((step.started_us + step.response.duration_us for step in tape.steps), default=0)
    ended_ns = trace.started_ns + last * 1000 if trace.ended_ns is None else trace.ended_ns
    return trace.started_ns / 1e9, ended_ns / 1e9


class VirtualClock:
    """Microseconds since the trace's start, and what the clocks of the recorded process showed then."""

    def __init__(self, trace: Trace, process: Process | None = None) -> None:
        self._wall_ns = trace.started_ns
        known = process if process is not None and process.monotonic_ns else None
        self._monotonic_ns = 0 if known is None else known.monotonic_ns + trace.started_ns - known.epoch_ns
        self._now_us = 0
        self._lock = RLock()  # re-entrant: the garbage collector may close an answer here, which reads the clock

    @property
    def now_us(self) -> int:
        """Microseconds since the trace's start, without moving the clock."""
        return self._now_us

    def advance_to(self, at_us: int) -> None:
        """Move to a moment of the recording; never back."""
        with self._lock:
            if self._now_us < at_us:  # no call in between, in which the collector might move the clock further
                self._now_us = at_us

    def advance(self, by_us: int) -> None:
        """Move on by so much."""
        with self._lock:
            if by_us > 0:
                self._now_us += by_us

    def look(self) -> int:
        """Microseconds since the trace's start, for a program that asks: each time a little later."""
        with self._lock:
            self._now_us += _STEP_US
            return self._now_us

    def time_ns(self) -> int:
        """What `time.time_ns()` shows."""
        return self._wall_ns + self.look() * 1000

    def monotonic_ns(self) -> int:
        """What `time.monotonic_ns()` and `time.perf_counter_ns()` show."""
        return self._monotonic_ns + self.look() * 1000
