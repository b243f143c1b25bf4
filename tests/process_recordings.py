"""Recordings of the program of many processes, each made once and used by several tests."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from rashomon import values
from rashomon.model import Lane, Tape
from tests import process_program
from tests.support import rashomon, tapes_of

PROGRAM = Path(process_program.__file__)
_folders: list[tempfile.TemporaryDirectory[str]] = []


class Recording(NamedTuple):
    """A recorded run: its home, the lines that it printed, and its trace."""

    home: Path
    lines: list[str]
    tape: Tape


@functools.cache
def recorded(*words: str) -> Recording:
    """The program of many processes, recorded with these arguments."""
    folder = tempfile.TemporaryDirectory(prefix="rashomon-test-")
    _folders.append(folder)  # it goes when the tests end
    home = Path(folder.name)
    done = rashomon("record", "--quiet", "--", sys.executable, PROGRAM, *words, home=home)
    assert done.returncode == 0, done.stderr
    (tape,) = tapes_of(home)
    assert not tape.trace.losses
    return Recording(home, done.stdout.splitlines(), tape)


def answers(tape: Tape) -> Counter[str]:
    """What the recorded steps answered."""
    return Counter(str(values.decode(step.response.body)) for step in tape.steps)


def printed(lines: list[str]) -> Counter[str]:
    """What a program says that it was answered."""
    words = [word.strip("[]',()") for line in lines for word in line.split()]
    return Counter(word for word in words if len(word) == 8 and set(word) <= set("0123456789abcdef"))


def lanes(tape: Tape) -> list[Lane]:
    """The lanes of the processes, sorted."""
    return sorted(process.lane for process in tape.trace.processes)
