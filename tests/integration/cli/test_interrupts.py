"""Ctrl-C at any moment of a command: exit code 130, nothing said, nothing lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
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


@pytest.mark.parametrize(
    "words",
    [["ingest"], ["grep", "no-such-word"], ["gc", "--keep", "0s", "--yes"], ["verify"]],
    ids=lambda w: w[0],
)
def test_commands_end_at_once_and_can_be_repeated(tmp_path: Path, words: list[str]) -> None:
    """Interrupted a little later each time, a command says nothing, and the home is sound."""
    home = tmp_path / "home"
    store_journals.write_journals(home / "journals", 20, 600, 1)
    for after_s in (0.5, 0.7, 0.9, 1.2):
        command = [sys.executable, "-m", "rashomon.cli", *words]
        process = subprocess.Popen(
            command, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        if process.returncode in (130, -signal.SIGINT):  # the second: before our first line, or after our last
            assert "rashomon:" not in said
        else:
            assert process.returncode in (0, 1), said
    assert rashomon(*words, home=home).returncode in (0, 1)
    assert rashomon("verify", home=home).returncode == 0
