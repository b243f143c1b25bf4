"""Operations on an event loop: async clients, tasks, cancellations, timeouts, and threads started from the loop."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
import zlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from typing import Any

from tests.schedules import clients
from tests.schedules.clients import LoopClients
from tests.schedules.programs import Run, delegate_on_loop, text_of
from tests.schedules.specs import Node

_clients: ContextVar[LoopClients] = ContextVar("schedule_clients")


async def main(run_: Run, nodes: Sequence[Node]) -> str:
    """What `asyncio.run` is given: the trees one after the other, then the clients are closed."""
    made = LoopClients(run_.url)
    _clients.set(made)
    try:
        return " ".join([await kept(run_, node) for node in nodes])[:60]
    finally:
        await made.close()


async def run(run_: Run, node: Node) -> str:
    """Run a tree; exceptions of leaves that are made to raise come out, as do cancellation and what stops a replay."""
    from tests.schedules import loop_ops

    run_.log.happened(f"{node.name} begins")
    composite = _COMPOSITES.get(node.kind) or loop_ops.COMPOSITES.get(node.kind)
    try:
        if composite is not None:
            return await composite(run_, node)
        return await leaf(run_, node, {**_LEAVES, **loop_ops.LEAVES}[node.kind])
    except BaseException as error:
        run_.log.happened(f"{node.name} raises {type(error).__name__}")
        raise
    finally:
        run_.log.happened(f"{node.name} ends")


async def kept(run_: Run, node: Node) -> str:
    """Run a tree; exceptions become texts."""
    try:
        return await run(run_, node)
    except Exception as error:
        return type(error).__name__


Leaf = Callable[[Run, Node, str, list[str]], Awaitable[None]]


async def leaf(run_: Run, node: Node, work: Leaf, asks: str | None = None) -> str:
    """One leaf: ask, and log what came."""
    asked = node.asks if asks is None else asks
    got: list[str] = []
    try:
        await work(run_, node, asked, got)
    except BaseException as error:
        run_.ended(node, asked, "".join(got) or None, error)
        if not isinstance(error, Exception) or node.options.get("raises"):
            raise
        return type(error).__name__
    run_.ended(node, asked, "".join(got), None)
    if node.options.get("raises") and node.kind != "tool":
        raise ValueError(node.name)
    return text_of("".join(got))


async def chat(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    """One chat completion."""
    answer = await _clients.get().openai.chat.completions.create(**clients.chat_of(asked))
    got.append(str(answer.choices[0].message.content))


async def _message(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    answer = await _clients.get().anthropic.messages.create(**clients.message_of(asked))
    got.append(str(answer.content[0].to_dict()["text"]))


async def _responses(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    got.append((await _clients.get().openai.responses.create(model=clients.MODEL, input=asked)).output_text)


async def _stream(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    take, number = node.options["take"], 0
    stream = await _clients.get().openai.chat.completions.create(**clients.chat_of(asked, stream=True))
    async for chunk in stream:
        if number == take:
            run_.log.count("streams abandoned")
            break
        number += 1
        got.append(chunk.choices[0].delta.content or "" if chunk.choices else "")
        run_.log.happened(f"{node.name} chunk {number} {got[-1]}")
    if node.options["leave"] == "close":
        await stream.close()


async def _get(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    got.append(await _clients.get().get(node.options["library"], asked))


async def _tool(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    flavour, fails = node.options["flavour"], node.options["fails"]
    if flavour == "async":
        got.append(await clients.fetch(asked, fails))
    elif flavour == "stream":
        async for page in clients.follow(asked, fails):
            got.append(page)
            run_.log.happened(f"{node.name} {page}")
    elif flavour == "generator":
        got.extend(clients.list_pages(asked, fails))
    else:
        got.append(clients.look_up(asked, fails))


async def _sleep(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    if node.options["ms"] is not None:
        await asyncio.sleep(node.options["ms"] / 1000)
    for turn in range(node.options["turns"]):
        await asyncio.sleep(0)
        run_.log.happened(f"{node.name} turn {turn}")


async def _chain(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    for _ in range(node.options["items"]):
        await chat(run_, node, f"{asked} {text_of(got[-1]) if got else ''}", got)


async def _retry(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    client = _clients.get().openai.with_options(max_retries=0)
    for attempt in range(4):  # as programs do that do not leave it to the SDK
        try:
            answer = await client.chat.completions.create(**clients.chat_of(asked))
            got.append(str(answer.choices[0].message.content))
            return
        except Exception as error:
            got.append(f"{type(error).__name__} ")
            await asyncio.sleep(0.001 * attempt)


async def _chance(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    await chat(run_, node, f"{asked} {random.random()} {uuid.uuid4()} {time.time():.6f}", got)


async def _hedge(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    """Two equal requests; the first answer wins and is asked on with, the other is cancelled."""
    rivals: list[list[str]] = [[], []]
    tasks = [asyncio.create_task(_into(run_, node, asked, mine)) for mine in rivals]
    run_.log.count("tasks", 2)
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        run_.log.count("cancellations")
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    winner = next(number for number, task in enumerate(tasks) if task in done)
    tasks[winner].result()
    await chat(run_, node, f"{asked} then {rivals[winner][0]}", got)


async def _into(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    await chat(run_, node, asked, got)


async def _queue(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    """Consumers that take items from a bounded queue; each item asks for itself."""
    waiting: asyncio.Queue[int] = asyncio.Queue(node.options["size"])
    answers: dict[int, str] = {}

    async def consume(number: int) -> None:
        while True:
            item = await waiting.get()
            run_.log.happened(f"{node.name} consumer {number} takes {item}")
            mine: list[str] = []
            await chat(run_, node, f"{asked} {item}", mine)
            answers[item] = mine[0]
            waiting.task_done()

    consumers = [asyncio.create_task(consume(number)) for number in range(node.options["consumers"])]
    run_.log.count("tasks", len(consumers))
    try:
        for item in range(node.options["items"]):
            await waiting.put(item)
        finished = asyncio.ensure_future(waiting.join())
        await asyncio.wait([finished, *consumers], return_when=asyncio.FIRST_COMPLETED)
        finished.cancel()
    finally:
        for task in consumers:
            task.cancel()
        ended = await asyncio.gather(*consumers, return_exceptions=True)
    _raise_stops(ended)
    got.extend(answers[item] for item in sorted(answers))


async def _ticket(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    """Tasks that draw a number under a lock, after a call of their own: who draws which depends on the order."""
    lock, tickets = asyncio.Lock(), iter(range(100))

    async def draw(number: int) -> str:
        mine: list[str] = []
        await chat(run_, node, f"{asked} warm-up {number}", mine)
        async with lock:
            ticket = next(tickets)
            run_.log.happened(f"{node.name} task {number} has ticket {ticket}")
            await chat(run_, node, f"{asked} ticket {ticket} of {number}", mine)
        return mine[1]

    run_.log.count("tasks", node.options["items"])
    got.extend(await asyncio.gather(*[draw(number) for number in range(node.options["items"])]))


async def _event(run_: Run, node: Node, asked: str, got: list[str]) -> None:
    """Tasks that wait until another has its answer, and ask on with it."""
    ready, first = asyncio.Event(), list[str]()

    async def leader() -> None:
        try:
            await chat(run_, node, f"{asked} first", first)
        finally:
            ready.set()

    async def follower(number: int) -> str:
        await ready.wait()
        run_.log.happened(f"{node.name} follower {number} goes")
        mine: list[str] = []
        await chat(run_, node, f"{asked} {number} after {first[0]}", mine)
        return mine[0]

    run_.log.count("tasks", node.options["items"] + 1)
    _, *rest = await asyncio.gather(leader(), *[follower(n) for n in range(node.options["items"])])
    got.extend([*first, *map(str, rest)])


def _raise_stops(results: Sequence[Any]) -> None:
    """What stops a replay is no `Exception` and must not be lost in a gather."""
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, (Exception, asyncio.CancelledError)):
            raise result


async def _seq(run_: Run, node: Node) -> str:
    return " ".join([await kept(run_, child) for child in node.children])[:60]


async def _gather(run_: Run, node: Node) -> str:
    children = run_.launch_order(node)
    run_.log.count("tasks", len(children))
    results = await asyncio.gather(*[run(run_, child) for child in children], return_exceptions=node.options["keep"])
    _raise_stops(results)
    by_name = {child.name: result for child, result in zip(children, results, strict=True)}
    return " ".join(str(by_name[child.name]) for child in node.children)[:60]


async def _group(run_: Run, node: Node) -> str:
    context = context_of(node)
    async with asyncio.TaskGroup() as group:
        tasks = {child.name: group.create_task(run(run_, child), context=context) for child in run_.launch_order(node)}
        run_.log.count("tasks", len(tasks))
    return " ".join(tasks[child.name].result() for child in node.children)[:60]


def context_of(node: Node) -> Context | None:
    """The tasks of a third of such nodes share a context; else each has a copy of its own."""
    return None if zlib.crc32(node.name.encode()) % 3 else copy_context()


async def _wait_for(run_: Run, node: Node) -> str:
    seconds = node.options["ms"] / 1000
    try:
        if node.options["block"]:
            async with asyncio.timeout(seconds):
                return await run(run_, node.children[0])
        return await asyncio.wait_for(run(run_, node.children[0]), seconds)
    except TimeoutError:
        run_.log.count("timeouts")
        run_.log.happened(f"{node.name} times out")
        return "timeout"


async def _cancel(run_: Run, node: Node) -> str:
    task = asyncio.create_task(run(run_, node.children[0]))
    run_.log.count("tasks")
    if node.options["ms"] is not None:
        await asyncio.sleep(node.options["ms"] / 1000)
    for _ in range(node.options["turns"]):
        await asyncio.sleep(0)
    if task.cancel():
        run_.log.count("cancellations")
        run_.log.happened(f"{node.name} cancels")
    try:
        return await task
    except asyncio.CancelledError:
        return "cancelled"


async def _shield(run_: Run, node: Node) -> str:
    """A call that goes on while the one who waits for it gives up."""
    task = asyncio.create_task(run(run_, node.children[0]))
    run_.log.count("tasks")
    try:
        await asyncio.wait_for(asyncio.shield(task), 0.002)
    except TimeoutError:
        run_.log.count("timeouts")
    return await task


async def _completed(run_: Run, node: Node) -> str:
    """What is asked at the end depends on the order in which the children ended."""
    order = []
    children = run_.launch_order(node)
    run_.log.count("tasks", len(children))
    work: list[Any] = [_named(run_, child) for child in children]
    if not node.options["raw"]:  # given coroutines, it starts them in the order of a set: by their addresses
        loop, context = asyncio.get_running_loop(), context_of(node)
        work = [loop.create_task(one, context=context) for one in work]
    for ended in asyncio.as_completed(work):
        order.append(await ended)
    asks = f"{run_.spec.tag}: {node.name} after {' '.join(order)}"
    return await leaf(run_, Node("chat", node.name), chat, asks)


async def _named(run_: Run, node: Node) -> str:
    await kept(run_, node)
    return node.name


async def _to_thread(run_: Run, node: Node) -> str:
    run_.log.count("pooled jobs")
    return await asyncio.to_thread(run_.sync, node.children[0])


async def _executor(run_: Run, node: Node) -> str:
    loop = asyncio.get_running_loop()
    children = run_.launch_order(node)
    run_.log.count("pooled jobs", len(children))
    with ThreadPoolExecutor(node.options["workers"]) as pool:
        results = await asyncio.gather(
            *[loop.run_in_executor(pool, run_.sync, child) for child in children], return_exceptions=True
        )
    _raise_stops(results)
    return node.name


async def _agent(run_: Run, node: Node) -> str:
    return await delegate_on_loop(run_.spec.tag, node.name)


_LEAVES: dict[str, Leaf] = {
    "chat": chat, "message": _message, "responses": _responses, "stream": _stream, "get": _get, "tool": _tool,
    "sleep": _sleep, "chain": _chain, "retry": _retry, "chance": _chance, "hedge": _hedge, "queue": _queue,
    "ticket": _ticket, "event": _event,
}  # fmt: skip
_COMPOSITES: dict[str, Callable[[Run, Node], Awaitable[str]]] = {
    "seq": _seq, "gather": _gather, "group": _group, "wait_for": _wait_for, "cancel": _cancel, "shield": _shield,
    "completed": _completed, "to_thread": _to_thread, "executor": _executor, "agent": _agent,
}  # fmt: skip
