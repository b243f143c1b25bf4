"""Forks children that record as fast as they can, kills each at a random moment, and reports what each had got.

Run as a program: `kill_driver.py HOME SEED TRIALS`. Prints one JSON line a trial: {"home", "reached"}: for each
call whose result (or part of it) reached the child's own code, what it was.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from typing import Any

import httpcore2
import httpx2

import rashomon

URL = "http://provider/v1/chat/completions"
CHUNKS = [b"data: piece %d\n\n" % number for number in range(20)]


class Chunks(httpx2.SyncByteStream):
    """A body in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def __iter__(self) -> Any:
        yield from self.pieces


class Wire(httpx2.BaseTransport):
    """A provider without a network: a JSON answer, or a stream."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        if body.get("stream"):
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Chunks(CHUNKS))
        answer = json.dumps({"n": body["n"]}).encode()
        return httpx2.Response(200, headers={"content-type": "application/json"}, stream=Chunks([answer]))


class Pool:
    """The same behind the client's own transport, whose calls are written down when their request has gone out."""

    def handle_request(self, request: httpcore2.Request) -> httpcore2.Response:
        answer = Wire().handle_request(httpx2.Request("POST", URL, content=b"".join(request.stream)))  # type: ignore[arg-type]
        return httpcore2.Response(200, headers=answer.headers.raw, content=answer.stream)


def own_transport() -> httpx2.HTTPTransport:
    """The client's own transport, with a pool that answers by itself."""
    transport = httpx2.HTTPTransport()
    transport._pool = Pool()  # type: ignore[assignment]
    return transport


@rashomon.tool
def double(number: int) -> int:
    """A tool."""
    return number * 2


def child(home: str, pipe: int, own: bool) -> None:
    """Record without end; say on the pipe what has been received, after it has."""
    os.environ["RASHOMON_HOME"] = home
    client = httpx2.Client(transport=own_transport() if own else Wire())
    with rashomon.trace("killed"):
        for n in range(100_000):
            answer = client.post(URL, json={"n": n}).json()
            os.write(pipe, b"j%d\n" % answer["n"])
            os.write(pipe, b"t%d\n" % double(n))
            with client.stream("POST", URL, json={"n": n, "stream": True}) as response:
                for number, _ in enumerate(response.iter_raw()):
                    os.write(pipe, b"s%d.%d\n" % (n, number))


def trial(home: str, words: int, seconds: float, own: bool) -> list[str]:
    """One child, killed a moment after it has said so many words; what it had said. Its client has its `own` transport,
    or one of ours."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            child(home, writing, own)
        finally:
            os._exit(9)
    os.close(writing)
    said = b""
    while said.count(b"\n") < words:
        said += os.read(reading, 1 << 16) or sys.exit(f"the child of {home} has ended by itself")
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            said += os.read(reading, 1 << 16)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while chunk := os.read(reading, 1 << 16):
        said += chunk
    os.close(reading)
    return said.decode().split("\n")[:-1]


def main() -> None:
    """Run the trials."""
    root, seed, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    for number in range(trials):
        home = os.path.join(root, str(number))
        moment = (chance.randrange(1, 40), chance.uniform(0, 0.01)) if number % 5 else (0, chance.uniform(0, 0.05))
        reached = trial(home, *moment, own=number % 2 > 0)
        print(json.dumps({"home": home, "reached": reached}), flush=True)


if __name__ == "__main__":
    main()
