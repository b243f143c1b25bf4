"""Random asyncio programs: what happens in a replay happens in the recorded order, event for event."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.schedules.events import Log
from tests.schedules.judge import judge_order
from tests.schedules.run import run_all, shares, table
from tests.schedules.schedule import Result, Way
from tests.schedules.test_schedules import FIRST, judge_all

PROGRAMS = int(os.environ.get("RASHOMON_SCHEDULES", "200")) // 8


@contextmanager
def busy_machine() -> Iterator[None]:
    """Other processes that compute for as long as the block runs."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def orders(way: Way, count: int, replays: int) -> list[Result]:
    """Run programs and their replays; what came of each program whose events were compared."""
    print(f"RASHOMON_SCHEDULES_SEED={FIRST}")
    results: list[Result] = []
    run_all(shares(count, FIRST, 2, [way]), 2, replays, results.append)
    print(table(results))
    return results


@pytest.mark.slow
@pytest.mark.parametrize(("way", "count"), [("order", PROGRAMS), ("order-launched", 2)])
def test_order_of_events(way: Way, count: int) -> None:
    """Tasks, streams, queues, locks, timers and cancellations come in the recorded order."""
    results = orders(way, count, 1)
    assert len(results) == count
    judge_all(results)


@pytest.mark.slow
def test_many_replays_of_one_recording() -> None:
    """However often a recording is replayed, and however busy the machine is, the events are the same."""
    with busy_machine():
        results = orders("order", 2, 4)
    assert len(results) == 2
    judge_all(results)


def test_the_judge_of_order() -> None:
    """One event in another place is found, and shown; so is one that is missing."""
    before, after = Log(), Log()
    before.order, after.order = ["a", "b", "c"], ["a", "c", "b"]
    assert judge_order(before, before) == []
    assert [finding.text for finding in judge_order(before, after)] == ["event 1 of 3: ['c', 'b']; recorded ['b', 'c']"]
    after.order = ["a", "b"]
    assert [finding.kind for finding in judge_order(before, after)] == ["order"]
