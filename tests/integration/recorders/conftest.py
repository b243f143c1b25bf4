"""A web server on loopback whose answers have every framing and every ending."""

from __future__ import annotations

import gzip
import json
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rashomon
from rashomon import tapes
from rashomon.model import Tape
from rashomon.testing import ProviderServer
from rashomon.testing.http import Received, Response

TEXT = ("content-type", "text/plain; charset=utf-8")
EVENTS = tuple(f'data: {{"n": {n}}}\n\n'.encode() for n in range(5))
ZIPPED = gzip.compress(json.dumps({"packed": list(range(50))}).encode(), mtime=0)
KEY = "sk-" + "planted0" * 6
RPC = xmlrpc.client.dumps((42,), methodresponse=True).encode()
COOKIE = ("set-cookie", "flavour=oat; Path=/")


def _echo(request: Received) -> Any:
    return {
        "method": request.method,
        "body": request.body.decode("latin-1"),
        "flavour": request.header("cookie") or "",
    }


def _zipped(request: Received) -> Response:
    return Response(200, (("content-type", "application/json"), ("content-encoding", "gzip")), (ZIPPED,))


def _events(request: Received) -> Response:
    return Response(200, (("content-type", "text/event-stream"),), EVENTS, framing="chunked")


def _cut_length(request: Received) -> Response:
    return Response(200, (TEXT,), (b"only this.\n",), declared_length=1000, ending="cut")


def _cut_chunked(request: Received) -> Response:
    return Response(200, (TEXT,), (b"first.\n", b"second.\n"), framing="chunked", ending="cut")


def _slowly(request: Received) -> Response:
    return Response(200, (TEXT,), (b"one\n", b"two\n", b"three\n"), framing="chunked", piece_delay=0.12)


def _redirect(request: Received) -> Response:
    return Response(302, (("location", "/echo"), COOKIE), (b"over there.\n",))


ROUTES: dict[tuple[str, str], Callable[[Received], Any]] = {
    ("GET", "/echo"): _echo,
    ("POST", "/echo"): _echo,
    ("PUT", "/echo"): _echo,
    ("HEAD", "/echo"): lambda request: Response(200, (TEXT,)),
    ("GET", "/zipped"): _zipped,
    ("GET", "/events"): _events,
    ("GET", "/stall"): lambda request: Response(200, (TEXT,), (b"so far.\n",), framing="chunked", ending="stall"),
    ("GET", "/slowly"): _slowly,
    ("GET", "/cut"): _cut_length,
    ("GET", "/cut-chunked"): _cut_chunked,
    ("GET", "/nothing"): lambda request: Response(204),
    ("GET", "/redirect"): _redirect,
    ("GET", "/missing"): lambda request: (404, {"error": "no such thing"}),
    ("GET", "/busy"): lambda request: (503, {"error": "later"}),
    ("GET", "/hangup"): lambda request: Response(0),
    ("GET", "/text"): lambda request: Response(
        200, (TEXT, ("x-twice", "1"), ("x-twice", "2")), ("späti\n".encode() * 900,)
    ),
    ("GET", "/key"): lambda request: {"key": KEY, "more": "x" * 50},
    ("POST", "/rpc"): lambda request: Response(200, (("content-type", "text/xml"),), (RPC,)),
    ("GET", "/item/{n}"): lambda request: {"item": request.params["n"]},
}


class Stage:
    """Runs a program against the server while recording, and again, from the tape, without it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server = ProviderServer(seed=7, routes=ROUTES)
        self.server.start()

    @property
    def url(self) -> str:
        """The server's address."""
        return self.server.url

    def tape(self) -> Tape:
        """The newest trace."""
        parts = [tapes.read_part(path) for path in sorted((self.home / "journals").glob("*.rsj"))]
        return tapes.assemble(parts)[-1]

    def record(self, program: Callable[[str], Any]) -> tuple[Any, Tape]:
        """What the program returned while it was recorded, and the recording; the server is stopped."""
        with rashomon.trace("program"):
            seen = program(self.url)
        self.server.stop()
        return seen, self.tape()

    def replay(self, program: Callable[[str], Any], tape: Tape) -> Any:
        """What the program returns from the tape. Nothing was reached and nothing was left over."""
        with rashomon.replay(tape) as replaying:
            seen = program(self.url)
        assert replaying.divergences == ()
        assert self.tape().trace.coverage.connections == 0
        return seen

    def both(self, program: Callable[[str], Any]) -> Tape:
        """Record and replay; the program sees the same. The recording."""
        bare = program(self.url)
        recorded, tape = self.record(program)
        assert recorded == bare
        assert self.replay(program, tape) == recorded
        again = self.tape()
        assert sorted(map(_content, again.steps)) == sorted(map(_content, tape.steps))
        return tape


def _content(step: Any) -> str:
    """What a replay must write as the recording did: all but times, and cookies, which are secrets."""
    answer = step.response
    head = dict(answer.head or {})
    head["headers"] = [pair for pair in head.get("headers", ()) if pair[0] != "set-cookie"]
    return repr((step.kind, step.name, step.request.body, head, answer.body, answer.end))


@pytest.fixture
def stage(home: Path) -> Iterator[Stage]:
    """A server, a home, and a way to record and replay by them."""
    made = Stage(home)
    yield made
    made.server.stop()
