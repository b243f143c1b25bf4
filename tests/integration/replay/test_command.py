"""`rashomon replay`: the recorded program again, its exit codes and its report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rashomon.commands.replay import unserved
from rashomon.model import End, Process
from rashomon.testing import ProviderServer
from tests.steps import llm, said, served, tape
from tests.support import AGENTS, DEMO_AGENT, environment, rashomon, tapes_of

STUB = 'get_refund_policy={"version": 2, "region": "EU", "window_days": 14}'


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    """A provider for a child process."""
    with ProviderServer(seed=4) as running:
        yield running


@pytest.fixture
def recorded(tmp_path: Path, server: ProviderServer) -> Path:
    """A home with one recording of the demo's agent; the provider is switched off."""
    agent = tmp_path / "agent.py"
    shutil.copyfile(DEMO_AGENT, agent)
    home = tmp_path / "home"
    done = rashomon("record", "--name", "refund", "--", sys.executable, agent, home=home, env=server.environ())
    assert done.returncode == 0, done.stderr
    (tmp_path / "stdout").write_text(done.stdout)
    server.stop()
    return home


Done = subprocess.CompletedProcess[str]


def replayed(home: Path, *args: str, code: int, **options: Any) -> tuple[dict[str, Any], Done]:
    """Replay the first recording of a home; the report, and what was done."""
    report = home.parent / "report.json"
    done = rashomon("replay", "refund", "--report", report, *args, home=home, **options)
    assert done.returncode == code, done.stderr
    return json.loads(report.read_text()), done


def test_it_holds(recorded: Path) -> None:
    """Without the provider and without a key: the same output, byte for byte, exit 0, a new trace with its parent."""
    report, done = replayed(recorded, code=0)
    assert done.stdout == (recorded.parent / "stdout").read_text()
    assert (report["format"], report["held"], report["grades"]) == ("rashomon.replay/1", True, {"exact": 6})
    first, second = tapes_of(recorded)
    assert second.trace.parent == first.trace.id
    assert [step.response.body for step in second.steps] == [step.response.body for step in first.steps]


def test_every_replay_is_the_same(recorded: Path) -> None:
    """Two replays in a row, and one of a replay, all hold."""
    for _ in range(2):
        replayed(recorded, "--quiet", code=0)
    last = tapes_of(recorded)[-1].trace.id
    assert rashomon("replay", last, "--quiet", home=recorded).returncode == 0


def test_a_stub_without_live(recorded: Path) -> None:
    """A stub changes what the model is asked; without --live the replay stops there and says why."""
    report, done = replayed(recorded, "--stub", STUB, code=1)
    assert report["divergences"][0]["kind"] == "missed"
    assert "window_days" in done.stderr
    assert "the replay diverged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stub_with_live(recorded: Path) -> None:
    """With --live llm the changed call goes out; what it answers is in the new trace, which replays offline."""
    with ProviderServer(seed=4) as server:
        report, done = replayed(recorded, "--stub", STUB, "--live", "llm", code=1, env=server.environ())
    assert report["grades"] == {"exact": 2, "stubbed": 1, "live": 1}
    assert "no refund" in done.stdout or "14 days" in done.stdout
    assert rashomon("replay", report["trace"], "--stub", STUB, home=recorded).returncode == 0


def test_a_stub_function(recorded: Path) -> None:
    """A stub may be a function in a file, named from where the user is."""
    (recorded.parent / "mine.py").write_text("def same(region='EU'):\n    return {'version': 1, 'region': region, "
                                             "'window_days': 30, 'requires_photo': False}\n")  # fmt: skip
    report, done = replayed(recorded, "--stub", "get_refund_policy=mine.py:same", code=0, cwd=recorded.parent)
    assert report["grades"] == {"exact": 5, "stubbed": 1}
    assert "the replay held: 6 of 6 steps (1 stubbed), exit code 0." in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["nothing-like-it"], 2, "nothing-like-it"),
        (["refund", "--stub", "get_refund_polcy=1"], 2, "has no tool 'get_refund_polcy'. Its tools: get_order"),
        (["refund", "--stub", "get_order={"], 2, "is neither JSON"),
        (["refund", "--stub", "nonsense"], 2, "has no answer"),
        (["refund", "--stub", "=1"], 2, "has no tool name"),
        (["refund", "--report", "/nowhere/report.json"], 2, "There is no folder /nowhere; name a file"),
        (["refund", "--stub", "get_order=gone.py:f"], 2, "gone.py does not exist"),
        (["refund", "--", "no-such-program"], 3, "'no-such-program' does not exist"),
        (["refund", "--", sys.executable, "-I", "-c", "1"], 3, "the replay did not start in it"),
    ],
)
def test_bad_input(args: list[str], code: int, message: str, recorded: Path) -> None:
    """What cannot be done gets one sentence, what to do, and its exit code."""
    done = rashomon("replay", *args, home=recorded)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_before_the_program_has_begun(recorded: Path) -> None:
    """Nobody is asked whether it is Python: the command ends as others do at Ctrl-C."""
    done = rashomon("replay", "refund", "--", "sh", "-c", "kill -INT $PPID; exec sleep 20", home=recorded)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_program_that_is_gone(recorded: Path) -> None:
    """The recorded script was deleted: exit 3, and how to go on."""
    (recorded.parent / "agent.py").rename(recorded.parent / "moved.py")
    done = rashomon("replay", "refund", home=recorded)
    assert done.returncode == 3
    assert "agent.py" in done.stderr
    assert "after --" in done.stderr
    moved = [sys.executable, str(recorded.parent / "moved.py")]
    assert rashomon("replay", "refund", "--", *moved, home=recorded).returncode == 0


def test_another_question_is_a_divergence(recorded: Path) -> None:
    """The program with other arguments asks something else: no answer of the tape is served for it."""
    command = [sys.executable, str(recorded.parent / "agent.py"), "Where is my parcel?"]
    report, done = replayed(recorded, "--", *command, code=1)
    assert report["grades"] == {"missed": 1}
    assert done.stdout == ""


def test_an_exit_code_that_changed(tmp_path: Path) -> None:
    """A program that ends otherwise than it did has diverged."""
    program = tmp_path / "p.py"
    program.write_text("import os, sys; sys.exit(int(os.environ['CODE']))\n")
    home = tmp_path / "home"
    rashomon("record", "--name", "refund", "--", sys.executable, program, home=home, env={"CODE": "0"})
    report, _ = replayed(home, code=1, env={"CODE": "4"})
    assert (
        report["divergences"][0]["summary"] == "The program ended with exit code 0 in the recording, 4 in the replay."
    )


def test_an_entry_point(tmp_path: Path) -> None:
    """A recorded function is called again with its arguments, in a fresh process; its tools do not run."""
    home = tmp_path / "home"
    agent = str(AGENTS / "entry_agent.py")
    done = subprocess.run([sys.executable, agent, "ada"], env=environment(home), capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("{'customer': 'ada', 'total': 600}\n", 0), done.stderr
    again = rashomon("replay", "handle", home=home)
    assert again.returncode == 0, again.stderr
    assert "price was asked" not in again.stderr
    changed = rashomon("replay", "handle", "--stub", "price=7", home=home)
    assert changed.returncode == 1
    assert '"total": 28' in changed.stderr


def test_traces_within_a_recorded_program(tmp_path: Path) -> None:
    """Steps of traces that a program begins by itself belong to the recording's tape, under their own ids."""
    home = tmp_path / "home"
    agent = AGENTS / "nested_agent.py"
    first = rashomon("record", "--name", "refund", "--", sys.executable, agent, home=home)
    report, again = replayed(home, code=0)
    assert again.stdout == first.stdout == "340\n"
    # an inner call of a tool that is answered from the tape is not made, and not missed
    assert (report["recorded_steps"], report["steps"]) == (9, 7)
    replayed(home, "--", sys.executable, "-c", "print('nothing')", code=1)


def test_processes_get_their_own_answers(tmp_path: Path) -> None:
    """Parent, subprocess and forked child ask the same; on replay each gets what it got, and nobody else's."""
    home, agent = tmp_path / "home", str(AGENTS / "processes_agent.py")
    first = rashomon("record", "--name", "refund", "--", sys.executable, agent, home=home)
    assert len(set(first.stdout.split())) == 3 + 4
    _, again = replayed(home, code=0)
    assert again.stdout == first.stdout
    report, added = replayed(home, "--", sys.executable, agent, "extra", code=1)
    assert report["divergences"][0]["kind"] == "escaped", "the second subprocess was not recorded, and is not started"
    assert report["grades"] == {"exact": 2}
    stamps = [line.split()[1] for line in first.stdout.splitlines()]
    assert [line.split()[1] for line in added.stdout.splitlines()] == stamps[:2]


def test_a_call_that_a_daemon_thread_was_left_in_need_not_be_asked_again() -> None:
    """The program ended while a thread waited for an answer: whether it asks in time again is not the replay's matter,
    but a main line that does not ask again has left the recording."""
    whole, cut = llm(said("late?")), llm(b"", end=End.OPEN)
    main = Process(0, 1, ("agent.py",), "3.11.7", True)
    recording, replayed = tape([whole, cut._replace(lane=(0,))]), tape([served(whole, "0.0")], id="right")
    recording = recording._replace(trace=recording.trace._replace(processes=(main,)))
    assert unserved(recording, replayed) == []
    alone = recording._replace(steps=(recording.steps[0], recording.steps[1]._replace(lane=())))
    assert [step.id for step in unserved(alone, replayed)] == ["0.1"]


SWALLOWING = """
import os
import rashomon

@rashomon.tool
def look(what):
    return what

with rashomon.trace("inner"):
    try:
        look(os.environ["WHAT"])
    except BaseException:
        print("swallowed")
"""


def test_what_leaves_the_recording_inside_an_inner_trace_is_told(tmp_path: Path) -> None:
    """A program that begins traces of its own and swallows what stops it: the replay of the whole has diverged."""
    home, program = tmp_path / "home", tmp_path / "program.py"
    program.write_text(SWALLOWING)
    rashomon("record", "--name", "whole", "--", sys.executable, program, home=home, env={"WHAT": "this"})
    done = rashomon("replay", "whole", home=home, env={"WHAT": "that"})
    assert (done.returncode, done.stdout) == (1, "swallowed\n")
    assert 'look(what="that") is not in the recording' in done.stderr


IN_A_THREAD = """
import asyncio, os, threading
import rashomon

@rashomon.tool
def look(what):
    return what

async def grouped():
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(look, os.environ["WHAT"]))

thread = threading.Thread(target=look, args=(os.environ["WHAT"],), name="looking")
thread.start()
thread.join()
asyncio.run(grouped())
"""


def test_what_stops_a_thread_or_a_task_group_is_a_message(tmp_path: Path) -> None:
    """Wherever a replay stops the program, it says so in a sentence, and not in a traceback of its own."""
    home, program = tmp_path / "home", tmp_path / "program.py"
    program.write_text(IN_A_THREAD)
    rashomon("record", "--name", "thread", "--", sys.executable, program, home=home, env={"WHAT": "this"})
    done = rashomon("replay", "thread", home=home, env={"WHAT": "that"})
    assert done.returncode == 1
    assert "the replay stopped the thread looking: look(" in done.stderr
    assert "the replay stopped the program: look(" in done.stderr
    assert "Traceback" not in done.stderr


def test_drift_names_the_step_that_it_serves(tmp_path: Path) -> None:
    """Of a call that gets another one's answer, the report compares with the step that gave it."""
    program = tmp_path / "agent.py"
    lines = "import rashomon\n@rashomon.tool\ndef find(text): return text\nfor word in ('NAMES'.split()): find(word)\n"
    program.write_text(lines.replace("NAMES", "one three"))
    home = tmp_path / "home"
    assert rashomon("record", "--name", "drift", "--", sys.executable, program, home=home).returncode == 0
    program.write_text(lines.replace("NAMES", "ones threes"))
    done = rashomon("replay", "drift", "--on-drift", "serve", home=home)
    assert done.returncode == 1
    for number, word in enumerate(("one", "three")):
        assert f"the nearest is step 0.{number}" in done.stderr
        assert f"It got the answer of step 0.{number}, which stands in its place." in done.stderr
        assert f"request.text: {word} → {word}s" in done.stderr


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    """A replay must not run a program for real because its Python knows no replay."""
    hook = Path(sitecustomize_folder()) / "sitecustomize.py"
    old = f"import sys; sys.version_info = (3, 10, 0); exec(open({str(hook)!r}).read(), {{'__file__': {str(hook)!r}}})"
    for lane, direct, code in (("@1@", "1", 3), ("@1@", "", 0), ("0@1@", "1", 0)):
        more = {"RASHOMON_SESSION": "{}", "RASHOMON_LANE": lane, **({"RASHOMON_DIRECT": direct} if direct else {})}
        command = [sys.executable, "-c", old + "; print('ran')"]
        done = subprocess.run(command, env={**bare(), **more}, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, "" if code else "ran\n"), done.stderr
        assert ("stopped before it began" in done.stderr) == bool(code)


def sitecustomize_folder() -> str:
    """Where the hook is."""
    return str(Path(unserved.__code__.co_filename).parents[1] / "recorders" / "hook")


def bare() -> dict[str, str]:
    """An environment without a recorder's variables and paths."""
    return {name: value for name, value in environment(Path()).items() if name != "PYTHONPATH"}


def test_an_interruption_while_the_end_is_written_hides_nothing(tmp_path: Path) -> None:
    """Who presses Ctrl-C twice sees what ended the program, and nothing of ours."""
    program = (
        "from rashomon import boundary\n"
        "def finish(*_, **__): raise KeyboardInterrupt\n"
        "type(boundary.process_interceptor()).finish = finish\n"
        "raise ValueError('mine')\n"
    )
    done = rashomon("record", "--", sys.executable, "-c", program, home=tmp_path)
    assert done.returncode == 1
    assert "ValueError: mine" in done.stderr
    assert "excepthook" not in done.stderr


def test_files_that_are_no_whole_recording(recorded: Path) -> None:
    """A bundle has to be imported; a journal of one process does not tell how the trace was launched."""
    bundle = recorded.parent / "refund.rsh"
    assert rashomon("export", "refund", "-o", bundle, home=recorded).returncode == 0
    done = rashomon("replay", bundle, home=recorded)
    assert (done.returncode, "Import it first: rashomon import" in done.stderr) == (2, True)
    largest = max((recorded / "journals").glob("*.rsj"), key=lambda path: path.stat().st_size)
    done = rashomon("replay", largest, home=recorded)
    assert (done.returncode, "holds one process of the trace" in done.stderr) == (3, True)
    launcher = min((recorded / "journals").glob("*.rsj"), key=lambda path: path.stat().st_size)
    done = rashomon("replay", launcher, home=recorded)
    assert (done.returncode, "holds none of its processes. Name the trace by its id" in done.stderr) == (3, True)
    done = rashomon("replay", largest, "--", sys.executable, recorded.parent / "agent.py", home=recorded)
    assert (done.returncode, "the recording has no end" in done.stderr) == (0, True)
