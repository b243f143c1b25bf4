"""Every process of a trace is recorded, under a lane that follows from the order in which it was started."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests import process_program
from tests.process_recordings import PROGRAM, answers, lanes, printed, recorded
from tests.support import environment, rashomon, tapes_of

METHODS = ("fork", "spawn", "forkserver")


@pytest.mark.parametrize("method", METHODS)
def test_processes_threads_and_processes_in_those_have_lanes_of_their_own(method: str) -> None:
    """However a process is started, and however deep, it is one process of the trace, with its place in the order."""
    _, lines, tape = recorded("started", method)
    assert lanes(tape) == [(), (0,), (0, 1, 1), (1,), (1, 1, 1)]
    assert answers(tape) == printed(lines)
    assert all(process.ended for process in tape.trace.processes)
    assert sorted(step.lane for step in tape.steps) == sorted(
        [(), *((n, *rest) for n in range(2) for rest in ((), (1,), (1, 1), (1, 1, 1)))]
    )


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_job_of_a_pool_has_the_lane_of_its_submission(method: str) -> None:
    """Which worker takes a job depends on scheduling; the job's lane does not."""
    _, lines, tape = recorded("executor", method)
    jobs = {f"{number}": (number + 1,) for number in range(process_program.JOBS)}
    by_lane = {step.lane: step.response.body.decode("latin-1") for step in tape.steps}
    for line in lines[: process_program.JOBS]:
        number, answer = line.split()
        assert answer in by_lane[jobs[number]]
    assert len(by_lane) == process_program.JOBS + 2  # what `map` put into one chunk is one job
    assert set(lanes(tape)[:2]) == {(), (0, 0)}
    assert {lane[:1] for lane in lanes(tape)[1:]} == {(0,)}, "workers are numbered by their pool"


def test_each_call_of_a_multiprocessing_pool_is_a_job_with_a_lane() -> None:
    """`map`, `apply`, `starmap`, `imap` and `imap_unordered` give each item its own."""
    _, lines, tape = recorded("pool", "spawn")
    assert answers(tape) == printed(lines)
    assert len({step.lane for step in tape.steps}) == len(tape.steps) == 15


def test_commands_are_recorded_whatever_environment_they_are_given() -> None:
    """Python programs are processes of the trace: with no `env`, a bare one, behind a shell, after an `exec`."""
    home, lines, tape = recorded("commands")
    assert answers(tape) == printed(lines)
    assert not any("RASHOMON_LANE" in line for line in lines), "a lane must not be inherited further"
    found = lanes(tape)
    assert [lane for lane in found if len(lane) < 2] == [(), (0,), (1,), (2,), (3,), (3,), (4,), (10,)], (
        "an exec keeps its lane"
    )
    assert [lane for lane in found if len(lane) == 2] == [(2, -2), (5, 0), (6, 0), (7, 0)]
    assert all(process.ended for process in tape.trace.processes)
    assert not (home / "lanes").exists()


def test_threads_that_fork_at_the_same_time_do_not_share_lanes() -> None:
    """A forked child is numbered by the line that forked it, though others fork at that moment."""
    _, lines, tape = recorded("threads")
    assert lanes(tape) == [(), *((thread, number) for thread in range(4) for number in range(2))]
    by_answer = {str(body): step.lane for step in tape.steps for body in answers(tape._replace(steps=(step,)))}
    for line in lines:
        who, *numbers, answer = line.split()
        assert by_answer[answer] == tuple(map(int, numbers)), who


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_killed_processes_were_told_is_kept(method: str) -> None:
    """A terminated daemon, a killed worker and its successor: all their steps, and three lanes."""
    _, lines, tape = recorded("killed", method)
    assert answers(tape) == printed(lines)
    assert lanes(tape) == [(), (0,), (1,), (2,)]
    ended = {process.lane: process.ended for process in tape.trace.processes}
    assert ended == {(): True, (0,): False, (1,): False, (2,): False}


def test_workers_of_a_prefork_server_are_lanes_and_so_is_a_respawned_one() -> None:
    """Every request that any worker answers is recorded in that worker's journal."""
    _, lines, tape = recorded("prefork")
    assert answers(tape) == printed(lines)
    assert lanes(tape) == [(), (0,), (1,), (2,), (3,)]
    by_process = {str(process.pid): process for process in tape.trace.processes}
    served = Counter(str(by_process[line.split()[0]].number) for line in lines)
    assert served == Counter(step.id.split(".")[0] for step in tape.steps)


def _inside(home: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a program that records by itself, from a file: its children import it again."""
    script = home.parent / "program.py"
    script.write_text(text)
    env = environment(home, PYTHONPATH=str(PROGRAM.parents[1]))
    return subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=60)


def test_what_a_tool_has_other_processes_do_is_inside_the_tool() -> None:
    """Steps of a process, a pool's job and a command that a tool started belong to that call of the tool."""
    _, _, tape = recorded("delegating", "spawn")
    outer = [step.id for step in tape.steps if step.name == "delegate"]
    inner = Counter(step.within for step in tape.steps if step.name == "ask")
    assert inner == {outer[0]: 5, outer[1]: 5, None: 1}


def test_a_fork_does_not_mix_up_what_is_under_way() -> None:
    """Streams that were open at a fork stay the parent's; what the child does with its copies is no step of its own."""
    _, lines, tape = recorded("streaming")
    by_process = {number: [step for step in tape.steps if step.id.startswith(f"{number}.")] for number in range(2)}
    assert [step.name for step in by_process[0]] == ["counting", "counting", "ask"]
    assert [len(step.response.pieces) for step in by_process[0]] == [3, 4, 1]
    assert [step.name for step in by_process[1]] == ["ask"]
    assert answers(tape._replace(steps=(by_process[0][2], by_process[1][0]))) == printed(lines)


IN_PROCESS = """
import rashomon, sys
from tests import process_program
def main():
    with rashomon.trace("one"):
        process_program.executor("{method}")
    with rashomon.trace("two"):
        process_program.started("{method}")
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_join_a_trace_that_was_begun_in_the_program(tmp_path: Path, method: str) -> None:
    """Without any environment variable; and each trace counts its own lanes."""
    home = tmp_path / "home"
    done = _inside(home, IN_PROCESS.format(method=method))
    assert (done.returncode, done.stderr) == (0, "")
    found = tapes_of(home)
    assert [tape.trace.name for tape in found] == ["one", "two"]
    assert answers(found[0]) + answers(found[1]) == printed(done.stdout.splitlines())
    assert [len(tape.steps) for tape in found] == [process_program.JOBS + 4, 9]
    assert lanes(found[1]) == [(), (0,), (0, 1, 1), (1,), (1, 1, 1)]


POOL_OF_BEFORE = """
import multiprocessing, rashomon
from concurrent.futures import ProcessPoolExecutor
from tests.process_program import job
def main():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("{method}")) as pool:
        print(*pool.map(job, range(4)))
        for name in ("one", "two"):
            with rashomon.trace(name):
                print(name, *pool.map(job, range(4)))
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_are_older_than_a_trace_record_its_jobs_into_it(tmp_path: Path, method: str) -> None:
    """A pool outlives traces: each job goes where it was submitted."""
    home = tmp_path / "home"
    done = _inside(home, POOL_OF_BEFORE.format(method=method))
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    for tape in tapes_of(home):
        assert answers(tape) == printed([lines[tape.trace.name]])


BARE_CHILD = """
import multiprocessing, sys
try:
    import rashomon
except ImportError:
    pass
def child(queue):
    queue.put(sorted(name for name in sys.modules if name.startswith("rashomon")))
def main():
    multiprocessing.set_executable({bare!r})
    context = multiprocessing.get_context("spawn")
    with rashomon.trace("bare"):
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(queue,))
        sys.path[:] = [entry for entry in sys.path if "site-packages" not in entry]
        process.start()
        print(queue.get())
        process.join()
if __name__ == "__main__":
    if multiprocessing.parent_process() is None:
        main()
"""


def test_a_child_that_has_no_rashomon_runs_as_ever(tmp_path: Path) -> None:
    """What is pickled for a child must not need Rashomon there."""
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    script = BARE_CHILD.format(bare=str(bare))
    env = {name: value for name, value in environment(tmp_path / "home").items() if name != "PYTHONPATH"}
    (tmp_path / "program.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-P", str(tmp_path / "program.py")], env=env, capture_output=True, text=True, timeout=60,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


def test_another_recorder_inside_a_recorded_program_keeps_its_own_trace(tmp_path: Path) -> None:
    """What `rashomon record` launches belongs to it, also when it is itself recorded."""
    inner = [sys.executable, "-m", "rashomon.cli", "record", "--home", str(tmp_path / "inner"), "--json", "--",
             sys.executable, str(PROGRAM), "leaf"]  # fmt: skip
    done = rashomon("record", "--quiet", "--", *inner, home=tmp_path / "outer")
    assert done.returncode == 0, done.stderr
    (tape,) = tapes_of(tmp_path / "inner")
    assert answers(tape) == printed(done.stdout.splitlines())
    assert lanes(tape) == [()]
    assert json.loads(done.stderr)["steps"] == 1


def test_a_program_may_switch_the_recorder_off_for_a_child(tmp_path: Path) -> None:
    """`RASHOMON_OFF` in the child's environment is respected."""
    code = (
        "import os, subprocess, sys;"
        f"subprocess.run([sys.executable, {str(PROGRAM)!r}, 'leaf'], env={{**os.environ, 'RASHOMON_OFF': '1'}})"
    )
    done = rashomon("record", "--quiet", "--", sys.executable, "-c", code, home=tmp_path)
    assert done.returncode == 0
    assert "leaf" in done.stdout
    (tape,) = tapes_of(tmp_path)
    assert lanes(tape) == [()]
    assert not tape.steps
