"""Work on a home that is killed at random moments leaves it sound, and is completed by doing it again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.kills import WORKS, Killer

CASES = dict.fromkeys(WORKS, 1) | {"gc": 2}
"""Few, for every run; `python -m tests.faults.kills --count 500` is for many."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WORKS))
def test_killed_work_leaves_a_sound_home(tmp_path: Path, name: str) -> None:
    """After `kill -9` the store opens and verifies, nothing that stays is missing, and repeating completes it."""
    seed = random.randrange(2**32)
    print(f"python -m tests.faults.kills --work {name} --seed {seed} --count {CASES[name]}")
    killer = Killer(name, tmp_path, random.Random(seed))
    for _ in range(CASES[name]):
        assert killer.case() in ("killed", "finished")
