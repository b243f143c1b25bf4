"""A web server that forks its workers, each of which calls a model: a witness for what happens at a fork."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from rashomon.testing import ModelRequest, ProviderServer, Reply, jitter
from tests.support import environment, tapes_of

APPLICATION = Path(__file__).resolve().parent / "agents"
REQUESTS = 40


class Echo:
    """Answers so that it shows which question was asked; the first answer waits for a second question.

    So a second worker has to be there: one that answers a single request at a time is busy.
    """

    def __init__(self) -> None:
        self._asked = 0
        self._second = asyncio.Event()

    async def __call__(self, request: ModelRequest) -> Reply:
        self._asked += 1
        if self._asked == 2:
            self._second.set()
        await self._second.wait()
        return Reply(f"answer to {request.last_user_text}")


@contextmanager
def gunicorn(python: Path, home: Path, *options: str, **env: str) -> Iterator[str]:
    """A recorded gunicorn with two workers; gives its address, ends it with SIGTERM, as its users do."""
    server = (python, "-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:0", *options, "gunicorn_app")
    command = [sys.executable, "-m", "rashomon.cli", "record", "--", *map(str, server)]
    with subprocess.Popen(
        command, env={**environment(home), **env}, cwd=APPLICATION, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        heard = ""
        for line in process.stderr:
            heard += line
            if found := re.search(r"Listening at: (\S+)", line):
                break
        else:
            pytest.fail(f"gunicorn did not start:\n{heard}")
        try:
            yield found.group(1)
        finally:
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, heard + rest


def ask(address: str, number: int) -> tuple[int, str]:
    """One request: the number of the process that answered, and its answer."""
    with urllib.request.urlopen(f"{address}/?q=question+{number}", timeout=60) as response:
        pid, _, text = response.read().decode().partition(" ")
    return int(pid), text


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [(), ("--preload",), ("--max-requests", "9"), ("--threads", "3")],
    ids=["forked", "preloaded", "recycled", "threaded"],
)
def test_calls_of_forked_workers_are_all_recorded_and_each_by_its_own_process(
    python_with: Callable[[str], Path], tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Of requests that workers answer at the same time, every call is recorded once, in a lane of its worker."""
    home = tmp_path / "home"
    with (
        ProviderServer(Echo(), delay=jitter(0.0, 0.03, seed=1)) as server,
        gunicorn(python_with("gunicorn"), home, *options, **server.environ()) as address,
        ThreadPoolExecutor(6) as pool,
    ):
        answers = list(pool.map(lambda number: ask(address, number), range(REQUESTS)))
    assert [text for _, text in answers] == [f"answer to question {number}" for number in range(REQUESTS)]
    (tape,) = tapes_of(home)
    processes = {process.number: process for process in tape.trace.processes}
    assert len({process.lane for process in processes.values()}) == len(processes)
    recorded = {}
    for step in tape.steps:
        question = json.loads(step.request.body)["messages"][0]["content"]
        assert f"answer to {question}" in step.response.body.decode()
        assert question not in recorded
        process = processes[int(step.id.partition(".")[0])]
        assert step.lane[: len(process.lane)] == process.lane, (step.id, step.lane, process.lane)
        assert "no-lane" not in step.marks
        recorded[question] = process.pid
    assert recorded == {f"question {number}": pid for number, (pid, _) in enumerate(answers)}
    assert "--threads" in options or len(set(recorded.values())) > 1
    assert tape.trace.coverage.complete
    assert not tape.trace.losses
