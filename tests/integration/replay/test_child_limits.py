"""Limits on processes, and looks at them: a replay runs them at another pace, and the program is not to see it."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import queue
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

import rashomon
from rashomon.model import Tape
from rashomon.recorders.ambient import looks, queues
from tests.support import rashomon as command

COMMANDS = """
import subprocess, sys, time

COUNTS = [sys.executable, "-c", "import time\\nfor n in range(9): print('at', n, flush=True); time.sleep(0.3)"]
PIPES = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)

child = subprocess.Popen(COUNTS)
try:
    child.wait(1.2)
except subprocess.TimeoutExpired as error:
    print(error.timeout, child.poll(), flush=True)
child.kill()
print(child.wait(), child.returncode, child.poll())

child = subprocess.Popen(COUNTS, **PIPES)
try:
    child.communicate(b"read by nobody", timeout=1.2)
except subprocess.TimeoutExpired as error:
    print(error, error.output, child.poll())
child.terminate()
print(child.communicate(), child.returncode)

child = subprocess.Popen(["sh", "-c", "echo so; sleep 0.4; echo on; sleep 5"], stdout=subprocess.PIPE, text=True)
for limit in (0.2, 0.4):
    try:
        child.communicate(timeout=limit)
    except subprocess.TimeoutExpired as error:
        print(error.output)
child.kill()
print(child.communicate())

try:
    print(subprocess.run(COUNTS, capture_output=True, timeout=1.0).stdout)
except subprocess.TimeoutExpired as error:
    print(error.stdout)
print(subprocess.run(COUNTS[:2] + ["print(1)"], capture_output=True, timeout=50, text=True).stdout)
print(subprocess.call(["sh", "-c", "exit 3"], timeout=50))
"""
POLLS = """
import subprocess, sys, time
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

began, looks = time.time(), 0
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"])
while child.poll() is None:
    looks += 1
    assert time.time() - began < 60
    time.sleep(0.05)
print(looks, child.returncode)
child, looks = subprocess.Popen(["sh", "-c", "sleep 0.05; exit 4"]), 0
while child.poll() is None:
    looks += 1
print(looks, child.poll())

if __name__ == "__main__":
    worker, looks = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.4,)), 0
    worker.start()
    while worker.is_alive():
        looks += worker.exitcode is None
        time.sleep(0.05)
    print(looks, worker.exitcode)
    with ProcessPoolExecutor(1) as pool:
        job, looks = pool.submit(time.sleep, 0.4), 0
        while not job.done():
            looks += 1 + job.running()
            time.sleep(0.05)
    print(looks)
"""
WORKERS = """
import multiprocessing, queue, sys, time
from multiprocessing.connection import wait

def talk():
    for n in range(99):
        print("at", n, flush=True)
        time.sleep(0.2)

def put(items):
    for n in range(2):
        time.sleep(0.2)
        items.put(n)

def slow(seconds):
    time.sleep(seconds)
    return seconds

def tries(ask, failure):
    for count in range(99):
        try:
            return count, ask()
        except failure:
            pass

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    talks = context.Process(target=talk)
    talks.start()
    talks.join(0.7 if sys.argv[1] == "fork" else 2)
    print(talks.is_alive(), talks.exitcode, flush=True)
    talks.terminate()
    talks.join()
    print(talks.exitcode)

    items, (here, there) = context.Queue(), context.Pipe()
    puts = context.Process(target=put, args=(items,))
    puts.start()
    print(tries(lambda: items.get(timeout=0.07), queue.Empty), here.poll(0.07), here.poll(), items.empty())
    print(tries(lambda: time.sleep(0.01) or items.get_nowait(), queue.Empty))
    there.send(1)
    print(here.poll(5), here.recv(), context.Event().wait(0.01))

    sleeping, ended = [context.Process(target=slow, args=(seconds,)) for seconds in (0.3, 0.0, 0.15)], []
    for one in sleeping:
        one.start()
    left = [one.sentinel for one in sleeping]
    while left:
        done = wait(left, 0.07)
        ended.append([left.index(one) for one in done])
        left = [one for one in left if one not in done]
    print(ended)

    with context.Pool(1) as pool:
        result = pool.apply_async(slow, (0.3,))
        print(tries(lambda: result.get(0.07), multiprocessing.TimeoutError))
        result, looks = pool.map_async(slow, (0.1, 0.1)), 0
        while not result.ready():
            looks += 1
            result.wait(0.03)
        print(looks, result.get())
        results = pool.imap(slow, (0.2, 0.1))
        print([tries(lambda: results.next(0.04), multiprocessing.TimeoutError) for _ in range(2)])
"""


def _outputs(program: Path, home: Path, *words: str) -> list[str]:
    """What a recording prints, and two replays of it that hold."""
    recorded = command("record", "--name", "limits", "--", sys.executable, program, *words, home=home)
    assert recorded.returncode == 0, recorded.stderr
    outputs = [recorded.stdout]
    for name in ("first", "second"):
        done = command("replay", "limits", "--name", name, home=home)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    return outputs


@pytest.mark.parametrize("text", [COMMANDS, POLLS], ids=["commands", "polls"])
def test_a_command_ends_in_time_or_does_not(text: str, tmp_path: Path) -> None:
    """A limit that ran out does so again, with what had been said by then, whatever the command has done by now; one
    that was kept is; and who polls finds the command running as often as before, and ended as it had."""
    program = tmp_path / "program.py"
    program.write_text(text)
    recorded, *replayed = _outputs(program, tmp_path / "home")
    assert replayed == [recorded] * 2


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_is_in_time_or_is_not(method: str, tmp_path: Path) -> None:
    """The same for processes of multiprocessing, what comes from them, and the jobs of pools."""
    program = tmp_path / "program.py"
    program.write_text(WORKERS)
    recorded, *replayed = _outputs(program, tmp_path / "home", method)
    assert replayed == [recorded] * 2
    assert "True None\n-15\n" in recorded


@rashomon.tool
def slow(seconds: float) -> str:
    """Takes its time when it is recorded; a replay does not run it."""
    time.sleep(seconds)
    return f"after {seconds}"


def test_jobs_of_a_pool_of_threads(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A limit on a job of a `ThreadPool` runs out as often as it did, and takes no time."""

    def program() -> list[object]:
        said: list[object] = []
        with ThreadPool(2) as pool:
            for seconds in (0.1, 0.0):
                job, tries = pool.apply_async(slow, (seconds,)), 0
                while not job.ready():
                    tries += 1
                    try:
                        said.append(job.get(0.02))
                    except multiprocessing.TimeoutError:
                        job.wait(0.02)
                said.append((tries, job.get(1)))
        return said

    with rashomon.trace("threads"):
        recorded = program()
    tape = last_tape()
    for _ in range(3):
        with rashomon.replay(tape) as replaying:
            assert program() == recorded
        replaying.check()


def test_many_looks_in_a_row_are_counted(
    home: Path, last_tape: Callable[[], Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that does nothing but look is recorded in a few lines, and looks as often in a replay."""
    monkeypatch.setattr(looks, "_MOST", 5)
    counts = iter([20, 0, 3])

    def program(live: bool) -> list[int]:
        found = []
        here, there = multiprocessing.Pipe()
        for _ in range(3):
            looked, after = 0, next(counts) if live else 0
            if not after:
                there.send(1)
            while not here.poll():
                looked += 1
                if looked == after:
                    there.send(1)
            found.append(looked)
            here.recv()
        return found

    with rashomon.trace("looks"):
        assert program(live=True) == [20, 0, 3]
    tape = last_tape()
    reads = [read.value for read in tape.reads if read.what == "multiprocessing.Connection.poll"]
    assert reads == [False] * 5 + [[True, 15], True] + [False] * 3 + [True]
    with rashomon.replay(tape) as replaying:
        assert program(live=False) == [20, 0, 3]
    replaying.check()


def test_looks_at_what_outlives_a_trace_are_counted_in_each(
    home: Path, last_tape: Callable[[], Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one trace left uncounted is not owed by the next, nor does it stop what that one writes down."""
    monkeypatch.setattr(looks, "_MOST", 5)
    monkeypatch.setattr(queues, "_POLLS", 3)

    def found(look: Callable[[], object], then: Callable[[int], object]) -> list[object]:
        said = []
        for number in range(9):
            if number == 8:
                then(1)
            said.append(look())
        return said

    ends, items = multiprocessing.Pipe(), queue.Queue[int]()
    with rashomon.trace("first"):
        for _ in range(8):
            assert not ends[1].poll()
            assert items.empty()
    with rashomon.trace("second"):
        assert found(ends[1].poll, ends[0].send) == [False] * 8 + [True]
        assert found(items.empty, items.put) == [True] * 8 + [False]
    tape = last_tape()
    assert [read.value for read in tape.reads if read.what.endswith("poll")] == [False] * 5 + [[True, 3]]
    assert [read.value for read in tape.reads if read.what.endswith("empty")] == [True] * 3 + [False]
    ends[1].recv()
    with rashomon.replay(tape):
        assert found(ends[1].poll, ends[0].send) == [False] * 8 + [True]


def test_limits_of_processes_are_the_programs_own(home: Path) -> None:
    """Recording changes nothing about what these give and raise."""

    def all_of_them() -> list[object]:
        said: list[object] = []
        python = [sys.executable, "-I", "-c"]
        child = subprocess.Popen([*python, "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for limit in (0, 0.001, -1):
            with pytest.raises(subprocess.TimeoutExpired) as expired:
                child.wait(limit)
            said.append(str(expired.value))
        with pytest.raises(subprocess.TimeoutExpired) as expired:
            child.communicate("", timeout=0.001)
        said += [str(expired.value), expired.value.output, child.communicate(), child.wait(0), child.poll()]
        with pytest.raises(subprocess.CalledProcessError) as failed:
            subprocess.run([*python, "print(1); exit(2)"], check=True, timeout=50, capture_output=True)
        said += [str(failed.value), failed.value.output]
        with pytest.raises(UnicodeDecodeError):
            subprocess.run(["printf", r"\344"], timeout=50, capture_output=True, encoding="utf-8")
        never = multiprocessing.Process(target=print)
        said += [never.is_alive(), never.exitcode, multiprocessing.current_process().is_alive()]
        with pytest.raises(AssertionError):
            never.join(1)
        here, there = multiprocessing.Pipe()
        said += [here.poll(), here.poll(0.001), multiprocessing.connection.wait([here, there], 0.001)]
        there.send("x")
        said += [here.poll(1), multiprocessing.connection.wait([there, here], 5) == [here], here.recv()]
        here.close()
        with pytest.raises(OSError, match="closed"):
            here.poll(1)
        with ThreadPool(1) as pool:
            job = pool.apply_async(divmod, (1, 0))
            with pytest.raises(ZeroDivisionError):
                job.get(5)
            said += [job.ready(), job.successful()]
            jobs = pool.imap(str, [1])
            said += [jobs.next(5)]
            with pytest.raises(StopIteration):
                jobs.next(5)
        return said

    plain = all_of_them()
    with rashomon.trace("limits"):
        assert all_of_them() == plain
