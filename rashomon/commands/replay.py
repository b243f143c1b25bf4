"""`rashomon replay`: run a recorded program again, answered from its tape."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from rashomon import disk, tapes
from rashomon.beside import uncovered
from rashomon.commands.arguments import Parser, report_file, see, write_report
from rashomon.commands.record import split_command
from rashomon.commands.terminal import clean
from rashomon.commands.unheard import unheard, words_of
from rashomon.errors import CannotRun, ForeignFile, UsageError
from rashomon.home import home_name
from rashomon.launch import Ended, Launch, child_environ, outcome_of, replay_environ, run
from rashomon.lines import text_of
from rashomon.model import Divergence, End, Grade, Kind, Lane, Match, Step, Tape, Trace
from rashomon.recorders.complaints import complain
from rashomon.recorders.reaching import ALONE
from rashomon.recorders.unseen import OPENED_IN_C
from rashomon.replay import stubs as stubbing
from rashomon.replay.ends import EndDifference, end_differences
from rashomon.replay.imported import refuse_imported
from rashomon.replay.kernel import Kernel, kernel_for
from rashomon.replay.live import WALLED
from rashomon.replay.policy import Policy, parse_allow, slipped
from rashomon.replay.printed import is_known
from rashomon.session import UNCALLED, Order, new_trace_id, was_cancelled

_ANY_OUTPUT = "Where that is as it should be: --any-output."
_OUTPUT_UNKNOWN = (
    "not all that was printed could be compared: of a process that was killed, or by an older version, it is not known."
)
_PYTHON = re.compile(r"(python|pypy)[0-9.]*(\.exe)?|.*\.py")


def parser() -> Parser:
    """The command's arguments."""
    made = Parser(
        "replay",
        "Run a recorded program again. Every call is answered from the tape; nothing leaves the process. "
        "Exit codes: 0 the replay held, 1 it diverged, 2 bad usage, 3 the program could not be run, 4 damaged data.",
        "TRACE [OPTIONS] [-- COMMAND [ARGS...]]",
        'rashomon replay @last --stub \'get_order={"status": "lost"}\' --live llm',
    )
    made.add_argument(
        "trace", metavar="TRACE", help="an id, a unique prefix, a name, @last, @prev, @last~2, or a tape file"
    )
    made.add_argument("--stub", action="append", default=[], metavar="TOOL=JSON|FILE.py:function",
                      help="answer a tool's calls with this instead; repeatable")  # fmt: skip
    made.add_argument("--live", action="append", default=[], metavar="KIND", choices=["llm", "http", "tool"],
                      help="let calls of this kind go out when the tape cannot answer: llm, http, tool")  # fmt: skip
    made.add_argument("--allow", action="append", default=[], metavar="ACTION=TARGET",
                      help="let the program do one thing that a replay refuses: connect=HOST[:PORT], run=COMMAND, "
                           "write=PATH; repeatable")  # fmt: skip
    made.add_argument("--on-drift", choices=["stop", "serve"], default="stop",
                      help="when a call is not on the tape but one stands in its place: stop there and name it "
                           "(default), or serve that one's answer. Either way the replay has diverged")  # fmt: skip
    made.add_argument("--any-output", action="store_true",
                      help="let the program print something else than in the recording: tell, and do not count it as "
                           "a divergence")  # fmt: skip
    made.add_argument("--name", help="name of the new trace (default: the recording's)")
    made.add_argument("--home", help="where recordings live (default: $RASHOMON_HOME, else .rashomon)")
    made.add_argument("--json", action="store_true", help="report as one JSON document")
    made.add_argument(
        "--report", metavar="FILE", type=report_file, help="write the JSON report to FILE (default with --json: stderr)"
    )
    made.add_argument("--quiet", action="store_true", help="say nothing when the replay held")
    return made


def main(argv: list[str]) -> int:
    """Replay; returns the exit code."""
    given, command = split_command(argv)
    options = parser().parse_args(given)
    options.allow = [str(parse_allow(text)) for text in options.allow]
    home = os.path.abspath(options.home) if options.home else home_name()
    tape = load(options.trace, home)
    refuse_imported(tape.trace)
    stubbing.checked(options.stub, tape)
    what = _command(tape.trace, command, options.trace)
    info: dict[str, Any] = {
        "id": new_trace_id(),
        "name": options.name or tape.trace.name,
        "tags": tape.trace.tags,
        "parent": tape.trace.id,
        "swaps": _changes(options),
        "command": what,
        "cwd": os.getcwd() if command else tape.trace.cwd,
    }
    launch = _launch(home, info)
    kernel = kernel_for(tape, options.allow, options.live, info["cwd"], home)
    ended = _run(options, tape, launch, what, info["cwd"], kernel)
    replayed = launch.tape()
    if replayed is None or not replayed.trace.processes:
        launch.finish(ended, "error")
        if ended.received == signal.SIGINT:  # before it began
            raise KeyboardInterrupt
        raise CannotRun(
            f"The program ran (exit code {ended.exit_code}) but the replay did not start in it.",
            "Is it Python 3.11 or newer, and run without -I, -E or -S?",
        )
    replayed = replayed._replace(trace=replayed.trace._replace(exit_code=ended.exit_code))
    ends = end_differences(tape, replayed)
    output = next((end for end in ends if end.kind == "output"), None)
    divergences = [*replayed.trace.divergences, *_afterwards(tape, replayed, ends, options.allow)]
    divergences += kernel.divergences
    if output is not None and not (output.passing or divergences or options.any_output or info["swaps"] or command):
        divergences.append(Divergence("output", output.summary, detail=(*output.detail, _ANY_OUTPUT)))
    for divergence in divergences[len(replayed.trace.divergences) :]:
        launch.trace.diverged(divergence)
    launch.finish(ended, outcome_of(ended))
    document = report(tape, replayed, ended, divergences, output) | kernel.facts
    document["unused_stubs"] = stubbing.unused(options.stub, replayed.steps)
    _warn(tape.trace)
    _report(options, document, ends, launched=bool(tape.trace.command))
    return 1 if divergences else 0


def _warn(recorded: Trace) -> None:
    """Say what the recording may lack: a replay that holds has been given no more."""
    if recorded.outcome == "open":
        complain("WARNING: the recording has no end: it was still going on, or was killed with its launcher.")
    if recorded.entrypoint and was_cancelled(recorded.error):
        complain("NOTE: the recorded call was cancelled by its caller, and nobody does that in a replay: it goes on.")
    for loss in recorded.losses:
        complain(
            f"WARNING: the recording is not whole ({loss.reason}): what it has lost, this replay did not have either."
        )


def _changes(options: argparse.Namespace) -> list[dict[str, str]]:
    """What this replay was told to do otherwise than the recording."""
    drift = [] if options.on_drift == "stop" else [{"on-drift": str(options.on_drift)}]
    lists = {"stub": options.stub, "live": options.live, "allow": options.allow}
    return [{key: text} for key, texts in lists.items() for text in texts] + drift


def load(reference: str, home: str) -> Tape:
    """A tape by file name or by a reference into the home's store."""
    if os.path.isfile(reference):
        try:
            tape = tapes.only_tape(reference)
            if tape.trace.command and not tape.trace.processes and not tape.steps:
                raise CannotRun(
                    f"{reference} tells how the trace {tape.trace.id} was launched, and holds none of its processes.",
                    "Name the trace by its id.",
                )
            return tape
        except ForeignFile:
            if not reference.endswith(".rsh"):
                raise
            remedy = f"Import it first: rashomon import {reference}; then replay its trace."
            raise UsageError(f"{reference} is a bundle, and no journal.", remedy) from None
    from pathlib import Path

    from rashomon.store import open_home

    with open_home(Path(home)) as store:
        return store.tape(store.resolve(reference))


def _command(trace: Trace, given: list[str], reference: str) -> list[str]:
    """What to launch. Raises `CannotRun` when the recording cannot be launched or the program is gone."""
    if given:
        return given
    if trace.command:
        command = list(trace.command)
        program = command[0]
        cwd = trace.cwd or os.getcwd()
        if not os.path.isdir(cwd):
            raise CannotRun(f"The folder of the recording, {cwd}, is gone.", "Give the command again after --.")
        if shutil.which(program) is None and not os.path.exists(os.path.join(cwd, program)):
            raise CannotRun(f"The recorded command {program!r} is gone.", "Give another one after --.")
        script = next((word for word in command[1:] if word.endswith(".py")), None)
        if script is not None and "-c" not in command and not os.path.exists(os.path.join(cwd, script)):
            raise CannotRun(f"The recorded program {script!r} is gone from {cwd}.", "Give the command again after --.")
        return command
    if trace.entrypoint:
        return [sys.executable, "-m", "rashomon.entry"]
    if os.path.isfile(reference):
        raise CannotRun(
            f"{reference} holds one process of the trace {trace.id}, and not how it was launched.",
            "Name the trace by its id, or give the command after --.",
        )
    raise CannotRun(
        f"The trace {trace.id} was made inside a program with rashomon.trace(), which tells no way to launch it.",
        "Give a command after --, or use rashomon.replay() in process.",
    )


def _launch(home: str, info: dict[str, Any]) -> Launch:
    """The launch that tells of this replay. Raises `CannotRun` where nothing can be told: a replay is not lost."""
    try:
        return Launch(home, info)
    except OSError as error:
        raise CannotRun(
            f"The home {home} cannot be written: {error.strerror or error}.", "Set RASHOMON_HOME."
        ) from error


def _run(
    options: argparse.Namespace,
    tape: Tape,
    launch: Launch,
    command: list[str],
    cwd: str | None,
    kernel: Kernel,
) -> Ended:
    """Launch the child with the tape beside it, for as long as it runs."""
    with tempfile.TemporaryDirectory(prefix="rashomon-") as folder:
        path = os.path.join(folder, "tape.rsj")
        tapes.write_tape(path, tape)
        stubs = tuple(_absolute(text) for text in options.stub)
        order = Order("replay", launch.home, {"id": launch.trace_id}, path, stubs, tuple(options.live),
                      tuple(options.allow), options.on_drift, os.path.abspath(cwd or os.getcwd()))  # fmt: skip
        environ = child_environ(order, replay_environ(tape.trace, dict(os.environ), bool(options.live)))
        if _PYTHON.fullmatch(os.path.basename(command[0])):
            environ["RASHOMON_DIRECT"] = "1"  # a Python that is too old for a replay must not run the program for real
        if kernel.wall is not None:
            environ[WALLED] = "1"
        try:
            ended = run(command, environ, cwd, kernel.around)
            _refuse_uncalled(path + UNCALLED)
        except CannotRun:
            launch.finish(Ended(127), "error")
            raise
        return ended


def _refuse_uncalled(path: str) -> None:
    """Raise `CannotRun` where the launched process said in this file that it cannot call the recorded function."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            raise CannotRun(file.read(), "Call it with its arguments within rashomon.replay(), in a program of yours.")


def _absolute(stub: str) -> str:
    """A stub whose file is named from here, for a child that runs elsewhere."""
    tool, _, source = stub.partition("=")
    file, colon, function = source.rpartition(":")
    if colon and file.endswith(".py") and function.isidentifier():
        return f"{tool}={os.path.abspath(file)}:{function}"
    return stub


def _afterwards(tape: Tape, replayed: Tape, ends: tuple[EndDifference, ...], allow: list[str]) -> list[Divergence]:
    """What can only be seen when the program has ended; of its ends all but the output."""
    found = []
    if left := unserved(tape, replayed):
        names = ", ".join(f"{step.id} {step.name}" for step in left[:5]) + (" …" if len(left) > 5 else "")
        noun = "step was" if len(left) == 1 else "steps were"
        summary = f"{len(left)} recorded {noun} not asked for: {names}."
        found.append(Divergence("unserved", summary, recorded=left[0].id))
    found += [Divergence(end.kind, end.summary) for end in ends if end.kind not in ("output", "files")]
    begun = {words_of(process.argv) for process in tape.trace.processes}
    for argv in unheard(replayed.trace):
        if words_of(argv) in begun:
            summary = f"The Python program {shlex.join(argv)} ran for real: no replay has begun in it."
            found.append(Divergence("escaped", summary))
    policy = Policy(Tape(replayed.trace, ()), allow)
    # connections that nobody could refuse: they were opened in C, and found open when the program ended
    peers = [one.what for one in replayed.trace.uncontrolled if one.reason == OPENED_IN_C]
    return found + [slipped(peer) for peer in dict.fromkeys(peers) if not policy.may_connect(peer)]


def unserved(tape: Tape, replayed: Tape) -> list[Step]:
    """The recorded steps that no step of the replay stands for; inner calls of served tools do not count."""
    served = {step.match.recorded for step in replayed.steps if _answered(step.match) and step.match is not None}
    from rashomon.replay.matching import inner_steps

    within = inner_steps(tape.steps)
    passed = {inner for step in served if step is not None for inner in within.get(step, ())}
    main = {str(process.number): process.lane for process in tape.trace.processes}
    asked = [step for step in tape.steps if step.kind is not Kind.NOTE and not _cut_short(step, main)]
    return [step for step in asked if step.id not in served and step.id not in passed]


def _cut_short(step: Step, main: dict[str, Lane]) -> bool:
    """True for a call of a thread that its process did not wait for at its end: whether a daemon comes to ask once more
    while the program is leaving is up to the operating system."""
    return step.response.end is End.OPEN and step.lane != main.get(step.id.partition(".")[0])


def _calls(tape: Tape) -> int:
    """How many steps a replay has to do with: a note asks for no answer."""
    return sum(step.kind is not Kind.NOTE for step in tape.steps)


def _answered(match: Match | None) -> bool:
    return match is not None and match.recorded is not None and match.grade is not Grade.MISSED


def report(
    tape: Tape, replayed: Tape, ended: Ended, divergences: list[Divergence], output: EndDifference | None
) -> dict[str, Any]:
    """The JSON document `rashomon.replay/1`."""
    from rashomon.commands.documents import site_facts, uncontrolled_facts

    grades: dict[str, int] = {}
    for step in replayed.steps:
        if step.match is not None:
            grades[step.match.grade.value] = grades.get(step.match.grade.value, 0) + 1
    return {
        "format": "rashomon.replay/1",
        "trace": replayed.trace.id,
        "parent": tape.trace.id,
        "held": not divergences,
        "exit_code": ended.exit_code,
        "recorded_exit_code": tape.trace.exit_code,
        "steps": _calls(replayed),
        "recorded_steps": _calls(tape),
        "grades": grades,
        "output": _output_facts(tape, replayed, output),
        "files": [
            one._asdict() | {"site": site_facts(one.site)}
            for one in disk.apart(tape.trace.uncontrolled, replayed.trace.uncontrolled)
        ],
        "unheard": [shlex.join(argv) for argv in unheard(replayed.trace)],
        "ran": [shlex.join(one.argv) for one in uncovered(replayed.trace)],
        "uncontrolled": [uncontrolled_facts(one) for one in replayed.trace.uncontrolled],
        "divergences": [divergence._asdict() for divergence in divergences],
        "losses": [loss._asdict() for loss in replayed.trace.losses],
    }


def _output_facts(tape: Tape, replayed: Tape, output: EndDifference | None) -> dict[str, Any]:
    """Whether the same was printed; None: it is not known of all processes of both."""
    if output is not None:
        return {"same": False, "summary": output.summary, "detail": list(output.detail)}
    return {"same": True if is_known(tape) and is_known(replayed) else None, "summary": None, "detail": []}


def _report(
    options: argparse.Namespace, document: dict[str, Any], ends: Sequence[EndDifference], launched: bool
) -> None:
    if options.json or options.report:
        text = json.dumps(document, indent=2, ensure_ascii=False)
        write_report(options.report, text)
        if options.json:
            return
    alone = [one["what"] for one in document["uncontrolled"] if one["reason"] == ALONE] + document["unheard"]
    if alone:
        complain(f"WARNING: {len(alone)} Python program(s) ran for real, past the replay: {clean(', '.join(alone))}.")
    ran = list(dict.fromkeys(document["ran"]))
    if ran and not options.quiet:
        shown = "; ".join(text_of(one, 80) for one in ran[:3]) + (f"; and {len(ran) - 3} more" if len(ran) > 3 else "")
        complain(
            clean(f"NOTE: as in the recording, what is no Python ran for real{_held(options, document)}: {shown}.")
        )
    for tool in document["unused_stubs"]:
        complain(
            f"WARNING: the stub of {clean(tool)} has answered nothing: the program did not call it in this replay."
        )
    if document["held"]:
        if not options.quiet:
            _say_held(document, launched)
    else:
        _say_diverged(document, ends, see("diff", document["parent"], document["trace"], home=options.home))


def _held(options: argparse.Namespace, document: dict[str, Any]) -> str:
    """What the kernel has kept from the commands that ran for real."""
    opened = bool(options.allow or options.live)
    network = ", with no more of the network than is allowed" if opened else ", with no network"
    files = ", writing only where that is allowed" if opened else ", writing in the working copy only"
    return (network if document["kernel_isolated"] else "") + (files if document["files_isolated"] else "")


def _say_diverged(document: dict[str, Any], ends: Sequence[EndDifference], then: str) -> None:
    grades = ", ".join(f"{count} {grade}" for grade, count in document["grades"].items()) or "no steps"
    complain(f"the replay diverged ({grades}, exit code {document['exit_code']}).")
    for divergence in document["divergences"][:3]:
        where = f" at {divergence['step']}" if divergence["step"] else ""
        sys.stderr.write(clean(f"  {divergence['kind']}{where}: {divergence['summary']}\n"))
        for line in divergence["detail"][:6]:
            sys.stderr.write(clean(f"    {line}\n"))
    more = len(document["divergences"]) - 3
    if more > 0:
        sys.stderr.write(f"  and {more} more\n")
    if document["files_isolated"] and document["ran"]:
        sys.stderr.write(
            "  Of files that a command was refused only itself was told: --allow write=PATH, or run=COMMAND\n"
        )
    for end in ends:
        if end.kind == "files":
            sys.stderr.write(clean("\n    ".join((f"  files: {end.summary}", *end.detail)) + "\n"))
    sys.stderr.write(clean(f"  {then}\n"))


def _say_held(document: dict[str, Any], launched: bool) -> None:
    for left in (one["reason"] for one in document["uncontrolled"] if one["what"] == "order"):
        complain(f"NOTE: the order is not all the recording's. {left}")
    output = document["output"]
    if output["same"] is False:
        complain(clean(" ".join(("NOTE:", output["summary"], *output["detail"]))))
    if output["same"] is None and launched:
        complain(f"NOTE: {_OUTPUT_UNKNOWN}")
    others = [f"{count} {grade}" for grade, count in document["grades"].items() if grade != Grade.EXACT]
    steps = f"{document['steps']} of {document['recorded_steps']} steps"
    steps += f" ({', '.join(others)})" if others else ""
    complain(f"the replay held: {steps}, exit code {document['exit_code']}. New trace {document['trace']}.")
