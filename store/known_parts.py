"""Which parts a store has, for who adds batch after batch: reading millions of digests for each would take longer than
writing it, and the longer the larger the store.

The beginning of every digest is kept in order, 12 bytes a part with its number; what it points to is looked up by that
number, so that a digest which only begins like another is never taken for it. They are read in slices, a few at each
question, lest who waits for the store wait for all of them. What falls into the others is asked of the store.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping

import duckdb  # the whole of it: the engine alone does not take Arrow
import pyarrow as pa

MANY = 100_000
"""Where a store has fewer parts, asking it takes some milliseconds."""

_ASKED, _ADDED, _SURE = 3, 200_000, 20_000
_SLICES, _SHIFT, _LOAD_S = 16, 60, 0.1
"""One slice for each first digit of a digest; as many at a time as begin within so many seconds."""


class KnownParts:
    """What one reader knows of a store's parts. Of no use after somebody else has written: `forget` it then.

    What it learns during a transaction counts once `keep` is called; `undo` is for one that was rolled back.
    """

    def __init__(self) -> None:
        self._adding = False
        self._new: list[int] = []
        self._sure_new: list[str] = []
        self.forget()

    def keep(self) -> None:
        """What was learnt since the last time is in the store."""
        self._new, self._sure_new, self._adding = [], [], False
        if len(self._added) > _ADDED:
            self._read_anew()

    def undo(self) -> None:
        """What was learnt since the last time is not in the store."""
        for key in self._new:
            self._added.pop(key, None)
        for name in self._sure_new:
            self._sure.pop(name, None)
        self.keep()

    def forget(self) -> None:
        """Know nothing."""
        self._asked = 0
        self._read_anew()

    def _read_anew(self) -> None:
        self._slices: list[tuple[array[int], array[int]]] = []
        self._added: dict[int, int] = {}
        self._sure: dict[str, int] = {}
        self._new, self._sure_new = [], []

    def find(self, store: duckdb.DuckDBPyConnection, names: list[str], count: int) -> dict[str, int]:
        """The numbers of those of some parts that the store has; `count` is about how many it has at all."""
        if not names:
            return {}
        if len(self._slices) < _SLICES:
            self._asked += 1
            if count < MANY or self._asked < _ASKED:
                return asked(store, names)
            if not self._adding:  # what this transaction has added would be among what is read
                self._read(store)
        found: dict[str, int] = {}
        likely: dict[str, int] = {}
        unread: list[str] = []
        for name in names:
            number = self._sure.get(name)
            if number is not None:
                found[name] = number
            elif (number := self._likely(key := _key(name))) is not None:
                likely[name] = number
            elif key >> _SHIFT >= len(self._slices):
                unread.append(name)
        if unread:
            found |= asked(store, unread)
        if likely:
            found |= self._confirmed(store, likely)
        return found

    def add(self, new: Mapping[str, int]) -> None:
        """Learn of parts that are being added, with their numbers."""
        self._adding = True
        if self._slices:
            for name, number in new.items():
                key = _key(name)
                if key not in self._added:
                    self._new.append(key)
                self._added[key] = number

    def _likely(self, key: int) -> int | None:
        number = self._added.get(key)
        if number is None and (nth := key >> _SHIFT) < len(self._slices):
            keys, ids = self._slices[nth]
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                return ids[at]
        return number

    def _confirmed(self, store: duckdb.DuckDBPyConnection, likely: dict[str, int]) -> dict[str, int]:
        """Those whose whole digest it is. A digest that begins like that of another part may be elsewhere."""
        rows = store.execute(
            "SELECT digest, id FROM parts WHERE id IN (SELECT unnest(?::INTEGER[]))", [[*likely.values()]]
        ).fetchall()
        sure = {name: number for name, number in rows if name in likely}
        if len(self._sure) > _SURE:
            self._sure.clear()
        self._sure |= sure
        self._sure_new += sure
        unsure = [name for name in likely if name not in sure]
        return sure | (asked(store, unsure) if unsure else {})

    def _read(self, store: duckdb.DuckDBPyConnection) -> None:
        """Read the next slices."""
        until = time.monotonic() + _LOAD_S
        while len(self._slices) < _SLICES:
            nth = len(self._slices)
            behind = f"b2:{nth + 1:x}" if nth + 1 < _SLICES else "b2:g"
            rows = store.sql(_KEYS.format(f"b2:{nth:x}", behind)).to_arrow_table()
            keys, ids = array("Q"), array("i")
            keys.frombytes(_bytes(rows.column(0), 8))
            ids.frombytes(_bytes(rows.column(1), 4))
            self._slices.append((keys, ids))
            if time.monotonic() >= until:
                return


def asked(store: duckdb.DuckDBPyConnection, names: Iterable[str]) -> dict[str, int]:
    """The same by a look at every digest."""
    wanted_parts = pa.table({"digest": pa.array(names, pa.string())})  # noqa: F841  # DuckDB finds it by its name
    found = store.execute("SELECT digest, id FROM parts WHERE digest IN (SELECT digest FROM wanted_parts)").fetchall()
    return dict(found)


def _key(name: str) -> int:
    """The first 64 bits of a digest."""
    return int(name[3:19], 16)


def _bytes(column: pa.ChunkedArray, width: int) -> bytes:
    """The values of a column without NULLs, one behind the other."""
    return b"".join(
        bytes(chunk.buffers()[1][chunk.offset * width : (chunk.offset + len(chunk)) * width]) for chunk in column.chunks
    )


_KEYS = """
    SELECT key, id FROM (
        SELECT try_cast('0x' || substr(digest, 4, 16) AS UBIGINT) AS key, id FROM parts
        WHERE digest >= '{}' AND digest < '{}'
    ) WHERE key IS NOT NULL AND id IS NOT NULL ORDER BY key
"""
