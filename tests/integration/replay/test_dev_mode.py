"""Python's development mode: nothing that we open is left to be closed by chance, nothing of ours is never awaited."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from rashomon.testing import ProviderServer
from tests.support import DEMO_AGENT, rashomon, tapes_of

DEV = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error::ResourceWarning"}
"""As `-X dev -W error::ResourceWarning`, for the command, the recorded program and whatever that starts."""

STREAMS = """
import asyncio, threading
import openai, rashomon

@rashomon.tool
async def pages(count):
    for number in range(count):
        await asyncio.sleep(0.001)
        yield number

@rashomon.tool
def doubled(number):
    return 2 * number

async def streamed(client, text, arrived=None):
    messages = [{"role": "user", "content": text}]
    said = ""
    stream = await client.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
    async for chunk in stream:
        said += chunk.choices[0].delta.content or "" if chunk.choices else ""
        if arrived is not None and said:
            arrived.set()
            await asyncio.Event().wait()
    return said

def in_a_thread(out):
    with openai.OpenAI() as client:
        for chunk in client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "from a thread"}], stream=True
        ):
            out.append(doubled(len(chunk.choices)))

async def echo(reader, writer):
    writer.write(await reader.readline())
    writer.close()
    await writer.wait_closed()

async def to_oneself():
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\\n")
        print(await reader.readline())
        writer.close()
        await writer.wait_closed()

async def main():
    await to_oneself()
    async with openai.AsyncOpenAI() as client:
        print(await asyncio.gather(*(streamed(client, f"question {n}") for n in range(3))))
        arrived = asyncio.Event()
        cut = asyncio.create_task(streamed(client, "this one is cancelled", arrived))
        await arrived.wait()
        cut.cancel()
        print(await asyncio.gather(cut, return_exceptions=True))
    read = pages(3)
    async for number in read:
        print(number)
        break
    await read.aclose()
    out = []
    threads = [threading.Thread(target=in_a_thread, args=(out,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    print(await asyncio.to_thread(doubled, 3))
    for thread in threads:
        await asyncio.to_thread(thread.join)
    print(sorted(out))

asyncio.run(main())
"""


@pytest.mark.parametrize("program", ["demo", "streams"])
def test_development_mode_finds_nothing_of_ours(tmp_path: Path, program: str) -> None:
    """Recorded and replayed in development mode, with unclosed things as errors: nothing is said of any."""
    agent, home = tmp_path / "agent.py", tmp_path / "home"
    if program == "demo":
        shutil.copyfile(DEMO_AGENT, agent)
    else:
        agent.write_text(STREAMS)
    with ProviderServer(seed=4) as server:
        recorded = rashomon("record", "--", sys.executable, agent, home=home, env=server.environ() | DEV)
    assert recorded.returncode == 0, recorded.stderr
    (tape,) = tapes_of(home)
    assert len(tape.steps) > 5
    replayed = rashomon("replay", tape.trace.id, "--allow", "connect=127.0.0.1", home=home, env=DEV)
    assert (replayed.returncode, replayed.stdout) == (0, recorded.stdout), replayed.stderr
    for said in (recorded.stderr, replayed.stderr):
        assert "ResourceWarning" not in said, said
        assert "was never awaited" not in said, said
