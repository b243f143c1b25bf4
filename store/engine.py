"""DuckDB itself, without the larger part of its Python package.

`import duckdb` takes several times as long as the engine below it, for relations and expressions that nobody here
uses; a list of traces would wait for that longer than for its rows. Who needs those imports `duckdb`: it is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb as duckdb
else:
    try:
        import _duckdb as duckdb
    except ImportError:  # a version that has its engine elsewhere
        import duckdb

__all__ = ["duckdb"]
