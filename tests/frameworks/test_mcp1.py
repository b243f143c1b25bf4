"""Sessions of mcp 1, whose seam is another one than that of mcp 2 (`tests/integration/recording/test_mcp.py`)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rashomon.model import Kind
from tests.support import environment, rashomon, tapes_of

AGENTS = Path(__file__).resolve().parent / "agents"
CLIENT = AGENTS / "mcp1_client.py"
ASKED = [
    ("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}),
    ("tools/list", {}),
    ("tools/call", {"name": "number", "arguments": {}}),
    ("tools/call", {"name": "refuse", "arguments": {"reason": "not today"}}),
]


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


@pytest.mark.slow
def test_a_server_of_mcp_1_is_recorded_itself(python_with: Callable[[str], Path], tmp_path: Path, replays: int) -> None:
    """With the recorder in the command that its client starts: a replay needs no client, and says the same again."""
    home, answers = tmp_path / "home", []
    record = [sys.executable, "-m", "rashomon.cli", "record", "--"]
    command = [*record, str(python_with("mcp1")), str(AGENTS / "mcp1_server.py"), str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, env=environment(home)) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        for number, (method, asked) in enumerate(ASKED):
            message = {"jsonrpc": "2.0", "id": number, "method": method, "params": asked}
            print(json.dumps(message), file=server.stdin, flush=True)
            answers.append(server.stdout.readline())
            if method == "initialize":
                print('{"jsonrpc": "2.0", "method": "notifications/initialized"}', file=server.stdin, flush=True)
        server.stdin.close()
    assert server.returncode == 0
    assert [json.loads(answer)["id"] for answer in answers] == [0, 1, 2, 3]
    (tape,) = tapes_of(home)
    assert b"".join(step.response.body for step in tape.steps).count(b"tools/call") == 2
    for _ in range(replays):
        replayed = rashomon("replay", tape.trace.id, home=home, stdin=subprocess.DEVNULL)
        assert (replayed.returncode, replayed.stdout) == (0, "".join(answers)), replayed.stderr
