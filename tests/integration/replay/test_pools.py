"""Pooled jobs and threads in a replay: which of them were done when the program looked is as it was."""

from __future__ import annotations

import contextlib
import gc
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import rashomon
from rashomon.model import Tape
from rashomon.recorders import slots
from rashomon.recorders.ambient import queues, simple_queues
from rashomon.recorders.writer import Writer
from tests.support import rashomon as command


@rashomon.tool
def looked_up(what: str) -> str:
    """A tool that blocks."""
    return what.upper()


def _one_after_the_other(order: list[int], held: bool) -> tuple[list[Future[str]], ThreadPoolExecutor]:
    """Three jobs that end in this order; not `held`, they end as they like."""
    turns = [threading.Event() for _ in range(4)]
    turns[0].set()
    place = {number: at for at, number in enumerate(order)}

    def job(number: int) -> str:
        if held:
            turns[place[number]].wait()
        said = looked_up(str(number))
        jobs_done[number].add_done_callback(lambda _: turns[place[number] + 1].set())
        return said

    jobs_done: list[Future[str]] = []
    ready = threading.Event()
    pool = ThreadPoolExecutor(3)

    def begun(number: int) -> str:
        ready.wait()
        return job(number)

    jobs_done += [pool.submit(begun, number) for number in range(3)]
    ready.set()
    return jobs_done, pool


def _as_they_end(order: list[int], held: bool) -> list[str]:
    jobs, pool = _one_after_the_other(order, held)
    with pool:
        return [job.result() for job in futures.as_completed(jobs)]


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 2, 0]])
def test_jobs_are_seen_to_end_in_the_recorded_order(
    order: list[int], home: Path, last_tape: Callable[[], Tape]
) -> None:
    """`as_completed` gives the jobs in the order in which it gave them, however they are scheduled now."""
    with rashomon.trace("pool"):
        assert _as_they_end(order, held=True) == [str(number) for number in order]
    with rashomon.replay(last_tape()) as replaying:
        assert _as_they_end(order, held=False) == [str(number) for number in order]
    replaying.check()


def _raced(both: bool) -> list[str]:
    """Two jobs race; `both`: nobody looks before both have ended. Else the second one ends when somebody has looked."""
    seen = threading.Event()

    def second() -> str:
        if not both:
            seen.wait(5)
        return looked_up("second")

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(looked_up, "first"), pool.submit(second)]
        while both and not all(job.done() for job in jobs):
            pass
        done, _ = futures.wait(jobs, return_when=FIRST_COMPLETED)
        seen.set()
        return sorted(job.result() for job in done)


@pytest.mark.parametrize("both", [True, False])
def test_who_had_won_when_the_program_looked(both: bool, home: Path, last_tape: Callable[[], Tape]) -> None:
    """`wait` for the first of several jobs finds done what it found done in the recording."""
    with rashomon.trace("race"):
        recorded = _raced(both)
    assert recorded == (["FIRST", "SECOND"] if both else ["FIRST"])
    with rashomon.replay(last_tape()) as replaying:
        assert _raced(not both) == recorded
    replaying.check()


def _too_late(late: bool) -> list[object]:
    """A job is cancelled; `late`: not before it has begun."""
    begun = threading.Event()

    def job() -> str:
        begun.set()
        return looked_up("job")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(looked_up, "first")
        submitted = pool.submit(job)
        if late:
            begun.wait()
        stopped = submitted.cancel()
    return [stopped, None if stopped else submitted.result()]


def test_a_job_that_had_begun_is_not_stopped(home: Path, last_tape: Callable[[], Tape]) -> None:
    """Who cancels a job that had begun when it was recorded finds it begun."""
    with rashomon.trace("late"):
        recorded = _too_late(late=True)
    assert recorded == [False, "JOB"]
    with rashomon.replay(last_tape()) as replaying:
        assert _too_late(late=False) == recorded
    replaying.check()


def test_a_sleep_without_other_threads_leaves_nothing(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A program of one thread that sleeps between its calls is replayed in the recorded order, and at once."""

    def program() -> list[str]:
        said = []
        for what in "abc":
            said.append(looked_up(what))
            time.sleep(0.001)
        thread = threading.Thread(target=lambda: said.append(looked_up("d")))
        thread.start()
        thread.join()
        return said

    with rashomon.trace("sleeps"):
        recorded = program()
    with rashomon.replay(last_tape()) as replaying:
        assert program() == recorded
    replaying.check()
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


WORKERS = """
import os, queue, sys, threading, time
import rashomon

items, done = queue.Queue(), []

@rashomon.tool
def ask(what):
    time.sleep(os.urandom(1)[0] / 5_000)
    return os.urandom(4).hex()

def waiting(name):
    while (item := items.get()) is not None:
        done.append((name, item, ask("the same")))

def looking(name):
    while not items.empty():
        try:
            item = items.get_nowait()
        except queue.Empty:
            break
        done.append((name, item, ask("the same")))

def limited(name):
    while True:
        try:
            done.append((name, items.get(timeout=0.1), ask("the same")))
        except queue.Empty:
            break

work = globals()[sys.argv[1]]

workers = [threading.Thread(target=work, args=(name,)) for name in range(3)]
if work is not waiting:
    for item in range(12):
        items.put(item)
for worker in workers:
    worker.start()
if work is waiting:
    for item in range(12):
        items.put(item)
    for worker in workers:
        items.put(None)
for worker in workers:
    worker.join()
print(sorted(done, key=lambda one: one[1]))
"""


@pytest.mark.parametrize("how", ["waiting", "looking", "limited"])
def test_workers_that_share_a_queue_get_the_items_that_they_got(tmp_path: Path, how: str) -> None:
    """Which worker takes which item is up to the operating system; a replay has it as it was, with the answers.

    Who comes first at a list, when two answers come one right behind the other, is no completion of its own.
    """
    home, program = tmp_path / "home", tmp_path / "program.py"
    program.write_text(WORKERS)
    recorded = command("record", "--name", "workers", "--", sys.executable, program, how, home=home)
    for name in ("first", "second"):
        done = command("replay", "workers", "--name", name, home=home)
        assert (done.returncode, done.stdout) == (0, recorded.stdout), done.stderr


def test_an_item_that_a_worker_does_not_find_is_not_waited_for(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A program that empties its queue by another way, or puts less into it, goes on with what there is."""

    def work(count: int) -> list[int]:
        items: queue.Queue[int] = queue.Queue()
        for number in range(count):
            items.put(number)
        items.queue.popleft()
        return [items.get() for _ in range(count - 1)]

    with rashomon.trace("emptied"):
        assert work(3) == [1, 2]
    with rashomon.replay(last_tape()):
        assert work(3) == [1, 2]


def _taken(items: Any, order: str) -> dict[str, int]:
    """What two threads got that took an item each, in this order."""
    got: dict[str, int] = {}
    begin = {name: threading.Event() for name in "ab"}

    def take(name: str) -> None:
        begin[name].wait()
        with contextlib.suppress(queue.Empty):
            got[name] = items.get_nowait()

    threads = {name: threading.Thread(target=take, args=(name,)) for name in "ab"}
    for thread in threads.values():
        thread.start()
    for name in order:
        begin[name].set()
        threads[name].join()
    return got


def test_a_replay_that_waited_in_vain_does_not_hurry_the_next(
    home: Path, last_tape: Callable[[], Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item that did not come in one replay of a process is no reason to hand out others in the next replay."""

    def work(order: str, count: int = 2) -> dict[str, int]:
        items: queue.Queue[int] = queue.Queue()
        for number in range(count):
            items.put(number)
        return _taken(items, order)

    monkeypatch.setattr(queues, "PATIENCE", 0.05)
    with rashomon.trace("shared"):
        assert work("ab") == {"a": 0, "b": 1}
    tape = last_tape()
    with rashomon.replay(tape):
        assert work("ab", count=1) == {"a": 0}
    with rashomon.replay(tape):
        assert work("ba") == {"a": 0, "b": 1}


@pytest.mark.parametrize("kind", [queue.Queue, queue.SimpleQueue])
def test_a_queue_that_outlives_its_traces(
    kind: Any, home: Path, last_tape: Callable[[], Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's queue serves one trace after another: items are named within each, and who is gone is forgotten."""
    monkeypatch.setattr(queues, "PATIENCE", 0.05)
    monkeypatch.setattr(simple_queues, "PATIENCE", 0.05)
    kept: list[Any] = []

    def work(order: str) -> dict[str, int]:
        # of the program's own making: a simple queue is another one within a trace
        items = kept[0] if kept else queue.SimpleQueue() if kind is queue.SimpleQueue else queue.Queue()
        kept[:] = [items]
        for number in range(2):
            thread = threading.Thread(target=items.put, args=(number,))
            thread.start()
            thread.join()
        return _taken(items, order)

    for name in ("first", "second"):
        with rashomon.trace(name):
            assert work("ab") == {"a": 0, "b": 1}
    with rashomon.replay(last_tape()):
        assert work("ba") == {"a": 0, "b": 1}
    gc.collect()
    counts = vars(kept[0]).get("_rashomon_counts", vars(kept[0]).get("_counts"))
    assert counts is not None
    assert len(counts) <= 1


def test_threads_that_read_at_one_place_at_once_are_told_apart(
    home: Path, last_tape: Callable[[], Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What several threads read first at one place in the program is recorded as read there, whoever was faster."""
    defining, done = threading.Event(), threading.Event()
    site = Writer.site

    def held_up(self: Writer, file: str, line: int, function: str) -> Any:
        found = site(self, file, line, function)
        if type(found) is list and function.endswith("<locals>.look"):  # the place is new: let the other thread by
            defining.set()
            done.wait(0.3)
        return found

    def look() -> float:
        return time.time()

    def second() -> None:
        defining.wait()
        look()
        done.set()

    monkeypatch.setattr(Writer, "site", held_up)
    with rashomon.trace("two"):
        threads = [threading.Thread(target=target) for target in (look, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reads = [read for read in last_tape().reads if read.what == "time.time"]
    assert [read.site.function.rpartition(".")[2] for read in reads] == ["look", "look"]
    assert {read.lane for read in reads} == {(0,), (1,)}


def test_what_is_read_again_inside_a_step_of_another_process(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A process that was started inside of a step reads the clock at one place several times: nothing is lost."""
    with rashomon.trace("inner"):
        time.time()
        with slots.entered("1234-5#7"):
            values = [time.time() for _ in range(3)]
    tape = last_tape()
    assert tape.trace.losses == ()
    assert [read.value for read in tape.reads if read.what == "time.time"][1:] == values
