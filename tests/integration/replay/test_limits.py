"""Waits of threads with a time limit: whether it ran out is the recording's, whatever the pace of the replay."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest

import rashomon
from rashomon.model import Tape


@rashomon.tool
def slow(seconds: float) -> str:
    """Takes its time when it is recorded; a replay does not run it."""
    time.sleep(seconds)
    return f"after {seconds}"


def _of(job: Future[str], seconds: float) -> str:
    try:
        return job.result(timeout=seconds)
    except TimeoutError:
        return "too slow"


def _results() -> list[str]:
    """A time limit on a tool, as agents have it."""
    with ThreadPoolExecutor(4) as pool:
        return [_of(pool.submit(slow, seconds), 0.1) for seconds in (0.0, 0.3, 0.01, 0.25)]


def _exceptions() -> list[str]:
    said = []
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(slow, 0.2)
        for _ in range(10):
            try:
                said.append(repr(job.exception(timeout=0.03)))
            except TimeoutError:
                said.append("not yet")
    return said


def _as_they_come() -> list[str]:
    """Three rounds over the same jobs, each with a time limit; the last one is not long enough either."""
    said = []
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(slow, seconds) for seconds in (0.3, 0.0, 0.12, 0.03)]
        for limit in (0.06, 0.02, 0.06):
            try:
                said += [job.result() for job in as_completed(jobs, timeout=limit)]
            except TimeoutError as error:
                said.append(str(error))
    return said


def _joins() -> list[bool]:
    threads = [threading.Thread(target=slow, args=(seconds,)) for seconds in (0.15, 0.0, 0.3)]
    for thread in threads:
        thread.start()
    alive = []
    for thread in threads:
        thread.join(timeout=0.05)
        alive.append(thread.is_alive())
    for thread in threads:
        thread.join()
    return alive


def _conditions(whole: bool) -> list[int]:
    """How often a wait ran out before all three were ready."""
    condition, ready, missed = threading.Condition(), [], 0

    def work(seconds: float) -> None:
        done = slow(seconds)
        with condition:
            ready.append(done)
            condition.notify_all()

    threads = [threading.Thread(target=work, args=(seconds,)) for seconds in (0.05, 0.1, 0.2)]
    with condition:
        for thread in threads:
            thread.start()
        if whole:
            while not condition.wait_for(lambda: len(ready) == 3, timeout=0.02):
                missed += 1
        else:
            while len(ready) < 3:
                missed += not condition.wait(timeout=0.02)
    for thread in threads:
        thread.join()
    return [len(ready), missed]


def _semaphore() -> list[tuple[str, int]]:
    """How often each of those who may work one at a time asked in vain."""
    one_at_a_time, tried = threading.Semaphore(1), []

    def work(name: str, seconds: float) -> None:
        tries = 0
        while not one_at_a_time.acquire(timeout=0.02):
            tries += 1
        tried.append((name, tries))
        slow(seconds)
        one_at_a_time.release()

    threads = [threading.Thread(target=work, args=(f"{number}", 0.03 * number)) for number in (3, 1, 2)]
    for thread in threads:
        thread.start()
        time.sleep(0.005)
    for thread in threads:
        thread.join()
    return sorted(tried)


def _barriers() -> list[tuple[int, str]]:
    """Three barriers for three: all come in time; one comes too late; one breaks it while the others have time left."""
    said: list[tuple[int, str]] = []
    barriers = threading.Barrier(3, timeout=5), threading.Barrier(3, timeout=0.6), threading.Barrier(3)

    def work(number: int) -> None:
        for nth, barrier in enumerate(barriers):
            slow(0.03 * number)
            if nth == 1 and number == 2:
                time.sleep(0.7)
            try:
                if (nth, number) == (2, 2):
                    barrier.abort()
                else:
                    barrier.wait(timeout=None if nth < 2 else 2.0)
                said.append((nth, "through"))
            except threading.BrokenBarrierError:
                said.append((nth, "broken"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(said)


def _puts(how: str) -> tuple[list[int], int]:
    """How often there was no room in a queue, and what came through it."""
    items: queue.Queue[int] = queue.LifoQueue(1) if how == "put" else queue.Queue(1)
    got, missed = [], 0

    def work() -> None:
        for _ in range(4):
            slow(0.02)
            got.append(items.get())

    def put(item: int) -> None:
        nonlocal missed
        while True:
            try:
                return items.put(item, timeout=0.008) if how == "put" else items.put_nowait(item)
            except queue.Full:
                missed += 1
                if how != "put":
                    time.sleep(0.005)

    thread = threading.Thread(target=work)
    thread.start()
    for item in range(4):
        while how == "full" and items.full():
            missed += items.qsize()
            time.sleep(0.005)
        put(item)
    thread.join()
    return got, missed


def _shut_down() -> list[str]:
    """Python 3.13: a queue that is shut down while somebody waits for an item of it."""
    items: Any = queue.Queue(1)
    said = []

    def work() -> None:
        for ask in (items.get, lambda: items.get(timeout=2), items.get_nowait):
            try:
                said.append(f"{ask()}")
            except queue.ShutDown as error:  # type: ignore[attr-defined]
                said.append(repr(error))

    thread = threading.Thread(target=work)
    thread.start()
    items.put(1)
    slow(0.05)
    items.shutdown()
    thread.join()
    return said


def _done() -> list[int]:
    """How often jobs of threads were found not to be done."""
    with ThreadPoolExecutor(2) as pool:
        looks = []
        for job in [pool.submit(slow, seconds) for seconds in (0.05, 0.0, 0.02)]:
            looks.append(0)
            while not job.done():
                looks[-1] += 1 + job.running()
                time.sleep(0.004)
    return looks


def _fails() -> None:
    raise ZeroDivisionError


def _waits_that_raise() -> list[object]:
    """A predicate that fails when it is asked again, and waits for what is not held: other waits stay as they were."""
    said: list[object] = []

    def notify(condition: threading.Condition) -> None:
        slow(0.01)
        with condition:
            condition.notify_all()

    for second in (_fails, lambda: "so", _fails):
        condition, looks = threading.Condition(), iter([bool, second])
        with condition:
            thread = threading.Thread(target=notify, args=(condition,))
            thread.start()
            try:
                said.append(condition.wait_for(lambda looks=looks: next(looks)(), 2))  # type: ignore[misc]
            except ZeroDivisionError as error:
                said.append(repr(error))
        thread.join()
    for held in (False, True):
        condition = threading.Condition()
        with condition if held else contextlib.nullcontext():
            try:
                said.append(condition.wait(0.01))
            except RuntimeError as error:
                said.append(str(error))
    return said


PROGRAMS: dict[str, Callable[[], object]] = {
    "as completed": _as_they_come,
    "raising": _waits_that_raise,
    "done": _done,
    "put": lambda: _puts("put"),
    "put nowait": lambda: _puts("nowait"),
    "full": lambda: _puts("full"),
    **({"shut down": _shut_down} if hasattr(queue, "ShutDown") else {}),
    "barrier": _barriers,
    "result": _results,
    "exception": _exceptions,
    "join": _joins,
    "semaphore": _semaphore,
    "wait": lambda: _conditions(False),
    "wait for": lambda: _conditions(True),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_limits_run_out_as_recorded(name: str, home: Path, last_tape: Callable[[], Tape]) -> None:
    """What ran out runs out again, and nothing that came is missed; it takes no time."""
    with rashomon.trace("limits"):
        recorded = PROGRAMS[name]()
    tape = last_tape()
    for _ in range(5):
        start = time.monotonic()
        with rashomon.replay(tape) as replaying:
            assert PROGRAMS[name]() == recorded
        replaying.check()
        assert time.monotonic() - start < 1


def test_a_limit_is_the_programs_own(home: Path) -> None:
    """Recording changes nothing about what these give and raise."""

    def all_of_them() -> list[object]:
        job: Future[str] = Future()
        said: list[object] = []
        condition, never = threading.Condition(), threading.Event()
        thread = threading.Thread(target=never.wait)
        thread.start()
        with pytest.raises(TimeoutError):
            job.result(timeout=0.001)
        with pytest.raises(TimeoutError):
            job.exception(timeout=0.001)
        job.set_exception(LookupError("gone"))
        with pytest.raises(LookupError):
            job.result(timeout=1)
        said.append(repr(job.exception(timeout=1)))
        with pytest.raises(RuntimeError):
            condition.wait(timeout=0.001)
        with condition:
            said += [condition.wait(0.001), condition.wait_for(list, 0.001), condition.wait_for(lambda: "x", 1)]
        thread.join(timeout=0.001)
        said.append(thread.is_alive())
        barrier = threading.Barrier(1, timeout=1)
        said.append(barrier.wait())
        with pytest.raises(threading.BrokenBarrierError):
            threading.Barrier(2).wait(0.001)
        with pytest.raises(ZeroDivisionError):
            threading.Barrier(1, action=_fails).wait(1)
        limited = threading.BoundedSemaphore(1)
        said += [limited.acquire(timeout=1), limited.acquire(timeout=0.001), limited.acquire(False)]
        with pytest.raises(ValueError, match="timeout"):
            limited.acquire(False, 1)
        never.set()
        thread.join()
        items: queue.Queue[int] = queue.Queue(1)
        items.put(1, timeout=1)
        for limit in (0.001, 0):
            with pytest.raises(queue.Full):
                items.put(2, timeout=limit)
        with pytest.raises(queue.Full):
            items.put_nowait(2)
        with pytest.raises(ValueError, match="timeout"):
            items.put(2, timeout=-1)
        said += [items.full(), items.qsize(), items.get(timeout=0), items.full()]
        items.put(3, False)
        said.append(items.get(True))
        with pytest.raises(queue.Empty):
            items.get(timeout=0)
        return said

    plain = all_of_them()
    with rashomon.trace("limits"):
        assert all_of_them() == plain
