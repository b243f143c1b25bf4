"""The trace store: the only place that knows DuckDB."""
