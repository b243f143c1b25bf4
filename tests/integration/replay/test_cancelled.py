"""A caller that is cancelled in another turn of its loop than in the recording: what it misses or gets is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

import rashomon
from rashomon.model import OVERTAKEN, Tape

TURNS = range(14)


class _Turning(httpx2.AsyncBaseTransport, httpx2.AsyncByteStream):
    """A server whose answers and their pieces take a turn of the loop each; it breaks off where it is asked to."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0)
        self.breaks = request.url.path == "/breaks"
        headers = {"content-length": "2"} if request.url.path == "/sized" else {}
        return httpx2.Response(200, headers=headers, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in (b"a", b"b"):
            await asyncio.sleep(0)
            yield piece
        await asyncio.sleep(0)
        if self.breaks:
            raise httpx2.ReadError("broke off")


@rashomon.tool
async def looked_up(turns: int, fails: bool) -> str:
    """Takes so many turns, and may fail."""
    for _ in range(turns):
        await asyncio.sleep(0)
    if fails:
        raise LookupError("nothing there")
    return "found"


@rashomon.tool
async def pages(fails: bool) -> AsyncIterator[str]:
    """Two pages, a turn each, and maybe a failure."""
    for page in "ab":
        await asyncio.sleep(0)
        yield page
    await asyncio.sleep(0)
    if fails:
        raise LookupError("no more")


async def _asked(kind: str, got: list[str]) -> None:
    try:
        if kind.startswith("tool"):
            got.append(await looked_up(2, kind == "tool fails"))
        elif kind.startswith("pages"):
            async for page in pages(kind == "pages fail"):
                got.append(page)
        else:
            async with httpx2.AsyncClient(transport=_Turning()) as client:
                path = kind.partition(" ")[2]
                if kind.startswith("get"):
                    got.append((await client.get(f"http://turning.test/{path}")).text)
                    return
                async with client.stream("GET", f"http://turning.test/{path}") as response:
                    async for piece in response.aiter_raw():
                        got.append(piece.decode())
    except asyncio.CancelledError:
        got.append("cancelled")
        raise
    except Exception as error:
        got.append(type(error).__name__)


async def _cancelled_after(turns: int, kind: str) -> list[str]:
    got: list[str] = []
    task = asyncio.create_task(_asked(kind, got))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return got


@pytest.mark.parametrize(
    "kind",
    [
        "tool",
        "tool fails",
        "pages",
        "pages fail",
        "stream",
        "stream sized",
        "stream breaks",
        "get",
        "get sized",
        "get breaks",
    ],
)
async def test_whoever_gets_something_else_is_told(kind: str, home: Path, last_tape: Callable[[], Tape]) -> None:
    """Whatever turn a caller was cancelled in, and is: it gets what it got, or else the replay says so. With the same
    turn it gets the same, and nothing is said."""
    marked = 0
    for turns in TURNS:
        with rashomon.trace("recorded"):
            recorded = await _cancelled_after(turns, kind)
        tape = last_tape()
        marked += any(OVERTAKEN in step.marks for step in tape.steps)
        for other in TURNS:
            with rashomon.replay(tape) as replaying:
                replayed = await _cancelled_after(other, kind)
            if turns == other:
                assert (replayed, replaying.divergences) == (recorded, ())
            elif replayed != recorded:
                assert replaying.divergences, (turns, other, recorded, replayed)
    assert marked
