"""Bodies that are written as what is new in them, when calls are not written in the order in which they arrived."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from rashomon import tapes
from rashomon.recorders.writer import Writer
from rashomon.redaction import Redactor

CALLS = 400
CONVERSATIONS = 5


@pytest.mark.parametrize("turn", range(8))
def test_calls_that_are_written_late(turn: int, tmp_path: Path) -> None:
    """Some calls are written behind up to a hundred later ones: each body is read back as it was."""
    seed = int(os.environ.get("RASHOMON_TEST_SEED", random.randrange(1 << 30))) + turn
    print(f"seed {seed}")
    chance = random.Random(seed)
    said = {number: f"conversation {number} " * 20 for number in range(CONVERSATIONS)}
    speaks = chance.choices(range(CONVERSATIONS), weights=[60, 1, 1, 1, 1], k=CALLS)  # some are silent for long
    bodies = []
    for number, one in enumerate(speaks):
        said[one] += f"turn {number}: {chance.random()}; "
        bodies.append(said[one].encode())
    order = sorted(range(CALLS), key=lambda number: number + chance.choice([0, 0, 0, chance.randrange(100)]))
    writer = Writer(str(tmp_path / "journal.rsj"), {"role": "program"}, Redactor(b"k" * 16, {}))
    writer.checked([1, 0, {"id": "t"}])
    for number in order:
        lane = (speaks[number],)
        writer.call(number, [2, number, 0, "llm", "chat", lane, number, None], {}, bodies[number], False, lane)
    writer.close()
    part = tapes.read_part(tmp_path / "journal.rsj")
    steps = sorted(part.parts["t"].steps, key=lambda step: int(step.id))
    assert not any(step.marks for step in steps)
    assert [step.request.body for step in steps] == bodies
    assert (tmp_path / "journal.rsj").stat().st_size < sum(map(len, bodies)) / 4
