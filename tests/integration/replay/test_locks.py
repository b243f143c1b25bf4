"""Locks that are not waited for without end, simple queues, looks at events and threads: up to the pace of threads, and
in a replay as they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import environment, rashomon

RACES = """
import queue, random, sys, threading, time
chance = random.SystemRandom()
nap = lambda: time.sleep(chance.random() / 500)
made = {"lock": threading.Lock, "rlock": threading.RLock}[sys.argv[1]]()
got = []

def try_for(who):
    for n in range(12):
        way = chance.choice([{"timeout": 0.001}, {"blocking": False}, {"timeout": 0}, {}])
        if made.acquire(**way):
            got.append(who); nap(); made.release()
        else:
            got.append(-who)
        nap()

def work(stop, rounds):
    while not stop.is_set():
        rounds.append(1); time.sleep(0.001)

threads = [threading.Thread(target=try_for, args=(who,)) for who in (1, 2, 3)]
[one.start() for one in threads]
looks = 0
while any(one.is_alive() for one in threads):
    looks += 1; time.sleep(0.002)
for who in (1, 2, 3):
    print(who, [one > 0 for one in got if abs(one) == who])
print(looks)
stop, rounds = threading.Event(), []
one = threading.Thread(target=work, args=(stop, rounds)); one.start()
time.sleep(0.02 + chance.random() / 50); stop.set(); one.join()
print(len(rounds))
items, taken = queue.SimpleQueue(), []

def take(who):
    while (item := items.get()) is not None:
        taken.append((who, item)); nap()

def put(who):
    for n in range(12):
        items.put((who, n)); nap()

takers = [threading.Thread(target=take, args=(who,)) for who in range(3)]
makers = [threading.Thread(target=put, args=(who,)) for who in range(3)]
[one.start() for one in takers + makers]; [one.join() for one in makers]
[items.put(None) for _ in takers]; [one.join() for one in takers]
for who in range(3):
    print(who, [item for taker, item in taken if taker == who])
threading.Timer(chance.random() / 50, items.put, args=("late",)).start()
looks = 0
while items.empty():
    looks += 1; time.sleep(0.001)
print(looks, items.qsize(), items.get(timeout=5))
for limit in (0.3, 0, None):
    try:
        items.get_nowait() if limit is None else items.get(timeout=limit)
    except queue.Empty:
        print("empty")
"""


@pytest.mark.parametrize("kind", ["lock", "rlock"])
def test_threads_that_race_do_so_again(kind: str, tmp_path: Path) -> None:
    """Who got a lock and who did not, which item each thread got, how often a thread looked."""
    (tmp_path / "races.py").write_text(RACES)
    recorded = rashomon("record", "--", sys.executable, "races.py", kind, home=tmp_path / "home", cwd=tmp_path)
    assert recorded.returncode == 0, recorded.stderr
    outputs = []
    for _ in range(2):
        done = rashomon("replay", "races", "--name", "again", home=tmp_path / "home", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs == [recorded.stdout] * 2


HELD = """
import threading, time
lock, other = threading.Lock(), threading.RLock()
def hold():
    with lock, other:
        ready.set(); time.sleep(9)
ready = threading.Event()
one = threading.Thread(target=hold); one.start(); ready.wait()
before = time.monotonic()
print(lock.acquire(timeout=1), lock.acquire(False), lock.locked(), other.acquire(timeout=1), other.acquire(False))
print(round(time.monotonic() - before))
one.join()
print(lock.acquire(timeout=1), lock.acquire(False), lock.locked(), other.acquire(timeout=1), other.acquire(False))
"""


def test_a_limit_that_ran_out_takes_no_time(tmp_path: Path) -> None:
    """Nobody waits in a replay: neither who holds the lock nor who wants it."""
    (tmp_path / "held.py").write_text(HELD)
    recorded = rashomon("record", "--", sys.executable, "held.py", home=tmp_path / "home", cwd=tmp_path)
    assert recorded.stdout == "False False True False False\n2\nTrue False True True True\n", recorded.stderr
    command = [sys.executable, "-m", "rashomon.cli", "replay", "held"]
    done = subprocess.run(command, env=environment(tmp_path / "home"), cwd=tmp_path, capture_output=True, text=True,
                          timeout=8.5)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, recorded.stdout), done.stderr


LIKE_PYTHONS = """
import copy, dataclasses, pickle, queue, sys, threading, weakref
lock, other = threading.Lock(), threading.RLock()
print(isinstance(lock, type(threading.Lock())), type(lock).__name__, str(lock)[:22], isinstance(other, type(other)))
for function in (copy.copy, copy.deepcopy, pickle.dumps):
    for one in (lock, other):
        try: function(one)
        except TypeError as error: print(str(error).replace("_thread.RLock", "RLock"))
@dataclasses.dataclass
class Kept:
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
with Kept().lock as got: print(got)
for condition in (threading.Condition(lock), threading.Condition(other)):
    with condition: print(condition.wait(0.01), condition.notify_all())
for given in ((False, 1), (True, -2), (True, 1e20), ("x", "y"), (1, 2, 3)):
    for one in (lock, other):
        try: one.acquire(*given)
        except Exception as error: print(type(error).__name__, error if len(given) < 3 else "")
try: lock.release()
except RuntimeError as error: print(error)
print(weakref.ref(lock)() is lock, lock == lock, hash(lock) == hash(lock), {lock: 1}[lock])
assert lock.acquire() and lock.locked() and not lock.acquire(blocking=False); lock.release()
class Mine(queue.SimpleQueue):
    def __init__(self, more): self.more = more
mine = Mine(7); mine.put(1); mine.put_nowait(2); print(mine.qsize(), mine.get(), mine.get_nowait(), mine.empty())
plain = queue.SimpleQueue()
print(isinstance(plain, queue.SimpleQueue), isinstance(mine, queue.SimpleQueue), isinstance([], queue.SimpleQueue))
print(type(plain), queue.SimpleQueue[int]().qsize(), issubclass(Mine, queue.SimpleQueue))
for given in ({"timeout": -1}, {"timeout": "x"}, {"block": False, "timeout": 5}):
    try: plain.get(**given)
    except Exception as error: print(type(error).__name__, error)
if sys.version_info >= (3, 13): print(threading.Lock | None, isinstance(lock, threading.Lock))
"""


def test_they_are_like_pythons(tmp_path: Path) -> None:
    """What a program can do with a lock and a simple queue, it can do under the recorder, with the same errors."""
    (tmp_path / "like.py").write_text(LIKE_PYTHONS)
    bare = subprocess.run([sys.executable, "like.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    recorded = rashomon("record", "--", sys.executable, "like.py", home=tmp_path / "home", cwd=tmp_path)
    assert (recorded.returncode, recorded.stdout) == (0, bare.stdout), recorded.stderr


def test_a_put_may_interrupt_a_put(tmp_path: Path) -> None:
    """From a signal's handler, or where garbage is collected: there is no lock to meet."""
    program = """
import queue, signal
items, wanted = queue.SimpleQueue(), 200
def handler(*_): items.put("signal")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
found = put = 0
while found < wanted:
    items.put("x"); put += 1
    while not items.empty():
        found += items.get() == "signal"
signal.setitimer(signal.ITIMER_REAL, 0)
print(found >= wanted)
"""
    (tmp_path / "puts.py").write_text(program)
    done = rashomon("record", "--", sys.executable, "puts.py", home=tmp_path / "home", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    shown = rashomon("show", "@last", home=tmp_path / "home", cwd=tmp_path)
    assert "signal.setitimer: the signals come after so much real time" in shown.stdout


def test_what_cannot_be_controlled_is_listed(tmp_path: Path) -> None:
    """With the line that uses it; a library's own use is not."""
    program = (
        "import os, select, selectors, signal, subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'pass'], capture_output=True)\n"
        "select.select([], [], [], 0.01)\n"
        "signal.alarm(100)\n"
    )
    (tmp_path / "waits.py").write_text(program)
    rashomon("record", "--", sys.executable, "waits.py", home=tmp_path / "home", cwd=tmp_path)
    shown = rashomon("show", "@last", home=tmp_path / "home", cwd=tmp_path).stdout
    beyond = [line for line in shown.splitlines() if line.startswith("beyond")]
    assert [line.rsplit("/", 1)[1] for line in beyond] == ["waits.py:3 in <module>", "waits.py:4 in <module>"]
    assert "select.select: which file is ready" in beyond[0]


def test_who_waits_for_an_item_when_a_replay_ends(tmp_path: Path) -> None:
    """Gets what is put after it, as without a replay: in a program that goes on."""
    program = """
import os, queue, threading, rashomon
rashomon.install()

def begin():
    items, got = queue.SimpleQueue(), []
    thread = threading.Thread(target=lambda: got.append(items.get())); thread.start()
    return items, thread, got

with rashomon.trace("a") as trace: recorded = begin()
recorded[0].put(1); recorded[1].join(10)
with rashomon.replay(trace.id): replayed = begin()
replayed[0].put(2); replayed[1].join(10)
print(recorded[2], replayed[2], flush=True)
os._exit(0)  # a thread that still waits would keep it
"""
    (tmp_path / "goes_on.py").write_text(program)
    done = subprocess.run([sys.executable, "goes_on.py"], env=environment(tmp_path / "home"), cwd=tmp_path, text=True,
                          capture_output=True, timeout=60)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[1] [2]\n"), done.stderr
