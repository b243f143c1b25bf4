"""Portions on their way between processes: many at once, the rows of all of them as one Arrow table for each table.

Setting a table up costs as much as some hundred rows, and pickling one more than that: so rows are collected over as
many portions as fit, and who receives them takes slices of the whole.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

from rashomon.store import columns
from rashomon.store.portions import Head, Portion
from rashomon.store.step_rows import Row

_new = tuple.__new__
"""Makes a named tuple in a third of the time that its class takes."""

FULL_BYTES, FULL_STEPS = 2 << 20, 1024
"""A parcel goes off behind so many bytes of journals and of parts, or so many steps."""


class Done(NamedTuple):
    """A journal has been read; `error` says why not."""

    name: str
    error: Exception | None


class Sent(NamedTuple):
    """A parcel: what came, in order, and the tables of all portions as Arrow streams."""

    items: list[Portion | Done]
    tables: dict[str, bytes]


class _Span(NamedTuple):
    """The rows of one portion in the table of all."""

    start: int
    rows: int


class Parcel:
    """What one process has read and not sent yet."""

    def __init__(self) -> None:
        self.items: list[Portion | Done] = []
        self.rows: dict[str, list[Row]] = {}
        self.weight = 0
        self.seen = "", 0

    @property
    def full(self) -> bool:
        """True when it is time to send it."""
        return self.weight > FULL_BYTES or len(self.rows.get("steps", ())) > FULL_STEPS

    def table(self, name: str, rows: list[Row]) -> Any:
        """Take rows for a table; what stands for it in a portion until it is there."""
        taken = self.rows.setdefault(name, [])
        taken += rows
        return _Span(len(taken) - len(rows), len(rows))

    def add(self, portion: Portion) -> None:
        """Take a portion whose tables are here."""
        name, before = self.seen
        self.seen = portion.name, portion.whole
        self.weight += portion.whole - (before if name == portion.name else portion.start)
        self.weight += sum([len(content) for _, content in portion.parts])
        self.items.append(portion._replace(heads=_columns(portion.heads)))

    def take(self) -> Sent:
        """Everything that is here, which is empty then. Raises as `columns.table_of` does."""
        items, rows = self.items, self.rows
        self.items, self.rows, self.weight = [], {}, 0
        return Sent(items, {name: _stream(columns.table_of(name, found)) for name, found in rows.items()})


def opened(sent: Sent) -> list[Portion | Done]:
    """What a parcel brought, as it was before it was sent."""
    tables = {name: pa.ipc.open_stream(stream).read_all() for name, stream in sent.tables.items()}

    def table(name: str, span: Any) -> pa.Table:
        return tables[name].slice(span.start, span.rows)

    return [
        item
        if isinstance(item, Done)
        else item._replace(
            heads=[_new(Head, row) for row in zip(*item.heads, strict=True)],
            steps=table("steps", item.steps),
            tables={name: table(name, span) for name, span in item.tables.items()},
        )
        for item in sent.items
    ]


def _columns(heads: list[Head]) -> Any:
    """Plain lists are pickled several times as fast as named tuples."""
    return [list(column) for column in zip(*heads, strict=True)]


def _stream(table: pa.Table) -> bytes:
    target = pa.BufferOutputStream()
    with pa.ipc.new_stream(target, table.schema) as writer:
        writer.write_table(table)
    return target.getvalue().to_pybytes()  # type: ignore[no-any-return]
