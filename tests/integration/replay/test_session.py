"""A replay answers what the tape holds, refuses everything else, and nothing leaves the process."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pydantic
import pytest

import rashomon
from rashomon import boundary
from rashomon.boundary import Witness
from rashomon.model import Call, End, Grade, Match, Step, Tape
from rashomon.recorders import lanes
from rashomon.redaction import Redactor
from rashomon.replay import explain
from rashomon.replay.nobody import Nobody
from rashomon.replay.session import Plan, ReplaySession
from rashomon.testing import ProviderServer

PATH = "/chat/completions"


def ask(client: httpx2.Client, url: str, text: str) -> dict[str, Any]:
    """One call of the model."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
    answer: dict[str, Any] = client.post(url + PATH, json=body).json()
    return answer


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    """A client made before anything is installed."""
    with httpx2.Client(headers={"authorization": "Bearer sk-test-0123456789abcdef"}) as made:
        yield made


@pytest.fixture
def tape(home: Path, server: ProviderServer, client: httpx2.Client, last_tape: Callable[[], Tape]) -> Tape:
    """Two calls, "one" and "two"; the server is left running, so that an escape would be answered and seen."""
    with rashomon.trace("recorded"):
        ask(client, server.openai_url, "one")
        ask(client, server.openai_url, "two")
    return last_tape()


def refused(tape: Tape, server: ProviderServer, program: Callable[[], Any]) -> rashomon.ReplayStop:
    """Run a program that must be stopped; nothing may have reached the server."""
    before = len(server.requests)
    with pytest.raises(rashomon.ReplayStop) as caught, rashomon.replay(tape) as replaying:
        program()
    assert len(server.requests) == before
    assert replaying.divergences
    return caught.value


def test_a_changed_prompt(tape: Tape, server: ProviderServer, client: httpx2.Client) -> None:
    """Another prompt gets no answer; the message names the nearest step and what differs."""
    stopped = refused(tape, server, lambda: ask(client, server.openai_url, "one!"))
    assert isinstance(stopped, rashomon.Missed)
    assert "messages[0].content" in str(stopped)


def test_an_added_call(tape: Tape, server: ProviderServer, client: httpx2.Client) -> None:
    """A call more than was recorded is refused at the end of the tape, not answered again."""

    def program() -> None:
        for text in ("one", "two", "two"):
            ask(client, server.openai_url, text)

    assert isinstance(refused(tape, server, program), rashomon.Missed)


def test_an_empty_tape(tape: Tape, server: ProviderServer, client: httpx2.Client) -> None:
    """A tape without steps answers nothing."""
    stopped = refused(tape._replace(steps=()), server, lambda: ask(client, server.openai_url, "one"))
    assert isinstance(stopped, rashomon.Missed)


def test_a_new_thread(tape: Tape, server: ProviderServer, client: httpx2.Client) -> None:
    """A thread that the recording did not have is under the replay too."""
    caught: list[BaseException] = []

    def work() -> None:
        try:
            ask(client, server.openai_url, "three")
        except BaseException as error:
            caught.append(error)

    before = len(server.requests)
    with rashomon.replay(tape) as replaying:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert isinstance(caught[0], rashomon.Missed)
    assert len(server.requests) == before
    assert replaying.divergences


@pytest.mark.parametrize("way", ["connect", "create_connection", "sendto", "getaddrinfo"])
def test_raw_sockets(way: str, tape: Tape, server: ProviderServer) -> None:
    """A socket that no shim knows is refused before anything is sent."""

    def program() -> None:
        address = ("127.0.0.1", server.port)
        if way == "connect":
            with socket.socket() as made:
                made.connect(address)
        elif way == "create_connection":
            socket.create_connection(address)
        elif way == "sendto":
            with socket.socket(type=socket.SOCK_DGRAM) as made:
                made.sendto(b"hello", address)
        else:
            socket.getaddrinfo("provider.example", 443)

    assert isinstance(refused(tape, server, program), rashomon.Escaped)


def test_order_does_not_matter_for_content(tape: Tape, server: ProviderServer, client: httpx2.Client) -> None:
    """The same calls in another order get their own answers."""
    with rashomon.replay(tape) as replaying:
        two, one = ask(client, server.openai_url, "two"), ask(client, server.openai_url, "one")
    replaying.check()
    assert ("two" in str(two), "one" in str(one)) == (True, True)


def test_what_was_not_asked_for(tape: Tape, server: ProviderServer, client: httpx2.Client) -> None:
    """A recorded call that the program no longer makes is a divergence; `check` raises it."""
    with rashomon.replay(tape) as replaying:
        ask(client, server.openai_url, "one")
    assert [divergence.kind for divergence in replaying.divergences] == ["unserved"]
    with pytest.raises(rashomon.Diverged, match="1 recorded step was not asked for"):
        replaying.check()


async def test_a_call_that_is_cancelled_now_and_failed_then(
    home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """Cancelled with all pieces of its answer at hand, where the recorded stream broke off after them: it is named."""
    read, cut = asyncio.Event(), asyncio.Event()

    class Breaks(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"data: {}"
            await cut.wait()
            raise httpx2.ReadError("cut")

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=Breaks())

    async def ask(client: httpx2.AsyncClient) -> None:
        async with client.stream("POST", "http://provider/v1/chat/completions", json={"model": "m"}) as response:
            async for _ in response.aiter_raw():
                read.set()

    async def program(cancel: bool) -> None:
        read.clear()
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            asked = asyncio.create_task(ask(client))
            await read.wait()
            asked.cancel() if cancel else cut.set()
            await asyncio.gather(asked, return_exceptions=True)

    with rashomon.trace("recorded"):
        await program(cancel=False)
    with rashomon.replay(last_tape()) as replaying:
        await program(cancel=True)
    (told,) = replaying.divergences
    assert told.kind == "cancelled"
    assert "went on until it failed" in told.summary


async def test_a_call_that_is_cancelled_turns_before_it_failed(home: Path, last_tape: Callable[[], Tape]) -> None:
    """Cancelled while it waits for the failure that ended the recorded call some turns later: it is named."""

    class Refuses(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            await asyncio.sleep(0.01)
            raise httpx2.ConnectError("refused")

    async def program(cancel: bool) -> str:
        async with httpx2.AsyncClient(transport=Refuses()) as client:
            asked = asyncio.create_task(client.post("http://provider/v1/chat/completions", json={"model": "m"}))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if cancel:
                asked.cancel()
            (error,) = await asyncio.gather(asked, return_exceptions=True)
            return type(error).__name__

    with rashomon.trace("recorded"):
        assert await program(cancel=False) == "ConnectError"
    tape = last_tape()
    with rashomon.replay(tape) as replaying:
        assert await program(cancel=False) == "ConnectError"
    assert replaying.divergences == ()
    with rashomon.replay(tape) as replaying:
        assert await program(cancel=True) == "CancelledError"
    (told,) = replaying.divergences
    assert told.kind == "cancelled"
    assert "went on until it failed" in told.summary


async def test_a_call_that_is_cancelled_now_and_was_answered_then(
    home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """Cancelled before its answer came, where the recording has it: the step is named; cancelled in both is no news."""

    async def program(cancel_when: Callable[[], bool] | None) -> None:
        async with httpx2.AsyncClient() as client:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "one"}]}
            asked = asyncio.create_task(client.post(server.openai_url + PATH, json=body))
            while cancel_when is not None and not cancel_when():  # noqa: ASYNC110  # turn by turn
                await asyncio.sleep(0)
            if cancel_when is not None:
                asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    for cancelled, expected in ((False, ["cancelled"]), (True, [])):
        arrived, turns = len(server.requests) + 1, [None] * 20

        def has_arrived(number: int = arrived) -> bool:
            return len(server.requests) == number

        def some_turns_later(turns: list[None] = turns) -> bool:
            return not turns or bool(turns.pop())

        with rashomon.trace("recorded"):
            await program(has_arrived if cancelled else None)
        with rashomon.replay(last_tape()) as replaying:
            await program(some_turns_later)
        assert [divergence.kind for divergence in replaying.divergences] == expected
        assert all("chat.completions was cancelled here" in one.summary for one in replaying.divergences)


def test_live_calls(
    tape: Tape, home: Path, server: ProviderServer, client: httpx2.Client, last_tape: Callable[[], Tape]
) -> None:
    """With `live`, what the tape cannot answer goes out, is recorded as live, and still is a divergence."""
    before = len(server.requests)
    with rashomon.replay(tape, live=("llm",)) as replaying:
        ask(client, server.openai_url, "one")
        ask(client, server.openai_url, "three")
    assert len(server.requests) == before + 1
    assert [divergence.kind for divergence in replaying.divergences] == ["live", "unserved"]
    again = last_tape()
    assert [step.match.grade for step in again.steps if step.match] == [Grade.EXACT, Grade.LIVE]
    assert again.trace.parent == tape.trace.id
    with rashomon.replay(again) as offline:
        ask(client, server.openai_url, "one")
        ask(client, server.openai_url, "three")
    offline.check()
    assert len(server.requests) == before + 1


def test_a_live_answer_that_is_dropped_unread(
    tape: Tape, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """It is recorded as such, and is not waited for: a program that waits for what cannot come is told so."""

    async def program() -> None:
        async with httpx2.AsyncClient() as client:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "three"}], "stream": True}
            request = client.build_request("POST", server.openai_url + PATH, json=body)
            response = await client.send(request, stream=True)
            assert replaying.session.conductor.live == 1
            del request, response
            gc.collect()
            assert replaying.session.conductor.live == 0
            await asyncio.get_running_loop().create_future()

    stopped = pytest.raises(rashomon.Missed, match="nothing is left in the recording")
    with stopped, rashomon.replay(tape, live=("llm",)) as replaying:
        asyncio.run(program())
    (live,) = (step for step in last_tape().steps if step.match and step.match.grade is Grade.LIVE)
    assert live.response.end is End.LEAKED


def test_drifted_calls_at_once_get_an_answer_each(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that all ask for something else than was recorded, in one moment: none gets another's answer, too."""
    (step, _), threads = tape.steps, 8
    steps = tuple(step._replace(id=f"0.{number}", lane=(100 + number,), started_us=number) for number in range(threads))
    alike = tape._replace(steps=steps)
    redactor = Redactor(b"test", {})
    begin, got = threading.Barrier(threads), list[Any]()
    alike_steps = explain.alike_steps

    def ranked(*args: Any) -> list[Step]:
        found = alike_steps(*args)
        time.sleep(0.01)  # the others look at the same steps meanwhile
        return found

    monkeypatch.setattr(explain, "alike_steps", ranked)

    def work(number: int) -> None:
        body = step.request.body.replace(b"one", b"other %d" % number)
        begin.wait()
        got.append(session.arrive(Call(step.kind, step.name, step.request._replace(body=body))))

    scribe = Told()
    session = ReplaySession(alike, redactor, scribe, lanes.current_line, Plan(on_drift="serve"))
    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(got) == threads
    assert sorted(str(match.recorded) for match in scribe.matches if match) == [one.id for one in steps]


class Told(Nobody):
    """Keeps which steps answered."""

    def __init__(self) -> None:
        self.matches: list[Match | None] = []

    def open(self, call: Call, match: Match | None) -> Witness:
        self.matches.append(match)
        return super().open(call, match)


@dataclasses.dataclass
class Order:
    """A dataclass of the program's."""

    number: str
    price: float


class Policy(pydantic.BaseModel):
    """A pydantic model of the program's."""

    version: int
    days: int = 30


calls: list[str] = []


@rashomon.tool
def order(number: str) -> Order:
    """A tool with a dataclass."""
    calls.append("order")
    return Order(number, 89.9)


@rashomon.tool
async def policy(region: str = "EU") -> Policy:
    """An async tool with a pydantic model."""
    calls.append("policy")
    return Policy(version=1)


@rashomon.tool
def pages(count: int) -> Iterator[dict[str, int]]:
    """A generator."""
    calls.append("pages")
    for number in range(count):
        yield {"page": number}


@rashomon.tool
async def events(count: int) -> Any:
    """An async generator."""
    calls.append("events")
    for number in range(count):
        yield (number, {number})


@rashomon.tool(name="failing")
def fails(reason: str) -> None:
    """A tool that raises."""
    calls.append("failing")
    raise KeyError(reason)


async def use_all() -> list[Any]:
    """Every kind of tool once."""
    failed: Any = None
    try:
        fails("no such order")
    except KeyError as error:
        failed = (type(error), error.args)
    return [order("A-1"), await policy(), list(pages(3)), [event async for event in events(2)], failed]


async def test_tools(home: Path, last_tape: Callable[[], Tape]) -> None:
    """Sync, async, generators, a failing one: the same values and types again, and none is executed."""
    with rashomon.trace("tools"):
        recorded = await use_all()
    calls.clear()
    with rashomon.replay(last_tape()) as replaying:
        assert await use_all() == recorded
    replaying.check()
    assert calls == []
    assert recorded[0] == Order("A-1", 89.9)


async def test_stubs(home: Path, tmp_path: Path, last_tape: Callable[[], Tape]) -> None:
    """A stub's JSON takes the recorded type; a stub function gets the arguments; neither runs the tool."""
    with rashomon.trace("tools"):
        await use_all()
    file = tmp_path / "stubs.py"
    file.write_text("def pages(count):\n    return [{'page': -n} for n in range(count + 1)]\n")
    calls.clear()
    with rashomon.replay(last_tape(), stubs=('policy={"version": 2, "days": 14}', f"pages={file}:pages")) as replaying:
        answers = await use_all()
    assert answers[1] == Policy(version=2, days=14)
    assert answers[2] == [{"page": 0}, {"page": -1}, {"page": -2}, {"page": -3}]
    assert calls == []
    replaying.check()
    grades = [step.match.grade for step in last_tape().steps if step.match]
    assert grades.count(Grade.STUBBED) == 2


def test_a_result_that_cannot_be_rebuilt(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A result that was recorded by its type only is never served as something else."""

    @rashomon.tool
    def handle() -> object:
        return object()

    with rashomon.trace("opaque"):
        handle()
    with pytest.raises(rashomon.Missed, match="cannot be served"), rashomon.replay(last_tape()):
        handle()


def test_threads_that_another_tool_wraps(tmp_path: Path) -> None:
    """A tool that wrapped `Thread.start` before us does not keep lanes from threads."""
    import subprocess
    import sys

    from tests.support import environment, tapes_of

    program = """
import functools, threading
original = threading.Thread.start
@functools.wraps(original)
def start(self):
    return original(self)
threading.Thread.start = start
import rashomon
@rashomon.tool
def work(n):
    return n
with rashomon.trace("threads"):
    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""
    subprocess.run([sys.executable, "-c", program], check=True, env=environment(tmp_path))
    steps = tapes_of(tmp_path)[0].steps
    assert sorted(step.lane for step in steps) == [(0,), (1,), (2,)]


def test_closing_an_answer_waits_for_nobody(
    home: Path, server: ProviderServer, client: httpx2.Client, last_tape: Callable[[], Tape]
) -> None:
    """The garbage collector may close one in a thread that writes the journal, for which who hands out completions is
    waiting. What comes after an answer that was dropped is handed out all the same."""
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "tell me"}]}

    def program(meanwhile: Callable[[Callable[[], object]], object]) -> None:
        with client.stream("POST", server.openai_url + PATH, json=body) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            meanwhile(answer.close)
        threads = [threading.Thread(target=ask, args=(client, server.openai_url, text)) for text in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def while_it_is_at_work(close: Callable[[], object]) -> None:
        closed = threading.Event()
        closing = threading.Thread(target=lambda: [close(), closed.set()], daemon=True)  # type: ignore[func-returns-value]
        with boundary.conductor._changed:
            closing.start()
            assert closed.wait(10)
        closing.join()

    with rashomon.trace("recorded"):
        program(lambda close: close())
    with rashomon.replay(last_tape()) as replaying:
        program(while_it_is_at_work)
    assert replaying.divergences == ()
