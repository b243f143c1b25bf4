"""A home that is not there."""

from __future__ import annotations

from pathlib import Path

from tests.in_process import main


def test_a_misspelt_home_is_not_well(tmp_path: Path) -> None:
    """`verify` of a home that is named and is not there says so, and makes nothing."""
    done = main("verify", "--home", tmp_path / "mispelt", home=tmp_path / "home")
    said = f"rashomon: {tmp_path / 'mispelt'} is not there: nothing has been recorded in it. Check --home.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert list(tmp_path.iterdir()) == []
