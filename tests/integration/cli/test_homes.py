"""A home that is not there."""

from __future__ import annotations

from pathlib import Path

from tests.in_process import main
from tests.integration.store.test_store_writing import journals


def test_a_misspelt_home_is_not_well(tmp_path: Path) -> None:
    """`verify` of a home that is named and is not there says so, and makes nothing."""
    done = main("verify", "--home", tmp_path / "mispelt", home=tmp_path / "home")
    said = f"rashomon: {tmp_path / 'mispelt'} is not there: nothing has been recorded in it. Check --home.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_not_called_a_loss_of_nothing(tmp_path: Path) -> None:
    """A trace whose journal has a damaged stretch is told of as damaged: how much that was, nobody knows."""
    home = journals(tmp_path / "home", 1, 20)
    (journal,) = (home / "journals").iterdir()
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 0xFF
    journal.write_bytes(data)
    assert "DAMAGED" in main("ls", home=home).stdout
    told = main("show", "@last", home=home).stdout
    assert "1 damaged stretch(es) (of what, is not known)" in told
    assert "0 step" not in told
