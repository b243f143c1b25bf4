"""Which parts a store has, for who adds batch after batch: reading millions of digests for each would take longer than
writing it, and the longer the larger the store.

The beginning of every digest is kept in order, 8 bytes a part with its number; what it points to is looked up by that
number, so that a digest which only begins like another is never taken for it. They are read once, between two batches,
while the store is open for reading only and nobody waits for it; what is added later is put among them.
"""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import duckdb  # the whole of it: the engine alone does not take Arrow
import pyarrow as pa

from rashomon.store import ledger, memory
from rashomon.store.connection import open_reader

MANY = 100_000
"""Where a store has fewer parts, asking it takes some milliseconds."""

_ASKED, _ADDED, _SURE = 2, 15_000, 12_000
_READ = 200_000
"""So many parts are read at once: to put them in order takes ten times the memory that they are kept in."""

_KEY_BITS, _SHIFT = 44, 32
"""Of a digest so many bits are kept. Keys that begin with the same twelve are on a shelf of their own, as what is left
of them; it is made anew when some are put among them."""
_REST = (1 << _SHIFT) - 1


class KnownParts:
    """What one reader knows of a store's parts. Of no use after somebody else has written: `forget` it then.

    What it learns during a transaction counts once `keep` is called; `undo` is for one that was rolled back.
    """

    def __init__(self) -> None:
        self._new: list[int] = []
        self._sure_new: list[str] = []
        self._count = 0
        self.forget()

    def keep(self) -> None:
        """What was learnt since the last time is in the store."""
        self._new, self._sure_new = [], []
        if len(self._added) > _ADDED:
            keys = sorted(self._added)
            self._put_in(keys, [self._added[key] for key in keys])
            self._added.clear()

    def undo(self) -> None:
        """What was learnt since the last time is not in the store."""
        for key in self._new:
            self._added.pop(key, None)
        for name in self._sure_new:
            self._sure.pop(name, None)
        self._new, self._sure_new = [], []

    def forget(self) -> None:
        """Know nothing."""
        self._asked = 0
        self._shelves: list[tuple[array[int], array[int]]] = []
        self._added: dict[int, int] = {}
        self._sure: dict[str, int] = {}
        self._new, self._sure_new = [], []

    def dropped(self) -> None:
        """Parts have been deleted: what else is known is looked up before it is believed."""
        self._sure.clear()

    def find(self, store: duckdb.DuckDBPyConnection, names: list[str], count: int) -> dict[str, int]:
        """The numbers of those of some parts that the store has; `count` is about how many it has at all."""
        if not names:
            return {}
        if not self._shelves:
            self._asked, self._count = self._asked + 1, count
            return asked(store, names)
        found: dict[str, int] = {}
        likely: dict[str, int] = {}
        for name in names:
            number = self._sure.get(name)
            if number is not None:
                found[name] = number
            elif (number := self._likely(_key(name))) is not None:
                likely[name] = number
        if likely:
            found |= self._confirmed(store, likely)
        return found

    def add(self, new: Mapping[str, int]) -> None:
        """Learn of parts that are being added, with their numbers."""
        if self._shelves:
            for name, number in new.items():
                key = _key(name)
                if key not in self._added:
                    self._new.append(key)
                self._added[key] = number

    def _likely(self, key: int) -> int | None:
        number = self._added.get(key)
        if number is None:
            keys, ids = self._shelves[key >> _SHIFT]
            rest = key & _REST
            at = bisect_left(keys, rest)
            if at < len(keys) and keys[at] == rest:
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

    @property
    def worth_reading(self) -> bool:
        """Whether `read_from` pays: the store has many parts, and has been asked more than once."""
        return not self._shelves and self._asked >= _ASKED and self._count >= MANY

    def read_from(self, path: Path, generation: str, wait_s: float) -> None:
        """Read which parts the store has, if it is of this generation, and keep nobody else from reading it.

        What was learnt before must have been kept. Where memory is short, the store is asked on, which takes longer.
        """
        self._asked = 0
        with open_reader(path, wait_s, memory.LIMIT) as store, contextlib.suppress(duckdb.OutOfMemoryException):
            if ledger.generation(store) == generation:
                behind = store.execute("SELECT coalesce(max(id) + 1, 0) FROM parts").fetchall()[0][0]
                self._shelves = [(array("I"), array("i")) for _ in range(1 << _KEY_BITS - _SHIFT)]
                try:
                    for first in range(0, behind, _READ):
                        self._put_in(*_read(store, first, first + _READ))
                except duckdb.Error:
                    self._shelves = []
                    raise

    def _put_in(self, keys: Sequence[int], ids: Sequence[int]) -> None:
        """Put these keys, which are in order, and their numbers among the others, in place of the same keys."""
        at = 0
        for shelf, before in enumerate(self._shelves):
            behind = bisect_left(keys, shelf + 1 << _SHIFT, at)
            if behind > at:
                self._shelves[shelf] = _merged(before, [key & _REST for key in keys[at:behind]], ids[at:behind])
            at = behind


def _merged(
    before: tuple[array[int], array[int]], keys: Sequence[int], ids: Sequence[int]
) -> tuple[array[int], array[int]]:
    """Keys in order with their numbers, of two such lists."""
    old_keys, old_ids = before
    all_keys, all_ids = array("I"), array("i")
    at = 0
    for key, number in zip(keys, ids, strict=True):
        behind = bisect_left(old_keys, key, at)
        if behind > at:
            all_keys += old_keys[at:behind]
            all_ids += old_ids[at:behind]
        all_keys.append(key)
        all_ids.append(number)
        at = behind + (behind < len(old_keys) and old_keys[behind] == key)
    all_keys += old_keys[at:]
    all_ids += old_ids[at:]
    return all_keys[:], all_ids[:]  # without the room that an array keeps to grow


def _read(store: duckdb.DuckDBPyConnection, first: int, behind: int) -> tuple[array[int], array[int]]:
    """The keys of the parts with these numbers, in order, and their numbers."""
    rows = store.sql(_KEYS.format(first, behind)).to_arrow_table()
    keys, ids = array("Q"), array("i")
    keys.frombytes(_bytes(rows.column(0), 8))
    ids.frombytes(_bytes(rows.column(1), 4))
    return keys, ids


def asked(store: duckdb.DuckDBPyConnection, names: Iterable[str]) -> dict[str, int]:
    """The same by a look at every digest."""
    wanted_parts = pa.table({"digest": pa.array(names, pa.string())})  # noqa: F841  # DuckDB finds it by its name
    found = store.execute("SELECT digest, id FROM parts WHERE digest IN (SELECT digest FROM wanted_parts)").fetchall()
    return dict(found)


def _key(name: str) -> int:
    """The first bits of a digest."""
    return int(name[3:14], 16)


def _bytes(column: pa.ChunkedArray, width: int) -> bytes:
    """The values of a column without NULLs, one behind the other."""
    return b"".join(
        bytes(chunk.buffers()[1][chunk.offset * width : (chunk.offset + len(chunk)) * width]) for chunk in column.chunks
    )


_KEYS = """
    SELECT key, id FROM (
        SELECT try_cast('0x' || substr(digest, 4, 11) AS UBIGINT) AS key, id FROM parts WHERE id >= {} AND id < {}
    ) WHERE key IS NOT NULL ORDER BY key
"""
