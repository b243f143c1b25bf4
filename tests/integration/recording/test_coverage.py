"""Connections opened against calls recorded: what a trace says of what slipped past it, and where a reader sees it."""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import httpx2
import pytest

import rashomon
from rashomon.model import Tape, Trace
from rashomon.testing import ProviderServer
from tests.support import rashomon as command
from tests.support import tapes_of

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}
HEADERS = {"authorization": "Bearer sk-test-0123456789abcdef"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="sockets opened in C are found on Linux only")


@pytest.fixture
def listener() -> Iterator[tuple[str, int]]:
    """Something that can be connected to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


@pytest.fixture
def libc() -> Iterator[Callable[[tuple[str, int]], int]]:
    """Connects without Python's sockets, and keeps the connection open until the test is over."""
    library, opened = ctypes.CDLL(None), []

    def connect(address: tuple[str, int]) -> int:
        host, port = address
        raw = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
        opened.append(library.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
        assert library.connect(opened[-1], raw, len(raw)) == 0
        return int(opened[-1])

    yield connect
    for descriptor in opened:
        library.close(descriptor)


def where(trace: Trace, what: str) -> list[str]:
    """Where a trace says that something uncontrolled was used: the functions."""
    return [one.site.function for one in trace.uncontrolled if one.what == what and one.site is not None]


def sources(trace: Trace) -> list[str]:
    """What a trace lists as uncontrolled, but for what the tests' process brings: its hash seed, other libraries."""
    others = {"set order", "numpy.random", "cryptography"}
    return [one.what for one in trace.uncontrolled if one.what not in others]


def test_reused_connections_are_counted_once(home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """Three calls over one connection that is kept alive: one connection, three steps, nothing missed."""
    with rashomon.trace("calls"), httpx2.Client(base_url=server.openai_url, headers=HEADERS) as client:
        for _ in range(3):
            assert client.post("/chat/completions", json=BODY).is_success
    tape = last_tape()
    assert (tape.trace.coverage.connections, len(tape.steps)) == (1, 3)
    assert tape.trace.coverage.complete
    assert sources(tape.trace) == []


def test_a_raw_socket_is_missed(home: Path, listener: tuple[str, int], last_tape: Callable[[], Tape]) -> None:
    """A socket that no shim knows is named with its peer and the place that opened it."""

    def sneak() -> None:
        socket.create_connection(listener).close()

    with rashomon.trace("raw"):
        sneak()
    trace = last_tape().trace
    peer = f"127.0.0.1:{listener[1]}"
    assert trace.coverage.missed == (peer,)
    assert [name.rpartition(".")[2] for name in where(trace, peer)] == ["sneak"]


def test_a_raw_socket_in_a_tool_belongs_to_it(
    home: Path, listener: tuple[str, int], last_tape: Callable[[], Tape]
) -> None:
    """What a recorded tool does to get its result is covered: on replay the result is there without it."""

    @rashomon.tool
    def look_up() -> str:
        socket.create_connection(listener).close()
        return "found"

    with rashomon.trace("tool"):
        look_up()
    coverage = last_tape().trace.coverage
    assert (coverage.connections, coverage.missed) == (1, ())


def test_what_slips_past_a_trace_slips_past_those_around_it(home: Path, listener: tuple[str, int]) -> None:
    """A trace that a program begins within another: neither of them claims to be complete."""
    with rashomon.trace("outer"), rashomon.trace("inner"):
        socket.create_connection(listener).close()
    found = {tape.trace.name: tape.trace.coverage for tape in tapes_of(home)}
    peer = f"127.0.0.1:{listener[1]}"
    assert {name: (one.connections, one.missed) for name, one in found.items()} == {
        "outer": (1, (peer,)),
        "inner": (1, (peer,)),
    }


def test_datagrams_are_one_fact(home: Path, listener: tuple[str, int], last_tape: Callable[[], Tape]) -> None:
    """However many datagrams go to one peer, it is named once."""
    with rashomon.trace("metrics"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for _ in range(5):
            sending.sendto(b"calls:1|c", listener)
    assert last_tape().trace.coverage.missed == (f"127.0.0.1:{listener[1]}",)


def test_urllib_is_missed(home: Path, server: ProviderServer, last_tape: Callable[[], Tape]) -> None:
    """No shim records `urllib.request`: its call is no step, and the trace does not claim to be complete."""
    with rashomon.trace("urllib"), pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/nothing")
    tape = last_tape()
    assert len(tape.steps) + len(tape.trace.coverage.missed) == 1


@linux
def test_a_connection_made_in_c_is_found(
    home: Path, listener: tuple[str, int], libc: Callable[[tuple[str, int]], int], last_tape: Callable[[], Tape]
) -> None:
    """A connection that a C library made and holds open is found at the end of the trace; one made before is not its
    doing."""
    libc(listener)
    with rashomon.trace("before"):
        pass
    assert last_tape().trace.coverage.complete
    with rashomon.trace("native"):
        libc(listener)
    trace = last_tape().trace
    peer = f"127.0.0.1:{listener[1]}"
    assert trace.coverage.missed == (peer,)
    assert sources(trace) == [peer]


@linux
@pytest.mark.parametrize("open_at_the_end", [True, False])
def test_what_a_server_accepts_is_not_missed(open_at_the_end: bool, home: Path, last_tape: Callable[[], Tape]) -> None:
    """A program that serves another one reaches nobody by that, nor by pairs of sockets of its own."""
    with rashomon.trace("serving"):
        left, right = socket.socketpair()
        serving = socket.create_server(("127.0.0.1", 0))
        code = f"import socket; s = socket.create_connection(('127.0.0.1', {serving.getsockname()[1]})); input()"
        client = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        accepted, _ = serving.accept()
        if not open_at_the_end:
            serving.close()
    assert last_tape().trace.coverage.missed == ()
    for one in (left, right, serving, accepted):
        one.close()
    client.communicate(b"\n")


def test_names_are_looked_up_outside_of_calls(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A look-up by the program itself is listed as uncontrolled; it is no connection."""
    with rashomon.trace("names"), pytest.raises(socket.gaierror):
        socket.getaddrinfo("nowhere.invalid", 443)
    trace = last_tape().trace
    assert trace.coverage.connections == 0
    assert sources(trace) == ["dns:nowhere.invalid"]


def test_clients_that_cannot_be_seen_are_listed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_tape: Callable[[], Tape]
) -> None:
    """A program that imports a client written in C has it in its trace, whether it was imported before or meanwhile."""
    (tmp_path / "pycurl.py").write_text("")
    (tmp_path / "primp.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    rashomon.install()
    with rashomon.trace("first"):
        importlib.import_module("pycurl")
    first = last_tape().trace
    assert sources(first) == ["pycurl"]
    assert where(first, "pycurl")[0].endswith("test_clients_that_cannot_be_seen_are_listed")
    with rashomon.trace("second"):
        importlib.import_module("primp")
    assert sources(last_tape().trace) == ["pycurl", "primp"]


PROGRAM = """
import socket, subprocess, sys

def sneak():
    socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()

sneak()
subprocess.run(["echo", "a b"])
"""


def test_readers_are_told(tmp_path: Path, listener: tuple[str, int]) -> None:
    """`ls`, `show` and their JSON name the peer and the place; a trace with nothing missed is called complete."""
    home, program, peer = tmp_path / "home", tmp_path / "program.py", f"127.0.0.1:{listener[1]}"
    program.write_text(PROGRAM)
    command("record", "--quiet", "--name", "sneaky", "--", sys.executable, program, str(listener[1]), home=home)
    command("record", "--quiet", "--name", "clean", "--", sys.executable, "-c", "", home=home)
    listed = command("ls", home=home).stdout.splitlines()
    assert [line for line in listed if "clean" in line and " complete" in line]
    assert [line for line in listed if "sneaky" in line and f"INCOMPLETE {peer}" in line]
    facts = {one["name"]: one for one in json.loads(command("ls", "--json", home=home).stdout)["traces"]}
    assert {name: (one["complete"], one["missed"]) for name, one in facts.items()} == {
        "clean": (True, []),
        "sneaky": (False, [peer]),
    }
    shown = command("show", "sneaky", home=home).stdout
    assert f"missed     {peer}; {program}:5 in sneak" in shown
    assert f"launched   echo 'a b'; {program}:8 in <module>" in shown
    trace = json.loads(command("show", "sneaky", "--json", home=home).stdout)["trace"]
    assert trace["coverage"] == {"complete": False, "connections": 1, "missed": [peer], "unseen": 1}
    assert trace["uncontrolled"][0]["site"] == {"file": str(program), "line": 5, "function": "sneak"}
    assert trace["launched"][0]["argv"] == ["echo", "a b"]


def test_a_websocket_over_a_connection_that_is_there_is_missed(
    home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """Its handshake is no recorded call, though the connection was opened for one."""

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{server.url}/nothing") as answer:
                await answer.read()
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(f"{server.url}/nothing")

    with rashomon.trace("websocket"):
        asyncio.run(main())
    tape = last_tape()
    assert len(tape.steps) == 1
    assert tape.trace.coverage.missed == (f"127.0.0.1:{server.port}",)


ALONE = """
import subprocess, sys

ALL = ["-I", "-c", "pass"], ["-u", "-X", "dev", "-Em", "this"], ["-S", "-"], ["-I", "--version"], ["-m", "this"]
for options in ALL:
    subprocess.run([sys.executable, *options], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
"""


def test_a_python_without_the_recorder_is_missed(tmp_path: Path) -> None:
    """A Python that is told to ignore its environment or `site` is not recorded: the trace is not called complete."""
    home, program = tmp_path / "home", tmp_path / "program.py"
    program.write_text(ALONE)
    done = command("record", "--name", "alone", "--", sys.executable, program, home=home)
    python = Path(sys.executable).name
    expected = [f"{python} -I -c", f"{python} -u -X dev -Em this", f"{python} -S -"]
    assert f"3 Python program(s) ran past the recorder, which -E, -I and -S keep out: {', '.join(expected)}." in (
        done.stderr
    )
    assert "NO LLM CALL" not in done.stderr
    shown = command("show", "alone", home=home).stdout
    assert "INCOMPLETE" in shown
    for one in expected:
        assert f"missed     {one}; {program}:6 in <module>" in shown
    replayed = command("replay", "alone", home=home)
    assert f"WARNING: 3 Python program(s) ran for real, past the replay: {', '.join(expected)}." in replayed.stderr


def test_enquiries_of_the_standard_library_are_not_the_program(home: Path, last_tape: Callable[[], Tape]) -> None:
    """What `platform` asks other programs about the machine is no subprocess of the program's, and free in a replay."""
    import platform

    def ask() -> None:
        platform._Processor.from_subprocess()  # type: ignore[attr-defined]

    with rashomon.trace("platform"):
        ask()
    assert last_tape().trace.launched == ()
    with rashomon.replay(last_tape()) as replaying:
        ask()
    replaying.check()
