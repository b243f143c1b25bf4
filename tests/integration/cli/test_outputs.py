"""What is written to a file never takes the place of a file of the home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.in_process import main
from tests.integration.store.test_forgetting import telling
from tests.support import environment, rashomon


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a trace, a note and settings."""
    made = tmp_path / "home"
    telling(made, "one-5f3a9c")
    (made / "config.toml").write_text("")
    assert main("note", "one", "hello", home=made).returncode == 0
    return made


def contents(home: Path) -> dict[str, bytes]:
    """What the files of a home hold that must stay as they are."""
    names = ("store.duckdb", "notes.jsonl", "config.toml", "journals/one-5f3a9c.rsj")
    return {name: (home / name).read_bytes() for name in names}


TARGETS = [
    "home/store.duckdb",
    "home/store.duckdb.new",
    "home/notes.jsonl",
    "home/redaction.key",
    "home/config.toml",
    "home/journals/one-5f3a9c.rsj",
    "home/journals/new.csv",
    "link.csv",
    "hard.csv",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "words", [("sql", "select 1", "--format", "csv"), ("export", "one", "--format", "bundle"),
              ("export", "one", "--format", "jsonl"), ("export", "--sql", "select 1")]
)  # fmt: skip
def test_files_of_the_home_are_refused(home: Path, words: tuple[str, ...], target: str) -> None:
    """One sentence and exit code 2, also through a symbolic link and for a hard link; nothing is changed."""
    (home.parent / "link.csv").symlink_to(home / "store.duckdb")
    os.link(home / "journals" / "one-5f3a9c.rsj", home.parent / "hard.csv")
    before = contents(home)
    done = main(*words, "-o", home.parent / target, home=home)
    assert done.returncode == 2, done.stdout
    assert f"is a file of the home {home}. Name a file elsewhere." in done.stderr
    assert contents(home) == before
    assert not (home / "journals" / "new.csv").exists()


def test_files_of_another_home_are_refused(home: Path, tmp_path: Path) -> None:
    """A home that is not the one that is asked is seen by its store."""
    telling(tmp_path / "other", "two-5f3a9c")
    before = contents(home)
    for target in ("store.duckdb", "journals/one-5f3a9c.rsj"):
        done = main("export", "two", "-o", home / target, home=tmp_path / "other")
        assert (done.returncode, contents(home) == before) == (2, True), done.stdout


@pytest.mark.parametrize("words", [("sql", "select 1"), ("export", "--sql", "select 1")], ids=["sql", "export"])
def test_a_folder_that_is_not_there(home: Path, words: tuple[str, ...]) -> None:
    """One sentence, also where the store is still being opened by another thread as the command ends."""
    for options in ([], ["-X", "dev"]):  # a process in development mode takes everything apart at its end
        command = [sys.executable, *options, "-m", "rashomon.cli", *words, "-o", "nowhere/rows.jsonl"]
        done = subprocess.run(command, env=environment(home), cwd=home.parent, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.endswith(
            "rows.jsonl cannot be written: No such file or directory. Choose another --output.\n"
        )
        assert done.stderr.count("\n") == 1


def test_a_parquet_folder_is_none_of_the_home(home: Path) -> None:
    """Tables are not written among the journals."""
    done = main("export", "one", "--format", "parquet", "-o", home / "journals", home=home)
    assert done.returncode == 2
    assert list((home / "journals").glob("*.parquet")) == []


def test_other_files_in_the_home_may_be_written(home: Path) -> None:
    """An export may lie in the home, under a name of its own."""
    assert main("export", "one", "-o", home / "one.rsh", home=home).returncode == 0
    assert main("sql", "select 1", "-o", home / "answer.csv", home=home).returncode == 0


def test_a_report_is_no_file_of_the_home(home: Path) -> None:
    """A program does not run whose report would be written over the store."""
    before = contents(home)
    done = rashomon("record", "--report", str(home / "store.duckdb"), "--", "true", home=home)
    assert done.returncode == 2, done.stderr
    assert "is a file of the home" in done.stderr
    assert contents(home) == before
