"""Which groups of rows an ingestion merges: what is cheap to merge always, what is dear seldom."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rashomon.errors import DamagedData
from rashomon.store import compaction, connection, ingest_new, ingestion, lease, memory, merging, pace, writing
from rashomon.store.merging import Unmerged
from rashomon.store.pace import Pace, Weight
from tests.bench import store_journals
from tests.faults.store_journals import content

Parts = list[tuple[int, list[int]]]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Journals of a trace each."""
    folder = tmp_path_factory.mktemp("fleet")
    store_journals.write_journals(folder, 48, 500)
    return sorted(path for path in folder.iterdir() if path.stat().st_size < 100_000)


@pytest.fixture
def dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents of some hundred bytes are as dear to merge as some of thirty kilobytes are."""
    monkeypatch.setattr(merging, "BYTES_A_BATCH", 15_000)
    monkeypatch.setattr(compaction, "tighten", lambda store, since: False)


def blocks(store: Path) -> Parts:
    """The groups of rows of `parts`: rows, and the blocks in which their texts are."""
    with connection.open_reader(store) as reader:
        found = reader.execute(
            "SELECT row_group_id, sum(count) FILTER (segment_type <> 'VALIDITY' AND column_name = 'id')::INTEGER,"
            " list(DISTINCT block_id ORDER BY block_id) FILTER (column_name = 'text')"
            " FROM pragma_storage_info('parts') GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return [(rows, ids) for _, rows, ids in found]


def ingested(home: Path, journals: list[Path]) -> Path:
    """A store into which these journals came one after another, each by an ingestion of its own."""
    (home / "journals").mkdir(parents=True, exist_ok=True)
    for journal in journals:
        shutil.copy(journal, home / "journals")
        ingest_new(home)
    return home / "store.duckdb"


def test_small_contents_are_merged_each_time(tmp_path: Path, fleet: list[Path]) -> None:
    """Many ingestions of a little leave one group of rows."""
    assert len(blocks(ingested(tmp_path, fleet[:6]))) == 1


def test_dear_contents_are_left_where_they_are(tmp_path: Path, fleet: list[Path], dear: None) -> None:
    """What was written stays in its blocks when more comes; now and then it is merged nevertheless."""
    before: Parts = []
    counts, moved = [], 0
    for journal in fleet[:40]:
        now = blocks(ingested(tmp_path, [journal]))
        moved += now[: len(before)] != before
        counts.append(len(now))
        before = now
    assert max(counts) > 3
    assert 1 <= moved <= 20
    assert counts[-1] < 20


def test_merging_changes_nothing_but_the_groups(tmp_path: Path, fleet: list[Path], dear: None) -> None:
    """Rows that were merged, and some that were not, are the same rows."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(merging, "BYTES_A_BATCH", 10)
        one = ingested(tmp_path / "one", fleet[:9])
    other = tmp_path / "other"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(merging, "BYTES_A_BATCH", 1 << 30)
        other = ingested(tmp_path / "other", fleet[:9])
    assert len(blocks(one)) > len(blocks(other)) == 1
    found, expected = content(one), content(other)
    found.pop("journals"), expected.pop("journals")  # when the files were changed
    assert found == expected


def test_a_note_merges_nothing(tmp_path: Path, fleet: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else writes leaves the groups as they are."""
    monkeypatch.setattr(merging, "BYTES_A_BATCH", 10)
    store = ingested(tmp_path, fleet[:4])
    before = blocks(store)
    assert len(before) > 1
    with connection.open_writer(store) as writer:
        writer.execute("INSERT INTO meta VALUES ('test', 'a note')")
    assert blocks(store) == before


def test_a_store_that_was_written_anew_is_measured(tmp_path: Path, fleet: list[Path]) -> None:
    """What is in its last group is looked at once, and known from then on."""
    store = ingested(tmp_path, fleet[:3])
    compaction.compact(store)
    with connection.open_reader(store) as reader:
        rows, size = reader.execute(
            "SELECT count(*), sum(coalesce(strlen(text), octet_length(body)))::BIGINT FROM parts"
        ).fetchall()[0]
        assert reader.execute("SELECT value FROM meta WHERE key = ?", [merging.KEY]).fetchall() == [("",)]
        assert merging.read(reader) == Unmerged(rows, size, 0)
    ingested(tmp_path, fleet[3:4])
    with connection.open_reader(store) as reader:
        assert reader.execute("SELECT value FROM meta WHERE key = ?", [merging.KEY]).fetchall() != [("",)]
        assert merging.read(reader).rows > rows


@pytest.mark.parametrize("told", ["", "nonsense", "1 2", "1 2 x", "-1 2 3", "1 2 3 4", "²  2 3"])
def test_a_hint_that_is_odd_is_none(tmp_path: Path, fleet: list[Path], dear: None, told: str) -> None:
    """Whatever stands there, the store is written, and tells it anew."""
    store = ingested(tmp_path, fleet[:1])
    with connection.open_writer(store) as writer:
        writer.execute("UPDATE meta SET value = ? WHERE key = ?", [told, merging.KEY])
        rows = writer.execute("SELECT count(*) FROM parts").fetchall()[0][0]
        assert merging.read(writer)[::2] == (rows, 0)
    ingested(tmp_path, fleet[1:2])
    with connection.open_reader(store) as reader:
        assert len(reader.execute("SELECT value FROM meta WHERE key = ?", [merging.KEY]).fetchall()[0][0].split()) == 3


def test_full_groups_are_done_with() -> None:
    """Only rows in groups that are not full are ever merged again."""
    chance = random.Random(5)
    unmerged = Unmerged()
    for _ in range(200):
        rows = chance.randrange(20_000)
        unmerged = unmerged.after(rows, rows * 100)
        assert abs(unmerged.size - unmerged.rows * 100) < 200 * 100
    assert unmerged.batches == 200
    assert unmerged.rows < 200 * connection.ROW_GROUP
    merged, times = unmerged.merged(), 1
    assert unmerged.rows - 2 * connection.ROW_GROUP <= merged.rows < unmerged.rows
    assert merged.batches == 0
    while merged.rows >= connection.ROW_GROUP:
        assert abs(merged.size - merged.rows * 100) < 200 * 100
        merged, times = merged.merged(), times + 1
    assert unmerged.rows // (2 * connection.ROW_GROUP) <= times <= unmerged.rows // connection.ROW_GROUP


def test_what_cannot_be_paid_for_is_not_due() -> None:
    """What is merged at a time is two full groups at most; what that takes is earned batch by batch."""
    group, paid = connection.ROW_GROUP, merging.BYTES_A_BATCH
    assert Unmerged(0, 0, 0).is_due
    assert Unmerged(group, paid, 0).is_due
    assert not Unmerged(group, 2 * paid, 0).is_due
    assert Unmerged(group, 2 * paid, 1).is_due
    assert Unmerged(20 * group, 20 * paid, 1).is_due
    assert not Unmerged(20 * group, 20 * paid, 0).is_due


def test_a_batch_waits_for_a_full_group_of_steps() -> None:
    """When it is large enough, and half a group is there; not for as long as it likes, and not while others wait."""
    batch, half = ingestion.BATCH_BYTES, connection.ROW_GROUP // 2
    pace_ = Pace()
    pace_._short = pace_._long = float(batch)
    assert pace_.is_full(batch, half - 1)
    assert not pace_.is_full(batch, half)
    assert not pace_.is_full(pace.GROUP_BYTES - 1, 2 * half - 1)
    assert pace_.is_full(batch, 2 * half)
    assert pace_.is_full(pace.GROUP_BYTES, half)
    assert not pace_.is_full(batch - 1, 2 * half)
    pace_._short = pace_._long = batch / 2
    assert pace_.is_full(batch // 2, half)
    assert pace_.fitting([Weight(batch // 4, 10), Weight(batch // 4, half), Weight(9, 9)]) == 2


def test_a_large_ingestion_fills_groups_of_steps(tmp_path: Path) -> None:
    """Most of its steps are in full groups: so many rows at once need not go through DuckDB's log."""
    store_journals.write_journals(tmp_path / "journals", 300, 15_000)
    ingest_new(tmp_path)
    with connection.open_reader(tmp_path / "store.duckdb") as reader:
        found = reader.execute(
            "SELECT sum(count)::INTEGER FROM pragma_storage_info('steps')"
            " WHERE column_name = 'position' AND segment_type <> 'VALIDITY' GROUP BY row_group_id"
        ).fetchall()
    full = sum(rows for (rows,) in found if rows == connection.ROW_GROUP)
    assert full >= 2 * connection.ROW_GROUP


def test_a_lack_of_memory_is_known_by_what_duckdb_says(tmp_path: Path) -> None:
    """It comes as errors of several kinds; others are none."""
    told = "failed to allocate data of size 1.0 MiB (44.9 MiB/45.7 MiB used)"
    assert memory.is_short(duckdb.OutOfMemoryException("x"))
    assert memory.is_short(duckdb.ConstraintException(f"Incorrect value for generated column 'holes': {told}"))
    assert memory.is_short(duckdb.FatalException("could not allocate block of size 256.0 KiB"))
    assert not memory.is_short(duckdb.IOException("No space left on device"))
    assert not memory.is_short(OSError(told))


def test_a_batch_that_does_not_fit_gets_more_memory_step_by_step(
    tmp_path: Path, fleet: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done again with the next limit, which is kept; with no limit left, the lack is told."""
    short = duckdb.ConstraintException("failed to allocate data of size 1.0 MiB")
    limits: list[str] = []
    again = lease.Lease._open

    def opened(self: lease.Lease) -> Any:
        limits.append(self._limit)
        return again(self)

    failing = 2
    write = writing.Writing.write

    def written(self: writing.Writing) -> writing.Written:
        nonlocal failing
        failing -= 1
        if failing >= 0:
            raise short
        return write(self)

    monkeypatch.setattr(lease.Lease, "_open", opened)
    monkeypatch.setattr(writing.Writing, "write", written)
    monkeypatch.setattr(ingestion, "BATCH_BYTES", 100_000)
    for name in ("FIRST_BYTES", "LEAST_BYTES"):
        monkeypatch.setattr(pace, name, 50_000)
    (tmp_path / "journals").mkdir()
    for journal in fleet[:12]:
        shutil.copy(journal, tmp_path / "journals")
    assert ingest_new(tmp_path).journals == 12
    assert tuple(dict.fromkeys(limits)) == memory.LIMITS[:3]
    shutil.copy(fleet[12], tmp_path / "journals")
    failing = 10
    with pytest.raises(DamagedData, match="failed to allocate"):
        ingest_new(tmp_path)
    assert tuple(dict.fromkeys(limits)) == memory.LIMITS
    failing = 0
    assert len(ingest_new(tmp_path).new) == 1


def long_log(store: Path) -> None:
    """A store whose log is longer than an ingestion lets one become, with 12,000 rows in it."""
    held = lease.Lease(store, 5)
    held.unbind()
    with held.writing(more=True) as writer:
        writer.execute("SET checkpoint_threshold = '1GB'")
        writer.execute("CREATE TABLE texts (text VARCHAR)")
        for _ in range(12):
            writer.execute("INSERT INTO texts SELECT ? || range FROM range(1000)", ["long " * 1000])
    held.end()
    assert store.with_name(f"{store.name}.wal").stat().st_size > 50_000_000


def written_on(store: Path) -> None:
    """Write one more row without a log, in what memory an ingestion gives DuckDB, and read all of them."""
    calm = pace.Pace()
    calm.logs = False
    again = lease.Lease(store, 5, calm)
    with again.writing(more=True) as writer:
        assert writer.execute("SELECT current_setting('memory_limit')").fetchall() == [("36.2 MiB",)]
        writer.execute("INSERT INTO texts VALUES ('one more')")
    again.end()
    with connection.open_reader(store) as reader:
        assert reader.execute("SELECT count(*), max(length(text)) FROM texts").fetchall() == [(12_001, 5_003)]
    assert [path.name for path in store.parent.iterdir() if path.is_dir() or path.suffix == ".wal"] == []


def test_a_long_log_is_put_into_the_file_before_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a log is in memory when it has been read; what does not fit is written nowhere else."""
    monkeypatch.chdir(tmp_path)
    long_log(tmp_path / "store.duckdb")
    written_on(tmp_path / "store.duckdb")


def test_a_log_may_be_too_long_for_the_machine_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put aside while the log was read lies beside the store, and goes with the connection."""
    monkeypatch.chdir(tmp_path)
    long_log(tmp_path / "store.duckdb")
    opened = connection.open_writer
    beside: list[str] = []

    def small(path: Path, wait_s: float, logs: bool = True) -> duckdb.DuckDBPyConnection:
        writer = opened(path, wait_s, logs)
        writer.execute("SET memory_limit = '40MB'")
        beside.extend(one.name for one in tmp_path.iterdir() if one.is_dir())
        return writer

    monkeypatch.setattr(connection, "open_writer", small)
    written_on(tmp_path / "store.duckdb")
    assert beside == ["store.duckdb.tmp"]


def test_one_portion_with_more_in_it_gets_memory_for_itself(
    tmp_path: Path, fleet: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batches behind it are held to the limit again."""
    held = lease.Lease(tmp_path / "store.duckdb", 5)
    ask = "SELECT current_setting('memory_limit')"
    told = []
    for _ in range(2):
        with held.writing(more=True) as writer:
            told.append(writer.execute(ask).fetchall()[0][0])
        held.unbind()
    with held.writing(more=True) as writer:
        told.append(writer.execute(ask).fetchall()[0][0])
    with held.writing(more=False) as writer:
        told.append(writer.execute(ask).fetchall()[0][0])
    held.end()
    assert told[0] == told[3] == f"{int(memory.LIMIT.removesuffix('MB')) * 10**6 / 2**20:.1f} MiB"
    assert told[1] == told[2] != told[0]
