"""Servers of the program's own, on ports that the system chooses: a replay has the recorded ones."""

from __future__ import annotations

import asyncio
import http.server
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

import rashomon
from rashomon.model import Tape
from tests.support import tapes_of


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the path."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def by_threads(path: str) -> tuple[int, str]:
    """A server of `http.server`, and a request of the same program to it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        try:
            return port, httpx.get(f"http://127.0.0.1:{port}{path}").text
        finally:
            server.shutdown()


def by_asyncio(path: str) -> tuple[int, str]:
    """The same in an event loop, of IPv4 and IPv6 where there is any."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = head.split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async def main() -> tuple[int, str]:
        async with await asyncio.start_server(answer, "localhost", 0, family=socket.AF_INET) as server:
            port = server.sockets[0].getsockname()[1]
            async with httpx.AsyncClient() as client:
                return port, (await client.get(f"http://127.0.0.1:{port}{path}")).text

    return asyncio.run(main())


PROGRAMS = {"threads": by_threads, "asyncio": by_asyncio}


def recorded(home: Path, program: Callable[[str], tuple[int, str]], path: str) -> tuple[tuple[int, str], Tape]:
    with rashomon.trace("server"):
        seen = program(path)
    return seen, tapes_of(home)[-1]


@pytest.mark.parametrize("taken", [False, True], ids=["free", "taken"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_replay_has_the_recorded_port(name: str, taken: bool, home: Path) -> None:
    """Its requests are those of the recording, also where somebody else has the port by now."""
    program = PROGRAMS[name]
    seen, tape = recorded(home, program, "/hello")
    assert seen[1] == "/hello"
    with ExitStack() as stack:
        if taken:
            other = stack.enter_context(socket.socket())
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", seen[0]))
            other.listen()
        with rashomon.replay(tape) as replaying:
            assert program("/hello") == seen
    assert replaying.divergences == ()


def test_several_servers(home: Path) -> None:
    """Each has its own port again, in the order of each thread."""

    def program(path: str) -> tuple[int, str]:
        found = [by_threads(f"{path}/{number}") for number in range(3)]
        return found[0][0], str(found)

    seen, tape = recorded(home, program, "/x")
    with rashomon.replay(tape) as replaying:
        assert program("/x") == seen
    assert replaying.divergences == ()


def test_a_port_that_was_not_recorded(home: Path) -> None:
    """A server that the recording did not have listens where the system lets it; datagrams are as ever."""
    _, tape = recorded(home, lambda path: (0, ""), "")
    with rashomon.replay(tape), socket.socket() as server, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        server.bind(("127.0.0.1", 0))
        server.listen()
        datagrams.bind(("127.0.0.1", 0))
        ports = {one.getsockname()[1] for one in (server, datagrams)}
    assert 0 not in ports
