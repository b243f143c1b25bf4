"""The schema's migrations, and whose file a file is."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rashomon import tapes
from rashomon.errors import DamagedData, ForeignFile, NewerFormat
from rashomon.model import Kind, Tape
from rashomon.store import TraceStore, blank, connection, ingest, ingest_new, migrate
from tests.faults.store_journals import content

STORES = Path(__file__).parents[3] / "fixtures" / "stores"
FIXTURES = sorted(int(path.name.split(".")[0].removeprefix("schema-")) for path in STORES.glob("schema-*.duckdb.gz"))
READER_OF_TODAY = 6
"""The first of them whose journals need not be read again, and which had prices for their calls."""
KILLED = """
import os, signal, sys
from pathlib import Path
from rashomon.store import connection, migrate
def dying():
    yield from migrate.migrations()[:4]
    os.kill(os.getpid(), signal.SIGKILL)
migrate.migrate(connection._connect(Path(sys.argv[1]), False, 10), dying())
"""

MIGRATED_AND_KILLED = """
import os, signal, sys
from pathlib import Path
from rashomon.store import connection, migrate
store = connection._connect(Path(sys.argv[1]), False, 10)
with migrate._committed_to_the_file(store):
    migrate._migrate(store, migrate.schema_of(store) or 0, migrate.migrations())
    os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_AS_IT_ENDED = """
import os, signal, sys
from pathlib import Path
from rashomon.store import connection, migrate
store = connection._connect(Path(sys.argv[1]), False, 10)
migrate._migrate(store, migrate.schema_of(store) or 0, migrate.migrations())
os.kill(os.getpid(), signal.SIGKILL)
"""

FOREIGN_AND_KILLED = """
import os, signal, sys, duckdb
other = duckdb.connect(sys.argv[1])
other.execute("create table t (a varchar, b json generated always as (json_extract(a, '$[*]')))")
other.execute("checkpoint; comment on column t.b is 'computed'")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_earlier_schema_has_a_store() -> None:
    """No schema below the newest is without a store that was left by it."""
    assert list(range(1, migrate.newest())) == FIXTURES


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


@pytest.mark.parametrize("schema", [None, *FIXTURES])
def test_a_store_that_was_just_migrated_opens_without_its_log(tmp_path: Path, schema: int | None) -> None:
    """Killed right after a migration, a process leaves a store that any DuckDB opens: nothing of it is in the log."""
    path = tmp_path / "store.duckdb"
    if schema is not None:
        path.write_bytes(gzip.decompress((STORES / f"schema-{schema}.duckdb.gz").read_bytes()))
    ended = subprocess.run(
        [sys.executable, "-c", MIGRATED_AND_KILLED, str(path)], capture_output=True, timeout=120, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with duckdb.connect(str(path), read_only=True) as reader:
        assert migrate.schema_of(reader) == migrate.newest()
        assert reader.execute("select count(size) = count(*) from parts").fetchall() == [(True,)]


def killed(program: str, path: Path) -> None:
    """Run a program that kills itself, and leaves a log beside a database."""
    ended = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert path.with_name(f"{path.name}.wal").stat().st_size > 0


def test_a_migration_killed_before_its_log_is_in_the_file_is_read(tmp_path: Path) -> None:
    """DuckDB cannot open such a file directly; a reader has the log put into it, and then anybody can."""
    kept = earlier(tmp_path, 10)
    path = tmp_path / "store.duckdb"
    killed(KILLED_AS_IT_ENDED, path)
    with pytest.raises(duckdb.Error, match="replaying WAL"):
        duckdb.connect(str(path), read_only=True)
    with connection.open_reader(path) as reader:
        assert migrate.schema_of(reader) == migrate.newest()
    assert not path.with_name("store.duckdb.wal").exists()
    with TraceStore(path) as store:
        assert {row.id for row in store.traces()} == set(kept)


def test_the_log_of_a_foreign_database_is_not_touched(tmp_path: Path) -> None:
    """A database of somebody else's that cannot be opened directly is refused, as it is."""
    path = tmp_path / "store.duckdb"
    killed(FOREIGN_AND_KILLED, path)
    log = path.with_name("store.duckdb.wal")
    before = path.read_bytes(), log.read_bytes()
    with pytest.raises(duckdb.Error, match="replaying WAL"):
        duckdb.connect(str(path), read_only=True)
    with pytest.raises((ForeignFile, DamagedData)):
        connection.open_reader(path)
    assert (path.read_bytes(), log.read_bytes()) == before


def earlier(home: Path, schema: int) -> dict[str, Tape]:
    """A home whose store is of an earlier version, and what its journals tell."""
    home.mkdir(exist_ok=True)
    (home / "store.duckdb").write_bytes(gzip.decompress((STORES / f"schema-{schema}.duckdb.gz").read_bytes()))
    shutil.copytree(STORES / "journals", home / "journals")
    parts = [tapes.read_part(journal) for journal in (home / "journals").iterdir()]
    return {tape.trace.id: tape for tape in tapes.assemble(parts)}


def bare(tape: Tape, schema: int) -> Tape:
    """What a schema knew of a tape."""
    if schema > 1:
        return tape
    processes = tuple(process._replace(epoch_ns=0, monotonic_ns=0) for process in tape.trace.processes)
    # its reader took texts that UTF-8 cannot hold for damage, and said so
    return Tape(tape.trace._replace(processes=processes, uncontrolled=(), launched=(), losses=()), tape.steps)


@pytest.mark.parametrize("schema", FIXTURES)
def test_a_store_of_an_earlier_version_loses_nothing(tmp_path: Path, schema: int) -> None:
    """A store of each earlier schema is read as it was, though its journals are gone."""
    expected = earlier(tmp_path, schema)
    shutil.rmtree(tmp_path / "journals")
    report = ingest_new(tmp_path)
    assert (report.new, report.updated, report.journals) == ((), (), 0)
    store = TraceStore(tmp_path / "store.duckdb")
    for name, tape in expected.items():
        assert bare(store.tape(name, within=False), schema) == bare(tape, schema)
    assert store.query("select value from meta where key = 'schema'").rows == [(str(migrate.newest()),)]
    assert store.query("select name, traces from cohorts").rows == [("mine", ["outer"])]
    paths = {row[0] for row in store.query("select path from step_parts").rows}
    assert {"request", "response", "request.messages[2]"} <= paths
    assert store.query("select count(*) from parts where digest not in (select part from step_parts)").rows == [(0,)]
    sums = (
        "select id, steps, llm_calls, tool_calls, failures, input_tokens, output_tokens, unpriced, models from traces"
    )
    kinds = {name: Counter(step.kind for step in tape.steps) for name, tape in expected.items()}
    for name, steps, llm_calls, tool_calls, *others in store.query(sums).rows:
        assert (steps, llm_calls) == (len(expected[name].steps), kinds[name][Kind.LLM])
        assert tool_calls == kinds[name][Kind.TOOL] + kinds[name][Kind.MCP]
        if name == "tr00007x0000":
            unpriced = 0 if schema >= READER_OF_TODAY else 3
            assert others == [0, 3003, 90, unpriced, ["gpt-4o"]]


@pytest.mark.parametrize("schema", FIXTURES)
def test_journals_that_an_older_reader_read_are_read_again(tmp_path: Path, schema: int) -> None:
    """Where the journals are still there, a store of each earlier schema gets all that they tell."""
    expected = earlier(tmp_path, schema)
    report = ingest_new(tmp_path)
    assert report.new == ()
    assert set(report.updated) == (expected.keys() if schema < READER_OF_TODAY else set())
    store = TraceStore(tmp_path / "store.duckdb")
    assert {name: store.tape(name, within=False) for name in expected} == expected
    assert store.query("select name, traces from cohorts").rows == [("mine", ["outer"])]
    assert ingest_new(tmp_path).journals == 0
    ingest(tmp_path / "journals", tmp_path / "clean.duckdb")
    if schema >= READER_OF_TODAY:  # what is decoded of an answer stays as it was until its journal is read again
        for name in ("store", "clean"):
            with duckdb.connect(str(tmp_path / f"{name}.duckdb")) as writer:
                writer.execute("UPDATE steps SET title = '', error_type = NULL, error_message = NULL")
                writer.execute("UPDATE traces SET failures = 0")
    found, clean = content(tmp_path / "store.duckdb"), content(tmp_path / "clean.duckdb")
    for table in ("cohorts", "journals"):  # what no journal tells, and when the files were changed
        found.pop(table), clean.pop(table)
    assert found == clean


def test_a_migration_that_is_killed_is_done_the_next_time(tmp_path: Path) -> None:
    """A process that dies in the middle of a migration leaves the store as it was."""
    expected = earlier(tmp_path, 3)
    shutil.rmtree(tmp_path / "journals")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "store.duckdb")], timeout=60)
    assert done.returncode == -signal.SIGKILL
    with duckdb.connect(str(tmp_path / "store.duckdb"), read_only=True) as still:
        assert still.execute("select value from meta where key = 'schema'").fetchall() == [("3",)]
    store = TraceStore(tmp_path / "store.duckdb")
    assert {name: store.tape(name, within=False) for name in expected} == expected


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


def test_the_ready_made_store_is_what_the_migrations_leave(tmp_path: Path) -> None:
    """An empty store is unpacked, and is the same as one that is made step by step: tables, columns, views, macros."""
    ready = blank.ready(connection.FORM)
    assert ready is not None, "the schema has changed: run python tools/blank_store.py"
    found = []
    for name, file in (("ready", ready), ("made", connection.migrated())):
        path = tmp_path / f"{name}.duckdb"
        path.write_bytes(file)
        with duckdb.connect(str(path), read_only=True) as store:
            found.append([
                store.execute(sql).fetchall()
                for sql in (
                    "SELECT table_name, sql, comment FROM duckdb_tables() ORDER BY ALL",
                    "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() ORDER BY ALL",
                    "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
                    "SELECT function_name, macro_definition FROM duckdb_functions() WHERE NOT internal ORDER BY ALL",
                    "SELECT * FROM meta ORDER BY ALL",
                    "SELECT block_size FROM pragma_database_size()",
                )
            ])  # fmt: skip
    assert found[0] == found[1]
    assert all(found[0])


def test_a_ready_made_store_of_another_schema_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the one that is kept is missing, damaged or of before a migration, the migrations make it."""
    path = tmp_path / "blank.bin"
    monkeypatch.setattr(blank, "FILE", path)
    assert blank.ready(connection.FORM) is None
    path.write_bytes(blank.pack(b"empty", connection.FORM))
    assert blank.ready(connection.FORM) == b"empty"
    assert blank.ready("BLOCK_SIZE 4") is None
    path.write_bytes(path.read_bytes()[:-3])
    assert blank.ready(connection.FORM) is None
    path.write_bytes(blank.pack(b"empty", connection.FORM))
    later = [*migrate.migrations(), migrate.Migration(migrate.newest() + 1, "create table extra (a int)")]
    monkeypatch.setattr(migrate, "migrations", lambda: later)
    assert blank.ready(connection.FORM) is None


@pytest.mark.parametrize("changed", [True, False])
def test_a_store_that_changes_while_it_is_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    """Another process cut the file short in that moment; a file that stays as it is, is damaged."""
    path = tmp_path / "store.duckdb"
    connection.open_writer(path).close()
    database, failed = vars(connection)["duckdb"], list[str]()
    real = database.connect

    def connect(name: str, **options: Any) -> Any:
        if not failed:
            failed.append(name)
            if changed:
                os.utime(path, ns=(1, 1))
            raise duckdb.IOException("IO Error: Could not read enough bytes from file")
        return real(name, **options)

    monkeypatch.setattr(database, "connect", connect)
    if changed:
        connection.open_reader(path).close()
    else:
        with pytest.raises(DamagedData, match="Could not read enough bytes"):
            connection.open_reader(path)
    assert failed == [str(path)]
