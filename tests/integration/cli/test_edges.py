"""How the command line fails: in sentences, with exit codes, without tracebacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OLD = "000100000000000000000000aa"
Run = Callable[..., Any]
RAISING = """
import rashomon.cli as cli
def stop(arguments):
    raise {}
cli._run = stop
raise SystemExit(cli.main(["ls"]))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "nothing-like-it"],
        ["show", "0"],  # a prefix of three traces
        ["show", OLD, "99"],
        ["show", OLD, "--raw", "response"],
        ["show"],
        ["ls", "--since", "yesterday"],
        ["ls", "--limit", "none"],
        ["ls", "--wrong"],
        ["ls", "--where", "nonsense = 1"],
        ["lss"],
        ["tui"],
        ["record"],
        ["replay", "nothing-like-it"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_explained(rashomon: Run, arguments: list[str]) -> None:
    """Bad usage: exit code 2, nothing on stdout, what is wrong and what to do on stderr."""
    ran = rashomon(*arguments)
    assert ran.code == 2, ran.out + ran.err
    assert ran.out == ""
    assert ran.err.strip()
    assert "Traceback" not in ran.err


def test_ambiguous_prefix_names_the_choices(rashomon: Run) -> None:
    """A prefix that several traces share is refused, and the message says which they are."""
    ran = rashomon("show", "000")
    assert ran.code == 2
    assert OLD[:4] in ran.err


def test_foreign_database_is_left_alone(rashomon: Run, tape_home: Path) -> None:
    """A store.duckdb that somebody else made: exit code 4, and the file stays as it was."""
    import duckdb

    path = tape_home / "store.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table mine (x integer)")
    before = path.read_bytes()
    ran = rashomon("ls")
    assert ran.code == 4
    assert "Traceback" not in ran.err
    assert path.read_bytes() == before


def test_empty_home_lists_nothing(rashomon: Run, tmp_path: Path) -> None:
    """A home without recordings is no error: nothing in a pipe, an empty list as JSON."""
    home = str(tmp_path / "new")
    assert rashomon("ls", "--home", home)[:2] == (0, "")
    assert rashomon("ls", "--home", home, "--json").json()["traces"] == []


def test_home_option_wins(rashomon: Run, tmp_path: Path, tape_home: Path) -> None:
    """`--home` counts before RASHOMON_HOME."""
    ran = rashomon("ls", "--home", str(tape_home), env={"RASHOMON_HOME": str(tmp_path / "elsewhere")})
    assert OLD in ran.out


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no SIGPIPE here")
def test_closed_pipe_is_quiet(tape_home: Path) -> None:
    """A reader that goes away ends the command without a word, as 141 in a shell."""
    environ = {**os.environ, "RASHOMON_HOME": str(tape_home)}
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "rashomon.cli", "ls"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environ, check=False)
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode in (-signal.SIGPIPE, 141)


def test_interrupt_is_quiet(tmp_path: Path) -> None:
    """Ctrl-C ends a command with 130 and without a traceback."""
    code = RAISING.format("KeyboardInterrupt")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


def test_bug_of_ours_is_one_line(tmp_path: Path) -> None:
    """An unexpected exception gives exit code 70 and the way to its traceback; RASHOMON_DEBUG shows it."""
    code = RAISING.format("ValueError('odd')")
    environ = {key: value for key, value in os.environ.items() if key != "RASHOMON_DEBUG"}
    quiet = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    environ["RASHOMON_DEBUG"] = "1"
    loud = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert quiet.returncode == 70
    assert "ValueError: odd" in quiet.stderr
    assert "RASHOMON_DEBUG=1" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_ingest_refuses_what_is_no_journal(rashomon: Run, tape_home: Path, tmp_path: Path) -> None:
    """A named file that is no journal: exit code 4, and nothing of it gets into the home."""
    file = tmp_path / "notes.rsj"
    file.write_text("shopping: milk, bread and a good deal more than sixty-four bytes of other things")
    ran = rashomon("ingest", str(file))
    assert ran.code == 4
    assert "notes.rsj is not a Rashomon journal" in ran.err
    assert not (tape_home / "journals" / "notes.rsj").exists()


def test_damage_is_told_each_time(rashomon: Run, tape_home: Path) -> None:
    """A foreign file in the home's journals is named by `ingest`, however often it is asked."""
    (tape_home / "journals" / "odd.rsj").write_bytes(b"not a journal at all" * 10)
    for _ in range(2):
        ran = rashomon("ingest", "--json")
        assert ran.code == 4
        assert [one["journal"] for one in ran.json()["unread"]] == ["odd.rsj"]
