"""Pooled jobs and threads in a replay: which of them were done when the program looked is as it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import rashomon
from rashomon.model import Tape


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
