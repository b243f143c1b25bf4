"""The trace store: one DuckDB file, filled from journals. The only room that knows DuckDB."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rashomon.store.ingestion import IngestReport, ingest, ingest_new
    from rashomon.store.lists import Outline, StepRow
    from rashomon.store.reading import JournalRow, Result, TraceStore
    from rashomon.store.trace_rows import TraceRow
    from rashomon.store.up_to_date import open_home

__all__ = [
    "IngestReport",
    "JournalRow",
    "Outline",
    "Result",
    "StepRow",
    "TraceRow",
    "TraceStore",
    "ingest",
    "ingest_new",
    "open_home",
]

_HOMES = {
    **dict.fromkeys(("IngestReport", "ingest", "ingest_new"), "rashomon.store.ingestion"),
    **dict.fromkeys(("Outline", "StepRow"), "rashomon.store.lists"),
    **dict.fromkeys(("JournalRow", "Result", "TraceStore"), "rashomon.store.reading"),
    "TraceRow": "rashomon.store.trace_rows",
    "open_home": "rashomon.store.up_to_date",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for, and no more: who reads a list needs nothing that reads journals."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
