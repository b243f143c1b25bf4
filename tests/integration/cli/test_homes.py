"""A home that is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ["ls", "ls status:err", "show @last", "grep word", "sql 'select 1'", "verify", "ingest", "gc --keep 1d",
            "forget --text somebody", "note @last text", "export @last -o x.rsh", "salvage"]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[0])
def test_a_misspelt_home_is_said(tmp_path: Path, command: str) -> None:
    """A home that is named and is not there is told of: it is not one in which nothing was recorded and all is well."""
    import shlex

    words = [sys.executable, "-m", "rashomon.cli", *shlex.split(command), "--home", "mispelt"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    said = "rashomon: mispelt is no folder: nothing has been recorded there. Check --home.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert list(tmp_path.iterdir()) == []
