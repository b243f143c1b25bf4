"""The head of an answer is written together with its first piece: others' answers do not depend on one that waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2

import rashomon
from rashomon import tapes
from rashomon.model import Step

URL = "http://provider"
HEADERS = {"content-type": "application/json", "x-region": "eu-1"}


class Body(httpx2.AsyncByteStream):
    """A body that comes when it may."""

    def __init__(self, gate: asyncio.Event | None) -> None:
        self.gate = gate

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.gate is not None:
            await self.gate.wait()
        yield b'{"a": 1}'


def steps(home: Path) -> dict[str, Step]:
    """What is on the disk now, by name."""
    (path,) = (home / "journals").glob("*.rsj")
    (tape,) = tapes.assemble([tapes.read_part(path)])
    return {step.name: step for step in tape.steps}


def test_answers_that_overtake_each_other(home: Path) -> None:
    """Two answers have the same new headers, and the body of the one that began first comes last: both are whole, and
    the first that was read is whole on the disk before the other is."""

    async def run() -> None:
        gate = asyncio.Event()

        def answer(request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, headers=HEADERS, stream=Body(gate if request.url.path == "/slow" else None))

        transport = httpx2.MockTransport(answer)
        async with httpx2.AsyncClient(transport=transport) as client, client.stream("GET", f"{URL}/slow") as slow:
            await client.get(f"{URL}/fast")
            whole(steps(home)["GET /fast"])
            gate.set()
            await slow.aread()

    def whole(step: Step) -> None:
        assert step.marks == ()
        assert step.response.head is not None
        assert dict(step.response.head["headers"]) == HEADERS

    with rashomon.trace("overtaken"):
        asyncio.run(run())
    for name in ("GET /slow", "GET /fast"):
        whole(steps(home)[name])
