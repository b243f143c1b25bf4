"""The trace store: one DuckDB file, filled from journals. The only room that knows DuckDB."""

from rashomon.store.ingestion import IngestReport, ingest, ingest_new
from rashomon.store.reading import JournalRow, Result, TraceStore, open_home
from rashomon.store.rows import StepRow, TraceRow

__all__ = [
    "IngestReport",
    "JournalRow",
    "Result",
    "StepRow",
    "TraceRow",
    "TraceStore",
    "ingest",
    "ingest_new",
    "open_home",
]
