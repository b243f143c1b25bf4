"""Many processes record into one home at once, and some are killed: all is accounted for, and nothing mixed up."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from rashomon import tapes, values
from rashomon.model import End, Step
from tests.support import environment, rashomon

PROGRAM = Path(__file__).with_name("recording_process.py")
PROCESSES = 8
STEPS = 1000
KILLED = 3


def _seed() -> random.Random:
    seed = int(os.environ.get("RASHOMON_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    return random.Random(seed)


def _start(home: Path, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), *map(str, words)]
    return subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, text=True)


def _answered(step: Step) -> str:
    """What an answered step gave its process: `name number`."""
    return str(values.decode(step.response.body)) if step.response.end is End.COMPLETE else ""


def _check_journals(home: Path, told: dict[str, list[str]]) -> None:
    """Each process has one journal, that has all it was told, in order, and nothing of the others."""
    found: dict[str, list[str]] = {}
    for path in sorted((home / "journals").glob("*.rsj")):
        part = tapes.read_part(path)
        assert not part.damage
        (tape,) = tapes.assemble([part])
        answers = [answer for answer in map(_answered, tape.steps) if answer]
        owners = {answer.split()[0] for answer in answers}
        assert len(owners) <= 1, f"{path} is of {owners}"
        assert [step.id for step in tape.steps] == [f"0.{number}" for number in range(len(tape.steps))]
        for owner in owners:
            assert owner not in found, f"{owner} has two journals"
            found[owner] = answers
    for name, lines in told.items():
        kept = found.get(name, [])
        assert kept[: len(lines)] == lines, f"{name}: {len(lines)} told, {len(kept)} kept"
        assert len(kept) <= len(lines) + 1, "at most the step whose result was on its way when the process was killed"


def _steps_by_ls(home: Path) -> dict[str, int]:
    """What a user sees: the steps of each trace, by its name."""
    done = rashomon("ls", "--json", home=home)
    assert done.returncode == 0, done.stderr
    return {trace["name"]: trace["steps"] for trace in json.loads(done.stdout)["traces"]}


def test_eight_programs_in_one_home_three_of_them_killed(tmp_path: Path) -> None:
    """Every result that reached a program is in its own journal, and in the store under its own trace."""
    chance = _seed()
    home = tmp_path / "home"
    names = [f"p{number}" for number in range(PROCESSES)]
    last = {name: chance.randrange(1, STEPS) for name in chance.sample(names, KILLED)}
    told: dict[str, list[str]] = {name: [] for name in names}
    running = {name: _start(home, name, STEPS) for name in names}

    def listen(name: str) -> None:
        process = running[name]
        assert process.stdout is not None
        for line in process.stdout:
            if " started " not in line:
                told[name].append(line.rstrip("\n"))
                if len(told[name]) == last.get(name):
                    process.send_signal(signal.SIGKILL)  # it is anywhere by now: nobody waits for us
        process.wait()

    listening = [threading.Thread(target=listen, args=(name,)) for name in names]
    for thread in listening:
        thread.start()
    for thread in listening:
        thread.join()
    assert all(len(told[name]) == STEPS for name in names if name not in last)
    _check_journals(home, told)
    seen = _steps_by_ls(home)
    assert set(seen) == set(names)
    for name in names:
        assert len(told[name]) <= seen[name] <= len(told[name]) + 1


def test_eight_forked_processes_of_one_trace_three_of_them_killed(tmp_path: Path) -> None:
    """In one trace: each process has its lane, its journal, and all of its steps under ids of their own."""
    chance = _seed()
    home = tmp_path / "home"
    last = {f"t-{number}": chance.randrange(1, STEPS * 3 // 4) for number in chance.sample(range(PROCESSES), KILLED)}
    told: dict[str, list[str]] = {f"t-{number}": [] for number in range(PROCESSES)}
    pids: dict[str, int] = {}
    program = _start(home, "t", STEPS, PROCESSES)
    assert program.stdout is not None
    for line in program.stdout:
        name, word, *rest = line.split()
        if word == "started":
            pids[name] = int(rest[0])
            continue
        told[name].append(line.rstrip("\n"))
        if len(told[name]) == last.get(name):
            os.kill(pids[name], signal.SIGKILL)
    assert program.wait() == 0
    _check_journals(home, told)
    (tape,) = tapes.assemble([tapes.read_part(path) for path in sorted((home / "journals").glob("*.rsj"))])
    assert max(Counter(step.id for step in tape.steps).values()) == 1
    lane_of = {process.pid: process.lane for process in tape.trace.processes}
    assert {lane_of[pids[name]] for name in told} == {(number,) for number in range(PROCESSES)}
    for name in told:
        mine = [step for step in tape.steps if _answered(step).startswith(f"{name} ")]
        assert {step.lane for step in mine} == {(int(name[2:]),)}
    assert _steps_by_ls(home) == {"t": len(tape.steps)}
