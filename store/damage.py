"""What DuckDB says of a file that is not what it wrote, as an error of ours."""

from __future__ import annotations

from rashomon.errors import DamagedData
from rashomon.store.connection import first_line
from rashomon.store.engine import duckdb

_KINDS = ("IOException", "FatalException", "InternalException", "SerializationException")
_WORDS = ("corrupt", "checksum", "database has been invalidated")


def of_store(error: BaseException) -> DamagedData | None:
    """The `DamagedData` that an error of DuckDB means; None when it means something else.

    Each block of the file carries a checksum, which is looked at when it is read: so damage comes out as an error in
    the middle of any query.
    """
    if not isinstance(error, duckdb.Error):
        return None
    if type(error).__name__ not in _KINDS and not any(word in str(error).lower() for word in _WORDS):
        return None
    return DamagedData(
        f"The store cannot be read: {first_line(error)}.",
        "`rashomon salvage` builds a new store from the journals, and from what can be read of this one.",
    )
