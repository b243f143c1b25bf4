"""The disk refuses one write, any one: a step of which something is missing never looks like a whole one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import rashomon
from rashomon import session, values
from rashomon.model import End, Step
from rashomon.recorders import writer
from tests.support import tapes_of


class Disk:
    """`os`, with a `write` that fails once, at its so many-th call from when it was told."""

    def __init__(self) -> None:
        self.left = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, fd: int, data: bytes) -> int:
        """As `os.write`; the disk is full for one call."""
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(fd, data)


class Streams(httpx2.SyncByteStream):
    """Three pieces, one of which looks like a key."""

    def __iter__(self) -> Iterator[bytes]:
        yield from PIECES


PIECES = (b"data: one\n\n", b"data: sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD\n\n", b"data: three\n\n")


def _streamed(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Streams())


def _whole(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, json={"answer": "forty-two"})


@rashomon.tool
def _look_up(number: int) -> bytes:
    return b"x" * number


@rashomon.tool
def _pages(number: int) -> Iterator[str]:
    yield from map(str, range(number))


def _program() -> None:
    for answer in (_streamed, _whole):
        with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
            client.post("http://provider.test/v1/chat/completions", json={"model": "m"}).read()
    assert len(_look_up(100)) == 100
    assert list(_pages(3)) == ["0", "1", "2"]


def _is_whole(step: Step) -> bool:
    """Whether a step holds all that its call gave: the sizes and numbers of pieces are those of the program above."""
    pieces, name = step.response.pieces, step.name
    if name.endswith("_look_up"):
        return [len(values.decode(piece.data)) for piece in pieces] == [100]
    if name.endswith("_pages"):
        return [values.decode(piece.data) for piece in pieces] == ["0", "1", "2"]
    data = b"".join(piece.data for piece in pieces)
    return step.response.head is not None and (b"forty-two" in data or (b"one" in data and b"three" in data))


@pytest.mark.parametrize("refused", range(1, 22))
def test_a_step_that_lost_something_has_no_end(home: Path, monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    """Whichever write fails, the loss is counted, and what is left is not taken for the whole."""
    disk = Disk()
    monkeypatch.setattr(writer, "os", disk)
    session.close_journal()
    with rashomon.trace("lossy"):
        disk.left = refused
        _program()
        failed = disk.left <= 0
        disk.left = 0
    session.close_journal()
    (tape,) = tapes_of(home)
    ended = [step for step in tape.steps if step.response.end is End.COMPLETE]
    assert all(map(_is_whole, ended))
    assert bool(tape.trace.losses) == failed
    assert len(ended) == (4 if not failed else 3)
