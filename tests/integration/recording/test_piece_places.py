"""Where in the life of its event loop each piece of an async stream was handed out is in the journal."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx2
import pytest

import rashomon
from rashomon import tapes
from rashomon.model import Event, Tape

KEY = b"sk-proj-" + b"a1B2" * 10
PLAIN = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"]
SECRET = [b"data: one\n\n", b"data: " + KEY[:20], KEY[20:] + b"\n\n", b"data: " + KEY + b"\n\n", b"data: two\n\n"]


class Stream(httpx2.AsyncByteStream):
    """Each piece takes a turn of the loop, or comes at once."""

    def __init__(self, chunks: list[bytes], turns: bool) -> None:
        self.chunks, self.turns = chunks, turns

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            if self.turns:
                await asyncio.sleep(0)
            yield chunk


async def read(chunks: list[bytes], turns: bool, beside: bool) -> list[bytes]:
    """What a program hears; `beside` it, a task has something to do in each turn."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, stream=Stream(chunks, turns))

    async def busy() -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    other = asyncio.create_task(busy()) if beside else None
    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport) as client, client.stream("GET", "http://provider/") as response:
        heard = [chunk async for chunk in response.aiter_raw()]
    if other is not None:
        other.cancel()
    return heard


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("chunks", [PLAIN, SECRET], ids=["plain", "secret"])
def test_each_piece_has_its_place(chunks: list[bytes], beside: bool, home: Path) -> None:
    """A point for each piece, in order, each in a turn of its own; also where a secret is
    cut by pieces. A replay hears the same and says nothing of the order."""
    with rashomon.trace("pieces"):
        assert asyncio.run(read(chunks, True, beside)) == chunks
    (path,) = (home / "journals").glob("*.rsj")
    assert KEY not in path.read_bytes()
    (tape,) = tapes.assemble([tapes.read_part(path)])
    places = [point for point in tape.points if point.event is Event.PIECE]
    assert [point.number for point in places] == list(range(len(chunks)))
    turns = [(point.epoch, point.tick) for point in places]
    assert turns == sorted(set(turns))
    (step,) = tape.steps
    assert {point.step for point in places} == {step.id}
    with rashomon.replay(tape) as replaying:
        heard = asyncio.run(read([], True, beside))
    replaying.check()
    assert heard == [piece.data for piece in step.response.pieces]


def test_pieces_that_take_no_turn_have_no_place(home: Path) -> None:
    """The program was not suspended for them: a replay hands them on at once, too."""
    with rashomon.trace("pieces"):
        assert asyncio.run(read(PLAIN, False, False)) == PLAIN
    (path,) = (home / "journals").glob("*.rsj")
    (tape,) = tapes.assemble([tapes.read_part(path)])
    assert [point for point in tape.points if point.event is Event.PIECE] == []


class Blocking(httpx2.SyncByteStream):
    """The same for a blocking client."""

    def __iter__(self) -> Iterator[bytes]:
        yield from PLAIN


def read_beside_a_thread() -> list[bytes]:
    """The first piece is read alone, what follows while another thread is there, which has made a call meanwhile."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/other":
            return httpx2.Response(200, json={"a": 1})
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Blocking())

    asked, over = threading.Event(), threading.Event()
    heard: list[bytes] = []

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:

        def other() -> None:
            heard.append(client.get("http://provider/other").content)
            asked.set()
            over.wait(10)

        thread = threading.Thread(target=other)
        with client.stream("GET", "http://provider/") as response:
            for chunk in response.iter_raw():
                if not heard:
                    thread.start()
                    asked.wait(10)
                heard.append(chunk)
    over.set()
    thread.join()
    return heard


def test_pieces_are_counted_when_no_other_thread_is_there(home: Path, last_tape: Callable[[], Tape]) -> None:
    """Only those that come beside another thread have a place, each by its number among all: in a replay none waits for
    the place of a later one."""
    root = Path(__file__).parents[3]
    program = [sys.executable, "-m", read_beside_a_thread.__module__]  # in this process others' threads may be left
    recorded = json.loads(subprocess.run(program, cwd=root, check=True, stdout=subprocess.PIPE).stdout)
    tape = last_tape()
    (stream,) = (step.id for step in tape.steps if len(step.response.pieces) == len(PLAIN))
    places = [point for point in tape.points if point.event is Event.PIECE and point.step == stream]
    assert [point.number for point in places] == [1, 2]
    with rashomon.replay(tape) as replaying:
        assert [chunk.decode() for chunk in read_beside_a_thread()] == recorded
    replaying.check()
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


class Late(httpx2.AsyncByteStream):
    """Two pieces come at once, the others take a turn of the loop each."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, chunk in enumerate([*PLAIN, *PLAIN]):
            if number > 1:
                await asyncio.sleep(0)
            yield chunk


async def read_and_ask(pieces: int) -> list[bytes]:
    """Some pieces of a stream; then, beside each other, two calls that take their time."""

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/stream":
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Late())
        for _ in range(2):
            await asyncio.sleep(0)
        return httpx2.Response(200, json={"path": request.url.path})

    heard: list[bytes] = []
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        async with client.stream("GET", "http://provider/stream") as response:
            async for chunk in response.aiter_raw():
                heard.append(chunk)
                if len(heard) == pieces:
                    break
        for one in await asyncio.gather(*[client.get(f"http://provider/{name}") for name in ("a", "b")]):
            heard.append(one.content)
    return heard


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_pieces_that_nobody_asks_for_hold_up_nothing(pieces: int, home: Path, last_tape: Callable[[], Tape]) -> None:
    """Who stops reading a stream sooner gets all else in its order, also where not all of its pieces have a place."""
    with rashomon.trace("pieces"):
        recorded = asyncio.run(read_and_ask(5))
    tape = last_tape()
    assert [point.number for point in tape.points if point.event is Event.PIECE] == [2, 3, 4]
    with rashomon.replay(tape):
        assert asyncio.run(read_and_ask(pieces)) == [*recorded[:pieces], *recorded[5:]]
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


if __name__ == "__main__":
    with rashomon.trace("pieces"):
        alone = read_beside_a_thread()
    print(json.dumps([chunk.decode() for chunk in alone]))
