"""The store's file while it is written batch by batch, and what is done that it stays small and quick to write."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rashomon.canonical import digest
from rashomon.store import (
    compaction,
    connection,
    folder,
    ingest_new,
    ingestion,
    known_parts,
    lease,
    memory,
    pace,
    taking,
)
from tests.bench import store_journals
from tests.faults.store_journals import content, frames, write_frames

FREE = "SELECT free_blocks FROM pragma_database_size() WHERE database_name = current_database()"


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a journal or two."""
    for name in ("FIRST_BYTES", "LEAST_BYTES"):
        monkeypatch.setattr(pace, name, 20_000)
    monkeypatch.setattr(ingestion, "BATCH_BYTES", 20_000)


def journals(home: Path, traces: int, steps: int, seed: int = 1) -> Path:
    """A home with journals that are not in its store."""
    store_journals.write_journals(home / "journals", traces, steps, seed)
    return home


def free(store: Path) -> int:
    """How many blocks of a store's file are free."""
    with connection.open_reader(store) as reader:
        return int(reader.execute(FREE).fetchall()[0][0])


def groups(store: Path) -> int:
    """In how many groups the rows of the traces are."""
    with connection.open_reader(store) as reader:
        found = reader.execute("SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('traces')").fetchall()
    return int(found[0][0])


def test_a_small_store_is_left_without_free_blocks(tmp_path: Path, small_batches: None) -> None:
    """What many batches leave free in a small file is given back by the ingestion itself, and nothing else changes."""
    one, other = journals(tmp_path / "one", 80, 2400), journals(tmp_path / "other", 80, 2400)
    ingest_new(one)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compaction, "tighten", lambda store, since: False)
        ingest_new(other)
    assert free(other / "store.duckdb") > 0
    assert free(one / "store.duckdb") == 0
    assert (one / "store.duckdb").stat().st_size < (other / "store.duckdb").stat().st_size
    assert {path.name for path in one.glob("store.duckdb*")} <= {
        "store.duckdb",
        "store.duckdb.held",
        "store.duckdb.seen",
        "store.duckdb.waiting",
    }
    found, expected = content(one / "store.duckdb"), content(other / "store.duckdb")
    for changing in ("journals",):  # when the files were changed
        found.pop(changing), expected.pop(changing)
    assert found == expected


def test_the_last_of_many_batches_leaves_merging_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It merges no rows, which would leave the blocks of those before it free; who writes next does."""
    for name, value in (("FIRST_BYTES", 100_000), ("LEAST_BYTES", 100_000)):
        monkeypatch.setattr(pace, name, value)
    monkeypatch.setattr(ingestion, "BATCH_BYTES", 100_000)
    monkeypatch.setattr(connection, "LOG_BYTES", 400_000)
    monkeypatch.setattr(compaction, "tighten", lambda store, since: False)
    one, other = journals(tmp_path / "one", 80, 2400), journals(tmp_path / "other", 80, 2400)
    with monkeypatch.context() as patched:
        patched.setattr(lease, "ENOUGH_BYTES", 100_000)
        ingest_new(one)
    ingest_new(other)
    assert groups(one / "store.duckdb") > groups(other / "store.duckdb") == 1
    assert free(one / "store.duckdb") < free(other / "store.duckdb")
    more = journals(tmp_path / "more", 2, 30, 2)
    for path in (more / "journals").iterdir():
        for home in (one, other):
            (home / "journals" / f"0-{path.name}").write_bytes(path.read_bytes())
    assert ingest_new(one).steps == ingest_new(other).steps > 0
    assert groups(one / "store.duckdb") == groups(other / "store.duckdb") == 1
    found, expected = content(one / "store.duckdb"), content(other / "store.duckdb")
    for changing in ("journals",):  # when the files were changed
        found.pop(changing), expected.pop(changing)
    assert found == expected


def test_a_store_is_not_written_anew_for_every_little_thing(tmp_path: Path, small_batches: None) -> None:
    """Only a file that has doubled since it was written anew is worth it again."""
    home = journals(tmp_path, 80, 2400)
    ingest_new(home)
    inode = (home / "store.duckdb").stat().st_ino
    store_journals.write_journals(tmp_path / "more" / "journals", 2, 30, 2)
    for path in (tmp_path / "more" / "journals").iterdir():
        path.rename(home / "journals" / f"0-{path.name}")
    assert ingest_new(home).journals > 0
    assert (home / "store.duckdb").stat().st_ino == inode


def test_nobody_is_waited_for_to_make_a_file_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody reads the store it stays as it is, without an error and without anything left beside it."""
    home = journals(tmp_path, 80, 2400)
    monkeypatch.setattr(compaction, "_PATIENCE_S", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(compaction, "tighten", lambda store, since: False)
        ingest_new(home)
    store = home / "store.duckdb"
    inode = store.stat().st_ino
    with connection.open_reader(store):
        assert not compaction.tighten(store, 0)
    assert store.stat().st_ino == inode
    assert compaction.leftovers(store) == []


def test_the_next_ingestion_deletes_what_a_killed_one_left(tmp_path: Path) -> None:
    """A copy goes that was left by a process which is dead, though no journal is new; that of a living one stays."""
    home = journals(tmp_path, 2, 10)
    ingest_new(home)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = [home / f"store.duckdb.compact-{ended.pid}.{part}" for part in ("old", "new")]
    living = home / f"store.duckdb.compact-{os.getppid()}.new"
    for path in (*dead, living):
        path.write_bytes(b"a copy")
    ingestion.ingest(home / "journals", home / "store.duckdb", home=home)
    assert [path.exists() for path in (*dead, living)] == [False, False, True]


def test_the_log_of_a_killed_ingestion_is_put_into_the_file(tmp_path: Path) -> None:
    """Killed when all was written and its log not yet in the file: the next command does that, and later ones look at
    nothing but times."""
    home = journals(tmp_path, 2, 10)
    store = home / "store.duckdb"
    ingest_new(home)
    program = (
        "import os, sys, pathlib; from rashomon.store import connection;"
        " writer = connection.open_writer(pathlib.Path(sys.argv[1]));"
        " writer.execute(\"INSERT INTO meta VALUES ('killed', 'late')\"); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(store)], check=False).returncode == 9
    log = store.with_name("store.duckdb.wal")
    assert log.exists()
    assert not folder.nothing_new(store, folder.listing(home / "journals"))
    for path in (home / "journals").iterdir():
        os.utime(path, ns=(10**18, 10**18))
    ingest_new(home)
    ingest_new(home)
    assert not log.exists()
    assert folder.nothing_new(store, folder.listing(home / "journals"))
    with connection.open_reader(store) as reader:
        assert reader.execute("SELECT value FROM meta WHERE key = 'killed'").fetchall() == [("late",)]


def test_who_comes_back_often_keeps_the_store_until_somebody_waits(tmp_path: Path) -> None:
    """Between two batches the store stays open; a reader who comes then has it at once, and sees what was written."""
    store = tmp_path / "store.duckdb"
    writing = lease.Lease(store, 10)
    try:
        with writing.writing(more=True) as writer:
            writer.execute("INSERT INTO meta VALUES ('first', '1')")
        with writing.writing(more=True) as again:
            assert again is writer
        with connection.open_reader(store) as reader:
            assert reader.execute("SELECT value FROM meta WHERE key = 'first'").fetchall() == [("1",)]
        with writing.writing(more=False) as later:
            later.execute("INSERT INTO meta VALUES ('second', '2')")
        assert not store.with_name("store.duckdb.wal").exists()
        with duckdb.connect(str(store), read_only=True) as other:
            assert other.execute("SELECT count(*) FROM meta WHERE key IN ('first', 'second')").fetchall() == [(2,)]
    finally:
        writing.end()


@pytest.mark.parametrize("room", [0, 1 << 60], ids=["room", "hardly any room"])
def test_a_batch_is_in_the_file_at_once_where_there_is_room(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits, and a log would overflow: what is committed is not written into one first. Where room is short, it
    is, and comes back."""
    monkeypatch.setattr(lease, "_ROOM_BYTES", room)
    overflowing = pace.Pace()
    overflowing.took(5_000_000, 100, 1.0, long=True)
    store, copy = tmp_path / "store.duckdb", tmp_path / "copy.duckdb"
    connection.open_writer(store).close()
    writing = lease.Lease(store, 10, overflowing)
    try:
        with writing.writing(more=True) as writer:
            writer.execute("INSERT INTO meta VALUES ('batch', '1')")
        logged = store.with_name("store.duckdb.wal").exists()
        copy.write_bytes(store.read_bytes())  # what is there when the process is killed now, but for a log
    finally:
        writing.end()
    assert logged == (room > 0)
    for path, there in ((copy, not logged), (store, True)):
        with connection.open_reader(path) as reader:
            found = reader.execute("SELECT count(*) FROM meta WHERE key = 'batch'").fetchall()
        assert found == [(int(there),)]


def test_a_long_batch_is_given_up_for_who_waits(tmp_path: Path) -> None:
    """A statement that would take long is interrupted when somebody waits, who has the store as it was before."""
    store = tmp_path / "store.duckdb"
    writing = lease.Lease(store, 10)
    seen: list[tuple[str]] = []

    def read() -> None:
        with connection.open_reader(store, 60) as reader:
            seen.extend(reader.execute("SELECT key FROM meta WHERE key IN ('kept', 'lost')").fetchall())

    def write_for_long() -> None:
        with writing.writing(more=True) as own, connection.transaction(own), writing.giving_way(3600.0):
            own.execute("INSERT INTO meta VALUES ('lost', '1')")
            reading.start()
            own.execute("SELECT sum(hash(range)) FROM range(1000000000000000)")

    reading = threading.Thread(target=read)
    try:
        with writing.writing(more=True) as writer:
            writer.execute("INSERT INTO meta VALUES ('kept', '1')")
        with pytest.raises(lease.GivenUp):
            write_for_long()
        reading.join()
        assert seen == [("kept",)]
        with writing.writing(more=False) as writer:
            writer.execute("INSERT INTO meta VALUES ('later', '1')")
    finally:
        writing.end()
    with connection.open_reader(store) as reader:
        keys = reader.execute("SELECT key FROM meta WHERE key IN ('kept', 'lost', 'later') ORDER BY 1").fetchall()
    assert keys == [("kept",), ("later",)]


def test_batches_that_are_given_up_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ingestion whose batches are given up at random moments, and done again in pieces, ends as any other does."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance, given_up = random.Random(seed), 0
    one, other = journals(tmp_path / "one", 30, 600), journals(tmp_path / "other", 30, 600)
    for home in (one, other):  # traces of several processes, which turn up in any order, and steps that end later
        for number in range(12):
            path = home / "journals" / f"{number % 5}-{number:04d}.rsj"
            write_frames(path, frames(f"t{number // 3}", 30, process=number, size=200))
    expected_report = ingest_new(other)

    @contextlib.contextmanager
    def giving_way(self: lease.Lease, expected_s: float | None) -> Iterator[Callable[[], None]]:
        def pause() -> None:
            nonlocal given_up
            if given_up < 40 and chance.random() < 0.15:
                given_up += 1
                raise lease.GivenUp

        yield pause

    monkeypatch.setattr(lease.Lease, "giving_way", giving_way)
    monkeypatch.setattr(pace.Pace, "room", property(lambda self: chance.choice([1, 20_000, 200_000])))
    monkeypatch.setattr(known_parts, "MANY", 0)
    monkeypatch.setattr(known_parts, "_ASKED", 1)
    monkeypatch.setattr(known_parts, "_ADDED", 40)
    report = ingest_new(one)
    assert given_up == 40
    assert sorted(report.new) == sorted(expected_report.new)
    assert (report.updated, report.kept, report.damaged) == ((), (), ())
    found, expected = content(one / "store.duckdb"), content(other / "store.duckdb")
    found.pop("journals"), expected.pop("journals")  # when the files were changed
    assert found == expected


def test_a_look_at_the_file_lets_nobody_in(tmp_path: Path) -> None:
    """While a process has the store open for writing, what else looks at the file keeps others out as before."""
    store = tmp_path / "store.duckdb"
    with connection.open_writer(store):
        connection.check_file(store)
        other = "import duckdb, sys; duckdb.connect(sys.argv[1], read_only=True)"
        done = subprocess.run([sys.executable, "-c", other, str(store)], capture_output=True, text=True, check=False)
    assert "Could not set lock" in done.stderr


def test_two_who_come_back_often_take_turns(tmp_path: Path) -> None:
    """Two writers that both keep the store open as long as they may, both get all of their batches in."""
    store, batches = tmp_path / "store.duckdb", 8
    connection.open_writer(store).close()
    failures: list[BaseException] = []

    def work(name: str) -> None:
        writing = lease.Lease(store, 30)
        try:
            for number in range(batches):
                with writing.writing(more=True) as writer:
                    writer.execute("INSERT INTO meta VALUES (?, ?)", [name, str(number)])
        except BaseException as error:
            failures.append(error)
        finally:
            writing.end()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with connection.open_reader(store) as reader:
        counts = reader.execute("SELECT key, count(*) FROM meta GROUP BY key HAVING count(*) > 1 ORDER BY 1").fetchall()
    assert counts == [("one", batches), ("two", batches)]


def test_known_parts_are_those_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which parts are there is told exactly: of those that were there, were added, came back as others, or are not."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    monkeypatch.setattr(known_parts, "MANY", 0)
    monkeypatch.setattr(known_parts, "_ASKED", 1)
    monkeypatch.setattr(known_parts, "_ADDED", 120)
    monkeypatch.setattr(known_parts, "_READ", 100)
    known, path, read, following = known_parts.KnownParts(), tmp_path / "store.duckdb", 0, 0
    there: dict[str, int] = {}
    for turn in range(40):
        new = {digest(chance.randbytes(8)): number for number in range(following, following + 50)}
        alike = {name[:19] + "0" * 16: following + 50 + at for at, name in enumerate([*new][:3])}
        wanted = [*chance.sample(sorted(there), min(40, len(there))), *new, *alike]
        chance.shuffle(wanted)
        if known.worth_reading:
            known.read_from(path, "0", 1)
            read += 1
        with connection.open_writer(path) as store:
            assert known.find(store, wanted, following) == {name: there[name] for name in wanted if name in there}
            store.begin()
            gone = set(chance.sample(sorted(there), min(20, len(there)))) if turn % 3 == 0 else set()
            back = {name: following + 53 + at for at, name in enumerate(sorted(gone)[:10])}
            store.executemany("DELETE FROM parts WHERE digest = ?", [[name] for name in [*gone, "none"]])
            known.dropped()
            added = {**new, **alike, **back}
            known.add(added)
            store.executemany("INSERT INTO parts (digest, id) VALUES (?, ?)", [*added.items()])
            now = {name: number for name, number in there.items() if name not in gone} | added
            looked = [*wanted, *gone]
            assert known.find(store, looked, following) == {name: now[name] for name in looked if name in now}
            if chance.random() < 0.3:
                store.rollback()
                known.undo()
            else:
                store.commit()
                known.keep()
                there, following = now, following + 73
        if turn == 20:
            known.forget()
    assert read == 2


def test_parts_of_another_generation_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody else has written since, what is read of the store's parts does not count: the store is asked."""
    monkeypatch.setattr(known_parts, "MANY", 0)
    monkeypatch.setattr(known_parts, "_ASKED", 1)
    known, path, names = known_parts.KnownParts(), tmp_path / "store.duckdb", [digest(b"one"), digest(b"two")]
    with connection.open_writer(path) as store:
        assert known.find(store, names, 0) == {}
    known.read_from(path, "7", 1)
    with connection.open_writer(path) as store:
        store.execute("INSERT INTO parts (digest, id) VALUES (?, 0)", names[:1])
        assert known.find(store, names, 1) == {names[0]: 0}


def test_batches_that_know_the_parts_write_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_batches: None
) -> None:
    """A store written by who remembers its parts has every part once, and is the one that is written without."""
    one, other = journals(tmp_path / "one", 30, 600), journals(tmp_path / "other", 30, 600)
    ingest_new(other)
    monkeypatch.setattr(known_parts, "MANY", 0)
    monkeypatch.setattr(known_parts, "_ASKED", 1)
    monkeypatch.setattr(known_parts, "_ADDED", 40)
    ingest_new(one)
    found, expected = content(one / "store.duckdb"), content(other / "store.duckdb")
    found.pop("journals"), expected.pop("journals")
    assert found == expected


def test_memory_may_run_out_when_a_batch_is_written_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where DuckDB finds too little memory for its log once a batch is in it, the batch is there once, and the rest."""
    one, other = journals(tmp_path / "one", 4, 600), journals(tmp_path / "other", 4, 600)
    ingest_new(other)
    transaction, limits = connection.transaction, ["bound"]

    @contextlib.contextmanager
    def ends_badly(writer: duckdb.DuckDBPyConnection) -> Iterator[None]:
        with transaction(writer):
            yield
        if limits:
            limits.pop()
            raise duckdb.FatalException("FATAL Error: Failed to create checkpoint: could not allocate block of size 1")

    monkeypatch.setattr(connection, "transaction", ends_badly)
    ingest_new(one)
    assert limits == []
    found, expected = content(one / "store.duckdb"), content(other / "store.duckdb")
    found.pop("journals"), expected.pop("journals")  # when the files were changed
    assert found == expected


def test_a_batch_that_needs_more_memory_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the memory that DuckDB is held to is too little for a batch, it is written all the same, and once."""
    one, other = journals(tmp_path / "one", 4, 600), journals(tmp_path / "other", 4, 600)
    ingest_new(other)
    let_go: list[lease.Lease] = []
    widen = lease.Lease.widen

    def noted(self: lease.Lease) -> bool:
        let_go.append(self)
        return widen(self)

    monkeypatch.setattr(lease.Lease, "widen", noted)
    monkeypatch.setattr(memory, "LIMITS", ("3MB", "108MB", ""))
    ingest_new(one)
    assert len(let_go) == 1
    found, expected = content(one / "store.duckdb"), content(other / "store.duckdb")
    found.pop("journals"), expected.pop("journals")  # when the files were changed
    assert found == expected


def test_what_one_batch_needs_the_next_does_not_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch has to do with little memory, whatever the one before it needed, until it was too little for several."""
    transaction, limits, journals = taking.Taking.transaction, list[str](), 12
    for number in range(journals):
        write_frames(tmp_path / "journals" / f"{number:04d}.rsj", frames(f"t{number}", 30, process=number, size=200))

    def short(self: taking.Taking, *rest: Any) -> Any:
        limits.append(self.lease._limit)
        if limits[-1] == memory.LIMIT:
            raise duckdb.OutOfMemoryException("Out of Memory Error: could not allocate block of size 256.0 KiB")
        return transaction(self, *rest)

    monkeypatch.setattr(taking.Taking, "transaction", short)
    monkeypatch.setattr(pace.Pace, "room", property(lambda self: 1))  # a batch for each
    assert len(ingest_new(tmp_path).new) == journals
    assert limits[: 2 * lease._OFTEN] == [memory.LIMIT, memory.LIMITS[1]] * lease._OFTEN
    assert set(limits[2 * lease._OFTEN :]) == {memory.LIMITS[1]}
