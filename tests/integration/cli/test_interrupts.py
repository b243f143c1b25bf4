"""Ctrl-C at any moment of a command: exit code 130, nothing said, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from rashomon import cli
from rashomon.errors import DamagedData
from tests.bench import store_journals
from tests.support import environment, rashomon


@pytest.mark.parametrize("error", [RuntimeError("Query interrupted"), DamagedData("It cannot be read.", "Move it.")])
def test_what_an_interrupt_makes_fail_is_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """A library that swallows Ctrl-C and fails instead is no bug and no damage: nothing may say `move it away`."""

    def interrupted(arguments: list[str]) -> NoReturn:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise error from None
        raise AssertionError("Ctrl-C did nothing")

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main(["grep", "x"]) == 130
    assert capsys.readouterr() == ("", "")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("program", "said"), [("rashomon", False), ("own.py", True)])
def test_an_interrupt_before_the_command_has_begun_says_nothing(program: str, said: bool) -> None:
    """While a command's first modules are imported, Ctrl-C shows no traceback; a program that imports them, its own."""
    code = f"import sys; sys.argv = ['/bin/{program}', 'ls']; import rashomon.cli; raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGINT
    assert bool(done.stderr) is said


COMMAND = """
import os, runpy, sys
home, left, told = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
begun = False
def look(event, args):
    global begun, left
    begun = begun or event == "open" and str(args[0]).startswith(home)
    left -= begun
    if begun and left == -1:
        os.write(told, b"!")
sys.argv[:] = ["rashomon", *sys.argv[4:]]
sys.addaudithook(look)
runpy.run_module("rashomon.cli", run_name="__main__", alter_sys=True)
"""
"""Runs a command, and tells when it has opened something in the home, and imported or opened so much more since."""


def interrupted(home: Path, words: list[str], after: int) -> bool:
    """Whether a command, interrupted when it is at its work, ended by that; then it has said nothing."""
    reading, writing = os.pipe()
    command = [sys.executable, "-c", COMMAND, str(home), str(after), str(writing), *words]
    with subprocess.Popen(
        command, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, pass_fds=[writing]
    ) as process:
        os.close(writing)
        with open(reading, "rb") as at_work:
            if at_work.read(1):  # else it has ended before
                process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    if process.returncode in (130, -signal.SIGINT):  # the second: after our last line
        assert "rashomon:" not in said
        return True
    assert process.returncode in (0, 1), said
    return False


@pytest.mark.parametrize(
    "words",
    [["ingest"], ["grep", "no-such-word"], ["gc", "--keep", "0s", "--yes"], ["verify"]],
    ids=lambda w: w[0],
)
def test_commands_end_at_once_and_can_be_repeated(tmp_path: Path, words: list[str]) -> None:
    """Interrupted a little later each time, a command says nothing, and the home is sound."""
    home = tmp_path / "home"
    store_journals.write_journals(home / "journals", 20, 600, 1)
    assert sum([interrupted(home, words, after) for after in (0, 20, 100, 300, 900)])
    assert rashomon(*words, home=home).returncode in (0, 1)
    assert rashomon("verify", home=home).returncode == 0
