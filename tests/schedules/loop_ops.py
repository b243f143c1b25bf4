"""More operations on an event loop, for the harness that compares the order of events: queues, locks, timers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.schedules import async_ops
from tests.schedules.programs import Run
from tests.schedules.specs import Node


async def _streams(run_: Run, node: Node) -> str:
    """Streams read side by side, chunk by chunk."""
    children = run_.launch_order(node)
    run_.log.count("tasks", len(children))
    await asyncio.gather(*[async_ops.kept(run_, child) for child in children])
    return node.name


async def _spin(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    """A call, then some turns of the loop, then a timer, again and again."""
    options = node.options
    for number in range(options["rounds"]):
        await async_ops.chat(run_, node, f"{asked} {number}", got)
        run_.log.happened(f"{node.name} has {got[-1]}")
        for turn in range(options["turns"]):
            await asyncio.sleep(0)
            run_.log.happened(f"{node.name} turn {turn}")
        if options["ms"] is not None:
            await asyncio.sleep(options["ms"] / 1000)
            run_.log.happened(f"{node.name} wakes")


async def _relay(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    """A producer and consumers joined by two queues: answers of one stage are asked on with in the next."""
    first: asyncio.Queue[str | None] = asyncio.Queue(node.options["size"])
    second: asyncio.Queue[str | None] = asyncio.Queue(node.options["size"])

    async def stage(number: int, source: asyncio.Queue[str | None], target: asyncio.Queue[str | None]) -> None:
        while (item := await source.get()) is not None:
            mine: list[str] = []
            await async_ops.chat(run_, node, f"{asked} stage {number} {item}", mine)
            run_.log.happened(f"{node.name} stage {number} has {mine[0]}")
            await target.put(mine[0])
        await target.put(None)

    async def feed() -> None:
        for item in range(node.options["items"]):
            await first.put(str(item))
        await first.put(None)

    async def drain() -> None:
        while (item := await second.get()) is not None:
            got.append(item)

    run_.log.count("tasks", 3)
    context = async_ops.context_of(node)
    async with asyncio.TaskGroup() as group:
        for work in (feed(), stage(1, first, second), drain()):
            group.create_task(work, context=context)


async def _semaphore(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    """More calls than may run at once."""
    places = asyncio.Semaphore(node.options["consumers"])

    async def work(number: int) -> None:
        async with places:
            run_.log.happened(f"{node.name} {number} enters")
            mine: list[str] = []
            await async_ops.chat(run_, node, f"{asked} {number}", mine)
            got.append(mine[0])
            run_.log.happened(f"{node.name} {number} leaves")

    run_.log.count("tasks", node.options["items"])
    await asyncio.gather(*[work(number) for number in range(node.options["items"])])


async def _condition(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    """Tasks that wait until enough answers are there."""
    changed = asyncio.Condition()

    async def ask(number: int) -> None:
        mine: list[str] = []
        await async_ops.chat(run_, node, f"{asked} {number}", mine)
        async with changed:
            got.append(mine[0])
            changed.notify_all()

    async def watch(enough: int) -> None:
        async with changed:
            await changed.wait_for(lambda: len(got) >= enough)
            run_.log.happened(f"{node.name} sees {len(got)} of {enough}")

    number = node.options["items"]
    run_.log.count("tasks", 2 * number)
    await asyncio.gather(*[watch(n + 1) for n in range(number)], *[ask(n) for n in range(number)])


async def _callbacks(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    """Timers and callbacks of the loop beside calls."""
    loop = asyncio.get_running_loop()
    fired = asyncio.Event()

    def fire() -> None:
        run_.log.happened(f"{node.name} timer")
        fired.set()

    loop.call_later(0.002, fire)
    loop.call_soon(run_.log.happened, f"{node.name} soon")

    async def work(number: int) -> None:
        mine: list[str] = []
        await async_ops.chat(run_, node, f"{asked} {number}", mine)
        got.append(mine[0])

    tasks = []
    for number in range(node.options["items"]):
        tasks.append(loop.create_task(work(number)))
        tasks[-1].add_done_callback(lambda _, number=number: run_.log.happened(f"{node.name} done {number}"))  # type: ignore[misc]
    await fired.wait()
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.001)
        run_.log.happened(f"{node.name} polls")
    await asyncio.gather(*tasks)


async def _wait(run_: Run, node: Node) -> str:
    """`asyncio.wait` in a loop, for the first or with a timeout; who was done is logged."""
    loop, context = asyncio.get_running_loop(), async_ops.context_of(node)
    tasks = [
        loop.create_task(async_ops.kept(run_, child), name=child.name, context=context)
        for child in run_.launch_order(node)
    ]
    run_.log.count("tasks", len(tasks))
    rounds = 0
    while tasks:
        rounds += 1
        if node.options["first"]:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        else:
            done, _ = await asyncio.wait(tasks, timeout=0.002)
        tasks = [task for task in tasks if task not in done]
        run_.log.happened(f"{node.name} round {rounds}: {sorted(task.get_name() for task in done)}")
    return node.name


LEAVES: dict[str, async_ops.Leaf] = {
    "spin": _spin, "relay": _relay, "semaphore": _semaphore, "condition": _condition, "callbacks": _callbacks,
}  # fmt: skip
COMPOSITES: dict[str, Callable[[Run, Node], Awaitable[str]]] = {"streams": _streams, "wait": _wait}
"""Operations by kind, beside those of `async_ops`."""
