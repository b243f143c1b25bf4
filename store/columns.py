"""What the tables take in bulk: their columns as Arrow arrays, made from rows of Python values."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

Row = tuple[Any, ...]

_RUN = pa.struct(
    [
        ("path", pa.string()),
        ("first", pa.int32()),
        ("start", pa.int32()),
        ("count", pa.int32()),
        ("separator", pa.string()),
    ]
)
_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "small": pa.int32(),
    "float": pa.float64(),
    "flag": pa.bool_(),
    "bytes": pa.binary(),
    "texts": pa.list_(pa.string()),
    "ints": pa.list_(pa.int64()),
    "smalls": pa.list_(pa.int32()),
    "runs": pa.list_(_RUN),
}

_TABLES: dict[str, str] = {
    "steps": (
        "kind text, name text, lane text, depth small, duration_us int, ended text, failure_type text,"
        " failure_message text, failure_values bytes, grade text, recorded text, match_detail text, marks texts,"
        " model text, input_tokens int, output_tokens int, status int, finish text, title text, text text,"
        " request_digest text, response_digest text, request_head text, response_head text, request_size int,"
        " response_size int, holes smalls, runs runs, piece_offsets_us ints, piece_sizes ints, exact bytes,"
        " dialect text, decoded text, unknown texts, cached_tokens int, cache_write_tokens int,"
        " reasoning_tokens int, cost float, reasoning text, refusal text, error_type text, error_message text,"
        " prompt text, conversation text"
    ),
    "tool_requests": "position small, call text, name text, arguments text",
    "step_values": "arguments text, result text",
    "ambient": ("kind text, what text, value text, file text, line int, function text, lane text, exact bytes"),
    "launched": "argv texts, lane text, file text, line int, function text, exact bytes",
}
COLUMNS: dict[str, tuple[tuple[str, pa.DataType], ...]] = {
    table: tuple((name, _TYPES[kind]) for name, kind in (column.split() for column in text.split(",")))
    for table, text in _TABLES.items()
}
"""For each table the columns that a journal tells by itself, in the order of the rows that are made of it."""


def names(table: str) -> tuple[str, ...]:
    """The names of those columns."""
    return tuple(name for name, _ in COLUMNS[table])


def table_of(table: str, rows: Sequence[Row]) -> pa.Table:
    """Rows as a table. Raises ValueError or TypeError when a value is not of its column's type."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS[table])
    arrays = [pa.array(values, kind) for (_, kind), values in zip(COLUMNS[table], columns, strict=True)]
    return pa.Table.from_arrays(arrays, names=list(names(table)))


def texts(values: Iterable[str | None]) -> pa.Array:
    """Texts as a column."""
    return pa.array(values, pa.string())


def integers(values: Iterable[int | None], small: bool = False) -> pa.Array:
    """Integers as a column, of 64 bits or `small`."""
    return pa.array(values, pa.int32() if small else pa.int64())


def lists(values: array[int], lengths: Iterable[int]) -> pa.Array:
    """Lists of 32-bit integers as a column, from all values in a row and the length of each list."""
    offsets = array("i", [0])
    for length in lengths:
        offsets.append(offsets[-1] + length)
    inner = pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(values)])
    return pa.ListArray.from_arrays(
        pa.Array.from_buffers(pa.int32(), len(offsets), [None, pa.py_buffer(offsets)]), inner
    )
