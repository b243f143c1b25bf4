"""The schema's migrations, and whose file a file is."""

from __future__ import annotations

from pathlib import Path
from random import Random

import duckdb
import pytest

from rashomon import tapes
from rashomon.errors import ForeignFile, NewerFormat
from rashomon.model import Tape
from rashomon.store import TraceStore, connection, ingest, ingest_new, migrate
from tests.recordings import made_up


def test_a_blank_database_gets_the_newest_schema() -> None:
    """From nothing, all migrations run once, in order; a second run changes nothing."""
    blank = duckdb.connect()
    assert migrate.migrate(blank) == migrate.newest()
    listing = "select table_name, sql from duckdb_tables() order by all"
    tables = blank.execute(listing).fetchall()
    assert migrate.migrate(blank) == migrate.newest()
    assert blank.execute(listing).fetchall() == tables


def test_a_failing_migration_changes_nothing() -> None:
    """A migration happens whole or not at all."""
    blank = duckdb.connect()
    migrate.migrate(blank)
    broken = migrate.Migration(migrate.newest() + 1, "create table extra (a int); select nonsense")
    with pytest.raises(duckdb.Error):
        migrate.migrate(blank, [*migrate.migrations(), broken])
    assert migrate.schema_of(blank) == migrate.newest()
    assert blank.execute("select 1 from duckdb_tables() where table_name = 'extra'").fetchall() == []


def test_an_older_store_is_migrated_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a store of an older version brings it up to date and keeps what is in it."""
    path = tmp_path / "store.duckdb"
    connection.open_writer(path).close()
    with duckdb.connect(str(path)) as writer:
        writer.execute("insert into cohorts values ('mine', 1, 'true', ['t1'])")
    number = migrate.newest() + 1
    later = [*migrate.migrations(), migrate.Migration(number, "create table extra (a int)")]
    monkeypatch.setattr(migrate, "migrations", lambda: later)
    monkeypatch.setattr(migrate, "newest", lambda: number)
    store = TraceStore(path)
    assert store.query("select count(*) from extra").rows == [(0,)]
    assert store.query("select name from cohorts").rows == [("mine",)]
    assert store.query("select value from meta where key = 'schema'").rows == [(str(number),)]


def first_version(home: Path) -> dict[str, Tape]:
    """A home whose store is as the first schema had it, and what its journals tell by now."""
    made_up(Random(5), events=60).write(home / "journals")
    ingest(home / "journals", home / "later.duckdb")
    path = home / "store.duckdb"
    with duckdb.connect(str(path)) as old:
        migrate.migrate(old, migrate.migrations()[:1])
        old.execute(f"attach '{home / 'later.duckdb'}' as later (read_only)")
        for (table,) in old.execute("select table_name from duckdb_tables() where database_name = 'store'").fetchall():
            names = [row[0] for row in old.execute(f"describe {table}").fetchall()]
            if table != "meta":
                old.execute(f"insert into {table} select {', '.join(names)} from later.{table}")
        old.execute("update journals set reader = 1000001")
        old.execute("update traces set fingerprint = 'b2:' || md5(id)")
        old.execute("insert into cohorts values ('mine', 1, 'true', ['outer'])")
    (home / "later.duckdb").unlink()
    parts = [tapes.read_part(journal) for journal in (home / "journals").iterdir()]
    return {tape.trace.id: tape for tape in tapes.assemble(parts)}


def bare(tape: Tape) -> Tape:
    """What the first schema knew of a tape."""
    processes = tuple(process._replace(epoch_ns=0, monotonic_ns=0) for process in tape.trace.processes)
    return Tape(tape.trace._replace(processes=processes, uncontrolled=(), launched=()), tape.steps)


def test_a_store_of_the_first_version_loses_nothing(tmp_path: Path) -> None:
    """A store of schema 1 is read as it was, though its journals are gone."""
    expected = first_version(tmp_path)
    for journal in (tmp_path / "journals").iterdir():
        journal.unlink()
    report = ingest_new(tmp_path)
    assert (report.new, report.updated, report.journals) == ((), (), 0)
    store = TraceStore(tmp_path / "store.duckdb")
    assert store.query("select value from meta where key = 'schema'").rows == [(str(migrate.newest()),)]
    for name, tape in expected.items():
        assert store.tape(name, within=False) == bare(tape)
    assert store.query("select name, traces from cohorts").rows == [("mine", ["outer"])]
    assert store.query("select count(*) from ambient").rows == [(0,)]


def test_journals_that_an_older_reader_read_are_read_again(tmp_path: Path) -> None:
    """Where the journals are still there, a store of schema 1 gets all that they tell."""
    expected = first_version(tmp_path)
    report = ingest_new(tmp_path)
    assert report.new == ()
    assert set(report.updated) == expected.keys()
    store = TraceStore(tmp_path / "store.duckdb")
    assert {name: store.tape(name, within=False) for name in expected} == expected
    assert store.query("select name, traces from cohorts").rows == [("mine", ["outer"])]
    assert ingest_new(tmp_path).journals == 0


def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    """A store with a schema that this version does not know is neither read nor written."""
    path = tmp_path / "store.duckdb"
    connection.open_writer(path).close()
    with duckdb.connect(str(path)) as writer:
        writer.execute("update meta set value = '99' where key = 'schema'")
    before = path.read_bytes()
    for use in (lambda: TraceStore(path).traces(), lambda: ingest(tmp_path / "journals", path)):
        with pytest.raises(NewerFormat, match=r"has schema 99; .* Upgrade"):
            use()
    assert path.read_bytes() == before


def _text(path: Path) -> None:
    path.write_text("shopping list: eggs, milk\n" * 500)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _duckdb(path: Path) -> None:
    with duckdb.connect(str(path)) as other:
        other.execute("create table orders (id int)")


def _meta(path: Path) -> None:
    with duckdb.connect(str(path)) as other:
        other.execute("create table meta (key varchar, value varchar)")


def _blank(path: Path) -> None:
    duckdb.connect(str(path)).close()


@pytest.mark.parametrize("make", [_text, _empty, _duckdb, _meta, _blank])
def test_somebody_elses_file_is_never_touched(tmp_path: Path, make: object) -> None:
    """A file in the store's place that Rashomon did not make is refused, and stays as it was to the byte."""
    path = tmp_path / "store.duckdb"
    make(path)  # type: ignore[operator]
    before = path.read_bytes()
    for use in (lambda: TraceStore(path).traces(), lambda: ingest(tmp_path / "journals", path)):
        with pytest.raises(ForeignFile, match=r"store\.duckdb is .* Move it away"):
            use()
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["store.duckdb"]


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    """A folder is no store."""
    (tmp_path / "store.duckdb").mkdir()
    with pytest.raises(ForeignFile, match="is a folder"):
        TraceStore(tmp_path / "store.duckdb").traces()
