"""The full run: `python -m tests.schedules.run --count 10000 --seed 700001 --jobs 2`.

Prints a table in Markdown for docs/determinism.md; ends with exit code 1 and one command for each schedule that broke
a promise. `--way order` compares the order of events instead; with `--replays 100` each recording is replayed so often.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import IO, NamedTuple, cast

from tests.schedules.judge import Finding
from tests.schedules.provider import ROOT, Provider, ProviderProcess
from tests.schedules.schedule import ALLOWED, Result, Way

LAUNCHED_SHARE = 20
"""One schedule in so many runs as a launched program, which may fork; the others run inside one process."""
SECONDS: dict[Way, float] = {"inside": 30, "launched": 300, "order": 30, "order-launched": 300}
"""After how long one schedule counts as hung. A loaded machine needs a few seconds at most for one inside a process."""
_COUNTED = ("calls", "requests", "replays", "tasks", "threads", "pooled jobs", "event loops", "forks", "cancellations",
            "timeouts", "streams abandoned")  # fmt: skip
_PROMISED = ("wrong", "silent", "unrecorded", "leaked", "hung", "left", "moved", "order", "broken")
_OF_PROGRAMS = frozenset({"left", "moved", "loose"})
"""Counted once for each program."""
_MEANING = {
    "wrong": "wrong answers",
    "silent": "calls that went another way in silence",
    "unrecorded": "unrecorded calls",
    "leaked": "calls or tools that a replay let out",
    "hung": "hangs",
    "left": "unchanged programs that left their recording, reported",
    "moved": "programs with another launch order that left it for more than that explains, reported",
    "order": "orders of events that differ",
    "broken": "schedules that could not be judged",
    "ambiguous": "equal requests whose answers changed hands, reported",
    "late": "calls cancelled as their answer came, which got it in a program with another launch order",
    "told": "answers refused where the operating system or the new launch order decides what is asked, reported",
    "loose": "unchanged programs whose replay's trace says that the order of completions is not the recording's",
}


class Share(NamedTuple):
    """Schedules of one way for one worker at a time."""

    way: Way
    seeds: range


def run_share(share: Share, replays: int, done: Callable[[Result], None]) -> None:
    """Run schedules in workers; a worker that hangs is left behind, and a new one goes on after that schedule."""
    seeds = share.seeds
    with ProviderProcess(seeds.start) as provider:
        while seeds:
            reached = _work(Share(share.way, seeds), provider, replays, done)
            seeds = seeds[reached:]


def _work(share: Share, provider: Provider, replays: int, done: Callable[[Result], None]) -> int:
    """One worker; returns how many schedules it has dealt with, the one that ended it included."""
    seconds = SECONDS[share.way] + 5 * (replays - 1)
    seeds = f"{share.seeds.start}:{share.seeds.stop}:{share.seeds.step}"
    command = [sys.executable, "-m", "tests.schedules.worker", "--way", share.way, "--seeds", seeds,
               "--seconds", str(seconds), "--replays", str(replays), "--provider", provider.url]  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RASHOMON_")}
    with tempfile.TemporaryFile("w+") as errors:
        worker = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert worker.stdout is not None
        reached = 0
        for line in _lines(worker, worker.stdout, seconds + 60):
            way, seed, findings, counts = json.loads(line).values()
            done(Result(way, seed, tuple(Finding(*one) for one in findings), counts))
            reached += 1
        if reached < len(share.seeds):
            errors.seek(0)
            _, timeout, dump = errors.read().rpartition("Timeout (")
            finding = Finding("hung", timeout + dump[:6000]) if timeout else Finding("broken", dump[-3000:])
            done(Result(share.way, share.seeds[reached], (finding,), {}))
            reached += 1
        worker.stdout.close()
    return reached


def _lines(worker: subprocess.Popen[str], output: IO[str], seconds: float) -> Iterable[str]:
    """The worker's lines, until it ends or is silent for so long that its own watch must have failed."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in output:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        while (line := lines.get(timeout=seconds)) is not None:
            if line.startswith("{"):
                yield line
    except queue.Empty:
        worker.kill()
    finally:
        worker.wait()


def shares(count: int, seed: int, jobs: int, ways: Sequence[Way]) -> list[Share]:
    """`count` schedules from `seed` on, divided among the jobs and the ways."""
    if len(ways) == 1:
        return [Share(ways[0], range(seed + job, seed + count, jobs)) for job in range(min(jobs, count))]
    launched = count // LAUNCHED_SHARE
    inside = shares(count - launched, seed, jobs, ways[:1])
    return inside + (shares(launched, seed, jobs, ways[1:]) if launched else [])


def run_all(work: Sequence[Share], jobs: int, replays: int, done: Callable[[Result], None]) -> None:
    """Run all shares, `jobs` at a time; `done` is called for each result, one at a time."""
    waiting: queue.SimpleQueue[Share] = queue.SimpleQueue()
    for share in work:
        waiting.put(share)
    lock = threading.Lock()

    def safely(result: Result) -> None:
        with lock:
            done(result)

    def job() -> None:
        while not waiting.empty():
            run_share(waiting.get(), replays, safely)

    threads = [threading.Thread(target=job) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def table(results: Sequence[Result]) -> str:
    """The summary in Markdown."""
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for result in results:
        counts.update(result.counts)
        found = [finding.kind for finding in result.findings]
        kinds.update([kind for kind in found if kind not in _OF_PROGRAMS] + list(_OF_PROGRAMS & set(found)))
    ways = Counter(result.way for result in results)
    rows = [("schedules", len(results)), *((f"— {way}", number) for way, number in sorted(ways.items()))]
    rows += [(name, counts[name]) for name in _COUNTED]
    rows += [(f"**{_MEANING[kind]}**", kinds[kind]) for kind in _PROMISED]
    rows += [(_MEANING[kind], kinds[kind]) for kind in ALLOWED]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {number} |" for name, number in rows)])


def main() -> int:
    """Run, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replays", type=int, default=1, help="unchanged replays of each recording")
    parser.add_argument("--way", choices=[*SECONDS, "schedules"], default="schedules",
                        help="schedules: one in twenty is launched, the others run inside a process")  # fmt: skip
    options = parser.parse_args()
    mixed: tuple[Way, ...] = ("inside", "launched")
    ways = mixed if options.way == "schedules" else (cast(Way, options.way),)
    results: list[Result] = []
    start = time.monotonic()

    def done(result: Result) -> None:
        results.append(result)
        for finding in result.failures:
            print(f"{result.way} {result.seed} {finding.kind}: {finding.text}", file=sys.stderr)
        if len(results) % 500 == 0:
            print(f"{len(results)} schedules, {time.monotonic() - start:.0f} s", file=sys.stderr)

    run_all(shares(options.count, options.seed, options.jobs, ways), options.jobs, options.replays, done)
    print(f"Seeds from {options.seed}, Python {sys.version.split()[0]}, {time.monotonic() - start:.0f} s\n")
    print(table(results))
    failed = [result for result in results if result.failures]
    if len(results) != options.count:
        print(f"\nOnly {len(results)} of {options.count} schedules have a result.")
    for result in sorted(failed, key=lambda one: (one.way, one.seed)):
        print(f"{sorted({finding.kind for finding in result.failures})}: {result.command}")
    return 1 if failed or len(results) != options.count else 0


if __name__ == "__main__":
    raise SystemExit(main())
