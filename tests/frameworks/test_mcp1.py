"""Sessions of mcp 1, whose seam is another one than that of mcp 2 (`tests/integration/recording/test_mcp.py`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rashomon.model import Kind
from tests.support import rashomon, tapes_of

CLIENT = Path(__file__).resolve().parent / "agents" / "mcp1_client.py"


@pytest.mark.slow
def test_a_session_of_mcp_1(python_with: Callable[[str], Path], tmp_path: Path, replays: int) -> None:
    """Each request is recorded, no replay runs a tool again, and each prints what was printed."""
    home, log = tmp_path / "home", tmp_path / "log"
    recorded = rashomon("record", "--", python_with("mcp1"), CLIENT, log, home=home)
    assert recorded.returncode == 0, recorded.stderr
    (tape,) = tapes_of(home)
    kinds = [step.kind for step in tape.steps]
    assert kinds == [Kind.HTTP] * 3 + [Kind.MCP] * 6 + [Kind.HTTP]
    done = log.read_text()
    assert done == "number\n" * 4
    for _ in range(replays):
        replayed = rashomon("replay", tape.trace.id, home=home)
        assert (replayed.returncode, replayed.stdout) == (0, recorded.stdout), replayed.stderr
    assert log.read_text() == done
