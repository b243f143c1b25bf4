"""Recordings of every version of the journal are read and replayed for ever."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

import rashomon
from rashomon import tapes, values
from rashomon.boundary import Play, current
from rashomon.model import Call, Kind
from tests.support import ROOT, contents

FIXTURES = sorted((ROOT / "fixtures" / "tapes").glob("*.rsj"))


def test_there_are_some() -> None:
    """The folder of old recordings is where this test looks."""
    assert FIXTURES


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_it_reads_as_it_did(path: Path) -> None:
    """Ids, lanes, digests and pieces are what they were when the fixture was made."""
    assert contents(tapes.only_tape(path)) == json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_it_replays(path: Path, home: Path) -> None:
    """Each recorded request, sent again, gets its recorded answer, byte for byte; each tool its result."""
    tape = tapes.only_tape(path)
    with rashomon.replay(path) as replaying, httpx2.Client() as client:
        for step in tape.steps:
            if step.kind is Kind.TOOL:
                verdict = current().arrive(Call(step.kind, step.name, step.request))  # type: ignore[union-attr]
                assert isinstance(verdict, Play)
                assert values.decode(verdict.response.body) == values.decode(step.response.body)
                continue
            head = step.request.head
            with client.stream(head["method"], head["url"], content=step.request.body) as response:
                assert b"".join(response.iter_raw()) == step.response.body
    replaying.check()
