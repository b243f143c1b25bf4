"""The store is closed by another thread, and nothing of it is left when that is waited for."""

from __future__ import annotations

import time
from typing import Any

from rashomon.store import opening


class Connection:
    """A connection that takes a moment to be freed, in which others run: as DuckDB's does."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def close(self) -> None:
        """Say so."""
        self._said.append("closed")

    def __del__(self) -> None:
        time.sleep(0.2)
        self._said.append("freed")


def test_who_waits_for_the_end_finds_the_connection_freed() -> None:
    """What is freed while the process ends aborts it: `sql --format parquet` had written all, and exited with 134."""
    said: list[str] = []
    made: list[Any] = [Connection(said)]
    opening.close_soon(made.pop())
    opening.closed()
    assert said == ["closed", "freed"]
