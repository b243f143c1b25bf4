"""The order of completions on an event loop, where blocking calls, timers and other launch orders meet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rashomon
from rashomon import real
from rashomon.model import Tape


@pytest.fixture
def other_thread() -> Iterator[None]:
    """A thread that waits: the order of blocking calls is noted only where there is another one."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    yield
    done.set()
    thread.join()


@rashomon.tool
def looked_up(what: str) -> str:
    """A tool that blocks."""
    return what.upper()


@rashomon.tool
async def fetched(what: str, seconds: float) -> str:
    """A tool that takes its time."""
    await asyncio.sleep(seconds)
    return what.upper()


def _spin(seconds: float) -> None:
    """Compute for so long, in a recording."""
    until = real.monotonic() + seconds
    while real.monotonic() < until:
        pass


async def _blocked_turn() -> list[str]:
    """A timer becomes due while a turn of the loop is busy; the next turn first makes a blocking call."""
    said: list[str] = []

    async def ticking() -> None:
        await asyncio.sleep(0.001)
        said.append("timer")

    async def blocking() -> None:
        _spin(0.004)
        await asyncio.sleep(0)
        said.append(looked_up("tool"))
        await asyncio.sleep(0)
        said.append("after")

    await asyncio.gather(ticking(), blocking())
    return said


@pytest.mark.usefixtures("other_thread")
async def test_a_timer_that_was_ready_behind_a_blocking_call_keeps_its_turn(
    home: Path, last_tape: Callable[[], Tape]
) -> None:
    """The replay hands out the timer for the turn in which the loop is then blocked; its order stays exact."""
    with rashomon.trace("busy"):
        recorded = await _blocked_turn()
    with rashomon.replay(last_tape()) as replaying:
        assert await _blocked_turn() == recorded
    replaying.check()
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


async def _patient(names: list[str]) -> dict[str, str]:
    """Calls one after the other, each with a time limit of its own: the slow one a long one."""
    limits = {"quick": 0.2, "slow": 0.9, "late": 0.2}
    durations = {"quick": 0.01, "slow": 0.45, "late": 0.01}
    said: dict[str, str] = {}
    for name in names:
        try:
            said[name] = await asyncio.wait_for(fetched(name, durations[name]), limits[name])
        except TimeoutError:
            said[name] = "timed out"
    return said


async def test_an_answer_that_is_asked_for_earlier_takes_as_long_as_it_took(
    home: Path, last_tape: Callable[[], Tape]
) -> None:
    """A time limit that was kept in the recording is kept, whenever in the replay the call is made."""
    with rashomon.trace("in order"):
        recorded = await _patient(["quick", "slow", "late"])
    tape = last_tape()
    assert recorded == {"quick": "QUICK", "slow": "SLOW", "late": "LATE"}
    for names in (["late", "slow", "quick"], ["slow", "late", "quick"], ["late", "quick", "slow"]):
        with rashomon.replay(tape):
            assert await _patient(names) == recorded
