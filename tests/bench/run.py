"""`make bench`: what recording costs, measured side by side with bare calls and with vcrpy in one run.

The provider runs in another process. Blocks of bare, recorded and vcrpy calls alternate, so that a noisy minute
hits all of them; figures are medians (and 99th percentiles) of what a way adds to the bare median. The clock is the
real one: a trace would record each reading of the program's.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import vcr  # type: ignore[import-untyped]

import rashomon
from rashomon import real, session, tapes
from rashomon.testing import ProviderProcess

BLOCKS, CALLS = 24, 40
HEADERS = {"authorization": "Bearer sk-bench-0123456789abcdef"}


def call(client: httpx2.Client, url: str, body: dict[str, Any]) -> tuple[int, int]:
    """One call: nanoseconds to the first chunk, and to the end."""
    start = real.perf_counter_ns()
    first = 0
    with client.stream("POST", url, json=body, headers=HEADERS) as response:
        for _ in response.iter_raw():
            first = first or real.perf_counter_ns() - start
    return first, real.perf_counter_ns() - start


async def call_async(client: httpx2.AsyncClient, url: str, body: dict[str, Any]) -> tuple[int, int]:
    """The same with an async client."""
    start = real.perf_counter_ns()
    first = 0
    async with client.stream("POST", url, json=body, headers=HEADERS) as response:
        async for _ in response.aiter_raw():
            first = first or real.perf_counter_ns() - start
    return first, real.perf_counter_ns() - start


def chunks(url: str, body: dict[str, Any]) -> int:
    """How many chunks such a stream has."""
    with httpx2.stream("POST", url, json=body, headers=HEADERS) as response:
        return sum(1 for _ in response.iter_raw())


@contextmanager
def bare() -> Iterator[None]:
    """Nothing."""
    yield


@contextmanager
def recorded() -> Iterator[None]:
    """Our recorder."""
    with rashomon.trace("bench"):
        yield


_folder = tempfile.mkdtemp(prefix="rashomon-bench-")
_cassettes = 0


@contextmanager
def vcrpy() -> Iterator[None]:
    """vcrpy, into a new cassette a block."""
    global _cassettes
    _cassettes += 1
    with vcr.use_cassette(os.path.join(_folder, f"{_cassettes}.yaml"), record_mode=vcr.mode.ALL):
        yield


WAYS: dict[str, Callable[[], Any]] = {"bare": bare, "rashomon": recorded, "vcrpy": vcrpy}


def compare(url: str, body: dict[str, Any], calls: int) -> dict[str, dict[str, float]]:
    """Each way's medians in microseconds: total, first chunk, and what it adds to bare."""
    firsts: dict[str, list[int]] = {way: [] for way in WAYS}
    totals: dict[str, list[int]] = {way: [] for way in WAYS}
    with httpx2.Client() as client:
        for block in range(BLOCKS + 2):
            for way, enter in WAYS.items():
                with enter():
                    samples = [call(client, url, {**body, "user": f"{block}.{n}"}) for n in range(calls)]
                if block >= 2:
                    firsts[way].extend(first for first, _ in samples)
                    totals[way].extend(total for _, total in samples)
    return _summary(firsts, totals)


def compare_async(url: str, body: dict[str, Any], calls: int) -> dict[str, dict[str, float]]:
    """The same for an async client, in one event loop."""
    firsts: dict[str, list[int]] = {way: [] for way in WAYS}
    totals: dict[str, list[int]] = {way: [] for way in WAYS}

    async def run() -> None:
        async with httpx2.AsyncClient() as client:
            for block in range(BLOCKS + 2):
                for way, enter in WAYS.items():
                    with enter():
                        samples = [
                            await call_async(client, url, {**body, "user": f"{block}.{n}"}) for n in range(calls)
                        ]
                    if block >= 2:
                        firsts[way].extend(first for first, _ in samples)
                        totals[way].extend(total for _, total in samples)

    asyncio.run(run())
    return _summary(firsts, totals)


def _summary(firsts: dict[str, list[int]], totals: dict[str, list[int]]) -> dict[str, dict[str, float]]:
    base, base_first = statistics.median(totals["bare"]), statistics.median(firsts["bare"])
    return {
        way: {
            "median_us": statistics.median(totals[way]) / 1000,
            "adds_us": (statistics.median(totals[way]) - base) / 1000,
            "adds_p99_us": (quantile(totals[way], 0.99) - quantile(totals["bare"], 0.99)) / 1000,
            "first_chunk_adds_us": (statistics.median(firsts[way]) - base_first) / 1000,
        }
        for way in WAYS
    }


def quantile(values: list[int], share: float) -> float:
    """The value below which `share` of them lie."""
    return sorted(values)[int(len(values) * share)]


def conversation(turns: int) -> Iterator[list[dict[str, str]]]:
    """The messages of an agent's requests, turn by turn: about 3.7 kB new in each."""
    messages = [{"role": "system", "content": "You are a careful agent. " * 40}]
    for turn in range(turns):
        words = " ".join(f"{turn * 7919 + n * 104729:x}" for n in range(330))
        messages.append({"role": "user", "content": f"Observation {turn}: {words}"})
        yield list(messages)
        messages.append({"role": "assistant", "content": f"I will look at item {turn} next, because {words[:900]}"})


def long_conversation() -> dict[str, float]:
    """Sixty turns: the journal's size against unique content, and whether the cost stays flat."""
    unique: set[str] = set()
    wire = answered = 0
    turns: list[float] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal answered
        body = {"id": "chatcmpl-1", "choices": [{"message": {"role": "assistant", "content": "I will look further."}}]}
        raw = json.dumps(body).encode()
        answered = len(raw)
        return httpx2.Response(200, stream=httpx2.ByteStream(raw), headers={"content-type": "application/json"})

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    bodies = [{"model": "gpt-4o", "messages": messages} for messages in conversation(60)]
    url = "http://provider/v1/chat/completions"
    for body in bodies:
        wire += len(json.dumps(body))
        unique.update(json.dumps(message) for message in body["messages"])
    baseline = [statistics.median(_timed(client, url, body) for _ in range(15)) for body in bodies]
    runs: list[list[float]] = []
    for _ in range(15):
        session.close_journal()
        with rashomon.trace("sixty"):
            runs.append([_timed(client, url, body) for body in bodies])
    turns = [statistics.median(run[n] for run in runs) - baseline[n] for n in range(60)]
    session.close_journal()
    newest = max(Path(os.environ["RASHOMON_HOME"], "journals").glob("*.rsj"))
    size = newest.stat().st_size
    assert len(tapes.assemble([tapes.read_part(newest)])[0].steps) == 60
    content = sum(map(len, unique)) + 60 * answered
    return {
        "wire_kb": wire / 1000,
        "unique_kb": content / 1000,
        "journal_kb": size / 1000,
        "journal_by_unique": size / content,
        "first_ten_turns_us": statistics.median(turns[:10]) / 1000,
        "last_ten_turns_us": statistics.median(turns[-10:]) / 1000,
    }


def _timed(client: httpx2.Client, url: str, body: dict[str, Any]) -> int:
    start = real.perf_counter_ns()
    client.post(url, json=body)
    return real.perf_counter_ns() - start


class _Chunks(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A stream without a network: 200 chunks; an async client is suspended for each."""

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(200):
            yield _CHUNK

    async def __aiter__(self) -> Any:
        for _ in range(200):
            await asyncio.sleep(0)
            yield _CHUNK


_CHUNK = b'data: {"id":"chatcmpl-1","choices":[{"delta":{"content":"word "}}]}\n\n'


def warm() -> dict[str, float]:
    """Microseconds that recording adds where there is no network: a call, and a chunk of a stream."""
    body = json.dumps(
        {"id": "chatcmpl-1", "choices": [{"message": {"role": "assistant", "content": "Hello."}}]}
    ).encode()
    sized = {"content-type": "application/json", "content-length": str(len(body))}

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/stream":
            return httpx2.Response(200, stream=_Chunks(), headers={"content-type": "text/event-stream"})
        return httpx2.Response(200, stream=httpx2.ByteStream(body), headers=sized)

    transport = httpx2.MockTransport(answer)
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}
    added: dict[str, list[float]] = {"call_us": [], "chunk_us": [], "async_call_us": [], "async_chunk_us": []}

    def sync_run(path: str, count: int) -> float:
        with httpx2.Client(transport=transport) as client:
            return statistics.median(call(client, f"http://provider{path}", ask)[1] for _ in range(count))

    def async_run(path: str, count: int) -> float:
        async def run() -> float:
            async with httpx2.AsyncClient(transport=transport) as client:
                return statistics.median(
                    [(await call_async(client, f"http://provider{path}", ask))[1] for _ in range(count)]
                )

        return asyncio.run(run())

    for _ in range(11):
        for name, run, path, count, parts in (
            ("call_us", sync_run, "/v1/chat/completions", 200, 1),
            ("chunk_us", sync_run, "/stream", 10, 200),
            ("async_call_us", async_run, "/v1/chat/completions", 200, 1),
            ("async_chunk_us", async_run, "/stream", 10, 200),
        ):
            plain = run(path, count)
            with rashomon.trace("warm"):
                added[name].append((run(path, count) - plain) / parts / 1000)
    return {name: statistics.median(values) for name, values in added.items()}


PATCHED: dict[str, Callable[[], Any]] = {
    "time.time": lambda: time.time(),
    "time.perf_counter_ns": lambda: time.perf_counter_ns(),
    "datetime.now": lambda: datetime.datetime.now(),
    "random.random": lambda: random.random(),
    "random.randint": lambda: random.randint(1, 6),
    "os.urandom(16)": lambda: os.urandom(16),
    "os.getpid": lambda: os.getpid(),
    "event: open": lambda: sys.audit("open", "/dev/null", "r", os.O_RDONLY),
    "event: not watched": lambda: sys.audit("import", "x", None, None, None, None),
}
"""What the program reads from its surroundings, by functions that `install()` replaces; and audit events."""


def reads() -> dict[str, dict[str, float]]:
    """Nanoseconds of each: in a process without Rashomon, with it outside of a trace, and inside of one."""
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import run; run.reads_here(sys.argv[1])"
    found: dict[str, dict[str, list[float]]] = {name: {} for name in PATCHED}
    for _ in range(5):
        for way in ("bare", "installed", "in_trace"):
            done = subprocess.run([sys.executable, "-c", program, way], capture_output=True, check=True)
            for name, value in json.loads(done.stdout).items():
                found[name].setdefault(way, []).append(value)
    return {name: {f"{way}_ns": min(values) for way, values in ways.items()} for name, ways in found.items()}


def reads_here(way: str) -> None:
    """In a process of its own: print the nanoseconds of each, as JSON."""
    if way != "bare":
        rashomon.install()
    scope = rashomon.trace("reads") if way == "in_trace" else bare()
    costs: dict[str, float] = {}
    with scope:
        for name, read in PATCHED.items():
            rounds = []
            for _ in range(7):
                start = real.perf_counter_ns()
                for _ in range(500):
                    read()
                rounds.append((real.perf_counter_ns() - start) / 500)
            costs[name] = min(rounds)
    print(json.dumps(costs))


def imports() -> dict[str, float]:
    """Milliseconds for `import rashomon` and `install()` in fresh interpreters."""
    program = (
        "import time; clock = [time.perf_counter]; t = clock[0](); import rashomon; rashomon.install(); "
        "print((clock[0]() - t) * 1000)"
    )
    runs = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
        for _ in range(21)
    ]
    return {"median_ms": statistics.median(runs), "best_ms": min(runs)}


def show(title: str, rows: dict[str, Any]) -> None:
    """One table, for reading."""
    print(f"\n{title}")
    for name, row in rows.items():
        cells = row.items() if isinstance(row, dict) else [("", row)]
        print(f"  {name:24}" + "  ".join(f"{key} {value:,.2f}" for key, value in cells))


def main() -> None:
    """Run everything; print tables, then one JSON document."""
    os.environ["RASHOMON_HOME"] = os.path.join(_folder, "home")
    results: dict[str, Any] = {"import and install": imports()}
    show("import rashomon; rashomon.install()", {"fresh interpreter": results["import and install"]})
    with ProviderProcess() as provider:
        url = provider.openai_url + "/chat/completions"
        ask: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}
        results["small JSON call"] = compare(url, ask, CALLS)
        show("small JSON call on loopback", results["small JSON call"])
        results["small JSON call, async"] = compare_async(url, ask, CALLS)
        show("small JSON call on loopback, async", results["small JSON call, async"])
    with ProviderProcess(["--model", "echo"]) as provider:
        url = provider.openai_url + "/chat/completions"
        long = {**ask, "messages": [{"role": "user", "content": "word " * 198}], "stream": True}
        results["stream"] = compare(url, long, CALLS // 8)
        count = chunks(url, long)
        show(f"stream of {count} chunks on loopback", results["stream"])
        results["stream, async"] = compare_async(url, long, CALLS // 8)
        show("the same, async", results["stream, async"])
    results["chunk"] = {
        way: (results[f"stream{way}"]["rashomon"]["adds_us"] - results[f"small JSON call{way}"]["rashomon"]["adds_us"])
        / count
        for way in ("", ", async")
    }
    show("a chunk on loopback: what recording adds to that stream beyond a small call", {"us": results["chunk"]})
    results["warm"] = warm()
    show("without a network", {"recording adds": results["warm"]})
    results["reads"] = reads()
    show("what a program reads", results["reads"])
    results["sixty turns"] = long_conversation()
    show("conversation of 60 turns", dict(results["sixty turns"]))
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
