"""Tasks may be given a context, and several of them the same one: all of their calls are recorded, each on its line."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from contextvars import Context, ContextVar
from pathlib import Path
from typing import Any

import httpx2
import pytest

import rashomon
from rashomon.model import Kind, Tape

SEEN: ContextVar[int] = ContextVar("seen", default=0)


async def answer(request: httpx2.Request) -> httpx2.Response:
    """An answer that takes its time, so that all tasks wait at once."""
    await asyncio.sleep(0.005)
    return httpx2.Response(200, json=request.url.path)


@rashomon.tool
async def look(name: str) -> str:
    """A tool that waits as well."""
    await asyncio.sleep(0.002)
    return f"saw {name}"


async def work(client: httpx2.AsyncClient, number: int) -> list[Any]:
    """What one task does: calls, tools and a task of its own."""
    said: list[Any] = []
    for turn in range(2):
        SEEN.set(SEEN.get() + 1)
        said.append((await client.get(f"http://provider/{number}/{turn}")).json())
        said.append(await look(f"{number}/{turn}"))
    inner = asyncio.create_task(look(f"{number}/inner"))
    said.append(await inner)
    return said


async def shared(current: bool) -> list[Any]:
    """Four tasks in one context. `current`: it is also that of the task that makes them."""

    async def all_of_them(context: Context) -> list[Any]:
        loop = asyncio.get_running_loop()
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
            started = [loop.create_task(work(client, number), context=context) for number in range(4)]
            said = [await task for task in started]
        return [*said, context.get(SEEN)]

    context = contextvars.copy_context()
    if not current:
        return await all_of_them(context)
    return await asyncio.get_running_loop().create_task(all_of_them(context), context=context)


@pytest.mark.parametrize("current", [False, True])
def test_every_call_is_recorded_and_replayed(current: bool, home: Path, last_tape: Callable[[], Tape]) -> None:
    """While one task waits for its answer the others' calls are steps, too, none within another's tool; the program's
    own variables are shared."""
    with rashomon.trace("shared"):
        recorded = asyncio.run(shared(current))
    assert recorded[-1] == 8
    tape = last_tape()
    assert [step.kind for step in tape.steps].count(Kind.HTTP) == 8
    assert [step.kind for step in tape.steps].count(Kind.TOOL) == 12
    assert {step.within for step in tape.steps} == {None}
    lanes = {step.request.head["url"][-3:]: step.lane for step in tape.steps if step.kind is Kind.HTTP}
    assert len(set(lanes.values())) == 4
    assert all(lanes[f"{number}/0"] == lanes[f"{number}/1"] for number in range(4))
    with rashomon.replay(tape) as replaying:
        assert asyncio.run(shared(current)) == recorded
    replaying.check()
    assert [source for source in last_tape().trace.uncontrolled if source.what == "order"] == []


def test_what_shows_tasks_sees_the_program(home: Path) -> None:
    """Name, representation, stack and state of such a task are those of its coroutine; results and failures arrive."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("as it is")

    async def waits() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return "cancelled"
        return "slept"

    async def main() -> None:
        context, loop = contextvars.copy_context(), asyncio.get_running_loop()
        task = loop.create_task(waits(), context=context)
        await asyncio.sleep(0)
        coro: Any = task.get_coro()
        assert "waits()" in repr(task)
        assert inspect.getcoroutinestate(coro) == inspect.CORO_SUSPENDED
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["waits"]
        task.cancel()
        assert await task == "cancelled"
        with pytest.raises(ValueError, match="as it is"):
            await loop.create_task(fails(), context=context)
        with pytest.raises(TypeError):
            await loop.create_task(answer, context=context)  # type: ignore[arg-type]

    with rashomon.trace("shown"):
        asyncio.run(main())
