"""`rashomon doctor`: run a program twice, and list what makes its runs differ."""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rashomon import tapes
from rashomon.commands import doctor_compare, replay, terminal
from rashomon.commands.arguments import Parser
from rashomon.commands.doctor_capture import captured, rewind_stdin
from rashomon.commands.doctor_findings import Finding, Run
from rashomon.commands.doctor_output import output_differences
from rashomon.commands.program_name import program_name
from rashomon.commands.record import split_command
from rashomon.errors import CannotRun, UsageError
from rashomon.home import home_name
from rashomon.launch import Ended, Launch, child_environ, gather, outcome_of, run
from rashomon.model import Divergence, Tape
from rashomon.replay.policy import parse_allow
from rashomon.session import Order, new_trace_id

_STOPPED = (signal.SIGINT, signal.SIGTERM)
"""A program that was stopped so was stopped by the user: the doctor stops with it."""


def parser() -> Parser:
    """The command's arguments."""
    made = Parser(
        "doctor",
        "Run a command twice, once recorded and once from that recording, and list what makes its runs differ: each "
        "source with its place in the program, whether a replay controls it, and what to do. "
        "Exit codes: 0 the replay held and nothing changed the run, 1 something did, 2 bad usage, "
        "3 the program could not be run.",
        "[OPTIONS] -- COMMAND [ARGS...]",
        "rashomon doctor --replays 3 -- python agent.py --customer 7",
    )
    made.add_argument("--live", action="store_true",
                      help="run it live twice and replay nothing: what varies by itself?")  # fmt: skip
    made.add_argument("--replays", type=int, metavar="N",
                      help="replay so often, and compare the replays with each other, too (default: 1)")  # fmt: skip
    made.add_argument("--allow", action="append", default=[], metavar="ACTION=TARGET",
                      help="as for replay: connect=HOST[:PORT], run=COMMAND, write=PATH; repeatable")  # fmt: skip
    made.add_argument("--show", action="store_true",
                      help="show what the program prints, on stderr (default: only where it differs)")  # fmt: skip
    made.add_argument("--name", help="name of the traces (default: the program's)")
    made.add_argument("--home", help="where recordings live (default: $RASHOMON_HOME, else .rashomon)")
    made.add_argument("--json", action="store_true", help="print one JSON document")
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run")
    return made


def main(argv: list[str]) -> int:
    """Run the command, examine the runs, report; returns the exit code."""
    given, command = split_command(argv)
    options = parser().parse_args(given)
    options.command = command or options.command
    _check(options)
    home = os.path.abspath(options.home) if options.home else home_name()
    with tempfile.TemporaryDirectory(prefix="rashomon-doctor-") as folder:
        doctor = _Doctor(options, home, folder)
        if options.live:
            runs = [doctor.record("live"), doctor.record("live")]
            findings = doctor_compare.examine_live(runs[0], runs[1])
        else:
            recorded = doctor.record("recorded")
            runs = [recorded, *(doctor.replay(recorded) for _ in range(options.replays or 1))]
            findings = doctor_compare.examine_replays(recorded, runs[1:])
        report = document(options.command, runs, findings)
        if options.json:
            terminal.print_json(report)
        else:
            from rashomon.commands import doctor_text

            doctor_text.print_report(options.command, runs, findings, options.home)
    return 0 if report["holds"] else 1


def _check(options: argparse.Namespace) -> None:
    if not options.command:
        raise UsageError("There is no command to examine.", "Write it after --: rashomon doctor -- python agent.py")
    if os.environ.get("RASHOMON_OFF"):
        raise UsageError("RASHOMON_OFF is set: nothing can be recorded.", "Unset it.")
    if options.replays is not None and options.replays < 1:
        raise UsageError(f"--replays {options.replays} is no number of replays.", "Write 1 or more.")
    if options.live and (options.replays is not None or options.allow):
        raise UsageError("--live replays nothing.", "Leave out --live, or --replays and --allow.")
    options.allow = [str(parse_allow(text)) for text in options.allow]


class _Doctor:
    """Runs the command, once for each call, with its output kept in `folder`."""

    def __init__(self, options: argparse.Namespace, home: str, folder: str) -> None:
        self._options, self._home, self._folder = options, home, Path(folder)
        self._name = options.name or program_name(options.command)
        self._count = 0

    def _output(self) -> Path:
        """The file for the output of a run that is about to begin."""
        rewind_stdin(self._folder / "stdin")
        self._count += 1
        return self._folder / f"output-{self._count}"

    def record(self, role: str) -> Run:
        """A live run under the recorder. Raises `CannotRun`."""
        command = self._options.command
        info: dict[str, Any] = {"id": new_trace_id(), "name": self._name, "tags": {"doctor": role},
                                "command": command, "cwd": os.getcwd()}  # fmt: skip
        try:
            launch = Launch(self._home, info)
        except OSError as error:
            raise CannotRun(
                f"The home {self._home} cannot be written: {error.strerror or error}.", "Set RASHOMON_HOME."
            ) from error
        output = self._output()
        environ = child_environ(Order("record", self._home, {"id": info["id"]}), dict(os.environ))
        try:
            with captured(output, self._options.show):
                ended = run(command, environ)
        except CannotRun:
            launch.finish(Ended(127), "error")
            raise
        launch.finish(ended, outcome_of(ended))
        if -ended.status in _STOPPED:
            raise KeyboardInterrupt
        return Run(role, _started(launch.tape(), ended.exit_code), ended.exit_code, output)

    def replay(self, recorded: Run) -> Run:
        """A run from the recording's tape, as `rashomon replay` does it. Raises `CannotRun`."""
        output = self._output()
        tape, report = (str(self._folder / name) for name in ("tape.rsj", "report.json"))
        tapes.write_tape(tape, recorded.tape)
        allowed = [word for text in self._options.allow for word in ("--allow", text)]
        given = [tape, "--home", self._home, "--name", self._name, "--json", "--report", report, *allowed]
        since_ns = recorded.tape.trace.started_ns
        with captured(output, self._options.show):
            replay.main([*given, "--", *self._options.command])
        with open(report, encoding="utf-8") as file:
            said = json.load(file)
        if said["exit_code"] in [128 + number for number in _STOPPED] and said["exit_code"] != recorded.exit_code:
            raise KeyboardInterrupt
        divergences = tuple(Divergence(**{**one, "paths": tuple(one["paths"]), "detail": tuple(one["detail"])})
                            for one in said["divergences"])  # fmt: skip
        found = gather(self._home, said["trace"], since_ns)
        return Run("replayed", _started(found, said["exit_code"]), said["exit_code"], output, divergences)


def _started(tape: Tape | None, exit_code: int) -> Tape:
    if tape is None or not tape.trace.processes:
        raise CannotRun(
            f"The program ran (exit code {exit_code}) but the recorder did not start in it.",
            "Is it Python 3.11 or newer, and run without -I, -E or -S?",
        )
    return tape


def document(command: Sequence[str], runs: Sequence[Run], findings: Sequence[Finding]) -> dict[str, Any]:
    """The JSON document `rashomon.doctor/1`."""
    differing = next((one for run in runs[1:] for one in output_differences(runs[0].output, run.output)), None)
    return {
        "format": "rashomon.doctor/1",
        "mode": "live" if runs[0].role == "live" else "replay",
        "command": list(command),
        "holds": not any(one.changes for one in findings),
        "runs": [_run_facts(run) for run in runs],
        "output": None if differing is None else differing._asdict(),
        "findings": [_finding_facts(one) for one in findings],
    }


def _run_facts(run: Run) -> dict[str, Any]:
    grades: dict[str, int] = {}
    for step in run.tape.steps:
        if step.match is not None:
            grades[step.match.grade.value] = grades.get(step.match.grade.value, 0) + 1
    return {
        "role": run.role,
        "trace": run.tape.trace.id,
        "exit_code": run.exit_code,
        "steps": len(run.tape.steps),
        "held": not run.divergences if run.role == "replayed" else None,
        "grades": grades,
        "divergences": [one._asdict() for one in run.divergences],
    }


def _finding_facts(one: Finding) -> dict[str, Any]:
    return {
        **one._asdict(),
        "control": one.control.value,
        "site": None if one.site is None else one.site._asdict(),
        "example": one.example or None,
        "detail": list(one.detail),
        "advice": one.advice or None,
    }
