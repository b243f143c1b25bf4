"""`rashomon demo`: without keys, in an empty folder, it tells its story to the end."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support import rashomon


def test_the_demo_tells_its_story(tmp_path: Path) -> None:
    """It records a refund that goes wrong, replays it, and shows the step that was changed and what follows."""
    environ = {name: value for name, value in os.environ.items() if "API_KEY" not in name and "RASHOMON" not in name}
    environ["RASHOMON_HOME"] = str(tmp_path / "elsewhere")
    command = [sys.executable, "-m", "rashomon.cli", "demo"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    story = done.stdout
    paid, refused = "It has been paid", "cannot be refunded under policy 2"
    assert story.count(paid) >= 2, "the recording, and its exact replay"
    assert refused in story
    assert "the replay held: 6 of 6 steps" in done.stderr
    assert "the replay diverged (2 exact, 1 stubbed, 1 live" in done.stderr
    assert "response.window_days: 30 → 14" in story
    assert "follows from step 2" in story
    hint = story.splitlines()[-1].removeprefix("Look around: rashomon tui ")
    typed = [sys.executable, "-m", "rashomon.cli", "diff", *shlex.split(hint)]
    pasted = subprocess.run(typed, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert (pasted.returncode, "window_days" in pasted.stdout) == (1, True), pasted.stderr
    listed = rashomon("ls", "--json", home=tmp_path / "rashomon-demo" / ".rashomon")
    assert listed.returncode == 0
    assert listed.stdout.count('"name": "refund"') == 3


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """One sentence, what to do, exit 3."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = rashomon("demo", "--folder", blocked / "demo", home=tmp_path)
    assert done.returncode == 3
    assert "The demo cannot write to" in done.stderr
    assert "--folder" in done.stderr
