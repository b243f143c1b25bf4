"""`kill -9` at random points of a recording: whatever reached the program is on the disk."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

from rashomon import tapes, values
from rashomon.model import End, Step

DRIVER = Path(__file__).with_name("kill_driver.py")
TRIALS = 120


def _seen(steps: tuple[Step, ...]) -> set[str]:
    """What the journal says was received, in the driver's words."""
    found = set()
    for step in steps:
        if step.name == "double":
            if step.response.end is End.COMPLETE:
                number = values.decode(step.response.pieces[0].data)
                found.add(f"t{number}")
            continue
        request = json.loads(step.request.body)
        if request.get("stream"):
            found.update(f"s{request['n']}.{position}" for position in range(len(step.response.pieces)))
        elif step.response.end is End.COMPLETE:
            found.add(f"j{json.loads(step.response.body)['n']}")
    return found


def test_every_step_that_reached_the_program_is_kept(tmp_path: Path) -> None:
    """120 processes are killed, most of them when they have received a random number of things; none is missing."""
    seed = int(os.environ.get("RASHOMON_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    command = [sys.executable, str(DRIVER), str(tmp_path), str(seed), str(TRIALS)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) == TRIALS
    received = 0
    for line in lines:
        trial = json.loads(line)
        journals = list(Path(trial["home"], "journals").glob("*.rsj")) if os.path.isdir(trial["home"]) else []
        parts = [tapes.read_part(path) for path in journals]
        assert not any(part.damage for part in parts), (seed, trial["home"])
        found = tapes.assemble(parts)
        seen = _seen(found[0].steps) if found else set()
        missing = set(trial["reached"]) - seen
        assert not missing, f"seed {seed}, {trial['home']}: {sorted(missing)[:5]} of {len(trial['reached'])}"
        received += len(trial["reached"])
    assert received > 10 * TRIALS, f"seed {seed}: the children hardly ran ({received} results)"
    print(f"{TRIALS} kills, {received} results had reached the programs, all kept")
