"""What is forgotten is looked for in packed files, too: a text that bytes do not show is not gone for that."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rashomon.store import compaction, ingest_new, seen
from rashomon.store import connection as connections
from rashomon.store.exporting import export_bundle
from rashomon.store.forgetting import choose, forget, prove
from rashomon.store.reading import TraceStore
from rashomon.store.salvage import salvage
from tests.faults.store_journals import frames, write_frames
from tests.in_process import main
from tests.integration.store.test_forgetting import telling

PERSON = "Jane Roe of Elm Street"
TRACE = "jane-5f3"  # an id as short as this is not looked for in bytes


def long_text() -> str:
    """A text that is worth compressing, with the person in the middle."""
    chance = random.Random(7)
    words = ["".join(chance.choices("etaoin shrdluJRES", k=6)) for _ in range(400)]
    before, behind = (" ".join(chance.choices(words, k=3000)) for _ in range(2))
    return f"{before} {PERSON} {behind}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a trace of that person and one of nobody."""
    telling(tmp_path, TRACE, answer=long_text().encode())
    telling(tmp_path, "innocent-5f3a9c")
    ingest_new(tmp_path)
    return tmp_path


def hidden(path: Path) -> Path:
    """The file, in whose bytes the person does not stand."""
    assert PERSON.encode() not in path.read_bytes()
    return path


def test_a_store_that_salvage_kept_is_searched(home: Path) -> None:
    """Its columns are compressed: it is opened and named, and forgetting is done when it was deleted."""
    kept = salvage(home).kept
    assert kept is not None
    hidden(home / kept)
    done = main("forget", "--text", PERSON, "--yes", home=home)
    assert done.returncode == 4
    assert f"LEFT in {kept}, trace {TRACE}; delete that file" in done.stdout
    (home / kept).unlink()
    done = main("forget", "--text", PERSON, "--yes", home=home)
    assert (done.returncode, "nothing found" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize("size", [None, 60_000])
def test_a_kept_store_that_cannot_be_searched_is_named(home: Path, size: int | None) -> None:
    """A damaged one may hold anything: it is left, with what to do; one without a block of data holds nothing."""
    content = bytearray((home / "store.duckdb").read_bytes()[:size])
    content[:12] = b"\0" * 12
    (home / "store.duckdb.damaged-20260101T000000").write_bytes(content)
    (home / "store.duckdb.damaged-20260102T000000").write_bytes(b"gone")
    ((place, where),) = forget(home, choose(home, [], [PERSON]), [PERSON]).proof.found
    assert place == "store.duckdb.damaged-20260101T000000"
    assert where.startswith("cannot be searched: ")
    assert where.endswith("; delete that file")


def test_rows_deleted_from_a_kept_store_may_still_be_in_it(home: Path) -> None:
    """A copy from which rows were deleted holds their bytes in free blocks, which no query shows."""
    with connections.open_writer(home / "store.duckdb") as writer:
        writer.execute("DELETE FROM parts WHERE contains(text, ?)", [PERSON])
        writer.execute("DELETE FROM steps WHERE trace = ?", [TRACE])
        compaction.mark_due(writer)
    kept = home / "store.duckdb.damaged-20260101T000000"
    kept.write_bytes((home / "store.duckdb").read_bytes())
    (where,) = [one.where for one in prove(home, [], [PERSON]).found if one.place == kept.name]
    assert where == "cannot be searched: rows were deleted in it whose bytes are still there; delete that file"


def test_what_dead_salvages_left_is_swept(home: Path) -> None:
    """Copies of the store that a killed salvage left go with `gc` and `forget`; those of a living one stay."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    copy = (home / "store.duckdb").read_bytes()
    dead = [home / f"store.duckdb.salvage-{ended.pid}.{end}" for end in ("old", "new", "old.wal", "new.seen")]
    living = home / f"store.duckdb.salvage-{os.getppid()}.old"
    for path in (*dead, living):
        path.write_bytes(copy)
    spilled = [
        home / "store.duckdb.tmp",
        home / f"store.duckdb.compact-{ended.pid}.new.tmp",
        home / f"{dead[0].name}.tmp",
    ]
    for folder in spilled:
        folder.mkdir()
        (folder / "duckdb_temp_storage-0.tmp").write_bytes(copy)
    assert "store.duckdb.salvage-" in main("verify", home=home).stdout
    done = forget(home, choose(home, [], [PERSON]), [PERSON])
    assert [path for path in dead if path.exists()] == []
    assert [folder for folder in spilled if folder.exists()] == []
    assert [one.place for one in done.proof.found] == [living.name]


def test_bundles_and_parquet_files_in_the_home_are_searched(home: Path) -> None:
    """Exports that were written into the home are looked into; what another tool compressed is named as not."""
    with TraceStore(home / "store.duckdb") as store:
        export_bundle(store, home, [TRACE], home / "jane.rsh")
        export_bundle(store, home, ["innocent-5f3a9c"], home / "other.rsh")
    (home / "cut.rsh").write_bytes((home / "jane.rsh").read_bytes()[:-9])
    for name, text in (("jane", f"'{PERSON} ' || repeat('x', 100000)"), ("other", "'nobody'")):
        assert (
            main("export", "--sql", f"SELECT {text} AS who", "-o", str(home / f"{name}.parquet"), home=home).returncode
            == 0
        )
    (home / "jane.csv.gz").write_bytes(gzip.compress(long_text().encode()))
    hidden(home / "jane.rsh")
    proof = forget(home, choose(home, [], [PERSON]), [PERSON]).proof
    found = dict(proof.found)
    assert found.keys() == {"jane.rsh", "cut.rsh", "jane.parquet"}
    assert found["jane.rsh"] == "trace number 1 of it; delete that file"
    assert found["cut.rsh"].startswith("cannot be searched: ")
    assert proof.outside == ("jane.csv.gz",)


def test_a_lake_in_the_home_is_left_to_lakes(home: Path) -> None:
    """Files of an attached lake are no reason to say that something is left, when `--lakes` takes it out of them."""
    lake = home / "lake"
    assert main("export", "--to", str(lake), home=home).returncode == 0
    proof = prove(home, [], [PERSON])
    assert any(one.place.startswith("lake/table=") for one in proof.found), "nobody else looks into it"
    assert main("lake", "attach", str(lake), "--name", "old", home=home).returncode == 0
    done = main("forget", "--text", PERSON, "--lakes", "--yes", home=home)
    assert (done.returncode, "nothing found" in done.stdout) == (0, True), done.stdout


def test_names_of_many_journals_are_not_kept_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many journals there is a note with their names, which hold ids of imported traces: it goes."""
    monkeypatch.setattr(seen, "MANY", 2)
    monkeypatch.setattr(seen, "SETTLED_NS", 0)
    for trace in ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc"):
        write_frames(tmp_path / "journals" / f"0-import-{trace}.rsj", frames(trace, 2))
        os.utime(tmp_path / "journals" / f"0-import-{trace}.rsj")  # it may be watched for an hour
    note = tmp_path / "store.duckdb.folder"
    deadline = time.monotonic() + 20
    while not note.exists() and time.monotonic() < deadline:
        assert main("ls", home=tmp_path).returncode == 0
    assert "bbbbbbbbbbbbbbbb" in note.read_text()
    proof = forget(tmp_path, choose(tmp_path, ["bbbbbbbbbbbbbbbb"])).proof
    assert proof.found == ()
