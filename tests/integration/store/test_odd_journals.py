"""Frames that are whole and say what no recorder says: the step or the trace that they are of is odd, and nothing else
is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rashomon import journal
from rashomon.journal import Code
from rashomon.store import ingest_new, open_home

PROCESS: list[Any] = [Code.PROCESS, {"started_ns": 10**18, "pid": 7, "argv": ["a.py"]}]
HEAD = {"method": "POST", "url": "https://api.example.com/v1/chat/completions", "headers": []}
BODY = b'{"model":"m","messages":[{"role":"user","content":"What did the customer order, and when?"}]}'


def trace(**info: Any) -> list[Any]:
    """The frame that begins the trace."""
    return [Code.TRACE, 0, {"id": "odd", "name": "odd", "started_ns": 10**18, **info}]


def call(number: int = 0, of: Any = 0, lane: Any = (), head: Any = None) -> list[Any]:
    """The frame that begins a step."""
    return [Code.CALL, number, of, "llm", "chat", list(lane), 100 + number, None, head or HEAD, BODY]


ODD: dict[str, list[list[Any]]] = {
    "a lane that is text": [trace(), call(lane=["\udcff"])],
    "a step of a trace that is no number": [trace(), call(), call(1, of={"a": 1})],
    "a header's name is a number": [trace(), call(head={**HEAD, "headers": [[0, 5, "x"]]})],
    "a content-type is a number": [trace(), call(head={**HEAD, "headers": [[0, "content-type", 0.5]]})],
    "provenance that JSON cannot hold": [trace(provenance={"git": {"commit": b"\xff"}}), call()],
    "an end after the end of time": [
        [Code.PROCESS, {**PROCESS[1], "started_ns": 2**64 - 1}],
        trace(),
        call(),
        [Code.TRACE_END, 0, 2**60, {"outcome": "ok"}],
    ],
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_frame_costs_no_other_journal(tmp_path: Path, odd: str) -> None:
    """A journal with one odd frame is taken in as far as it goes, and a journal beside it whole."""
    good = [PROCESS, [Code.TRACE, 0, {"id": "good", "name": "good", "started_ns": 10**18}], call()]
    folder = tmp_path / "journals"
    folder.mkdir()
    for name, frames in (("1.rsj", [PROCESS, *ODD[odd]]), ("2.rsj", good)):
        packed = [journal.frame(journal.pack(elements)) for elements in frames]
        (folder / name).write_bytes(journal.header_bytes() + b"".join(packed))
    ingest_new(tmp_path)
    with open_home(tmp_path) as store:
        assert [step.name for step in store.tape("good").steps] == ["chat"]
        assert [step.request.body for step in store.tape("odd").steps] == [BODY]
