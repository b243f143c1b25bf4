"""A home whose disk is full: it can be read, it says what is not in the store, and it can be made smaller."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from rashomon.store import compaction
from rashomon.store.engine import duckdb
from rashomon.store.writing import Writing
from tests.in_process import main
from tests.integration.store.test_forgetting import ids, telling

TEXT = "Jane Roe of Elm Street"
NO_ROOM = 'IO Error: Could not write file "store.duckdb.wal": No space left on device'


def full(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing more fit into the store, as DuckDB says it."""

    def refuse(_: Writing) -> None:
        raise duckdb.IOException(NO_ROOM)

    telling(home, "new-5f3a9c0", answer=b"behind")
    monkeypatch.setattr(Writing, "write", refuse)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two traces, and a note."""
    telling(tmp_path, "jane-5f3a9c", answer=f"dear {TEXT}".encode())
    telling(tmp_path, "other-5f3a9c")
    assert main("note", "other", "hello", home=tmp_path).returncode == 0
    return tmp_path


@pytest.mark.parametrize(
    "words", [("ls",), ("show", "other"), ("sql", "select id from traces"), ("note", "other", "more"), ("grep", "dear")]
)
def test_readers_show_the_store_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """What is in the store is shown, with one line that there is no room for what is new."""
    full(home, monkeypatch)
    done = main(*words, home=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "there is no room on its disk, so what is new is not in it yet" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_note_for_which_the_store_has_no_room_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in its file; lists are shown without it, with the line, and with it when there is room."""

    def refuse(*_: object) -> None:
        raise duckdb.IOException(NO_ROOM)

    assert main("note", "other", "a second thing", home=home).returncode == 0
    with monkeypatch.context() as patch:
        patch.setattr(import_module("rashomon.store.annotations"), "_apply", refuse)
        done = main("ls", home=home)
        assert (done.returncode, "there is no room on its disk" in done.stderr) == (0, True), done.stderr
    done = main("sql", "select text from annotations", "--format", "csv", home=home)
    assert (done.stderr, "a second thing" in done.stdout) == ("", True)


def test_who_takes_something_in_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ingest` and `import` say that there is no room, with exit code 2: nothing is damaged."""
    assert main("export", "other", "-o", home / "other.rsh", home=home).returncode == 0
    full(home, monkeypatch)
    for words in (("ingest",), ("import", home / "other.rsh")):
        done = main(*words, home=home)
        assert (done.returncode, "there is no room on its disk" in done.stderr) == (2, True), done.stderr


def test_verify_says_how_much_is_not_in_the_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not say that all is well while journals are not in the store."""
    full(home, monkeypatch)
    done = main("verify", home=home)
    assert done.returncode == 0, done.stderr
    assert "1 journal of 3 not in the store" in done.stdout
    assert "all is well" not in done.stdout


def test_gc_and_forget_are_the_way_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old traces go, and a person's data; what is new comes in when there is room."""
    with monkeypatch.context() as patch:
        full(home, patch)
        done = main("forget", "--text", TEXT, "--yes", home=home)
        assert (done.returncode, "nothing found" in done.stdout) == (0, True), done.stderr
        os.utime(home / "journals" / "other-5f3a9c.rsj")
        done = main("gc", "--keep", "1s", "--yes", home=home)
        assert (done.returncode, "1 trace removed" in done.stdout) == (0, True), done.stderr
    assert main("ls", home=home).returncode == 0
    assert ids(home) == {"new-5f3a9c0"}


def test_no_room_for_a_copy_is_no_failure_of_gc(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are gone, and their space comes back later; who forgets is told, for their bytes are still there."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "_hold_and_copy", refuse)
        patch.setattr(compaction, "_copy_file", refuse)
        done = main("forget", "--text", TEXT, "--yes", home=home)
        assert (done.returncode, "Make room beside it" in done.stderr) == (2, True)
        assert main("gc", "--keep", "1s", "--yes", home=home).returncode == 0
    assert compaction.is_due(home / "store.duckdb")
    assert "nothing found" in main("forget", "--text", TEXT, "--yes", home=home).stdout
    assert not compaction.is_due(home / "store.duckdb")


def test_a_copy_is_made_where_there_is_room_for_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is usually copied twice, so that nobody waits; where that does not fit, once."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compaction, "_copy_file", refuse)
    done = main("forget", "--text", TEXT, "--yes", home=home)
    assert (done.returncode, "nothing found" in done.stdout) == (0, True), done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    """Journals that fill the disk are read no more; what was there is, and can be removed."""
    home, chance = small_disk / "home", random.Random(3)
    telling(home, "jane-5f3a9c", answer=f"dear {TEXT}".encode())
    assert main("ls", home=home).returncode == 0
    for number in range(3):
        telling(home, f"big{number}-5f3a9c", answer=chance.randbytes(700_000))
    done = main("ls", home=home)
    assert done.returncode == 0, done.stderr
    assert "jane-5f3a9c" in done.stdout
    assert "there is no room on its disk" in done.stderr
    assert "not in the store" in main("verify", home=home).stdout
    done = main("forget", "--text", TEXT, "--yes", home=home)
    assert (done.returncode, "nothing found" in done.stdout) == (0, True), done.stderr
    (home / "journals" / "big1-5f3a9c.rsj").unlink()
    (home / "journals" / "big2-5f3a9c.rsj").unlink()
    assert main("ls", home=home).stderr == ""
