"""The provider of the schedules: no two answers are equal, none comes when it is expected.

    python -m tests.schedules.provider --seed 7      # prints its address; ends when its input closes

Each answer carries a number that was never given before, also to equal requests. A request that contains
`flaky=2x429` is refused twice with status 429 first. `/_log?tag=T` lists every request that contained T: the witness
of what really went out; `/_clear` forgets.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rashomon.testing import Fault, ModelRequest, ProviderServer, Reply, jitter
from rashomon.testing.http import Received

ROOT = Path(__file__).resolve().parents[2]
_FLAKY = re.compile(r"flaky=(\d)x(\d+)")
_WORDS = ["river", "stone", "lantern", "harbour", "willow", "copper", "market", "evening"]
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    seed: int = parser.parse_args().seed
    rng, serials = random.Random(seed), count(1)
    refused: Counter[str] = Counter()

    def model(request: ModelRequest) -> Reply | Fault:
        text = request.last_user_text
        flaky = _FLAKY.search(text)
        if flaky and refused[text] < int(flaky[1]):
            refused[text] += 1
            return Fault.status(int(flaky[2]), retry_after=rng.choice([0.001, 0.004]))
        words = " ".join(rng.choices(_WORDS, k=rng.randint(2, 6)))
        return Reply(text=f"#{next(serials)} {words}")

    def thing(request: Received) -> Any:
        if request.params["name"] == "missing":
            return 404, {"serial": next(serials)}
        return {"serial": next(serials)}

    def log(request: Received) -> Any:
        tag = request.query["tag"][0]
        found = [[one.method, one.target, one.body.decode()] for one in server.requests if one.path[:2] != "/_"]
        return [entry for entry in found if tag in entry[1] or tag in entry[2]]

    def clear(_: Received) -> Any:
        server.requests.clear()
        refused.clear()
        return {}

    routes = {("GET", "/things/{name}"): thing, ("GET", "/_log"): log, ("GET", "/_clear"): clear}
    delays, pauses = jitter(0, 0.005, seed=seed), jitter(0, 0.0015, seed=seed + 1)
    server = ProviderServer(model, routes=routes, delay=delays, chunk_delay=pauses, seed=seed)
    with server:
        print(server.url, flush=True)
        sys.stdin.read()


class Provider:
    """That server as a schedule sees it: its address, and what it received."""

    def __init__(self, url: str) -> None:
        self.url = url

    def received(self, tag: str) -> Counter[tuple[str, str, str]]:
        """How often each request that contains `tag` arrived: method, target, body."""
        with _DIRECT.open(f"{self.url}/_log?tag={tag}", timeout=20) as answer:
            return Counter(tuple(entry) for entry in json.load(answer))

    def clear(self) -> None:
        """Forget all requests."""
        with _DIRECT.open(f"{self.url}/_clear", timeout=20):
            pass


class ProviderProcess(Provider):
    """That server in a process of its own, as a context manager."""

    def __init__(self, seed: int) -> None:
        super().__init__("")
        self._seed = seed

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.schedules.provider", "--seed", str(self._seed)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


if __name__ == "__main__":
    main()
