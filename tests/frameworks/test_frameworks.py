"""Agents on other people's frameworks, which know nothing of Rashomon: recorded once, replayed offline many times."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.frameworks.provider import provider
from tests.support import environment

AGENTS = Path(__file__).resolve().parent / "agents"
SETTINGS = {"OPENAI_AGENTS_DISABLE_TRACING": "1"}
"""What each framework documents for a program that is to speak with its model only."""
RUNS = {"pydantic_ai": 4}
"""How many runs an agent makes at once; each asks its model three times, and one of them is refused once."""
CITIES = {"pydantic_ai": 10}
"""For how many cities the agent's tools ask the weather service."""
PATIENCE = 180.0
"""Seconds after which a process counts as hanging."""


class Ran(NamedTuple):
    """How one process ended; None for one that had to be killed."""

    exit_code: int | None
    stdout: str
    stderr: str


class Agent(NamedTuple):
    """A program on a framework, and the interpreter of the framework's environment."""

    framework: str
    python: Path

    @property
    def command(self) -> tuple[Path, Path]:
        """How a user starts it."""
        return self.python, AGENTS / f"{self.framework}_agent.py"


@pytest.fixture(params=sorted(path.stem.removesuffix("_agent") for path in AGENTS.glob("*_agent.py")))
def agent(request: pytest.FixtureRequest, python_with: Callable[[str], Path]) -> Agent:
    """The agent on each framework that was asked for."""
    return Agent(request.param, python_with(request.param))


def run(*arguments: str | Path, home: Path, **more: str) -> Ran:
    """`rashomon ARGUMENTS` in an environment without a provider, unless `more` names one."""
    env = {name: value for name, value in environment(home).items() if not name.endswith(("_BASE_URL", "_API_KEY"))}
    command = [sys.executable, "-m", "rashomon.cli", *map(str, arguments)]
    try:
        done = subprocess.run(
            command, env={**env, **SETTINGS, **more}, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as late:
        return Ran(None, "", f"{late}\n{late.stderr!r}")
    return Ran(done.returncode, done.stdout, done.stderr)


def record(agent: Agent, home: Path) -> tuple[Ran, dict[str, Any]]:
    """One recording against a provider that is gone afterwards, with the report of `rashomon record`."""
    report = home.with_name("report.json")
    with provider() as server:
        urls = {**server.environ(), "WEATHER_BASE_URL": server.url}
        recorded = run("record", "--report", report, "--", *agent.command, home=home, **urls)
        assert not server.failures
    assert recorded.exit_code == 0, recorded.stderr
    return recorded, json.loads(report.read_text())


def fault_of(replayed: Ran, recorded: Ran) -> str | None:
    """What is wrong with a replay, for people; None when it did what the recorded run did."""
    if replayed.exit_code is None:
        return f"it hung:\n{replayed.stderr[-2000:]}"
    if replayed.exit_code:
        return f"exit code {replayed.exit_code}:\n{replayed.stderr[-2000:]}"
    if replayed.stdout != recorded.stdout:
        lines = difflib.unified_diff(recorded.stdout.splitlines(), replayed.stdout.splitlines(), lineterm="", n=0)
        return "it printed something else:\n" + "\n".join(list(lines)[:20])
    return None


@pytest.mark.slow
def test_an_unchanged_agent_is_recorded_whole_and_replays_offline(agent: Agent, tmp_path: Path, replays: int) -> None:
    """Every call of the agent is recorded; each replay ends with exit code 0 and prints what was printed."""
    home = tmp_path / "home"
    recorded, report = record(agent, home)
    assert report["kinds"]["llm"] == 3 * RUNS.get(agent.framework, 3) + 1
    assert report["kinds"]["http"] == CITIES.get(agent.framework, 8)
    assert report["coverage"]["complete"], report
    assert not report["losses"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # so that each runs beside others, as on a busy machine
        results = list(pool.map(lambda _: run("replay", report["trace"], home=home), range(replays)))
    results.append(run("replay", "@last", home=home))  # a replay is a trace like any other
    faults = [fault for result in results if (fault := fault_of(result, recorded)) is not None]
    assert not faults, f"{len(faults)} of {len(results)} replays went wrong. The first: {faults[0]}"
