"""`rashomon show --follow`: a trace that another process is recording."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import environment, rashomon, tapes_of

PROGRAM = """
import sys
import rashomon

@rashomon.tool
def answer(question):
    if question == "boom":
        raise ValueError("no answer")
    return {"answer": question.upper()}

for line in open(0):  # by its number, so that what it reads is no step: one call for each line: the test says when
    try:
        answer(line.strip())
    except ValueError:
        pass
    print("done", line.strip(), flush=True)
"""


class Recorded:
    """A program under the recorder that makes a call when it is told to."""

    def __init__(self, home: Path, folder: Path) -> None:
        script = folder / "agent.py"
        script.write_text(PROGRAM)
        command = [sys.executable, "-m", "rashomon.cli", "record", "--quiet", "--", sys.executable, str(script)]
        self.process = subprocess.Popen(
            command, env=environment(home), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: str) -> None:
        """Have one call made, and wait until the program has its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == f"done {question}\n"

    def end(self) -> None:
        """Let the program come to its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    """A program that is being recorded, and has made one call."""
    program = Recorded(tmp_path / "home", tmp_path)
    program.ask("first")
    yield program
    program.process.kill()
    program.process.wait()
    for pipe in (program.process.stdin, program.process.stdout):
        assert pipe is not None
        pipe.close()


class Follower:
    """`rashomon show @last --follow` in a process of its own."""

    def __init__(self, home: Path, *more: str) -> None:
        command = [sys.executable, "-m", "rashomon.cli", "show", "@last", "--follow", *more]
        self.process = subprocess.Popen(
            command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        """The next line that it prints; waits for it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def json(self) -> Any:
        """The next line as JSON."""
        return json.loads(self.line())

    def rest(self) -> tuple[int, list[str], str]:
        """Exit code, the remaining lines, and what it said on stderr."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.splitlines(), err


def test_a_trace_that_is_being_recorded_can_be_listed_and_opened(tmp_path: Path, recorded: Recorded) -> None:
    """What was recorded so far is there while the program runs."""
    home = tmp_path / "home"
    listed = json.loads(rashomon("ls", "--json", "status:open", home=home).stdout)["traces"]
    assert [(one["name"], one["outcome"], one["steps"]) for one in listed] == [("agent", "open", 1)]
    assert "answer(" in rashomon("show", "@last", home=home).stdout
    recorded.ask("second")
    assert json.loads(rashomon("ls", "--json", home=home).stdout)["traces"][0]["steps"] == 2


def test_steps_are_printed_as_they_end(tmp_path: Path, recorded: Recorded) -> None:
    """Steps of before, then each new one, then how the trace ended."""
    follower = Follower(tmp_path / "home")
    assert follower.line().split()[0] == "trace"
    assert "FIRST" in follower.line()
    recorded.ask("second")
    assert "SECOND" in follower.line()
    recorded.ask("boom")
    assert "raised ValueError: no answer" in follower.line()
    recorded.end()
    code, lines, err = follower.rest()
    assert (code, err) == (0, "")
    assert lines == ["outcome    ok (exit code 0), 3 steps"]


def test_follow_as_json_lines_with_a_filter(tmp_path: Path, recorded: Recorded) -> None:
    """With --json each line is a document; a filter leaves steps out."""
    follower = Follower(tmp_path / "home", "--json", "status:err")
    begun = follower.json()
    assert (begun["format"], begun["event"], begun["trace"]["name"]) == ("rashomon.follow/1", "trace", "agent")
    recorded.ask("second")
    recorded.ask("boom")
    step = follower.json()
    assert (step["event"], step["step"]["failure"]["message"]) == ("step", "no answer")
    recorded.end()
    end = follower.json()
    assert (end["event"], end["trace"]["outcome"], end["steps"], end["lost"]) == ("end", "ok", 3, None)
    assert follower.rest()[:2] == (0, [])


def test_a_program_that_is_killed_is_followed_to_its_end(tmp_path: Path, recorded: Recorded) -> None:
    """After kill -9 of the recorded program its outcome is told, and following ends."""
    follower = Follower(tmp_path / "home")
    assert [follower.line().split()[0], "FIRST" in follower.line()] == ["trace", True]
    os.kill(tapes_of(tmp_path / "home")[-1].trace.processes[0].pid, signal.SIGKILL)
    code, lines, _ = follower.rest()
    assert code == 0
    assert lines[0].startswith("outcome    killed")
    assert "The program was killed." in lines[1]


def test_a_recorder_that_is_killed_with_its_program_ends_the_following_too(tmp_path: Path, recorded: Recorded) -> None:
    """Where nobody is left to say how the trace ended, that is said."""
    follower = Follower(tmp_path / "home")
    assert [follower.line().split()[0], "FIRST" in follower.line()] == ["trace", True]
    pid = tapes_of(tmp_path / "home")[-1].trace.processes[0].pid
    recorded.process.kill()
    recorded.process.wait()
    os.kill(pid, signal.SIGKILL)
    code, lines, _ = follower.rest()
    assert code == 0
    assert lines[0] == "outcome    open, 1 step"
    assert "Nothing records it any more" in lines[1]


def test_ctrl_c_ends_following_quietly(tmp_path: Path, recorded: Recorded) -> None:
    """An interrupt is exit code 130, without a traceback, and the recording goes on."""
    follower = Follower(tmp_path / "home")
    assert [follower.line().split()[0], "FIRST" in follower.line()] == ["trace", True]
    follower.process.send_signal(signal.SIGINT)
    assert follower.rest() == (130, [], "")
    recorded.ask("second")
    recorded.end()
    assert len(tapes_of(tmp_path / "home")[-1].steps) == 2


def test_a_trace_that_has_ended_is_printed_whole(tmp_path: Path, recorded: Recorded) -> None:
    """Following what is over ends at once; a wrong filter is refused before anything is printed."""
    recorded.end()
    done = rashomon("show", "@last", "--follow", home=tmp_path / "home")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["trace", "0.0", "outcome"]
    assert rashomon("show", "@last", "--follow", "knid:llm", home=tmp_path / "home").returncode == 2
    assert rashomon("show", "@last", "0", "--follow", home=tmp_path / "home").returncode == 2
    priced = rashomon("show", "@last", "--follow", "cost>0.01", home=tmp_path / "home")
    assert (priced.returncode, priced.stdout) == (2, "")
    assert "not known while a trace is followed" in priced.stderr
