"""Which state of a working copy a recording is from: told by git, bounded, without secrets, never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rashomon import git
from tests.support import rashomon, tapes_of

SECRET = "hunter2-hunter2-hunter2"
KEY = "sk-proj-" + "a1B2" * 10


def run_git(folder: Path, *words: str) -> str:
    """Run git in a folder."""
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    environ = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.run(["git", *words], cwd=folder, env=environ, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A working copy with one commit."""
    folder = tmp_path / "copy"
    folder.mkdir()
    run_git(folder, "init", "-q", "-b", "trunk")
    (folder / "agent.py").write_text("print('first')\n")
    (folder / ".gitignore").write_text("home/\n")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-q", "-m", "first")
    return folder


def recorded(folder: Path) -> dict[str, object]:
    """Record the agent there; what the trace says of git."""
    done = rashomon("record", "--quiet", "--", sys.executable, "agent.py", home=folder / "home", cwd=folder)
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = tapes_of(folder / "home")[-1].trace.provenance.get("git", {})
    return told


def test_a_clean_copy(copy: Path) -> None:
    """A recording in a clean working copy knows commit and branch, and that nothing was changed."""
    commit = run_git(copy, "rev-parse", "HEAD").strip()
    assert recorded(copy) == {"commit": commit, "branch": "trunk", "dirty": False}


def test_what_was_not_committed_is_kept(copy: Path) -> None:
    """Changes are kept as a difference that git itself can apply; new files are named."""
    (copy / "agent.py").write_text("print('second')\n")
    (copy / "new é.txt").write_text("x")
    told = recorded(copy)
    assert (told["dirty"], told["untracked"]) == (True, ["new é.txt"])
    run_git(copy, "checkout", "-q", "agent.py")
    (copy / "home" / "d.patch").write_text(str(told["diff"]))
    run_git(copy, "apply", "home/d.patch")
    assert (copy / "agent.py").read_text() == "print('second')\n"


def test_secrets_of_a_difference_stay_out(copy: Path) -> None:
    """A key and the values of settings files that were changed are on no disk of ours; code stays readable."""
    lines = [f"DATABASE_PASSWORD={SECRET}", f'API_TOKEN = "{SECRET}"', f"  password: {SECRET}", f"key {KEY}",
             "max_tokens = compute_tokens(12345678)", "def f(token: TokenType) -> None: ..."]  # fmt: skip
    (copy / "agent.py").write_text("print('x')\n'''\n" + "\n".join(lines) + "\n'''\n")
    told = str(recorded(copy)["diff"])
    written = b"".join(path.read_bytes() for path in (copy / "home").rglob("*") if path.is_file())
    assert SECRET.encode() not in written
    assert KEY.encode() not in written
    assert "DATABASE_PASSWORD=<secret>" in told
    assert lines[4] in told
    assert lines[5] in told


def test_a_long_difference_is_cut_between_lines(copy: Path) -> None:
    """A difference is kept up to a bound, which is said; a private key of which only the beginning is left, is not."""
    half = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEabcdefgh\n" * 20_000
    (copy / "agent.py").write_text("print('x')\n'''\n" + "a line\n" * 100 + half + "'''\n")
    told = recorded(copy)
    assert told["cut"] is True
    assert str(told["diff"]).endswith("+a line\n+")
    (copy / "agent.py").write_text("print('x')\n" + "# a line of text\n" * 10_000)
    told = recorded(copy)
    assert len(str(told["diff"])) <= git.MAX_DIFF
    assert str(told["diff"]).endswith("\n+# a line of text\n")


def test_nothing_to_tell(tmp_path: Path, copy: Path) -> None:
    """Outside a working copy, without git, or in a folder that is gone, a recording simply has no such fact."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "agent.py").write_text("print('x')\n")
    assert recorded(outside) == {}
    assert git.provenance(str(tmp_path / "gone")) == {}
    done = rashomon("record", "--quiet", "--", sys.executable, "agent.py", home=copy / "home", cwd=copy,
                    env={"PATH": str(outside)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert tapes_of(copy / "home")[-1].trace.provenance == {}


def test_a_repository_without_commits(tmp_path: Path) -> None:
    """Before the first commit there is a branch and no commit."""
    run_git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "a").write_text("x")
    assert git.provenance(str(tmp_path)) == {"commit": None, "branch": "trunk", "dirty": True, "untracked": ["a"]}


def test_a_slow_git_is_not_waited_for(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What git has not answered in time is named and left out, and no process of ours is left behind."""
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    real = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    slow.write_text(f'#!/bin/sh\ncase "$*" in *" diff "*) exec sleep 600;; esac\nexec {real} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    told = git.provenance(str(copy), 5.0)
    assert told["missing"] == ["diff"]
    assert told["branch"] == "trunk"
    left = subprocess.run(["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True)
    assert "sleep 600" not in left.stdout


def test_it_travels_in_a_bundle_and_is_shown(copy: Path, tmp_path: Path) -> None:
    """Commit and difference are in an exported bundle, in the index and in the trace, and `show` tells of them."""
    (copy / "agent.py").write_text("print('second')\n")
    told = recorded(copy)
    assert rashomon("export", "@last", "-o", tmp_path / "b.rsh", home=copy / "home").returncode == 0
    assert rashomon("import", tmp_path / "b.rsh", home=tmp_path / "other").returncode == 0
    shown = rashomon("show", "@last", home=tmp_path / "other").stdout
    assert str(told["commit"])[:12] in shown
    assert "trunk" in shown
    document = json.loads(rashomon("show", "@last", "--json", home=tmp_path / "other").stdout)
    assert document["trace"]["provenance"]["git"] == told
    assert document["trace"]["provenance"]["imported"]["file"] == "b.rsh"
