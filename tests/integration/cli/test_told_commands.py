"""The commands that `record`, `replay` and `doctor` say to type next: each does what it says, as it is printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import rashomon

PROGRAM = """
import sys
import rashomon

@rashomon.tool
def look(word):
    return len(word)

with open("/dev/urandom", "rb") as source:
    print(look(sys.argv[1]), source.read(8).hex())
"""
HOME = "its own home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a program that never does the same twice."""
    (tmp_path / "look.py").write_text(PROGRAM)
    return tmp_path


def told(text: str) -> list[str]:
    """The words of the command after `See it:`."""
    (line,) = re.findall(r"See it: rashomon (.*)", text)
    return shlex.split(line)


def typed(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """What a command does that is typed in the folder, where $RASHOMON_HOME is another home."""
    return rashomon(*words, home=folder / "another", cwd=folder)


@pytest.mark.parametrize("given", [["--home", HOME], []])
def test_the_command_of_record_shows_what_was_recorded(folder: Path, given: list[str]) -> None:
    """`record` names the new trace, and the home where it was given: also when another trace is newer by then."""
    command = ["record", *given, "--", sys.executable, "look.py", "a"]
    done = typed(folder, command)
    assert typed(folder, command).returncode == 0
    words = told(done.stderr)
    assert words[2:] == given
    (whole,) = re.findall(r" as (\w{26})\.", done.stderr)
    assert whole in typed(folder, words).stdout


def test_the_command_of_replay_compares_with_the_recording(folder: Path) -> None:
    """`replay` that diverged says how to see it, in the home that was given."""
    typed(folder, ["record", "--home", HOME, "--", sys.executable, "look.py", "a"])
    done = typed(folder, ["replay", "@last", "--home", HOME, "--", sys.executable, "look.py", "other"])
    assert done.returncode == 1, done.stderr
    compared = typed(folder, told(done.stderr))
    assert (compared.returncode, compared.stderr) == (1, "")


def test_the_command_of_doctor_compares_its_runs(folder: Path) -> None:
    """`doctor` ends with the command that compares the two runs, in the home that was given."""
    done = typed(folder, ["doctor", "--home", HOME, "--", sys.executable, "look.py", "a"])
    assert done.returncode == 1, done.stderr
    words = told(done.stdout)
    assert words[0] == "diff"
    assert words[3:] == ["--home", HOME]
    assert typed(folder, words).returncode in (0, 1)
