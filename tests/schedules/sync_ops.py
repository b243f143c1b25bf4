"""Operations in a thread: blocking clients, threads, pools, forks."""

from __future__ import annotations

import multiprocessing
import os
import queue
import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from tests.schedules import clients
from tests.schedules.programs import Run, delegate, text_of
from tests.schedules.specs import Node


def run(run: Run, node: Node) -> str:
    """Run a tree; exceptions of leaves that are made to raise come out, as does what stops a replay."""
    composite = _COMPOSITES.get(node.kind)
    return composite(run, node) if composite is not None else leaf(run, node)


def leaf(run: Run, node: Node, asks: str | None = None) -> str:
    """One leaf: ask, and log what came."""
    asked = node.asks if asks is None else asks
    got: list[str] = []
    try:
        _LEAVES.get(node.kind, _LEAVES["chat"])(run, node, asked, got)  # some kinds are for event loops only
    except BaseException as error:
        run.ended(node, asked, "".join(got) or None, error)
        if not isinstance(error, Exception) or node.options.get("raises"):
            raise
        return type(error).__name__
    run.ended(node, asked, "".join(got), None)
    if node.options.get("raises") and node.kind != "tool":
        raise ValueError(node.name)
    return text_of("".join(got))


def _chat(run: Run, node: Node, asked: str, got: list[str]) -> None:
    answer = run.clients.openai.chat.completions.create(**clients.chat_of(asked))
    got.append(str(answer.choices[0].message.content))


def _impatient(run: Run, node: Node, asked: str, got: list[str]) -> None:
    client = run.clients.openai.with_options(timeout=node.options["ms"] / 1000, max_retries=0)
    got.append(str(client.chat.completions.create(**clients.chat_of(asked)).choices[0].message.content))


def _message(run: Run, node: Node, asked: str, got: list[str]) -> None:
    got.append(str(run.clients.anthropic.messages.create(**clients.message_of(asked)).content[0].to_dict()["text"]))


def _responses(run: Run, node: Node, asked: str, got: list[str]) -> None:
    got.append(run.clients.openai.responses.create(model=clients.MODEL, input=asked).output_text)


def _stream(run: Run, node: Node, asked: str, got: list[str]) -> None:
    take = node.options["take"]
    stream = run.clients.openai.chat.completions.create(**clients.chat_of(asked, stream=True))
    for number, chunk in enumerate(stream):
        if number == take:
            run.log.count("streams abandoned")
            break
        got.append(chunk.choices[0].delta.content or "" if chunk.choices else "")
    if node.options["leave"] == "close":
        stream.close()


def _get(run: Run, node: Node, asked: str, got: list[str]) -> None:
    got.append(run.clients.get(node.options["library"], asked))


def _tool(run: Run, node: Node, asked: str, got: list[str]) -> None:
    if node.options["flavour"] == "generator":
        got.extend(clients.list_pages(asked, node.options["fails"]))
    else:
        got.append(clients.look_up(asked, node.options["fails"]))


def _sleep(run: Run, node: Node, asked: str, got: list[str]) -> None:
    time.sleep((node.options["ms"] or 0) / 1000)


def _chain(run: Run, node: Node, asked: str, got: list[str]) -> None:
    for _ in range(node.options["items"]):
        _chat(run, node, f"{asked} {text_of(got[-1]) if got else ''}", got)


def _retry(run: Run, node: Node, asked: str, got: list[str]) -> None:
    client = run.clients.openai.with_options(max_retries=0)
    for attempt in range(4):  # as programs do that do not leave it to the SDK
        try:
            got.append(str(client.chat.completions.create(**clients.chat_of(asked)).choices[0].message.content))
            return
        except Exception as error:
            got.append(f"{type(error).__name__} ")
            time.sleep(0.001 * attempt)


def _chance(run: Run, node: Node, asked: str, got: list[str]) -> None:
    _chat(run, node, f"{asked} {random.random()} {uuid.uuid4()} {time.time():.6f}", got)


def _workers(run: Run, node: Node, asked: str, got: list[str]) -> None:
    """Threads that take items from one queue; each item asks for itself."""
    waiting: queue.Queue[int] = queue.Queue()
    answers: dict[int, str] = {}
    for item in range(node.options["items"]):
        waiting.put(item)

    def work() -> None:
        while True:
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            mine: list[str] = []
            _chat(run, node, f"{asked} {item}", mine)
            answers[item] = mine[0]

    _join(run, [work] * node.options["consumers"])
    got.extend(answers[item] for item in sorted(answers))


def _join(run: Run, jobs: list[Callable[[], Any]]) -> None:
    """Run jobs in threads of their own; what stops a replay stops the program."""
    errors: list[BaseException] = []

    def guarded(job: Callable[[], Any]) -> None:
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    run.log.count("threads", len(threads))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _raise_stops(errors)


def _raise_stops(errors: list[BaseException]) -> None:
    for error in errors:
        if not isinstance(error, Exception):
            raise error


def _seq(run: Run, node: Node) -> str:
    return " ".join(_kept(run, child) for child in node.children)[:60]


def _kept(run: Run, node: Node) -> str:
    try:
        return run.sync(node)
    except Exception as error:
        return type(error).__name__


def _threads(run: Run, node: Node) -> str:
    _join(run, [lambda child=child: run.sync(child) for child in run.launch_order(node)])  # type: ignore[misc]
    return node.name


def _pool(run: Run, node: Node) -> str:
    with ThreadPoolExecutor(node.options["workers"]) as pool:
        jobs = {child.name: pool.submit(run.sync, child) for child in run.launch_order(node)}
        run.log.count("pooled jobs", len(jobs))
    _raise_stops([error for job in jobs.values() if (error := job.exception())])
    return " ".join(_result(jobs[child.name]) for child in node.children)[:60]


def _result(job: Future[str]) -> str:
    return type(job.exception()).__name__ if job.exception() else job.result()


def _map(run: Run, node: Node) -> str:
    run.log.count("pooled jobs", len(node.children))
    with ThreadPoolExecutor(node.options["workers"]) as pool:
        return " ".join(pool.map(lambda child: _kept(run, child), run.launch_order(node)))[:60]


def _first(run: Run, node: Node) -> str:
    """Two equal requests race in a pool; what is asked next depends on who won."""
    with ThreadPoolExecutor(2) as pool:
        got: list[list[str]] = [[], []]
        jobs = [pool.submit(_chat, run, node, node.asks, mine) for mine in got]
        run.log.count("pooled jobs", 2)
        done, _ = wait(jobs, return_when=FIRST_COMPLETED)
        winner = next(number for number, job in enumerate(jobs) if job in done)
        wait(jobs)
    _raise_stops([error for job in jobs if (error := job.exception())])
    return leaf(run, Node("chat", node.name), f"{node.asks} then {text_of(got[winner])}")


def _run_loop(run: Run, node: Node) -> str:
    return run.start_loop(node.children)


def _agent(run: Run, node: Node) -> str:
    return delegate(run.spec.tag, node.name)


def _fork(run: Run, node: Node) -> str:
    """A forked child runs the tree and leaves; the parent goes on meanwhile and waits at the end."""
    run.log.count("forks")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run.after_fork()
            run.sync(node.children[0])
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        run.log.got(node.name, "", None, f"child ended with {os.waitstatus_to_exitcode(status)}")
    return node.name


def _in_process(run: Run, node: Node) -> None:
    run.after_fork()
    run.sync(node.children[0])


def _process(run: Run, node: Node) -> str:
    run.log.count("forks")
    process = multiprocessing.get_context("fork").Process(target=_in_process, args=(run, node))
    process.start()
    process.join()
    if process.exitcode:
        run.log.got(node.name, "", None, f"child ended with {process.exitcode}")
    return node.name


_LEAVES: dict[str, Callable[[Run, Node, str, list[str]], None]] = {
    "chat": _chat, "impatient": _impatient, "message": _message, "responses": _responses, "stream": _stream,
    "get": _get, "tool": _tool, "sleep": _sleep, "chain": _chain, "retry": _retry, "chance": _chance,
    "workers": _workers,
}  # fmt: skip
_COMPOSITES: dict[str, Callable[[Run, Node], str]] = {
    "seq": _seq, "threads": _threads, "pool": _pool, "map": _map, "first": _first, "run": _run_loop,
    "agent": _agent, "fork": _fork, "process": _process,
}  # fmt: skip
