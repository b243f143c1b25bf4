"""What the reading commands show in a real terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli.conftest import refund, write_journal

OLD = "000100000000000000000000aa"
NEW = "000200000000000000000000bb"
BAD = "000300000000000000000000cc"
Screen = Callable[..., tuple[int, str]]


@pytest.fixture
def terminal(tape_home: Path, tmp_path: Path) -> Screen:
    """Run a command with a pseudo-terminal of 100 columns for its output; its exit code and what it drew."""

    def run(*arguments: str, stderr: int | None = None, **env: str) -> tuple[int, str]:
        controller, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        environ = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "CI")}
        environ |= {"RASHOMON_HOME": str(tape_home), "TERM": "xterm-256color", "TZ": "UTC", **env}
        command = [sys.executable, "-m", "rashomon.cli", *arguments]
        child = subprocess.Popen(command, cwd=tmp_path, env=environ, stdin=screen, stdout=screen, stderr=stderr)
        os.close(screen)
        drawn = b""
        while chunk := _read(controller):
            drawn += chunk
        os.close(controller)
        return child.wait(), drawn.decode("utf-8", "replace")

    return run


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 65536)
    except OSError:  # Linux: the other side is closed
        return b""


def plain(drawn: str) -> str:
    """What was drawn, without colour."""
    return re.sub(r"\x1b\[[0-9;]*m", "", drawn)


def test_show_in_colour(terminal: Screen) -> None:
    """In a terminal each kind of step has its sign and the header its colours, in 100 columns."""
    code, drawn = terminal("show", OLD)
    assert code == 0
    assert "\x1b[" in drawn
    assert "● get_order" in plain(drawn)
    assert "◆ gpt-4o" in plain(drawn)
    assert max(len(line) for line in plain(drawn).splitlines()) <= 100


def test_no_color_is_honoured(terminal: Screen) -> None:
    """With NO_COLOR set nothing is coloured, and nothing else is lost."""
    _, drawn = terminal("show", BAD, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", drawn)
    assert "INCOMPLETE" in drawn
    assert "RateLimitError" in drawn


def test_ls_cuts_ids_to_what_tells_them_apart(terminal: Screen) -> None:
    """In a terminal an id is as short as it can be, and still works as a reference."""
    _, drawn = terminal("ls")
    short = [line.split()[0] for line in plain(drawn).splitlines()[1:]]
    assert short == [BAD[:8], NEW[:8], OLD[:8]]
    assert terminal("show", short[2])[0] == 0


def test_diff_stands_side_by_side(terminal: Screen) -> None:
    """In a terminal the two traces stand side by side, with what changed below each pair."""
    code, drawn = terminal("diff", OLD, NEW)
    text = plain(drawn)
    assert code == 1
    assert re.search(r'"I refunded order A-1042\.".*~.*"I cannot refund order A-1042\."', text)
    assert "3 steps the same" in text
    assert 'response.status: "shipped" → "lost"' in text
    assert "follows from step 3" in text


def test_foreign_text_stays_text(terminal: Screen) -> None:
    """Recorded control characters never reach the terminal, and brackets are no markup."""
    for arguments in (["show", BAD], ["show", BAD, "1"], ["diff", BAD, OLD], ["sql", "select title from steps"]):
        _, drawn = terminal(*arguments)
        assert "\x1b]" not in drawn
        assert "\x07" not in drawn
    assert "[bold]markup[/bold]" in plain(terminal("show", BAD, "1")[1])


def test_empty_home_says_what_to_do(terminal: Screen, tmp_path: Path) -> None:
    """In a terminal an empty list says how to record the first trace."""
    (tmp_path / "new").mkdir()
    code, drawn = terminal("ls", "--home", str(tmp_path / "new"))
    assert code == 0
    assert "rashomon record -- python agent.py" in plain(drawn)


HOSTILE = "a\x1b]0;stolen\x07 \x9b2J\u202eb 👩‍👩‍👧 é"


def test_a_name_in_an_error_is_foreign_text(terminal: Screen, tape_home: Path) -> None:
    """The names that an error lists are recorded text: they are shown and not sent."""
    named(tape_home)
    terminal("ls")  # takes it in, with a bar on stderr
    code, drawn = terminal("show", "0009", stderr=subprocess.STDOUT)
    assert code == 2
    assert r"a\x1b]0;stolen\x07 \x9b2J\u202eb" in drawn
    assert not set("\x1b\x07\x9b\u202e").intersection(drawn)


def test_json_in_a_terminal_cannot_drive_it(terminal: Screen, tape_home: Path) -> None:
    """What a terminal obeys and JSON may hold as it is stands escaped there; the document is the same."""
    named(tape_home)
    for arguments in (["ls", "--json"], ["show", OLD, "--json"]):
        _, drawn = terminal(*arguments)
        assert not set("\x1b\x07\x9b\u202e").intersection(drawn)
        assert r"\u009b2J\u202eb 👩‍👩‍👧 é" in drawn
    assert json.loads(drawn)["trace"]["name"] == HOSTILE


def named(home: Path) -> None:
    """Give the oldest trace a name that would drive a terminal."""
    path = home / "journals" / f"{OLD}.rsj"
    path.unlink()
    tape = refund(OLD)
    write_journal(path, tape._replace(trace=tape.trace._replace(name=HOSTILE)))
