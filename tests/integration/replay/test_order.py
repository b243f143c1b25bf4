"""The order of completions on an event loop, where blocking calls, timers and other launch orders meet."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, product
from pathlib import Path

import aiohttp
import anyio
import httpx2
import openai
import pytest

import rashomon
from rashomon import real
from rashomon.model import Event, Tape
from rashomon.replay import completions
from rashomon.replay.stillness import Stillness
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


async def _closed_one_by_one(url: str, in_tool: bool) -> list[str]:
    """One client that only a tool's body asks for, or anybody, and one that a task uses until it is closed, later."""
    said: list[str] = []
    sessions: list[aiohttp.ClientSession] = []
    client = httpx2.AsyncClient(trust_env=False)

    async def weather() -> str:
        sessions.append(aiohttp.ClientSession())
        async with sessions[0].get(f"{url}/weather") as answer:
            return str(answer.status)

    async def using() -> None:
        while not client.is_closed:
            said.append("in use")
            await asyncio.sleep(0)
        said.append("closed")

    said.append(await (rashomon.tool(weather) if in_tool else weather)())
    said.append(str((await client.get(f"{url}/other")).status_code))
    user = asyncio.create_task(using())
    await asyncio.sleep(0)
    for session in sessions:
        await session.close()
    await client.aclose()
    await user
    return said


async def test_a_client_that_only_a_tool_has_asked_for(
    home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """It is not there to be closed in a replay. What would have been closed after it is in use as long as it was, and
    its closing is not taken for that of the other."""
    with rashomon.trace("closing"):
        recorded = await _closed_one_by_one(server.url, True)
    tape = last_tape()
    places = [point for point in tape.points if point.event is Event.CLOSE and point.step is None]
    assert len(places) == 2, places  # both took their time
    with rashomon.replay(tape) as replaying:
        assert await _closed_one_by_one(server.url, True) == recorded
    replaying.check()
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


async def test_closings_that_were_counted_together(
    home: Path, server: ProviderServer, last_tape: Callable[[], Tape]
) -> None:
    """In recordings from before closings were counted by kind, each is found by its number among all of its line."""
    with rashomon.trace("closing"):
        recorded = await _closed_one_by_one(server.url, False)
    tape = last_tape()
    numbers = count()
    points = [
        point._replace(number=next(numbers)) if point.event is Event.CLOSE and point.step is None else point
        for point in tape.points
    ]
    assert next(numbers) == 2
    with rashomon.replay(tape._replace(points=tuple(points))) as replaying:
        assert await _closed_one_by_one(server.url, False) == recorded
    replaying.check()
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


async def _two_jobs(meanwhile: Callable[[], object] | None, turned: Callable[[], object] = bool) -> list[str]:
    """Two jobs of a pool end, the second after `meanwhile`. Without that, both end while the loop is busy, so that it
    learns of both in one turn. `turned` is called a turn after that."""
    said: list[str] = []
    ended = [threading.Event(), threading.Event()]

    def job(number: int) -> str:
        if number:
            ended[0].wait()
            if meanwhile is not None:
                meanwhile()
        return f"job {number}"

    async def awaited(job: Future[str]) -> None:
        said.append(await asyncio.wrap_future(job))
        await asyncio.sleep(0)
        said.append("a turn later")
        turned()

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(job, number) for number in range(2)]
        tasks = [asyncio.ensure_future(awaited(one)) for one in jobs]
        await asyncio.sleep(0)
        for one, event in zip(jobs, ended, strict=True):
            one.add_done_callback(lambda _, event=event: event.set())  # type: ignore[misc]
        if meanwhile is None:
            ended[1].wait()
        await asyncio.gather(*tasks)
    return said


async def test_what_came_in_one_turn_comes_in_one_turn(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A loop that goes on with the first of two wake-ups of one turn waits for the thread that brings the second."""
    with rashomon.trace("two jobs"):
        recorded = await _two_jobs(None)
    assert recorded == ["job 0", "job 1", "a turn later", "a turn later"]
    with rashomon.replay(last_tape()) as replaying:
        assert await _two_jobs(lambda: _spin(0.1)) == recorded
    replaying.check()
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


async def test_what_comes_in_another_turn_is_said(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A wake-up whose thread waits for a later turn of the loop comes later, and not in silence."""
    with rashomon.trace("two jobs"):
        await _two_jobs(None)
    turn = threading.Event()
    with rashomon.replay(last_tape()) as replaying:
        assert await _two_jobs(turn.wait, turn.set) == ["job 0", "a turn later", "job 1", "a turn later"]
    replaying.check()
    [said] = [source.reason for source in last_tape().trace.uncontrolled if source.what == "order"]
    assert said == "The wake of lane (1,) came in another turn of its event loop than in the recording."


def _two_loops(first: int, limits: list[float]) -> list[list[str]]:
    """Two threads run an event loop each, `first` begins; in each a timer of so many seconds fires among busy turns."""
    said: list[list[str]] = [[], []]
    begun = threading.Event()

    async def ticking(mine: list[str], seconds: float) -> None:
        await asyncio.sleep(seconds)
        mine.append("timer")

    async def turning(mine: list[str]) -> None:
        for number in range(5):
            _spin(0.002)
            mine.append(f"turn {number}")
            await asyncio.sleep(0)

    async def work(number: int) -> None:
        if number == first:
            begun.set()
        await asyncio.gather(ticking(said[number], limits[number]), turning(said[number]))

    def run(number: int) -> None:
        if number != first:
            begun.wait()
        asyncio.run(work(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_loops_of_threads_are_known_by_what_happens_on_them(home: Path, last_tape: Callable[[], Tape]) -> None:
    """Whichever of two threads begins its event loop first: each loop is handed what it was handed in the recording."""
    with rashomon.trace("two loops"):
        recorded = _two_loops(0, [0.001, 0.005])
    for first in (1, 0):
        with rashomon.replay(last_tape()) as replaying:
            assert _two_loops(first, [0.001, 0.005]) == recorded
        replaying.check()
        assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


@rashomon.tool
async def stubborn(raises: bool) -> str:
    """A tool that does not pass on that its caller was cancelled."""
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        if raises:
            raise ValueError("cancelled") from None
    return "not cancelled"


async def _cancelled_in_vain(raises: bool) -> str:
    task = asyncio.create_task(stubborn(raises))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    try:
        return await task
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("raises", [False, True])
async def test_a_tool_that_withholds_a_cancellation(raises: bool, home: Path, last_tape: Callable[[], Tape]) -> None:
    """Where the body of a tool kept a cancellation from its caller, the caller is not cancelled in a replay either; nor
    in a replay of that replay."""
    with rashomon.trace("withheld"):
        recorded = await _cancelled_in_vain(raises)
    assert recorded == ("cancelled" if raises else "not cancelled")
    for _ in range(2):
        with rashomon.replay(last_tape()) as replaying:
            assert await _cancelled_in_vain(raises) == recorded
        replaying.check()


async def _cut(turns: int) -> list[str]:
    """Read page after page, and be cancelled after so many turns."""
    read: list[str] = []

    async def reading() -> None:
        async for page in paged(3):
            read.append(page)

    task = asyncio.create_task(reading())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return read


async def test_who_is_cancelled_sooner_gets_less_and_not_in_silence(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A tool that was cancelled after its second page, and in a replay before its first, has left the recording."""
    for turns in range(40):  # until there are two pages
        with rashomon.trace("cut"):
            recorded = await _cut(turns)
        if recorded == ["a", "b"]:
            break
    tape = last_tape()
    with rashomon.replay(tape) as replaying:
        assert await _cut(turns) == recorded
    replaying.check()
    with rashomon.replay(tape) as replaying:
        assert await _cut(2) == []
    assert [divergence.kind for divergence in replaying.divergences] == ["cancelled"]


async def _loop_in_a_thread() -> list[list[str]]:
    """Two loops, one in a thread, in which answers come by turns, under a time limit."""

    async def patient(name: str) -> list[str]:
        async with asyncio.timeout(300):  # a timer that nothing in the recording stands for
            return [await fetched(f"{name} {number}", 0.001) for number in range(30)]

    in_thread = asyncio.to_thread(lambda: asyncio.run(patient("thread")))
    return list(await asyncio.gather(in_thread, patient("main")))


async def test_a_loop_that_has_just_been_handed_something(home: Path, last_tape: Callable[[], Tape]) -> None:
    """It is not taken for one that waits, or is held up: no time limit passes meanwhile."""
    with rashomon.trace("a loop in a thread"):
        recorded = await _loop_in_a_thread()
    tape = last_tape()
    for _ in range(3):
        with rashomon.replay(tape) as replaying:
            assert await _loop_in_a_thread() == recorded
        replaying.check()
        assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


@rashomon.tool
def slowly(what: str) -> str:
    """A tool that blocks for a while."""
    time.sleep(0.05)
    return what.upper()


async def _blocked_beside_a_timer(elsewhere: bool, delay_s: float) -> list[str]:
    """A blocking call in a loop that has a timer; before it, maybe, one in a thread. A further thread waits."""
    said: list[str] = []
    done = threading.Event()
    waiting = threading.Thread(target=done.wait)
    waiting.start()

    async def ticking() -> None:
        await asyncio.sleep(delay_s)
        said.append("timer")

    async def blocking() -> None:
        if elsewhere:
            thread = threading.Thread(target=slowly, args=("elsewhere",))
            thread.start()
            thread.join()
        said.append(slowly("here"))

    await asyncio.gather(ticking(), blocking())
    done.set()
    waiting.join()
    return said


async def test_a_timer_of_a_loop_that_is_blocked_comes_when_it_is_not(
    home: Path, last_tape: Callable[[], Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a changed program, whose timer is not in the recording, the call that blocks its loop goes on at once, and not
    when patience has run out."""
    looks = Counter[float]()

    def seconds(watching: Stillness) -> float:
        """Counted in looks: on a busy machine, each may take long."""
        looks[watching._since] += 1  # which is another one as soon as something has happened
        return looks[watching._since] * completions.LOOK_S

    monkeypatch.setattr(Stillness, "seconds", property(seconds))
    with rashomon.trace("blocked"):
        assert await _blocked_beside_a_timer(True, 0.3) == ["HERE", "timer"]
    with rashomon.replay(last_tape()):
        assert await _blocked_beside_a_timer(False, 0.01) == ["HERE", "timer"]
    assert 0 < max(looks.values()) * completions.LOOK_S < completions._CHILD_PATIENCE_S
