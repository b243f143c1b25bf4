"""What the store holds does not depend on when, in which order and in which pieces journals are read."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rashomon import tapes
from rashomon.store import TraceStore, arrival, ingest, ingest_new, ingestion
from tests.faults.store_journals import content
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
