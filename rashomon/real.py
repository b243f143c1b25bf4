"""The real clocks and the real chance, taken before anything is patched: for Rashomon's own use."""

from __future__ import annotations

from os import getpid, urandom
from time import monotonic, monotonic_ns, perf_counter_ns, sleep, time_ns

__all__ = ["getpid", "monotonic", "monotonic_ns", "perf_counter_ns", "sleep", "time_ns", "urandom"]
