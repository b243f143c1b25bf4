"""A home that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.in_process import main
from tests.integration.store.test_store_writing import journals


def test_a_misspelt_home_is_not_well(tmp_path: Path) -> None:
    """`verify` of a home that is named and is not there says so, and makes nothing."""
    done = main("verify", "--home", tmp_path / "mispelt", home=tmp_path / "home")
    said = f"rashomon: {tmp_path / 'mispelt'} is not there: nothing has been recorded in it. Check --home.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_home_is_not_made(tmp_path: Path) -> None:
    """What repairs or removes makes no home either."""
    for words in (("salvage",), ("forget", "--text", "somebody", "--yes"), ("forget", "--yes"), ("gc", "--keep", "1d")):
        done = main(*words, "--home", tmp_path / "mispelt", home=tmp_path / "home")
        assert (done.returncode, "is not there: nothing has been recorded" in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_journal_is_ingested_and_not_imported(tmp_path: Path) -> None:
    """Who imports a journal is told which command takes it."""
    home = journals(tmp_path / "home", 1, 2)
    (journal,) = (home / "journals").iterdir()
    done = main("import", journal, home=tmp_path / "other")
    assert (done.returncode, f"Take it in with: rashomon ingest {journal}" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    "statement", ["delete from steps", "create table x(a int)", "copy steps to 'x'", "set threads=1"]
)
def test_who_would_write_by_sql_is_told_that_it_reads(tmp_path: Path, statement: str) -> None:
    """The remedy for it is no list of tables."""
    done = main("sql", statement, home=journals(tmp_path / "home", 1, 2))
    assert (done.returncode, "SQL only reads here" in done.stderr) == (2, True), done.stderr


def test_a_provider_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    """It would price nothing, in silence."""
    home = journals(tmp_path / "home", 1, 2)
    (home / "config.toml").write_text('[providers]\n"gateway.example.com" = "nonsense"\n')
    done = main("ls", home=home)
    assert done.returncode == 2
    assert "config.toml has providers.'gateway.example.com' = 'nonsense', which genai-prices does not know." in (
        done.stderr
    )
    (home / "config.toml").write_text('[providers]\n"gateway.example.com" = "openai"\n')
    assert main("ls", home=home).returncode == 0


def test_damage_is_not_called_a_loss_of_nothing(tmp_path: Path) -> None:
    """A trace whose journal has a damaged stretch is told of as damaged: how much that was, nobody knows."""
    home = journals(tmp_path / "home", 1, 20)
    (journal,) = (home / "journals").iterdir()
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 0xFF
    journal.write_bytes(data)
    assert "INCOMPLETE" in main("ls", home=home).stdout
    told = main("show", "@last", home=home).stdout
    assert "1 damaged stretch(es) (of what, is not known)" in told
    assert "0 step" not in told
