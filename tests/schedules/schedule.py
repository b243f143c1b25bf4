"""Runs one schedule: records a program, replays it unchanged and permuted, and has it judged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import rashomon
from rashomon import session
from rashomon.model import Tape
from tests.schedules.clients import bodies_run
from tests.schedules.events import Log, heard
from tests.schedules.judge import Finding, Outcome, Requests, judge_order, judge_recording, judge_replay, judge_said
from tests.schedules.programs import run_program
from tests.schedules.provider import ROOT, Provider
from tests.schedules.specs import Profile, Spec, make_spec
from tests.support import environment, tapes_of

Way = Literal["inside", "launched", "order", "order-launched"]
"""`inside`: `rashomon.trace` and `rashomon.replay` in this process; `launched`: the command line, with forks.
`order`, `order-launched`: the same for programs of one event loop, whose order of events is compared."""
LAUNCH_SECONDS = 60
"""How long a launched program may take before it counts as hung; the slowest takes a few seconds."""


ALLOWED = ("ambiguous", "late", "told", "loose")
"""The findings that break no promise."""


class Result(NamedTuple):
    """What came of one schedule."""

    way: Way
    seed: int
    findings: tuple[Finding, ...]
    counts: dict[str, int]

    @property
    def failures(self) -> list[Finding]:
        """The findings that break a promise."""
        return [finding for finding in self.findings if finding.kind not in ALLOWED]

    @property
    def command(self) -> str:
        """The command that runs this schedule again."""
        return f"python -m tests.schedules.run --way {self.way} --seed {self.seed} --count 1"


def spec_of(way: Way, seed: int) -> Spec:
    """The program of a way and a seed."""
    profile: Profile | None = "loop" if way.startswith("order") else None
    return make_spec(seed, profile, forks=way == "launched")


def run_schedule(way: Way, spec: Spec, provider: Provider, replays: int = 1) -> Result:
    """Record, replay `replays` times unchanged and (where order is not compared) once permuted; judge all of them."""
    provider.clear()
    with tempfile.TemporaryDirectory(prefix="schedule-") as folder:
        bench = (_Launched if way.endswith("launched") else _Inside)(spec, Path(folder), provider.url)
        recorded = bench.record()
        received = provider.received(spec.tag)
        findings = judge_recording(recorded, received)
        runs = [None] * replays if spec.profile == "loop" else [*[None] * replays, spec.seed + 1]
        for permute in runs:
            replayed = bench.replay(recorded.tape, permute)
            leaked = provider.received(spec.tag) - received
            received += leaked
            judged = judge_replay(spec, recorded, replayed, leaked, permute is not None)
            if spec.profile == "loop":
                judged += judge_order(recorded.log, replayed.log)
            if permute is None:
                findings += [Finding(kind, f"replay: {text}") for kind, text in judged + judge_said(replayed)]
            else:
                findings += [Finding("moved" if kind == "left" else kind, f"permuted: {text}") for kind, text in judged]
    counts = Counter(recorded.log.counts)
    counts |= Counter({"calls": len(recorded.tape.steps), "requests": _total(received), "replays": len(runs)})
    return Result(way, spec.seed, tuple(findings), dict(counts))


def _total(received: Requests) -> int:
    return sum(received.values())


class _Inside:
    """In this process, in a home of its own."""

    def __init__(self, spec: Spec, folder: Path, url: str) -> None:
        self.spec, self.home, self.url = spec, folder / "home", url
        os.environ["RASHOMON_HOME"] = str(self.home)
        session.close_journal()

    def record(self) -> Outcome:
        """Within `rashomon.trace`."""
        log = Log()
        with rashomon.trace(self.spec.tag):
            ended = self._run(log, None)
        return Outcome(log, self._last(), ended)

    def replay(self, tape: Tape, permute: int | None) -> Outcome:
        """Within `rashomon.replay`."""
        log, before = Log(), bodies_run.total()
        with rashomon.replay(tape) as replaying:
            ended = self._run(log, permute)
        reports = tuple(f"{one.kind}: {one.summary}" for one in replaying.divergences)
        return Outcome(log, self._last(), ended, reports, bodies_run.total() - before)

    def _run(self, log: Log, permute: int | None) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of streams that were left unread: the programs do so on purpose
            try:
                run_program(self.spec, log, self.url, permute)
            except BaseException as error:
                return f"{type(error).__name__}: {error}"[:300]
        return "ok"

    def _last(self) -> Tape:
        session.close_journal()
        return tapes_of(self.home)[-1]


class _Launched:
    """By the command line, in processes that may fork."""

    def __init__(self, spec: Spec, folder: Path, url: str) -> None:
        self.spec, self.home, self.url, self.folder = spec, folder / "home", url, folder

    def record(self) -> Outcome:
        """By `rashomon record`."""
        profile = self.spec.profile
        program = [sys.executable, "-m", "tests.schedules.launched", str(self.spec.seed), profile]
        done = self._command("record", "--", *program, *(["--forks"] if self.spec.forks else []))
        return Outcome(heard(done.stdout), self._tape(False), f"exit code {done.returncode}")

    def replay(self, tape: Tape, permute: int | None) -> Outcome:
        """By `rashomon replay`; what it reports is in its JSON document."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        done = self._command("replay", tape.trace.id, "--report", str(report), permute=permute)
        document: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {"divergences": []}
        reports = tuple(f"{one['kind']}: {one['summary']}" for one in document["divergences"])
        if "exit_code" not in document:
            reports += (f"no report: exit code {done.returncode}: {done.stderr[-300:]}",)
        log = heard(done.stdout)
        ended = f"exit code {document.get('exit_code')}"
        return Outcome(log, self._tape(True), ended, reports, log.counts["bodies run"])

    def _tape(self, replayed: bool) -> Tape:
        found = [tape for tape in tapes_of(self.home) if (tape.trace.parent is not None) == replayed]
        return found[-1]

    def _command(self, *args: str, permute: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line; a program that does not end is killed with all that it forked: `TimeoutError`."""
        more = {"SCHEDULE_BASE_URL": self.url, "PYTHONFAULTHANDLER": "1"}
        if permute is not None:
            more["SCHEDULE_PERMUTE"] = str(permute)
        command = [sys.executable, "-m", "rashomon.cli", *args]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(self.home, **more), text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=LAUNCH_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGABRT)  # each process says where it is
            _, err = process.communicate(timeout=20)
            raise TimeoutError(f"{args[0]} did not end:\n{err[-3000:]}") from None
        return subprocess.CompletedProcess(command, process.returncode, out, err)
