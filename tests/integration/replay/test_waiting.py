"""A program that only waits, in a replay: time costs nothing there, and yet it must end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import rashomon
from rashomon.model import Tape
from rashomon.replay import patience


def _sleeping(times: Any) -> None:
    for _ in times:
        time.sleep(30)


def _in_a_loop(times: Any) -> None:
    async def waiting() -> None:
        never = asyncio.get_running_loop().create_future()
        for _ in times:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(never), 30)

    asyncio.run(waiting())


@pytest.fixture
def tape(home: Path, last_tape: Callable[[], Tape]) -> Tape:
    """Of a program that waited once, and was ended before it did so again."""
    with rashomon.trace("waiting"):
        time.sleep(0.001)
    return last_tape()


@pytest.mark.parametrize("program", [_sleeping, _in_a_loop])
def test_it_is_ended(program: Callable[[Any], None], tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody will ever answer ends with a message, and not before the program has waited for very long."""
    monkeypatch.setattr(patience, "_WAITS", 200)
    monkeypatch.setattr(patience, "_SECONDS", 0.01)
    with rashomon.replay(tape):
        program(range(100))
    waited = count()
    with pytest.raises(rashomon.Missed, match=r"only waits: [\d,]+ times"), rashomon.replay(tape):
        program(waited)
    assert next(waited) > 200


def test_it_may_wait_for_a_process(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is real takes real time, however often it is asked for."""
    monkeypatch.setattr(patience, "_WAITS", 200)
    monkeypatch.setattr(patience, "_SECONDS", 0.01)
    with rashomon.replay(tape, allow=[f"run={sys.executable}"]):
        process = subprocess.Popen([sys.executable, "-I", "-c", "import time; time.sleep(0.5)"])
        while process.poll() is None:
            time.sleep(30)
    assert process.returncode == 0
