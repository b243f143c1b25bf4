"""Random programs as data: a tree of operations, made from a seed.

A program is what an agent's author could have written: calls of models and tools in tasks, threads and pools,
nested, raced, cancelled, timed out, retried. Every leaf has a name of its own, by which its answers in two runs are
compared, whatever lane it ran in. Most requests are unlike all others; some are shared by several leaves, and the
provider answers each of those differently.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Profile = Literal["steady", "wild", "loop"]
"""`steady`: what is asked depends on no order. `wild`: timeouts, cancellations, races whose winner decides what is
asked next. `loop`: wild, and all of it on one event loop."""

_LEAVES = {
    "chat": 8,
    "stream": 4,
    "message": 2,
    "responses": 1,
    "get": 4,
    "tool": 4,
    "sleep": 2,
    "chain": 2,
    "retry": 1,
}
_ASYNC = {"seq": 3, "gather": 4, "group": 3, "queue": 1, "event": 1, "to_thread": 2, "executor": 1, "agent": 1}
_ASYNC_WILD = {"wait_for": 4, "cancel": 4, "hedge": 2, "ticket": 1, "completed": 1, "shield": 1, "chance": 1}
_LOOP = {"streams": 4, "spin": 3, "relay": 2, "semaphore": 1, "condition": 1, "callbacks": 2, "wait": 2, "to_thread": 1}
_SYNC = {"seq": 3, "threads": 4, "pool": 3, "map": 1, "workers": 1, "run": 3, "agent": 1}
_SYNC_WILD = {"first": 1, "impatient": 3, "chance": 1}
_FORKS = {"fork": 4, "process": 2}
_PARALLEL = ("gather", "group", "threads", "pool", "executor", "streams", "wait", "completed")
_RACY = frozenset({"first"})
_INTERRUPTING = frozenset({"wait_for", "cancel"})
_ITEMS = frozenset({"queue", "workers", "relay", "ticket", "semaphore", "condition", "callbacks", "event"})
_LEAF_KINDS = frozenset({*_LEAVES, *_ITEMS, "hedge", "first", "chance", "impatient", "spin"})


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. `asks` is what a leaf asks for; equal texts of several leaves make equal requests."""

    kind: str
    name: str
    asks: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.children))
        extra = "".join(f" {key}={value}" for key, value in self.options.items() if value)
        shared = " shared" if ": common" in self.asks else ""
        return f"{self.kind}[{self.name}{shared}{extra}]" + (f"({inner})" if inner else "")


@dataclass(frozen=True, slots=True)
class Spec:
    """A program: its seed, how it was made, whether it begins on an event loop, and the tree."""

    seed: int
    profile: Profile
    on_loop: bool
    root: Node
    forks: bool = False
    fails: bool = False
    """True for a program that ends with an exception of its own."""

    @property
    def tag(self) -> str:
        """What every request of this program contains."""
        return f"s{self.seed}{self.profile[0]}{'f' if self.forks else ''}"

    @property
    def racy(self) -> bool:
        """True when threads race for what is asked next, so that a replay may have to say that it left the recording.

        Also when a thread's job may be cancelled: whether it has begun by then is up to the operating system. And when
        `as_completed` is given coroutines: it starts them in the order of a set, which is that of their addresses.
        """
        return any(node.kind in _RACY or node.options.get("raw") for node in self.root.walk()) or _threads_interrupted(
            self.root, False
        )

    @property
    def unordered(self) -> bool:
        """True when lanes are not the same in every run: threads share a queue, or `as_completed` starts coroutines."""
        return any(node.kind == "workers" for node in self.root.walk())

    def inside_tools(self) -> frozenset[str]:
        """The names of the leaves that run inside a tool: a replay serves the tool and does not run it."""
        tools = [node for node in self.root.walk() if node.kind == "agent"]
        return frozenset(inner.name for tool in tools for child in tool.children for inner in child.walk())


def _threads_interrupted(node: Node, interrupted: bool) -> bool:
    interrupted = interrupted or node.kind in _INTERRUPTING or node.options.get("raises", False)
    if node.kind in ("group", "gather") and any(n.options.get("raises") for n in node.walk()):
        interrupted = True
    if interrupted and node.kind in ("to_thread", "executor"):
        return True
    return any(_threads_interrupted(child, interrupted) for child in node.children)


class _Maker:
    """Draws one program."""

    def __init__(self, seed: int, profile: Profile, forks: bool) -> None:
        self.rng = random.Random(f"{seed}/{profile}/{forks}")
        self.tag = f"s{seed}{profile[0]}{'f' if forks else ''}"
        self.wild = profile != "steady"
        self.loop_only = profile == "loop"
        self.forks = forks
        self.left = self.rng.randint(6, 22)
        self.count = 0
        self.leaves = dict(_LEAVES)
        if forks and self.rng.random() < 0.7:  # a process of its own that loads one SDK instead of two starts sooner
            del self.leaves["message"]

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def asks(self, name: str, may_share: bool = True) -> str:
        if may_share and self.rng.random() < 0.3:
            return f"{self.tag}: common {self.rng.randrange(2)}"
        return f"{self.tag}: {name} please"

    def draw(self, weights: dict[str, int]) -> str:
        return self.rng.choices(list(weights), list(weights.values()))[0]

    def node(self, on_loop: bool, depth: int, may_fork: bool = False) -> Node:
        """A tree for an event loop or for a thread. Forks are for a process without other threads: see `os.fork`."""
        if depth >= 4 or self.left <= 0 or self.rng.random() < 0.15 * depth:
            return self.leaf(on_loop)
        kinds = dict(_ASYNC if on_loop else _SYNC)
        if self.wild:
            kinds |= _ASYNC_WILD if on_loop else _SYNC_WILD
        if self.loop_only:
            kinds = {k: w for k, w in (kinds | _LOOP).items() if k not in ("executor", "agent", "run")}
        if may_fork:
            kinds |= _FORKS
        if depth == 0:
            kinds = {kind: weight for kind, weight in kinds.items() if kind not in _LEAF_KINDS}
        kind = self.draw(kinds)
        return self.leaf_of(kind, on_loop) if kind in _LEAF_KINDS else self.composite(kind, on_loop, depth, may_fork)

    def composite(self, kind: str, on_loop: bool, depth: int, may_fork: bool) -> Node:
        name, rng = self.name(kind), self.rng
        below = {"to_thread": False, "executor": False, "run": True}.get(kind, on_loop)
        many = kind in _PARALLEL or kind in ("seq", "map")
        number = rng.randint(2, 5) if many else 1
        if kind == "streams":
            children = [self.stream(self.name("stream")) for _ in range(number)]
        elif kind == "map":
            children = [self.leaf(below) for _ in range(number)]
        else:
            forks = may_fork and kind in ("seq", "agent")
            children = [self.node(below, depth + 1, forks) for _ in range(number)]
        return Node(kind, name, "", self.options(kind), tuple(children))

    def options(self, kind: str) -> dict[str, Any]:
        rng = self.rng
        choices: dict[str, Callable[[], dict[str, Any]]] = {
            "wait_for": lambda: {"ms": rng.choice([0, 1, 2, 4, 8, 1000]), "block": rng.random() < 0.4},
            "cancel": lambda: {"ms": rng.choice([None, 0, 1, 3, 6]), "turns": rng.randint(0, 4)},
            "gather": lambda: {"keep": rng.random() < 0.6},
            "pool": lambda: {"workers": rng.randint(1, 4)},
            "map": lambda: {"workers": rng.randint(1, 4)},
            "executor": lambda: {"workers": rng.randint(1, 4)},
            "completed": lambda: {"raw": not self.loop_only and rng.random() < 0.5},
            "wait": lambda: {"first": rng.random() < 0.5},
            "fork": lambda: {"way": rng.choice(["_exit", "return"])},
        }
        return choices.get(kind, dict)()

    def leaf(self, on_loop: bool) -> Node:
        return self.leaf_of(self.draw(self.leaves), on_loop)

    def leaf_of(self, kind: str, on_loop: bool) -> Node:
        self.left -= 1
        name, rng = self.name(kind), self.rng
        if kind == "stream":
            return self.stream(name)
        options: dict[str, Any] = {}
        shares = kind in ("chat", "message", "get", "tool", "impatient", "hedge")
        asks = self.asks(name, shares)
        if kind in ("chat", "retry") and ": common" not in asks and (kind == "retry" or rng.random() < 0.2):
            asks += f" flaky={rng.randint(1, 2)}x{rng.choice([429, 500])}"
        if kind == "get":
            options["library"] = rng.choice(
                ["httpx", "httpx2", "aiohttp"] if on_loop else ["httpx", "requests", "httpx2", "urllib.request"]
            )
        elif kind == "tool":
            options["flavour"] = rng.choice(["sync", "generator", *(["async", "stream"] if on_loop else [])])
            options["fails"] = rng.random() < 0.15
        elif kind == "sleep":
            options |= {"ms": rng.choice([None, 1, 3]), "turns": rng.randint(1, 4)}
        elif kind in _ITEMS or kind == "chain":
            options |= {"items": rng.randint(2, 5), "consumers": rng.randint(1, 3), "size": rng.randint(0, 2)}
        elif kind == "spin":
            options |= {"turns": rng.randint(1, 6), "rounds": rng.randint(1, 4), "ms": rng.choice([None, 0, 1, 2])}
        elif kind == "impatient":
            options["ms"] = rng.choice([1, 3, 6])
        if self.wild and rng.random() < 0.1:
            options["raises"] = True
            options["fails"] = kind == "tool"
        return Node(kind, name, asks, options)

    def stream(self, name: str) -> Node:
        rng = self.rng
        take = rng.choice([None, None, 0, 1, 3, 6])
        return Node("stream", name, self.asks(name), {"take": take, "leave": rng.choice(["drop", "close"])})


def make_spec(seed: int, profile: Profile | None = None, forks: bool = False) -> Spec:
    """The program of a seed. Without a profile, half of the seeds are steady and half wild.

    With `forks` it may fork and may end with an error: it has to run in a process of its own.
    """
    chosen: Profile = profile or ("steady" if seed % 2 else "wild")
    maker = _Maker(seed, chosen, forks)
    on_loop = maker.loop_only or (not forks and maker.rng.random() < 0.6)
    trees = [maker.node(on_loop, 0, forks)]
    while maker.left > 0:
        trees.append(maker.node(on_loop, 0, forks))
    fails = forks and chosen == "wild" and maker.rng.random() < 0.3
    return Spec(seed, chosen, on_loop, Node("seq", "main", children=tuple(trees)), forks, fails)
