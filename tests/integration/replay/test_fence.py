"""The kernel's part of a replay's isolation: which files C code changes, and programs that are no Python."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from rashomon.replay import fence
from tests.support import rashomon as command_line
from tests.support import tapes_of

_trial = fence.fence_for(())
if _trial is not None:
    _trial.open()
    _trial.close()

pytestmark = pytest.mark.skipif(_trial is None, reason="this kernel offers no Landlock of version 3 (Linux 6.2)")

IN_C = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
outside = sys.argv[1]
def told(result):
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
def write(path):
    made = libc.open(path.encode(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    return told(-1 if made < 0 else libc.write(made, b"new", 3))
"""
CHANGES = """
print(write(outside + "/new"), write(outside + "/there"))
print(told(libc.unlink((outside + "/there").encode())), told(libc.mkdir((outside + "/folder").encode(), 0o755)))
print(told(libc.rename((outside + "/moved").encode(), (outside + "/gone").encode())))
print(told(libc.truncate((outside + "/cut").encode(), 0)), len(open(outside + "/cut").read()))
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that is neither in the working copy of `tmp_path/work` nor in the temporary folder."""
    for name in ("outside", "work", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return filled(tmp_path / "outside")


def filled(folder: Path) -> Path:
    """The folder as the recording finds it, and the replay after it."""
    for path in folder.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
    for name in ("there", "moved", "cut"):
        (folder / name).write_text("old")
    return folder


def contents(folder: Path) -> dict[str, str]:
    """What is in a folder, by name."""
    return {path.name: "" if path.is_dir() else path.read_text() for path in sorted(folder.iterdir())}


OLD = {"cut": "old", "moved": "old", "there": "old"}


def record(home: Path, work: Path, source: str, *arguments: object) -> str:
    """Record a program; returns what it has printed."""
    (work / "agent.py").write_text(IN_C + source)
    done = command_line("record", "--", sys.executable, "agent.py", *map(str, arguments), home=home, cwd=work)
    assert done.returncode == 0, done.stderr
    return done.stdout


def replay(home: Path, work: Path, *options: str) -> tuple[str, str, dict[str, Any]]:
    """Replay what was recorded; returns what it has printed, what was said, and the report."""
    recorded = next(tape for tape in reversed(tapes_of(home)) if tape.trace.parent is None)
    done = command_line("replay", recorded.trace.id, "--report", work / "report.json", *options, home=home, cwd=work)
    found = json.loads((work / "report.json").read_text())
    assert done.returncode == (0 if found["held"] else 1), done.stderr
    return done.stdout, done.stderr, found


def test_what_c_code_changes_is_refused(outside: Path, home: Path, tmp_path: Path) -> None:
    """It writes, makes, moves, cuts and removes nothing outside of the working copy, unless it may write there."""
    work = tmp_path / "work"
    assert record(home, work, CHANGES, outside) == "done done\ndone done\ndone\ndone 0\n"
    assert contents(outside) == {"cut": "", "folder": "", "gone": "old", "new": "new"}
    filled(outside)
    printed, _, report = replay(home, work)
    assert printed == "EACCES EACCES\nEACCES EACCES\nEACCES\nEACCES 3\n"
    assert (contents(outside), report["files_isolated"]) == (OLD, True)
    printed, _, report = replay(home, work, "--allow", f"write={outside}")
    assert (printed, report["held"]) == ("done done\ndone done\ndone\ndone 0\n", True)
    assert contents(outside) == {"cut": "", "folder": "", "gone": "old", "new": "new"}


def test_what_is_free_stays_so(outside: Path, home: Path, tmp_path: Path) -> None:
    """The working copy, the temporary folder, devices, shared memory, what a process sets of itself, bytecode; and
    what was not there when it was allowed."""
    work = tmp_path / "work"
    source = """
import multiprocessing.shared_memory, subprocess, tempfile
made = tempfile.mkdtemp()
print(write("own"), write("/dev/null"), write(made + "/own"), write("/proc/self/comm"))
os.makedirs("a/b", exist_ok=True); os.replace("own", "a/b/own"); os.link("a/b/own", "linked"); os.remove("linked")
shared = multiprocessing.shared_memory.SharedMemory(create=True, size=10); shared.close(); shared.unlink()
lock = multiprocessing.get_context("spawn").Lock()
print(subprocess.run(["sh", "-c", "echo of a shell > a/shell; cat a/shell; rm a/shell"]).returncode)
print(write(outside + "/later/file") if os.path.isdir(outside + "/later") else "none")
"""
    expected = "done done done done\nof a shell\n0\nnone\n"
    assert record(home, work, source, outside).split() == expected.split()
    printed, _, report = replay(home, work)
    assert (printed.split(), report["held"], report["files_isolated"]) == (expected.split(), True, True)
    source = 'os.makedirs(outside + "/later", exist_ok=True); print(write(outside + "/later/file"))'
    assert record(home, work, source, outside) == "done\n"
    (outside / "later" / "file").unlink()
    (outside / "later").rmdir()
    printed, _, report = replay(home, work, "--allow", f"write={outside}/later")
    assert (printed, report["held"]) == ("done\n", True)


def test_other_programs_change_nothing_outside(outside: Path, home: Path, tmp_path: Path) -> None:
    """A command that the recording ran runs again, and leaves what is outside as it is; who allows the command lets it
    do what it does, and so does who lets tools go live."""
    work, command = tmp_path / "work", f"rm {outside}/there && echo new > {outside}/new && echo own > own"
    source = f"import subprocess; print(subprocess.run(['sh', '-c', {command!r}]).returncode == 0)"
    assert record(home, work, source, outside) == "True\n"
    assert contents(outside) == {"cut": "old", "moved": "old", "new": "new\n"}
    filled(outside)
    printed, said, _ = replay(home, work)
    assert (printed, contents(outside)) == ("False\n", OLD)
    assert ", writing in the working copy only: sh -c" in said
    assert "--allow write=PATH, or run=COMMAND" in said
    for options in (("--allow", "run=sh"), ("--live", "tool")):
        filled(outside)
        printed, said, report = replay(home, work, *options)
        assert (printed, report["files_isolated"], ", writing" in said) == ("True\n", False, False)
        assert "new" in contents(outside)


def test_where_the_kernel_is_older(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no fence, rather than one with a gap in it; nothing stays open of one that was not put up."""
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(fence, "_LEAST_VERSION", 1 << 20)
    assert fence.fence_for(["/tmp"]) is None
    monkeypatch.setattr(fence, "_LEAST_VERSION", 3)
    monkeypatch.setattr(fence, "_let_in", lambda *given: False)
    assert fence.fence_for(["/tmp"]) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_program_that_cannot_be_begun(outside: Path, home: Path, tmp_path: Path) -> None:
    """Is told as ever, with 3."""
    record(home, tmp_path / "work", "", outside)
    done = command_line("replay", "@last", "--", "./nothing", home=home, cwd=tmp_path / "work")
    assert (done.returncode, "'./nothing' does not exist" in done.stderr) == (3, True), done.stderr
