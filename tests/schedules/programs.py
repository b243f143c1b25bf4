"""Runs a program: the tree of a `Spec` on real clients against a provider.

    log = Log(); run_program(spec, log, url)

Whatever a leaf asked and got goes into the log under the leaf's name. `permute` is the seed of another launch order
of siblings in gathers, groups, threads and pools.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import rashomon
from tests.schedules.clients import Clients, bodies_run, load
from tests.schedules.events import Log
from tests.schedules.specs import Node, Spec


class ProgramError(Exception):
    """How a program ends that is made to fail."""


class Run:
    """One execution of a program: what threads and tasks share."""

    def __init__(self, spec: Spec, log: Log, url: str, permute: int | None = None) -> None:
        self.spec, self.log, self.url, self.permute = spec, log, url, permute
        self.clients = Clients(url)

    def launch_order(self, node: Node) -> list[Node]:
        """The children in the order in which they are to be started."""
        children = list(node.children)
        if self.permute is not None:
            random.Random(f"{self.permute}/{node.name}").shuffle(children)
        return children

    def ended(self, node: Node, asked: str, answer: str | None, error: BaseException | None) -> None:
        """Log what a leaf got."""
        self.log.got(node.name, asked, answer, None if error is None else type(error).__name__)

    def sync(self, node: Node) -> str:
        """Run a tree in this thread; returns a text that depends on what it got."""
        from tests.schedules import sync_ops

        return sync_ops.run(self, node)

    def start_loop(self, nodes: Sequence[Node]) -> str:
        """Run trees one after the other on a new event loop."""
        from tests.schedules import async_ops

        self.log.count("event loops")
        return asyncio.run(async_ops.main(self, nodes))

    def after_fork(self) -> None:
        """In a forked child: the parent's connections are the parent's."""
        self.log.after_fork()
        self.clients = Clients(self.url)


current: ContextVar[Run] = ContextVar("schedule_run")
_running: dict[str, Run] = {}
"""The run of a program by its tag: a tool's arguments are recorded, so it cannot be handed the run itself."""


@rashomon.tool
def delegate(tag: str, name: str) -> str:
    """A tool that works with models and tools itself."""
    bodies_run["delegate"] += 1
    run = _running[tag]
    node = next(node for node in run.spec.root.walk() if node.name == name)
    return run.sync(node.children[0])


@rashomon.tool
async def delegate_on_loop(tag: str, name: str) -> str:
    """The same, on the caller's event loop."""
    from tests.schedules import async_ops

    bodies_run["delegate"] += 1
    run = _running[tag]
    node = next(node for node in run.spec.root.walk() if node.name == name)
    return await async_ops.run(run, node.children[0])


def run_program(spec: Spec, log: Log, url: str, permute: int | None = None) -> None:
    """Run a program to its end. Raises `ProgramError` if it is made to, and what stops a replay."""
    run = Run(spec, log, url, permute)
    _running[spec.tag] = run
    nodes = list(spec.root.walk())
    load(frozenset(node.kind for node in nodes), frozenset(n.options["library"] for n in nodes if n.kind == "get"))
    before = threading.active_count()
    try:
        if spec.on_loop:
            run.start_loop(spec.root.children)
        else:
            run.sync(spec.root)
    finally:
        run.clients.close()
        log.count("threads left", threading.active_count() - before)
    if spec.fails:
        raise ProgramError(f"program {spec.seed} in process {os.getpid() > 0} ends badly")


def text_of(value: Any) -> str:
    """A short text that depends on an answer, to be asked on with."""
    return str(value)[:60]
