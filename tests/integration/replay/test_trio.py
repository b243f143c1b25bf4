"""Programs on trio: whose answers, which calls were cancelled, what is not controlled."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from rashomon.model import End
from rashomon.recorders.trio_lanes import ORDER
from rashomon.testing import ProviderServer
from tests.support import needs_apart, tapes_of, with_apart
from tests.support import rashomon as command_line

pytestmark = needs_apart("trio")

PROGRAM = """
import json, sys
import anyio, httpx2, openai, trio

client = openai.AsyncOpenAI()
got, threads = {}, {}

async def ask(text):
    message = {"role": "user", "content": text}
    return (await client.chat.completions.create(model="gpt-4o", messages=[message])).id

def blocking(number):
    blocker = openai.OpenAI()
    message = {"role": "user", "content": "The same in threads?"}
    return blocker.chat.completions.create(model="gpt-4o", messages=[message]).id

async def worker(number):
    await trio.sleep(0.01 * (number % 3))
    got[number] = [await ask("The same?"), await ask("The same?")]
    threads[number] = await trio.to_thread.run_sync(blocking, number)
    async with anyio.create_task_group() as group:
        group.start_soon(inner, number)

async def inner(number):
    got[number].append(await ask("The same?"))

async def main():
    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(worker, number)
    with trio.move_on_after(0.2) as scope:
        await httpx2.AsyncClient().get(sys.argv[2])
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "stream"}], stream=True
    )
    text = ""
    with trio.move_on_after(0.3) as reading:
        async for chunk in stream:
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    print(json.dumps([dict(sorted(got.items())), dict(sorted(threads.items()))]))
    print(scope.cancelled_caught, reading.cancelled_caught, text)

(trio.run if sys.argv[1] == "trio" else lambda main: anyio.run(main, backend="trio"))(main)
"""


@pytest.mark.parametrize("way", ["trio", "anyio"])
def test_each_task_gets_its_own_answers(way: str, home: Path, tmp_path: Path) -> None:
    """Equal requests of tasks and of their threads, with different answers; a call that was cancelled is again."""
    (tmp_path / "agent.py").write_text(PROGRAM)
    with ProviderServer(seed=3, chunk_delay=0.1) as server, socket.create_server(("127.0.0.1", 0)) as deaf:
        env = server.environ() | with_apart()
        command = [sys.executable, "agent.py", way, f"http://127.0.0.1:{deaf.getsockname()[1]}/"]
        recorded = command_line("record", "--", *command, home=home, cwd=tmp_path, env=env)
    assert recorded.returncode == 0, recorded.stderr
    (tape,) = tapes_of(home)
    assert len({step.lane for step in tape.steps}) >= 12
    assert [one.what for one in tape.trace.uncontrolled] == [ORDER]
    assert [step.response.end for step in tape.steps].count(End.CANCELLED) == 2
    for _ in range(2):
        replayed = command_line("replay", tape.trace.id, home=home, cwd=tmp_path, env=env)
        assert (replayed.returncode, replayed.stdout) == (0, recorded.stdout), replayed.stderr
