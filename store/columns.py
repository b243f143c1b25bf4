"""What the tables take in bulk: their columns as Arrow arrays, made from rows of Python values."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

Row = tuple[Any, ...]

_NO_ASCII = b"\x80"

_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "small": pa.int32(),
    "float": pa.float64(),
    "flag": pa.bool_(),
    "bytes": pa.binary(),
    "texts": pa.list_(pa.string()),
    "ints": pa.list_(pa.int64()),
}

_TABLES: dict[str, str] = {
    "steps": (
        "kind text, name text, lane text, depth small, duration_us int, ended text, failure_type text,"
        " failure_message text, failure_values bytes, grade text, recorded text, match_detail text, marks texts,"
        " model text, input_tokens int, output_tokens int, status int, finish text, title text, text text,"
        " request_digest text, response_digest text, request_head text, response_head text, request_bytes int,"
        " response_bytes int, layout text, offsets_us ints, sizes ints, exact bytes,"
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


def parts(values: array[int], lengths: Iterable[int]) -> dict[str, pa.Array]:
    """The parts of requests as the columns of `steps` that tell them, from all of them in a row and how many each has.

    Most requests are a frame and a system prompt that many have, and messages that are numbered on.
    """
    frames, leads, firsts, lasts = (list[int | None]() for _ in range(4))
    others, counts = array("i"), list[int]()
    end = before = 0
    for length in lengths:
        start, end = end, end + length
        frames.append(values[start])
        if length == 1:
            leads.append(None)
            counts.append(0)
            firsts.append(None)
            lasts.append(None)
            continue
        run = _run(values, start, end, before)
        before = run - start
        leads.append(values[start + 1] if before > 1 else None)
        others.extend(values[start + 2 : run])
        counts.append(max(before - 2, 0))
        firsts.append(values[run])
        lasts.append(values[end - 1])
    single = {"frame_part": frames, "lead_part": leads, "parts_from": firsts, "parts_to": lasts}
    made = {name: integers(column, small=True) for name, column in single.items()}
    return {**made, "other_parts": lists(others, counts)}


def _run(values: array[int], start: int, end: int, before: int) -> int:
    """Where the numbers begin that follow one another up to the end of a request's parts.

    `before` is how far from its start they began in an earlier request: for most that go on one, it is the same.
    """
    run = start + before
    if start < run < end and (run == start + 1 or values[run - 1] != values[run] - 1):
        first = values[run]
        if values[run:end].tolist() == list(range(first, first + end - run)):
            return run
    run = end - 1
    while run > start + 1 and values[run - 1] == values[run] - 1:
        run -= 1
    return run


def of_parts(found: Sequence[tuple[str, bytes, int]]) -> pa.Table:
    """Rows of `parts`: digest, content and number. What UTF-8 can read is a text, anything else a body."""
    names, contents, numbers = zip(*found, strict=True) if found else ((), (), ())
    try:  # what begins as text does is looked at all at once, and of other bytes few are any
        text, body = _texts_and_bodies([content if content < _NO_ASCII or _is_text(content) else None
                                        for content in contents], contents)  # fmt: skip
    except pa.ArrowInvalid:
        text, body = _texts_and_bodies([content if _is_text(content) else None for content in contents], contents)
    digests, ids = texts(names), integers(numbers, small=True)
    return pa.table({"digest": digests, "text": text, "body": body, "id": ids})


def _texts_and_bodies(shown: list[bytes | None], contents: Sequence[bytes]) -> tuple[pa.Array, pa.Array]:
    """The columns of contents that are texts, and of the others. Raises ArrowInvalid where one is shown that is none.

    `shown` are the contents, with None for those that are no texts.
    """
    text = pa.array(shown, pa.string())  # `cast` would load all of `pyarrow.compute`
    if None not in shown:
        return text, pa.nulls(len(shown), pa.binary())
    others = [content if one is None else None for one, content in zip(shown, contents, strict=True)]
    return text, pa.array(others, pa.binary())


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
