"""The page on the store says what the schema says, and the schema says what everything is."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import pytest

from rashomon.store import migrate
from tests.support import ROOT


def test_the_page_is_generated_from_the_schema() -> None:
    """docs/formats/store.md is what `python tools/store_page.py` writes."""
    tool = ROOT / "tools" / "store_page.py"
    if not tool.exists():
        pytest.skip("tools/ is not here: this is a copy of the tests without the checkout")
    assert subprocess.run([sys.executable, str(tool), "--check"], check=False).returncode == 0


def test_every_table_view_and_column_is_described() -> None:
    """Each has a comment in the database itself, where any DuckDB client shows it."""
    with duckdb.connect() as blank:
        migrate.migrate(blank)
        silent = blank.execute(
            "SELECT table_name || '.' || column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"
            " UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal AND comment IS NULL"
            " UNION ALL SELECT table_name FROM duckdb_tables() WHERE comment IS NULL"
        ).fetchall()
    assert silent == []
