"""The page on the store says what the schema says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT


def test_the_page_is_generated_from_the_schema() -> None:
    """docs/formats/store.md is what `python tools/store_page.py` writes."""
    tool = ROOT / "tools" / "store_page.py"
    if not tool.exists():
        pytest.skip("tools/ is not here: this is a copy of the tests without the checkout")
    assert subprocess.run([sys.executable, str(tool), "--check"], check=False).returncode == 0
