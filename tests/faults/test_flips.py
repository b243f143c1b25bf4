"""Commands on journals and stores with random damage: an answer or a sentence; no traceback, no lost trace."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.flips import many

CASES = 4
"""Few, for every run; `python -m tests.faults.flips --count 5000` is for many."""


@pytest.mark.slow
def test_random_damage_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    """Bytes flipped, zeroed, cut, doubled or put in: commands end with 0, 2 or 4, and what was not touched is there."""
    seed = random.randrange(10**6)
    print(f"python -m tests.faults.flips --seed {seed} --count {CASES}")
    tally, wrong = many(CASES, seed, tmp_path)
    assert wrong == []
    assert tally.total() == CASES
