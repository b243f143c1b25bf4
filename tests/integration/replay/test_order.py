"""The order of completions on an event loop, where blocking calls, timers and other launch orders meet."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import product
from pathlib import Path

import anyio
import httpx2
import openai
import pytest

import rashomon
from rashomon import real
from rashomon.model import Tape
from rashomon.testing import ProviderServer


@pytest.fixture
def other_thread() -> Iterator[None]:
    """A thread that waits: the order of blocking calls is noted only where there is another one."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    yield
    done.set()
    thread.join()


@rashomon.tool
def looked_up(what: str) -> str:
    """A tool that blocks."""
    return what.upper()


@rashomon.tool
async def turned(turns: int | None) -> str:
    """A tool that takes some turns of the loop; or waits for ever."""
    try:
        if turns is None:
            await asyncio.get_running_loop().create_future()
        for _ in range(turns or 0):
            await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0)
    return "turned"


@rashomon.tool
async def paged(turns: int) -> AsyncIterator[str]:
    """A tool that gives page after page, each after some turns of the loop."""
    for page in "abc":
        for _ in range(turns):
            await asyncio.sleep(0)
        yield page


@rashomon.tool
async def fetched(what: str, seconds: float) -> str:
    """A tool that takes its time."""
    await asyncio.sleep(seconds)
    return what.upper()


def _spin(seconds: float) -> None:
    """Compute for so long, in a recording."""
    until = real.monotonic() + seconds
    while real.monotonic() < until:
        pass


async def _blocked_turn() -> list[str]:
    """A timer becomes due while a turn of the loop is busy; the next turn first makes a blocking call."""
    said: list[str] = []

    async def ticking() -> None:
        await asyncio.sleep(0.001)
        said.append("timer")

    async def blocking() -> None:
        _spin(0.004)
        await asyncio.sleep(0)
        said.append(looked_up("tool"))
        await asyncio.sleep(0)
        said.append("after")

    await asyncio.gather(ticking(), blocking())
    return said


@pytest.mark.usefixtures("other_thread")
async def test_a_timer_that_was_ready_behind_a_blocking_call_keeps_its_turn(
    home: Path, last_tape: Callable[[], Tape]
) -> None:
    """The replay hands out the timer for the turn in which the loop is then blocked; its order stays exact."""
    with rashomon.trace("busy"):
        recorded = await _blocked_turn()
    with rashomon.replay(last_tape()) as replaying:
        assert await _blocked_turn() == recorded
    replaying.check()
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


async def _patient(names: list[str]) -> dict[str, str]:
    """Calls one after the other, each with a time limit of its own: the slow one a long one."""
    limits = {"quick": 0.2, "slow": 0.9, "late": 0.2}
    durations = {"quick": 0.01, "slow": 0.45, "late": 0.01}
    said: dict[str, str] = {}
    for name in names:
        try:
            said[name] = await asyncio.wait_for(fetched(name, durations[name]), limits[name])
        except TimeoutError:
            said[name] = "timed out"
    return said


async def test_an_answer_that_is_asked_for_earlier_takes_as_long_as_it_took(
    home: Path, last_tape: Callable[[], Tape]
) -> None:
    """A time limit that was kept in the recording is kept, whenever in the replay the call is made."""
    with rashomon.trace("in order"):
        recorded = await _patient(["quick", "slow", "late"])
    tape = last_tape()
    assert recorded == {"quick": "QUICK", "slow": "SLOW", "late": "LATE"}
    for names in (["late", "slow", "quick"], ["slow", "late", "quick"], ["late", "quick", "slow"]):
        with rashomon.replay(tape):
            assert await _patient(names) == recorded


class _Turning(httpx2.AsyncBaseTransport, httpx2.AsyncByteStream):
    """A server whose answers, their pieces and their closing take so many turns of the loop each."""

    def __init__(self, turns: int) -> None:
        self.turns = turns

    async def _turn(self) -> None:
        for _ in range(self.turns):
            await asyncio.sleep(0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await self._turn()
        return httpx2.Response(200, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in (b"a", b"b"):
            await self._turn()
            yield piece

    async def aclose(self) -> None:
        await self._turn()


async def _asked(said: list[str], name: str) -> None:
    """One caller of those that are cancelled below: what its call does is in its name."""
    kind, _, turns = name.partition(" ")
    try:
        if kind == "pages":
            async for page in paged(int(turns)):
                said.append(f"{name}: {page}")
        elif kind == "stream":
            async with httpx2.AsyncClient(transport=_Turning(int(turns))) as client:
                async with client.stream("GET", "http://turning.test/") as response:
                    async for piece in response.aiter_raw():
                        said.append(f"{name}: {piece!r}")
                        if piece == b"b":
                            break
                said.append(f"{name}: closed")
        else:
            said.append(f"{name}: {await turned(int(turns) if turns else None)}")
    except asyncio.CancelledError:
        said.append(f"{name}: cancelled")
        raise
    finally:
        said.append(f"{name}: over")


async def _cancelled(names: tuple[str, ...], turns: int, again: bool) -> list[str]:
    """Callers that are cancelled together, last one first, after so many turns; one more task tells the turns."""
    said: list[str] = []

    async def telling() -> None:
        for turn in range(turns + 6):
            said.append(f"turn {turn}")
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(_asked(said, name)) for name in names]
    teller = asyncio.create_task(telling())
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(1 + again):
        for task in reversed(tasks):
            said.append(f"cancelled {task.cancel()}")
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    await teller
    return said


async def _all_cancelled() -> list[list[str]]:
    kinds = ["turns", "turns 1", "turns 3", "pages 0", "pages 1", "pages 2", "stream 0", "stream 1", "stream 2"]
    return [
        await _cancelled((first, second), turns, again)
        for first, second in product(kinds, ("turns", "turns 1", "pages 1", "stream 1"))
        for turns in range(9)
        for again in (False, True)
    ]


async def test_cancellations_come_in_the_recorded_order(home: Path, last_tape: Callable[[], Tape]) -> None:
    """Whatever a call was about when it was cancelled, its caller learns of it at the recorded turn, and behind those
    that learned of theirs before it."""
    with rashomon.trace("cancelling"):
        recorded = await _all_cancelled()
    with rashomon.replay(last_tape()) as replaying:
        replayed = await _all_cancelled()
    for before, after in zip(recorded, replayed, strict=True):
        assert after == before
    replaying.check()
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


class _Stalling(httpx2.AsyncBaseTransport):
    """A server that does not answer, and a client that takes its time to hang up."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            await asyncio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(0.01)
        raise AssertionError("it has been cancelled")


async def _given_up() -> list[str]:
    said: list[str] = []
    async with httpx2.AsyncClient(transport=_Stalling()) as client:
        with anyio.move_on_after(0.01) as scope:
            await client.get("http://stalling.test/")
        said.append(f"given up: {scope.cancelled_caught}")
    return said


async def test_who_cancels_in_each_turn_is_heard(home: Path, last_tape: Callable[[], Tape]) -> None:
    """anyio cancels again and again until it is obeyed: a replay obeys, also where the recorded call took a while."""
    with rashomon.trace("given up"):
        recorded = await _given_up()
    with rashomon.replay(last_tape()) as replaying:
        assert await asyncio.wait_for(_given_up(), 30) == recorded == ["given up: True"]
    replaying.check()


async def _asks_first(url: str) -> list[str]:
    """A tool that makes a client's first call, closes another client, and sleeps; then tasks that ask the same."""
    client = openai.AsyncOpenAI(base_url=url, api_key="sk-test")

    async def ask(text: str) -> str:
        answer = await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
        return str(answer.choices[0].message.content)

    @rashomon.tool
    async def prepared() -> str:
        async with httpx2.AsyncClient() as other:
            await other.get(url.removesuffix("/v1") + "/anything")
        time.sleep(0.001)  # noqa: ASYNC251  # as tools do
        await asyncio.to_thread(looked_up, "in a pool that the loop will shut down")
        return await ask("Prepare.")

    said = [await prepared()]
    said += await asyncio.gather(*[asyncio.create_task(ask("The same?")) for _ in range(3)])
    await client.close()
    return said


@pytest.mark.usefixtures("other_thread")
def test_what_happens_in_a_tool_first_is_not_missed(
    home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """What a tool's body sets up, which a replay does not run, is not set up by others instead, nor waited for: tasks
    keep their names, in the loop that comes after it as well."""
    with rashomon.trace("preparing"):
        recorded = [asyncio.run(_asks_first(server.openai_url)) for _ in range(2)]
    server.stop()
    tape = last_tape()
    with rashomon.replay(tape) as replaying:
        assert [asyncio.run(_asks_first(server.openai_url)) for _ in range(2)] == recorded
    replaying.check()
    assert [step.lane for step in last_tape().steps] == [step.lane for step in tape.steps if step.within is None]
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


async def _limited(slow: bool) -> list[str]:
    """Time limits that are set some time before they are entered; `slow`: it takes longer than the limit."""
    said: list[str] = []
    for seconds in (0.1, 0, 0.1):
        limit = asyncio.timeout(seconds)
        if slow:
            _spin(0.11)
        try:
            async with limit:
                said.append(await fetched("it", 0.001))
                await asyncio.sleep(1)
        except TimeoutError:
            said.append("timed out")
    return said


@pytest.mark.parametrize("slow", [True, False])
async def test_a_limit_that_passed_before_it_was_entered(slow: bool, home: Path, last_tape: Callable[[], Tape]) -> None:
    """Whether a time limit had passed when it was entered is as it was, on a busy machine and on an idle one."""
    with rashomon.trace("limits"):
        recorded = await _limited(slow)
    assert not slow or recorded == ["timed out"] * 3
    with rashomon.replay(last_tape()) as replaying:
        assert await _limited(not slow) == recorded
    replaying.check()
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


async def _until(seconds: float) -> list[float]:
    """Polls by the clock of the event loop."""
    loop = asyncio.get_running_loop()
    seen = [loop.time()]
    while loop.time() < seen[0] + seconds:
        await asyncio.sleep(0.02)
        seen.append(loop.time())
    loop.call_at(loop.time() + 0.02, seen.append, 0.0)
    await asyncio.sleep(0.03)
    return seen


async def test_the_clock_of_the_loop_is_the_recorded_one(home: Path, last_tape: Callable[[], Tape]) -> None:
    """What a program reads from `loop.time()` is on the tape; a deadline by it is reached after as many turns."""
    with rashomon.trace("polling"):
        recorded = await _until(0.1)
    with rashomon.replay(last_tape()) as replaying:
        assert await _until(0.1) == recorded
    replaying.check()
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


async def _dropped() -> list[str]:
    """Generators that are left in the middle: one that nobody holds any more, and one that holds itself."""
    said: list[str] = []

    async def counting(name: str, held: list[object]) -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield number
        finally:
            said.append(f"{name} closed")

    for name in ("free", "held"):
        held: list[object] = []
        numbers = counting(name, held)
        if name == "held":
            held.append(numbers)
        async for _ in numbers:
            break
        del numbers, held
    gc.collect()
    for _ in range(5):  # so many turns until all are closed
        await asyncio.sleep(0)
    return said


def test_what_the_garbage_collector_closes_is_listed(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A generator of the program's own that only the collector finds is listed as uncontrolled, with its place; one
    that is closed as it is dropped is not."""
    gc.collect()
    with rashomon.trace("dropping"):
        assert asyncio.run(_dropped()) == ["free closed", "held closed"]
    found = [source for source in last_tape().trace.uncontrolled if source.what == "an async generator"]
    assert [(one.site.file, one.site.function.rpartition(".")[2]) for one in found if one.site] == [
        (__file__, "counting")
    ]
