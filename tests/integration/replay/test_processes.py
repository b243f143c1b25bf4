"""Programs of many processes are replayed offline: each process, thread and job gets the answer that it had."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from rashomon.replay.claims import Claims
from rashomon.tapes import read_part
from tests.process_recordings import PROGRAM, printed, recorded
from tests.support import environment, rashomon, tapes_of

SCENARIOS = [
    ("started", "fork"),
    ("started", "spawn"),
    ("started", "forkserver"),
    ("executor", "fork"),
    ("executor", "forkserver"),
    ("awaited", "fork"),
    ("pool", "spawn"),
    ("commands",),
    ("threads",),
    ("killed", "fork"),
    ("killed", "spawn"),
    ("delegating", "fork"),
    ("delegating", "spawn"),
    ("streaming",),
]


@pytest.mark.parametrize("words", SCENARIOS, ids="-".join)
def test_a_program_of_many_processes_is_replayed_exactly(words: tuple[str, ...]) -> None:
    """The same output, and exit code 0, though all requests are equal and only lanes tell them apart."""
    home, lines, _ = recorded(*words)
    done = rashomon("replay", "@last" if len(tapes_of(home)) == 1 else "@prev", home=home)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(lines), done.stderr
    replayed = tapes_of(home)[-1]
    assert {step.match.grade for step in replayed.steps if step.match} == {"exact"}
    assert not any("one of" in step.match.detail and "arrival" in step.match.detail
                   for step in replayed.steps if step.match)  # fmt: skip


IN_PROCESS = """
import sys
import rashomon
from rashomon import tapes
from tests import process_program
from tests.support import tapes_of
from pathlib import Path
from typing import Any

def main():
    run = lambda: process_program.SCENARIOS["{scenario}"]("{method}")
    with rashomon.trace("one") as recording:
        run()
    print("--", flush=True)
    tape = next(tape for tape in tapes_of(Path("{home}")) if tape.trace.id == recording.id)
    with rashomon.replay(tape) as replaying:
        run()
    replaying.check()

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    ("scenario", "method"), [("executor", "fork"), ("started", "spawn"), ("started", "forkserver")]
)
def test_processes_are_replayed_inside_a_program_too(tmp_path: Path, scenario: str, method: str) -> None:
    """`with rashomon.replay(tape)`: the processes that the block starts are answered from the same tape."""
    home = tmp_path / "home"
    script = tmp_path / "program.py"
    script.write_text(IN_PROCESS.format(scenario=scenario, method=method, home=home))
    env = environment(home, PYTHONPATH=str(PROGRAM.parents[1]), TMPDIR=str(tmp_path))
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("--\n")
    assert first == second
    assert not [name for name in os.listdir(tmp_path) if name.startswith("rashomon-")], "no tape is left behind"


def _program(tmp_path: Path, text: str) -> list[str]:
    """The command of a program that does something else when the file `changed` is there."""
    script = tmp_path / "program.py"
    script.write_text(text)
    return [sys.executable, str(script), str(tmp_path / "changed")]


UVLOOP = """
import asyncio, sys, uvloop
from tests.process_program import __file__ as program
import os, rashomon

@rashomon.tool
async def ask() -> str:
    await asyncio.sleep(os.urandom(1)[0] / 10_000)
    return os.urandom(4).hex()

async def main():
    print(type(asyncio.get_running_loop()).__module__, file=sys.stderr)
    print(await asyncio.gather(*[ask() for _ in range(6)]))
    process = await asyncio.create_subprocess_exec(sys.executable, program, "leaf", stdout=asyncio.subprocess.PIPE)
    print((await process.communicate())[0].decode())
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(), name=f"task {n}") for n in range(3)]
    print([task.result() for task in tasks], tasks[0].get_name())

if "run" in sys.argv:
    uvloop.run(main())
elif "install" in sys.argv:
    uvloop.install()
    asyncio.run(main())
else:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
"""


@pytest.mark.parametrize("how", ["run", "install", "factory"])
def test_uvloop_is_recorded_and_asyncio_replays_it(tmp_path: Path, how: str) -> None:
    """Tasks and subprocesses on uvloop have the lanes that they have on asyncio's loop."""
    pytest.importorskip("uvloop")
    command = [*_program(tmp_path, UVLOOP), how]
    more = {"PYTHONPATH": str(PROGRAM.parents[1])}
    home = tmp_path / "home"
    before = rashomon("record", "--", *command, home=home, env=more)
    assert before.returncode == 0, before.stderr
    assert "uvloop" in before.stderr
    done = rashomon("replay", "@last", home=home, env=more)
    assert (done.returncode, done.stdout) == (0, before.stdout), done.stderr


UVLOOP_ORDER = """
import asyncio, time, uvloop

async def nap(name, seconds):
    await asyncio.sleep(seconds)
    print(name)

async def work(name, seconds):
    await asyncio.to_thread(time.sleep, seconds)
    print(name)

async def main():
    works = work("fourth", 0.4), work("second", 0.2)
    await asyncio.gather(nap("fifth", 0.5), nap("first", 0.1), nap("third", 0.3), *works)

uvloop.run(main())
"""


def test_timers_and_threads_on_uvloop_come_in_the_recorded_order(tmp_path: Path) -> None:
    """Sleeps of tasks and the ends of jobs are completions there too; that turns are not kept is listed."""
    pytest.importorskip("uvloop")
    home = tmp_path / "home"
    before = rashomon("record", "--", *_program(tmp_path, UVLOOP_ORDER), home=home)
    done = rashomon("replay", "@last", home=home)
    assert (done.returncode, done.stdout) == (0, before.stdout), done.stderr
    told = [[one.what for one in tape.trace.uncontrolled] for tape in tapes_of(home)]
    assert told == [["order of tasks on uvloop"], []]


POOL = """
import multiprocessing, os, sys
from tests.process_program import ask

def job(number):
    return ask("asked" if number < 3 or not os.path.exists(sys.argv[1]) else "not recorded")

if __name__ == "__main__":
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        print(pool.map(job, range(4)))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_whose_job_was_not_recorded_ends_the_replay(tmp_path: Path, method: str) -> None:
    """multiprocessing waits for ever for a job whose worker was ended; the program gets the miss instead."""
    command = _program(tmp_path, POOL.format(method=method))
    more = {"PYTHONPATH": str(PROGRAM.parents[1])}
    home = tmp_path / "home"
    assert rashomon("record", "--", *command, home=home, env=more).returncode == 0
    (tmp_path / "changed").touch()
    done = rashomon("replay", "@last", home=home, env=more)
    assert done.returncode == 1
    assert "not recorded" in done.stderr


IDLE = """
import multiprocessing, os, sys, time
from tests.process_program import ask

def begin(turn, last):
    global last_done
    last_done = last
    with turn.get_lock():
        turn.value += 1
        late = turn.value == 2
    if late and not os.path.exists(sys.argv[1]):
        time.sleep(60)

def job(number):
    if os.path.exists(sys.argv[1]) and number == 0:
        last_done.acquire()
    try:
        return ask(f"job {number % 2}")
    finally:
        if number == 5:
            last_done.release()

if __name__ == "__main__":
    turn, last = multiprocessing.Value("i", 0), multiprocessing.Semaphore(0)
    with multiprocessing.get_context("fork").Pool(2, begin, (turn, last)) as pool:
        print(pool.map(job, range(6), 1))
"""


def test_a_worker_that_had_no_job_in_the_recording_does_some_in_the_replay(tmp_path: Path) -> None:
    """Which worker of a pool is free for a job is nobody's choice: the answers belong to the jobs."""
    command = _program(tmp_path, IDLE)
    more = {"PYTHONPATH": str(PROGRAM.parents[1])}
    home = tmp_path / "home"
    before = rashomon("record", "--", *command, home=home, env=more)
    assert before.returncode == 0, before.stderr
    for path in (home / "journals").iterdir():
        lane, calls = _lane_and_calls(path)
        if lane and not calls:
            path.unlink()  # as of a worker that was ended while it was still starting
    (tmp_path / "changed").touch()
    done = rashomon("replay", "@last", home=home, env=more)
    assert done.stdout == before.stdout, done.stderr


def _lane_and_calls(path: Path) -> tuple[Any, int]:
    """What a journal says: the line of its process, and how many steps it has."""
    part = read_part(path)
    return part.process.get("lane"), sum(len(piece.steps) for piece in part.parts.values())


MORE = """
import os, subprocess, sys
from tests.process_program import ask, __file__ as program
print(ask())
if os.path.exists(sys.argv[1]):
    child = os.fork()
    if child == 0:
        try:
            print("child", ask(), flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
print(ask())
"""


def test_a_process_that_was_not_recorded_takes_no_other_ones_answers(tmp_path: Path) -> None:
    """A replayed program that starts one process more than the recording did: a divergence, and no wrong answer."""
    command = _program(tmp_path, MORE)
    more = {"PYTHONPATH": str(PROGRAM.parents[1])}
    home = tmp_path / "home"
    before = rashomon("record", "--", *command, home=home, env=more)
    (tmp_path / "changed").touch()
    done = rashomon("replay", "@last", home=home, env=more)
    assert done.returncode == 1
    assert printed(done.stdout.splitlines()) == printed(before.stdout.splitlines())
    assert "child" not in done.stdout


def _take(claims: Claims, steps: list[str], got: list[str]) -> None:
    got.extend(step for step in steps if claims.take(step))


def test_each_step_is_claimed_once_by_all_processes_and_threads(tmp_path: Path) -> None:
    """Four processes of four threads want all of 300 steps: each is given out once."""
    steps = [f"{number % 3}.{number}" for number in range(290)] + [f"odd-{number}" for number in range(10)]
    reading, writing = os.pipe()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            claims = Claims(str(tmp_path))
            got: list[str] = []
            running = [threading.Thread(target=_take, args=(claims, steps, got)) for _ in range(4)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
            os.write(writing, "".join(f"{step}\n" for step in got).encode())
            os._exit(0)
        children.append(child)
    os.close(writing)
    with os.fdopen(reading) as file:
        taken = file.read().split()
    for child in children:
        os.waitpid(child, 0)
    assert sorted(taken) == sorted(steps)
    claims = Claims(str(tmp_path))
    assert all(map(claims.taken, steps))
    assert not claims.taken("0.290")
    assert not claims.take("1.1")


LEAVING = """
import ctypes, os, threading
libc = ctypes.CDLL(None)
key = ctypes.c_uint()
libc.pthread_key_create(ctypes.byref(key), ctypes.cast(libc.usleep, ctypes.c_void_p))
thread = threading.Thread(target=lambda: libc.pthread_setspecific(key, ctypes.c_void_p(200_000)))
thread.start()
place = f"/proc/self/task/{thread.native_id}"
thread.join()
print("joined, and here:", os.path.exists(place))
child = os.fork()
if child == 0:
    os._exit(0)
print("forked, and here:", os.path.exists(place))
os.waitpid(child, 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, which lists threads as the system knows them")
def test_a_fork_waits_for_threads_that_tidy_up(tmp_path: Path) -> None:
    """A thread that was joined may hold a lock of a C library for another moment: a child would have it for ever."""
    program = tmp_path / "program.py"
    program.write_text(LEAVING)
    home = tmp_path / "home"
    expected = "joined, and here: True\nforked, and here: False\n"
    bare = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert bare.stdout == expected.replace("False", "True")  # else this shows nothing
    done = rashomon("record", "--", sys.executable, str(program), home=home)
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    done = rashomon("replay", "@last", home=home)
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
