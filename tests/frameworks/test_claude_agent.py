"""Claude's Agent SDK, whose agent is in another program (`agents/claude_command.py` stands for it)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rashomon.model import Kind
from tests.support import rashomon, tapes_of

AGENTS = Path(__file__).resolve().parent / "agents"


@pytest.mark.slow
def test_agents_in_another_program(python_with: Callable[[str], Path], tmp_path: Path, replays: int) -> None:
    """Two conversations at once are recorded; each replay holds, prints the same, and starts no agent. The program's
    own tools, hooks and permissions run again."""
    home, log, command = tmp_path / "home", tmp_path / "log", tmp_path / "claude"
    command.write_text(f"#!{sys.executable}\n{(AGENTS / 'claude_command.py').read_text()}")
    command.chmod(0o755)
    env = {"CLAUDE_LOG": str(log)}
    run = ("record", "--", python_with("claude_agent"), AGENTS / "claude_client.py", command)
    recorded = rashomon(*run, home=home, env=env)
    assert recorded.returncode == 0, recorded.stderr
    (tape,) = tapes_of(home)
    assert {step.kind for step in tape.steps} == {Kind.TOOL}
    assert sorted({step.name for step in tape.steps}) == [
        "claude.messages", "claude.prompt", "claude.request", "claude.response", "claude.start"
    ]  # fmt: skip
    assert tape.trace.coverage.complete
    assert recorded.stdout.count("hook:") == recorded.stdout.count("allowed:") == 4
    done = log.read_text()
    assert done.count("\n") == 4
    command.unlink()
    for _ in range(replays):
        replayed = rashomon("replay", tape.trace.id, home=home, env=env)
        assert (replayed.returncode, replayed.stdout) == (0, recorded.stdout), replayed.stderr
    assert log.read_text() == done
