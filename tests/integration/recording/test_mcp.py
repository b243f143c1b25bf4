"""MCP sessions over pipes: what a client asks is recorded, and a replay starts no server and executes no tool."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rashomon.model import End, Kind, Tape
from tests.support import environment, needs_apart, tapes_of, with_apart
from tests.support import rashomon as command_line

pytestmark = needs_apart("mcp")

SERVER = """
import sys, time
from mcp.server.mcpserver import MCPServer

server, count = MCPServer("shop"), 0

def done(what):
    with open(sys.argv[1], "a") as file:
        file.write(what + "\\n")

@server.tool()
def number() -> int:
    "Another one each time."
    global count
    count += 1
    done("number")
    return count

@server.tool()
def pay(amount: int, currency: str = "EUR") -> str:
    "Pay."
    done(f"pay {amount} {currency}")
    if amount < 0:
        raise ValueError("no refunds")
    return f"paid {amount} {currency}"

@server.tool()
def slow() -> str:
    "Takes its time."
    done("slow")
    time.sleep(30)
    return "at last"

server.run()
"""
CLIENT = """
import asyncio, os, random, sys
import mcp
from mcp import ClientSession, StdioServerParameters, stdio_client

def server(log):
    environ = dict(os.environ) if log == "first.log" else {"PYTHONPATH": os.environ["PYTHONPATH"]}
    return stdio_client(StdioServerParameters(command=sys.executable, args=["server.py", log], env=environ))

async def call(session, name, **arguments):
    answer = await session.call_tool(name, arguments)
    return answer.content[0].text, answer.is_error

async def main(amount):
    async with server("first.log") as streams, server("second.log") as others:
        async with ClientSession(*streams) as one, ClientSession(*others) as two:
            await one.initialize(), await two.initialize()
            print(sorted(tool.name for tool in (await one.list_tools()).tools))
            tasks = [asyncio.create_task(call(session, "number")) for session in (one, two, one, one)]
            print([await task for task in tasks])
            print(await call(one, "pay", amount=amount), await call(two, "pay", amount=-amount, currency="USD"))
            try:
                await one.call_tool("nothing", {})
            except mcp.MCPError as error:
                print(type(error).__name__, error.code, error.message, error.data)
            try:
                await two.call_tool("slow", {}, read_timeout_seconds=0.5)
            except mcp.MCPError as error:
                print(type(error).__name__, error.code)
            late = asyncio.create_task(two.call_tool("slow", {}))
            await asyncio.sleep(0.3)
            late.cancel()
            print(await asyncio.gather(late, return_exceptions=True))
    try:
        async with stdio_client(StdioServerParameters(command="no-such-server-anywhere")):
            pass
    except OSError as error:
        print(type(error).__name__, error.errno)

asyncio.run(main(int(sys.argv[1])))
"""
LATE = """
import asyncio, os, sys
from mcp import ClientSession, StdioServerParameters, stdio_client
import rashomon

async def main():
    environ = {"PYTHONPATH": os.environ["PYTHONPATH"]}
    rashomon.install()  # behind the import
    server = StdioServerParameters(command=sys.executable, args=["server.py", "log"], env=environ)
    async with stdio_client(server) as streams:
        async with ClientSession(*streams) as session:
            await session.initialize()
            await session.list_tools()  # else it does so by itself, with the first call
            with rashomon.trace("late") as trace:
                first = (await session.call_tool("number", {})).content[0].text
            with rashomon.replay(trace.id) as replaying:
                again = (await session.call_tool("number", {})).content[0].text
            replaying.check()
            print(first, again, (await session.call_tool("number", {})).content[0].text)

asyncio.run(main())
"""


FAILED = "select name, error_type from steps where error_type is not null"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the programs."""
    for name, text in (("server.py", SERVER), ("client.py", CLIENT), ("late.py", LATE)):
        (tmp_path / name).write_text(text)
    return tmp_path


def done(folder: Path) -> list[str]:
    """What servers have really done."""
    return [line for log in sorted(folder.glob("*log")) for line in log.read_text().splitlines()]


def asked(tape: Tape) -> list[tuple[str, str, Any]]:
    """What was asked of servers: the method, the name, the arguments."""
    return [(str(step.request.head["method"]), step.name, json.loads(step.request.body)) for step in tape.steps]


def test_a_session_is_recorded_and_no_tool_runs_again(folder: Path, home: Path) -> None:
    """Two servers, four calls at once with equal requests, errors of all kinds, a limit, a cancellation."""
    command = [sys.executable, "client.py", "7"]
    recorded = command_line("record", "--", *command, home=home, cwd=folder, env=with_apart())
    assert recorded.returncode == 0, recorded.stderr
    assert "no refunds" not in recorded.stdout
    (tape,) = tapes_of(home)
    tools = [step.name for step in tape.steps if step.kind is Kind.MCP]
    assert sorted(tools) == ["nothing", "number", "number", "number", "number", "pay", "pay", "slow", "slow"]
    assert {step.name for step in tape.steps if step.kind is Kind.HTTP} == {"start", "initialize", "tools/list"}
    assert len(tape.trace.processes) == 1  # servers are what is asked, and no part of the program
    assert ("tools/call", "pay", {"amount": 7}) in asked(tape)
    assert [step.name for step in tape.steps if step.response.end is End.CANCELLED] == ["slow"]
    before = done(folder)
    assert len(before) >= 7
    shown = command_line("show", tape.trace.id, home=home).stdout
    assert 'pay(amount=7) → "paid 7 EUR"' in shown
    assert 'pay(amount=-7, currency="USD") failed: ' in shown
    (row,) = json.loads(command_line("ls", "--json", home=home).stdout)["traces"]
    assert (row["tool_calls"], row["failures"]) == (9, 5)
    told = command_line("sql", "--format", "json", FAILED, home=home).stdout
    assert sorted(json.loads(told)["rows"]) == [["nothing", "tool_error"], ["pay", "tool_error"]]
    for _ in range(2):
        replayed = command_line("replay", tape.trace.id, home=home, cwd=folder, env=with_apart())
        assert (replayed.returncode, replayed.stdout) == (0, recorded.stdout), replayed.stderr
    assert done(folder) == before


def test_a_key_among_a_servers_arguments(folder: Path, home: Path) -> None:
    """It is on no disk, and the replay with the same key finds its answers."""
    key = "sk-" + "planted0" * 4
    path = folder / "client.py"
    path.write_text(path.read_text().replace('args=["server.py", log]', f'args=["server.py", log, "{key}"]'))
    assert key in path.read_text()
    command = [sys.executable, "client.py", "7"]
    recorded = command_line("record", "--", *command, home=home, cwd=folder, env=with_apart())
    assert recorded.returncode == 0, recorded.stderr
    assert command_line("ls", home=home).returncode == 0
    assert not [file for file in home.rglob("*") if file.is_file() and key.encode() in file.read_bytes()]
    replayed = command_line("replay", "@last", home=home, cwd=folder, env=with_apart())
    assert (replayed.returncode, replayed.stdout) == (0, recorded.stdout), replayed.stderr


def test_a_call_that_was_not_recorded_is_refused(folder: Path, home: Path) -> None:
    """Another argument: an explanation, and nothing is paid."""
    command = [sys.executable, "client.py", "7"]
    assert command_line("record", "--", *command, home=home, cwd=folder, env=with_apart()).returncode == 0
    before = done(folder)
    trace = tapes_of(home)[0].trace.id
    other = [sys.executable, "client.py", "8"]
    replayed = command_line("replay", trace, "--", *other, home=home, cwd=folder, env=with_apart())
    assert replayed.returncode == 1
    assert "pay(amount=8) is not in the recording" in replayed.stderr, replayed.stderr
    assert done(folder) == before


def test_a_session_that_was_opened_before(folder: Path, home: Path) -> None:
    """By a program that imported everything first: what it asks within a trace is recorded, and only that."""
    env = environment(home, **with_apart())
    told = subprocess.run([sys.executable, "late.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=100)
    assert (told.stdout, told.returncode) == ("1 1 2\n", 0), told.stderr
    first, _ = tapes_of(home)
    assert asked(first) == [("tools/call", "number", {})]
    assert done(folder) == ["number"] * 2


SERVED = """
import asyncio, os, sys
from mcp import ClientSession, StdioServerParameters, stdio_client

async def main():
    environ = {name: os.environ[name] for name in ("PYTHONPATH", "RASHOMON_USER_CODE")}
    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:], env=environ)
    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            for _ in range(3):
                print((await session.call_tool("draw", {})).content[0].text)
            print(*(one.content[0].text for one in await asyncio.gather(
                *(session.call_tool("wait", {"number": number}) for number in range(4)))))

asyncio.run(main())
"""
SERVES = """
import asyncio, random
from mcp.server.mcpserver import MCPServer

server = MCPServer("chance")

@server.tool()
def draw() -> float:
    "By chance."
    return random.random()

@server.tool()
async def wait(number: int) -> str:
    "The last comes first."
    await asyncio.sleep(0.1 * (4 - number))
    return f"{number} {random.random()}"

server.run()
"""


@pytest.mark.parametrize("own", ["", "anyio"])
def test_a_server_is_recorded_itself(tmp_path: Path, home: Path, own: str) -> None:
    """With the recorder in the command that its client starts: a replay needs no client, and says the same again. So it
    does where the library that runs it in threads without names counts as the program's own code."""
    more = {**with_apart(), "RASHOMON_USER_CODE": own}
    (tmp_path / "serves.py").write_text(SERVES)
    (tmp_path / "served.py").write_text(SERVED)
    record = ["-m", "rashomon.cli", "record", "--home", home, "--", sys.executable, "serves.py"]
    told = subprocess.run(
        [sys.executable, "served.py", sys.executable, *map(str, record)],
        cwd=tmp_path, env=environment(home, **more), capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    answers = told.stdout.split("\n")
    assert len(set(answers[:3])) == 3
    (tape,) = tapes_of(home)
    heard = b"".join(step.response.body for step in tape.steps)
    assert heard.count(b"tools/call") == 7
    replayed = command_line("replay", tape.trace.id, home=home, cwd=tmp_path, env=more, stdin=subprocess.DEVNULL)
    assert replayed.returncode == 0, replayed.stderr
    texts = [json.loads(line)["result"] for line in replayed.stdout.splitlines()]
    said = [one["content"][0]["text"] for one in texts if "content" in one]
    assert said[:3] == answers[:3]
    assert [text[0] for text in said[3:]] == ["3", "2", "1", "0"]
    assert sorted(said[3:]) == sorted(f"{number} {drawn}" for number, drawn in
                                      zip(answers[3].split()[::2], answers[3].split()[1::2], strict=True))  # fmt: skip
