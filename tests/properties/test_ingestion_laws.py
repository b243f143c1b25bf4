"""What the store holds does not depend on when, in which order and in which pieces journals are read."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rashomon import journal, tapes
from rashomon.journal import Code
from rashomon.store import TraceStore, arrival, ingest, ingest_new, ingestion
from tests.faults.store_journals import content, packed, write
from tests.recordings import made_up


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), looks=st.integers(1, 4), portion=st.sampled_from([1, 300, 2000, 1 << 20]))
def test_growing_journals_give_what_reading_them_at_once_gives(
    tmp_path_factory: pytest.TempPathFactory, seed: int, looks: int, portion: int
) -> None:
    """Journals of several processes that are looked at while they grow, read in portions of any size, written in
    batches of any size, give row for row the store of one reading, and the tapes that the journals tell."""
    chance, folder = Random(seed), tmp_path_factory.mktemp("home")
    made_up(chance, events=14).write(folder / "whole")
    whole = sorted((folder / "whole").iterdir())
    growing = folder / "journals"
    growing.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(arrival, "PORTION_BYTES", portion)
        patched.setattr(ingestion, "BATCH_BYTES", chance.choice([1, 500, 1 << 20]))
        for _ in range(looks):
            for path in chance.sample(whole, len(whole)):
                data, beside = path.read_bytes(), growing / path.name
                now = beside.stat().st_size if beside.exists() else 0
                beside.write_bytes(data[: chance.randint(now, len(data))])
            assert ingest_new(folder).damaged == ()
        for path in whole:
            (growing / path.name).write_bytes(path.read_bytes())
        ingest_new(folder)
    clean = folder / "clean.duckdb"
    ingest(growing, clean)
    found, expected = content(folder / "store.duckdb"), content(clean)
    for table in ("journals",):  # when a file was changed
        found.pop(table), expected.pop(table)
    assert found == expected
    with TraceStore(folder / "store.duckdb") as store:
        for tape in tapes.assemble([tapes.read_part(path) for path in whole]):
            assert store.tape(tape.trace.id, within=False) == tape


def _call(step: int, t_us: int) -> list[Any]:
    head = {"method": "POST", "url": "https://api.example.com/v1/chat/completions", "headers": []}
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 400}]}).encode()
    return [Code.CALL, step, 0, "llm", "chat", [], t_us, None, head, body]


OPEN_STEP_CHANGES = [
    [Code.PROCESS, {"started_ns": 10**18, "pid": 7, "argv": ["a.py"]}],
    [Code.TRACE, 0, {"id": "t", "name": "t", "started_ns": 10**18}],
    _call(0, 100),
    [Code.HEAD, 0, 200, {"status": 200, "headers": []}],
    _call(1, 300),
    [Code.END, 0, 400, "complete", None],
    [Code.UNCONTROLLED, 0, "a socket", "by hand", None],
    [Code.END, 1, 500, "complete", None],
    [Code.UNCONTROLLED, 0, "another", "by hand", None],
]


@pytest.mark.parametrize("portion", [1, 300])
@pytest.mark.parametrize("seen", range(3, len(OPEN_STEP_CHANGES)))
def test_a_step_that_changes_while_others_begin_keeps_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: int, portion: int
) -> None:
    """An open step is told of again, in one batch with a new step or after the journal was read once already: the
    store holds what reading it at once gives, whatever is in which batch."""
    pieces, path = packed(OPEN_STEP_CHANGES), tmp_path / "journals" / "0.rsj"
    whole, begun = journal.header_bytes() + b"".join(pieces), journal.header_bytes() + b"".join(pieces[:seen])
    with monkeypatch.context() as patched:
        patched.setattr(arrival, "PORTION_BYTES", portion)
        patched.setattr(ingestion, "BATCH_BYTES", 1)
        for data in (begun, whole):
            write(path, data)
            assert ingest_new(tmp_path).damaged == ()
    ingest(path.parent, tmp_path / "clean.duckdb")
    found, expected = content(tmp_path / "store.duckdb"), content(tmp_path / "clean.duckdb")
    assert {**found, "journals": None} == {**expected, "journals": None}
