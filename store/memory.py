"""What an ingestion may take of the machine's memory, whatever the size of the store and of the journals."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator

import duckdb
import pyarrow as pa

LIMIT = "38MB"
"""What DuckDB may take for itself: by default it keeps all that it has read of a store while that is open."""

LIMITS = LIMIT, "46MB", "64MB", "96MB", ""
"""Where it is too little for a batch, that is rolled back and done again with the next (`Lease.widen`), at last with as
much as there is."""

_TOLD = "could not allocate", "failed to allocate"
"""What other errors say that were made of a lack of memory: in a checkpoint, in what computes a column."""


def is_short(error: BaseException) -> bool:
    """Whether DuckDB needed more than it may take: in a statement, or when it put its log into the file."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return True
    return isinstance(error, duckdb.Error) and any(told in str(error) for told in _TOLD)


@contextlib.contextmanager
def sparing() -> Iterator[None]:
    """Let Arrow take its memory from the system, and not from a pool that keeps what was returned to it."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def give_back() -> None:
    """Return what is free to the system, where it is glibc that keeps it: a tenth of what there is, in milliseconds."""
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], object]:
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):  # another C library
            return ctypes.CDLL(None).malloc_trim
    return lambda keep: None
