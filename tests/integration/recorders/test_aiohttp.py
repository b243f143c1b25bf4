"""Programs on `aiohttp`: recorded against a server, and replayed without it to the same values."""

from __future__ import annotations

import asyncio
import gc
import io
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

import rashomon
from rashomon.errors import Missed
from rashomon.model import End
from rashomon.recorders import vcr_aiohttp

Program = Callable[[aiohttp.ClientSession, str], Awaitable[Any]]


def running(program: Program, **options: Any) -> Callable[[str], Any]:
    """A program that runs in a loop and a session of its own."""

    async def main(url: str) -> Any:
        async with aiohttp.ClientSession(**options) as session:
            return await program(session, url)

    return lambda url: asyncio.run(main(url))


async def shown(response: aiohttp.ClientResponse) -> list[Any]:
    """All of a response that a program can see, and that is the same each time."""
    headers = [(key, value) for key, value in response.headers.items() if key.lower() not in ("date", "set-cookie")]
    raw = [pair for pair in response.raw_headers if pair[0].lower() not in (b"date", b"set-cookie")]
    return [type(response).__name__, response.status, response.reason, headers, raw,
            await response.read(), response.version, await response.text(), str(response.url), response.ok,
            [old.status for old in response.history],
            response.content_type, response.charset, response.content.at_eof(), response.closed,
            dict(response.request_info.headers), response.content.total_bytes]  # fmt: skip


async def failing(call: Callable[[], Awaitable[Any]]) -> list[str]:
    """How a call fails."""
    try:
        await call()
    except (aiohttp.ClientError, TimeoutError) as error:
        return [type(error).__name__, str(error)]
    return ["no failure"]


@pytest.mark.parametrize("path", ["/echo", "/zipped", "/events", "/nothing", "/redirect", "/missing", "/text"])
def test_get(stage: Any, path: str) -> None:
    """Everything that a response shows is that of the recording."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.get(url + path) as response:
            return await shown(response)

    tape = stage.both(running(program))
    assert len(tape.steps) == (2 if path == "/redirect" else 1)


async def chunks() -> AsyncIterator[bytes]:
    yield b"one,"
    yield b"two"


def form() -> aiohttp.FormData:
    """A form of two fields."""
    made = aiohttp.FormData()
    made.add_field("a", "b c")
    made.add_field("d", "é")
    return made


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (lambda: {"data": b"\x00\xff"}, b"\x00\xff"),
        (lambda: {"data": "tekst ø"}, "tekst ø".encode()),
        (lambda: {"json": {"a": 1}}, b'{"a": 1}'),
        (lambda: {"data": {"f": "a b"}}, b"f=a+b"),
        (lambda: {"data": form()}, b"a=b+c&d=%C3%A9"),
        (lambda: {"data": chunks()}, b"one,two"),
        (lambda: {"data": io.BytesIO(b"a file")}, b"a file"),
    ],
    ids=["bytes", "str", "json", "dict", "form", "generator", "file"],
)
def test_bodies(stage: Any, body: Callable[[], dict[str, Any]], sent: bytes) -> None:
    """A body arrives at the server as without a recorder, and the tape holds it as it was sent."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.post(url + "/echo", **body()) as response:
            return await response.json()

    assert [step.request.body for step in stage.both(running(program)).steps] == [sent]


async def _tuples(content: Any) -> list[Any]:
    return [data async for data, _ in content.iter_chunks() if data]


async def _until_end(content: Any) -> list[bytes]:
    found = []
    while not content.at_eof():
        found.append(await content.readline())
    return [line for line in found if line]


async def _exactly(content: Any) -> list[Any]:
    found: list[Any] = [await content.readexactly(5), await content.readuntil(b"\n")]
    try:
        found.append(await content.readexactly(100_000))
    except asyncio.IncompleteReadError as error:
        found.append(error.partial)
    return found


async def _lines(content: Any) -> list[bytes]:
    return [line async for line in content]


async def _sized(content: Any) -> bytes:
    return b"".join([await content.read(7), await content.read()])


@pytest.mark.parametrize("read", [_tuples, _until_end, _exactly, _lines, _sized])
@pytest.mark.parametrize("path", ["/events", "/text", "/zipped"])
def test_streams(stage: Any, read: Callable[[Any], Awaitable[Any]], path: str) -> None:
    """Each way to read a stream gives the chunks that the recorded program got."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.get(url + path) as response:
            return await read(response.content)

    recorded, tape = stage.record(running(program))
    assert tape.steps[0].response.end is End.COMPLETE
    assert stage.replay(running(program), tape) == recorded


def test_first_chunk_comes_first(stage: Any) -> None:
    """A chunk reaches the recorded program before the server has sent the next one."""
    gate = stage.server.hold("/events", after=1)

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        got = []
        async with session.get(url + "/events") as response:
            async for chunk in response.content.iter_any():
                got.append(chunk)
                gate.release()
        return got

    seen, tape = stage.record(running(program))
    assert len(seen) >= 2
    assert [piece.data for piece in tape.steps[0].response.pieces] == seen
    assert stage.replay(running(program), tape) == seen


def test_program_stops_reading(stage: Any) -> None:
    """A stream that the program leaves ends as closed, and the replay serves it as far as it was read."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.get(url + "/stall") as response:
            return await response.content.readany()

    tape = stage.both(running(program))
    assert tape.steps[0].response.end is End.CLOSED


def test_cancelled_while_reading(stage: Any) -> None:
    """A read that the program cancels ends as cancelled, with what had come before; a replay waits to be cancelled."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        response = await session.get(url + "/stall")
        first = await response.content.readany()
        reading = asyncio.ensure_future(response.content.readany())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        response.close()
        return first

    tape = stage.both(running(program))
    assert (tape.steps[0].response.end, tape.steps[0].response.body) == (End.CANCELLED, b"so far.\n")


def test_reading_on_is_missed(stage: Any) -> None:
    """A replayed program that reads further than the recorded one is stopped, and says what is missing."""

    async def little(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.get(url + "/stall") as response:
            return await response.content.readany()

    async def all_of_it(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.get(url + "/stall") as response:
            return await response.read()

    _, tape = stage.record(running(little))
    with rashomon.replay(tape), pytest.raises(Missed, match="8 bytes"):
        running(all_of_it)(stage.url)


@pytest.mark.parametrize("path", ["/cut", "/cut-chunked", "/hangup"])
def test_broken_answers(stage: Any, path: str) -> None:
    """A connection cut in the middle fails in the replay with the same exception, after the same bytes."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        got: list[bytes] = []

        async def read() -> None:
            async with session.get(url + path) as response:
                while chunk := await response.content.read(4):
                    got.append(chunk)

        return [await failing(read), b"".join(got)]

    recorded, tape = stage.record(running(program))
    assert tape.steps[-1].response.end is End.ERROR
    assert stage.replay(running(program), tape) == recorded


def test_refused_and_timeout(stage: Any) -> None:
    """A timeout and a refused connection come again, with the same exception and text."""

    async def slow(session: aiohttp.ClientSession, url: str) -> Any:
        limit = aiohttp.ClientTimeout(sock_read=0.3)

        async def read() -> None:
            async with session.get(url + "/stall", timeout=limit) as response:
                await response.read()

        return await failing(read)

    async def refused(session: aiohttp.ClientSession, url: str) -> Any:
        return await failing(lambda: session.get(url + "/echo"))

    stage.both(running(slow))
    assert stage.both(running(refused)).steps[0].response.end is End.ERROR


def test_a_limit_that_fires_while_the_head_is_awaited(stage: Any) -> None:
    """aiohttp's own limit is a failure of the call, one around it cancels it; a replay ends each as it was."""

    async def program(session: aiohttp.ClientSession, _: str) -> Any:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        limit = aiohttp.ClientTimeout(total=0.1)

        async def around() -> None:
            async with asyncio.timeout(0.1):
                await session.get(address)

        def itself() -> Any:
            return session.get(address, timeout=limit)

        return [await failing(call) for call in (itself, around, itself)]

    with socket.create_server(("127.0.0.1", 0)) as silent:
        tape = stage.both(running(program))
    assert [step.response.end for step in tape.steps] == [End.ERROR, End.CANCELLED, End.ERROR]


def test_status_errors(stage: Any) -> None:
    """`raise_for_status` raises on a played answer, wherever it was asked for."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        by_call = await failing(lambda: session.get(url + "/missing", raise_for_status=True))
        response = await session.get(url + "/missing")
        with pytest.raises(aiohttp.ClientResponseError):
            response.raise_for_status()
        wrong = await failing((await session.get(url + "/text")).json)
        return [by_call, wrong]

    stage.both(running(program))


def test_redirect_history_and_cookies(stage: Any) -> None:
    """Each hop is a step; the played response has its history, and cookies go the way they went."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.get(url + "/redirect") as response:
            old = response.history[0]
            return [old.status, str(old.url), str(response.url), await response.json()]

    async def with_cookies(url: str) -> Any:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            return await program(session, url)

    tape = stage.both(lambda url: asyncio.run(with_cookies(url)))
    assert [step.name for step in tape.steps] == ["GET /redirect", "GET /echo"]
    assert b"flavour=oat" in tape.steps[1].response.body


def test_middlewares_and_session_from_before(stage: Any) -> None:
    """A session made before the trace is recorded, after its own middlewares have changed the request."""

    async def tagging(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        request.headers["Cookie"] = "own=1"
        answer: aiohttp.ClientResponse = await handler(request)
        return answer

    async def main() -> None:
        async with aiohttp.ClientSession(middlewares=(tagging,)) as session:

            async def ask() -> Any:
                async with session.get(stage.url + "/echo") as response:
                    return await response.json()

            bare = await ask()
            with rashomon.trace():
                assert await ask() == bare
            tape = stage.tape()
            with rashomon.replay(tape):
                assert await ask() == bare
                with pytest.raises(Missed):
                    await session.get(stage.url + "/elsewhere")
            assert await ask() == bare
            assert len(tape.steps) == 1

    asyncio.run(main())


def test_concurrent_calls(stage: Any) -> None:
    """Many calls at once on one session each get their own answers, recorded and replayed."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        async def one(n: int) -> Any:
            async with session.get(f"{url}/item/{n}") as response:
                return await response.json()

        return await asyncio.gather(*(one(n) for n in range(40)))

    assert len(stage.both(running(program)).steps) == 40


def test_unwatched_is_untouched(stage: Any) -> None:
    """Outside a trace a response's content is aiohttp's own stream."""
    rashomon.install()

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.get(url + "/events") as response:
            return type(response.content)

    assert running(program)(stage.url) is aiohttp.StreamReader


def test_dropped_answer_is_leaked(stage: Any) -> None:
    """An answer that the program forgets ends as leaked."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        response = await session.get(url + "/stall")
        status = response.status
        del response
        return status

    def collected(url: str) -> Any:
        status = running(program)(url)
        gc.collect()  # aiohttp's connection and answer hold each other
        return status

    _, tape = stage.record(collected)
    assert tape.steps[0].response.end is End.LEAKED


@pytest.mark.parametrize(("path", "end"), [("/slowly", End.COMPLETE), ("/stall", End.CANCELLED)])
def test_reading_on_after_a_time_limit(stage: Any, path: str, end: End) -> None:
    """Who gives a read so much time, and tries again, gets the same in a replay; the call ends with its answer, or
    where it is closed."""

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        read: list[bytes | None] = []
        async with session.get(url + path) as response:
            while b"" not in read and read.count(None) < 40:
                try:
                    read.append(await asyncio.wait_for(response.content.readline(), 0.04))
                except TimeoutError:
                    read.append(None)
        return read

    seen, tape = stage.record(running(program))
    (step,) = tape.steps
    assert seen.count(None) > 1
    assert ([piece.data for piece in step.response.pieces], step.response.end) == ([line for line in seen if line], end)
    assert stage.replay(running(program), tape) == seen


@pytest.mark.parametrize("kept", [True, False])
def test_who_gives_up_need_not_close(stage: Any, kept: bool) -> None:
    """A response that is dropped behind a read that ran out of time, or kept until the program ends: in a replay that
    read runs out of time again."""
    responses: list[aiohttp.ClientResponse] = []

    async def program(session: aiohttp.ClientSession, url: str) -> Any:
        response = await session.get(url + "/stall")
        read = [await response.content.readline()]
        try:
            read.append(await asyncio.wait_for(response.content.readline(), 0.05))
        except TimeoutError:
            read.append(b"nothing")
        if kept:
            responses.append(response)
        return read

    seen, tape = stage.record(running(program))
    assert tape.steps[0].response.end in ((End.OPEN,) if kept else (End.CANCELLED, End.LEAKED, End.OPEN))
    assert (seen, tape.steps[0].response.body) == ([b"so far.\n", b"nothing"], b"so far.\n")
    assert stage.replay(running(program), tape) == seen


class _Heard:
    """A witness of a live answer."""

    leaf, pace, number = True, None, 0

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[End] = []

    def at(self, *args: object) -> None: ...

    def overtaken(self, at_end: bool = False) -> None: ...

    def piece(self, data: bytes, number: int = 0, place: object = None) -> None:
        self.pieces.append(data)

    def ended(self, end: End, error: BaseException | None = None) -> None:
        self.ends.append(end)


async def _read_on(turns: int) -> tuple[list[bytes], _Heard]:
    """Two lines and the end come a few turns apart; one reader is cancelled after so many turns, the next reads on."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    inner = aiohttp.StreamReader(protocol, 2**16, loop=loop)
    heard, read = _Heard(), []
    stream = vcr_aiohttp._tee_stream()(inner, heard)

    async def feed() -> None:
        for line in (b"one\n", b"two\n"):
            for _ in range(4):
                await asyncio.sleep(0)
            inner.feed_data(line)
        inner.feed_eof()

    async def reader() -> None:
        while line := await stream.readline():
            read.append(line)

    feeding, reading = asyncio.create_task(feed()), asyncio.create_task(reader())
    for _ in range(turns):
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await reader()
    await feeding
    return read, heard


def test_a_cancelled_read_loses_nothing(home: Any) -> None:
    """In whatever turn of the loop a reader is cancelled: what came just then is there for who reads on, and is
    recorded once, when it has been read."""
    with rashomon.trace("watched"):
        for turns in range(20):
            read, heard = asyncio.run(_read_on(turns))
            assert (read, heard.pieces, heard.ends[-1]) == ([b"one\n", b"two\n"],) * 2 + (End.COMPLETE,), turns
