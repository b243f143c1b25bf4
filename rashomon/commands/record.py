"""`rashomon record`: run a program under the recorder, unchanged."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from typing import Any

from rashomon import git
from rashomon.beside import uncovered
from rashomon.commands.arguments import Parser, report_file, see, write_report
from rashomon.commands.program_name import program_name
from rashomon.commands.terminal import clean
from rashomon.commands.told import warnings
from rashomon.commands.unheard import unheard
from rashomon.errors import CannotRun, UsageError
from rashomon.home import home_name
from rashomon.launch import Ended, Launch, child_environ, end_like, outcome_of, run
from rashomon.model import Tape
from rashomon.recorders.complaints import cannot_write, complain
from rashomon.session import Order, new_trace_id


def parser() -> Parser:
    """The command's arguments."""
    made = Parser(
        "record",
        "Run a command under the recorder. Its stdin, stdout, signals and exit code stay its own.",
        "[OPTIONS] -- COMMAND [ARGS...]",
        "rashomon record --name refund --tag build=412 -- python agent.py --customer 7",
    )
    made.add_argument("--name", help="name of the trace (default: the program's)")
    made.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE", help="tag the trace; repeatable")
    made.add_argument("--home", help="where recordings live (default: $RASHOMON_HOME, else .rashomon)")
    made.add_argument("--json", action="store_true", help="report as one JSON document")
    made.add_argument(
        "--report", metavar="FILE", type=report_file, help="write the JSON report to FILE (default with --json: stderr)"
    )
    made.add_argument("--quiet", action="store_true", help="say nothing unless something was not recorded")
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run")
    return made


def split_command(argv: list[str]) -> tuple[list[str], list[str]]:
    """Options before the first `--`, the command after it; without one, from the first bare word."""
    if "--" in argv:
        at = argv.index("--")
        return argv[:at], argv[at + 1 :]
    return argv, []


def main(argv: list[str]) -> int:
    """Run the command; returns the program's own exit code."""
    options_given, command = split_command(argv)
    options = parser().parse_args(options_given)
    command = command or options.command
    if not command:
        raise UsageError("There is no command to record.", "Write it after --: rashomon record -- python agent.py")
    tags = _tags(options.tag)
    if os.environ.get("RASHOMON_OFF"):
        return end_like(run(command, dict(os.environ)))
    home = os.path.abspath(options.home) if options.home else home_name()
    name = options.name or program_name(command)
    info: dict[str, Any] = {"id": new_trace_id(), "name": name, "tags": tags, "command": command, "cwd": os.getcwd()}
    working_copy = git.provenance(info["cwd"])
    if working_copy:
        info["provenance"] = {"git": working_copy}
    try:
        launch = Launch(home, info)
    except OSError as error:
        cannot_write(home, error)
        return end_like(run(command, dict(os.environ)))
    environ = child_environ(Order("record", home, {"id": info["id"]}), dict(os.environ))
    try:
        ended = run(command, environ)
    except CannotRun:
        launch.finish(Ended(127), "error")
        raise
    launch.finish(ended, outcome_of(ended))
    _report(options, launch.tape(), ended)
    return end_like(ended)


def _tags(pairs: list[str]) -> dict[str, str]:
    tags = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--tag {pair!r} has no value.", "Write --tag KEY=VALUE.")
        tags[key] = value
    return tags


def report(tape: Tape | None, ended: Ended) -> dict[str, Any]:
    """What was recorded, as the JSON document `rashomon.record/1`."""
    kinds: dict[str, int] = {}
    for step in tape.steps if tape else ():
        kinds[step.kind.value] = kinds.get(step.kind.value, 0) + 1
    return {
        "format": "rashomon.record/1",
        "trace": tape.trace.id if tape else None,
        "name": tape.trace.name if tape else None,
        "exit_code": ended.exit_code,
        "steps": sum(kinds.values()),
        "kinds": kinds,
        "started": bool(tape and tape.trace.processes),
        "coverage": {
            "complete": bool(tape and tape.trace.processes and tape.trace.coverage.complete),
            "connections": tape.trace.coverage.connections if tape else 0,
            "missed": list(tape.trace.coverage.missed) if tape else [],
            "unseen": len(uncovered(tape.trace)) if tape else 0,
        },
        "losses": [loss._asdict() for loss in tape.trace.losses] if tape else [],
        "warnings": [*warnings(tape), *_unheard(tape)],
    }


def _unheard(tape: Tape | None) -> list[str]:
    programs = [] if tape is None else [shlex.join(argv) for argv in unheard(tape.trace)]
    if not programs:
        return []
    return [f"{len(programs)} Python program(s) ran without the recorder, so nothing of them is recorded: "
            f"{', '.join(programs)}."]  # fmt: skip


def _report(options: argparse.Namespace, tape: Tape | None, ended: Ended) -> None:
    document = report(tape, ended)
    if options.json or options.report:
        text = json.dumps(document, indent=2)
        write_report(options.report, text)
    for warning in document["warnings"]:
        complain(f"WARNING: {clean(warning)}")
    if options.quiet or options.json or tape is None or not tape.trace.processes:
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(document["kinds"].items()))
    steps = f"{document['steps']} step{'' if document['steps'] == 1 else 's'}" + (f" ({kinds})" if kinds else "")
    complain(f"recorded {clean(tape.trace.name)}: {steps} as {tape.trace.id}. "
             + clean(see("show", tape.trace.id, home=options.home)))  # fmt: skip
