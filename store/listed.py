"""The list of traces beside the store: what `rashomon ls` prints and filters by, to be read without the database.

To load DuckDB and open a file takes longer than to list traces. So who has listed a store that nothing is new for
leaves here what its list is made of: one line for each trace, newest first, and columns in which each value stands once
and each trace has the number of its own. What calls of a trace are like is a column, too: steps are of few sorts.

It is a copy and never the truth. It names the file that it was made of (`_key`) and is worth nothing as soon as that is
another one or has a log beside it; it is made while the store is open, so that nobody writes meanwhile, and whoever
opens the store for writing removes it first (`drop`), so that nothing stays here that was forgotten there. Each part
carries its checksum. Whatever it cannot answer is asked of the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from rashomon.store.folder import READER, SETTLED_NS
from rashomon.store.trace_rows import TraceRow

if TYPE_CHECKING:
    from rashomon.store.reading import TraceStore

FORMAT = 3
LEAST, MOST = 500, 200_000
"""A list of fewer traces is not kept, for there the store is quick; nor one of more, which is long to write."""

MOST_SORTS = 2000
"""Where steps are of more sorts, none are kept: filters about steps are then for the store."""

FIRST_SORT = 0x100
"""A sort of steps is one character in a column; the first sort is this one."""


class Line(NamedTuple):
    """A trace in a list: its row, the peers that were missed, and how many notes there are on it and its steps."""

    row: TraceRow
    missed: tuple[str, ...]
    notes: int


class Column(NamedTuple):
    """The distinct values of a column, and for each trace, newest first, the number of its value."""

    values: list[Any]
    numbers: array[int]


class Unusable(Exception):
    """The list cannot be read: the store is to be asked."""


def beside(store: Path) -> Listed | None:
    """The list of a store as it is now; None where there is none, or one of another state."""
    try:
        return Listed(store)
    except Unusable:
        return None


def path_of(store: Path) -> Path:
    """Where the list of a store is."""
    return store.with_name(f"{store.name}.list")


def drop(store: Path) -> None:
    """Remove the list of a store, and what killed processes have left of such; for who has the store open to write."""
    for left in store.parent.glob(f"{store.name}.list*"):
        with contextlib.suppress(OSError):  # a list of another state of the store is not used
            left.unlink()


def _key(store: Path) -> list[Any]:
    """What must be the same for the list to be worth anything. Raises OSError."""
    from rashomon.store import migrate

    if os.path.exists(f"{store}.wal"):
        raise FileExistsError(store)
    stat = os.stat(store)
    return [FORMAT, READER, migrate.newest(), sys.byteorder, stat.st_ino, stat.st_size, stat.st_mtime_ns]


# --------------------------------------------------------------------------------------------------- reading


class Listed:
    """The list of a store as it is now. Raises `Unusable` where it is not there, damaged, or of another state.

    `damage` is the name of the first journal that could not be read whole, and how many there are. `agree` tells
    whether the costs of traces with others within are, digit for digit, those that the store filters by.
    """

    def __init__(self, store: Path) -> None:
        try:
            self._file = open(path_of(store), "rb")  # noqa: SIM115  # closed by `close`
        except OSError:
            raise Unusable from None
        try:
            line = self._file.readline()
            checksum, _, text = line.partition(b" ")
            if checksum != b"%x" % crc32(text):
                raise ValueError("damaged")
            head = json.loads(text)
            if head["key"] != _key(store):
                raise ValueError("of another state")
            self._start, self._parts = len(line), head["parts"]
            self.damage: tuple[str | None, int] = (head["damage"][0], head["damage"][1])
            self.count: int = head["count"]
            self.agree: bool = head["agree"]
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            self.close()
            raise Unusable from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def sorts(self) -> list[Sort] | None:
        """The sorts of steps that there are; None where these are too many."""
        return [Sort._make(one) for one in json.loads(self._part("sort"))] if "sort" in self._parts else None

    def column(self, name: str) -> Column:
        """A column by its name."""
        numbers = array("I")
        numbers.frombytes(self._part(f"{name} numbers"))
        return Column(json.loads(self._part(f"{name} values")), numbers)

    def lines(self, places: Sequence[int]) -> list[Line]:
        """The traces at some places of the list."""
        ends = array("Q")
        ends.frombytes(self._part("ends"))
        lines = []
        for place in places:
            start = ends[place - 1] if place else 0
            text = self._read(self._parts["lines"][0] + start, ends[place] - start)
            checksum, _, told = text.partition(b" ")
            if checksum != b"%x" % crc32(told):
                raise Unusable
            *row, missed, notes = json.loads(told)
            lines.append(Line(TraceRow._make(row), tuple(missed), notes))
        return lines

    def _part(self, name: str) -> bytes:
        at, size, checksum = self._parts[name]
        content = self._read(at, size)
        if crc32(content) != checksum:
            raise Unusable
        return content

    def _read(self, at: int, size: int) -> bytes:
        try:
            self._file.seek(self._start + at)
            return self._file.read(size)
        except OSError:
            raise Unusable from None


# --------------------------------------------------------------------------------------------------- writing


def worthwhile(store: TraceStore) -> bool:
    """Whether a store that is open is to have a list, and can."""
    (count,) = store.query("SELECT count(*) FROM traces").rows[0]
    if not LEAST <= count <= MOST or not os.access(store.path.parent, os.W_OK):
        return False
    return time.time_ns() - os.stat(store.path).st_mtime_ns >= SETTLED_NS


def write(store: TraceStore, settled_ns: int = SETTLED_NS) -> bool:
    """Leave the list of a store that is open; whether it is there. Never fails."""
    from rashomon.errors import RashomonError
    from rashomon.store.engine import duckdb

    try:
        key = _key(store.path)
        if time.time_ns() - key[-1] < settled_ns:
            return False
        content = _content(store, key)
        if _key(store.path) != key:
            return False
        new = path_of(store.path).with_name(f"{store.path.name}.list-{os.getpid()}")
        try:
            with open(new, "wb") as file:
                file.writelines(content)
            os.replace(new, path_of(store.path))
        finally:
            new.unlink(missing_ok=True)
    except (OSError, RashomonError, duckdb.Error, ValueError):
        return False
    return True


def _content(store: TraceStore, key: list[Any]) -> list[bytes]:
    """The file, piece by piece."""
    from rashomon.store.annotations import noted

    rows = store.traces(limit=sys.maxsize)
    agree = not any(row.within for row in rows) or _costs_agree(store, rows)
    notes, missed = noted(store), store.missed([row.id for row in rows if row.coverage_missed])
    lines = [json.dumps([*row, missed.get(row.id, ()), notes.get(row.id, 0)]).encode() for row in rows]
    lines = [b"%x %s" % (crc32(line), line) for line in lines]
    parts = {"lines": b"".join(lines), "ends": array("Q", accumulate(map(len, lines))).tobytes()}
    for name, values in _columns(rows).items():
        parts |= _column(name, values)
    sorts = _sorts(store)
    if sorts is not None:
        told, of_trace = sorts
        parts |= _column("sorts", [of_trace.get(row.id, "") for row in rows]) | {"sort": json.dumps(told).encode()}
    head = {"key": key, "count": len(rows), "agree": agree, "damage": store.damage()}
    return [_head(head, parts), *parts.values()]


def _costs_agree(store: TraceStore, rows: Sequence[TraceRow]) -> bool:
    """Whether the costs are those that filters see: added up in another order, they may differ in their last digit."""
    outer = "SELECT id, cost FROM trace_list WHERE id IN (SELECT within FROM traces)"
    cost = {row.id: row.cost for row in rows}
    return all(cost[trace] == found for trace, found in store.query(outer).rows)


def _head(told: dict[str, Any], parts: dict[str, bytes]) -> bytes:
    places, at = {}, 0
    for name, content in parts.items():
        places[name] = [at, len(content), crc32(content)]
        at += len(content)
    text = json.dumps({**told, "parts": places}).encode() + b"\n"
    return b"%x %s" % (crc32(text), text)


def _column(name: str, values: Sequence[Any]) -> dict[str, bytes]:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return {
        f"{name} values": json.dumps(list(numbers)).encode(),
        f"{name} numbers": array("I", map(numbers.__getitem__, values)).tobytes(),
    }


def _columns(rows: Sequence[TraceRow]) -> dict[str, list[Any]]:
    plain = ("id", "name", "started_ns", "outcome", "error", "steps", "failures", "cost", "input_tokens",
             "output_tokens", "duration_us")  # fmt: skip
    return {name: [getattr(row, name) for row in rows] for name in plain} | {
        "tokens": [row.input_tokens + row.output_tokens for row in rows],
        "models": [tuple(row.models) for row in rows],
        "has": [" ".join(name for name, has in HAS.items() if has(row)) for row in rows],
    }


HAS: dict[str, Callable[[TraceRow], object]] = {
    "error": lambda row: row.error is not None or row.outcome in ("error", "killed"),
    "div": lambda row: row.divergences,
    "cost": lambda row: row.cost is not None,
    "tokens": lambda row: row.input_tokens + row.output_tokens,
    "model": lambda row: row.models,
    "loss": lambda row: row.losses,
    "parent": lambda row: row.parent is not None,
    "swap": lambda row: row.swaps,
    "tag": lambda row: row.tags,
}
"""What a trace may have, of what its line tells."""


class Sort(NamedTuple):
    """What steps of one sort have in common. `failed` as `filter_columns.ERR` has it."""

    kind: str
    name: str
    model: str | None
    status: int | None
    ended: str
    grade: str | None
    dialect: str | None
    finish: str | None
    failed: bool


def _sorts(store: TraceStore) -> tuple[list[Sort], dict[str, str]] | None:
    """The sorts of all steps, and those that there are in each trace, as characters; None where there are too many."""
    from rashomon.store.filter_columns import ERR

    columns = ", ".join(f"s.{name}" for name in Sort._fields[:-1])
    found = store.query(
        f"SELECT {columns}, {ERR} AS failed, list(DISTINCT s.trace) FROM steps AS s GROUP BY ALL LIMIT {MOST_SORTS + 1}"
    ).rows
    if len(found) > MOST_SORTS:
        return None
    of_trace: dict[str, str] = {}
    for number, row in enumerate(found):
        for trace in row[-1]:
            of_trace[trace] = of_trace.get(trace, "") + chr(FIRST_SORT + number)
    return [Sort._make(row[:-1]) for row in found], of_trace
