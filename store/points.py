"""The points of a trace as one small blob: some bytes for each, where a row of a table would take a hundred.

zlib around the msgpack array `[1, contexts, steps, columns, delays]`. `contexts` lists each (process, event, lane,
loop, within) once and `steps` each step id once, in the order in which they first occur. A column has one integer for
each point, as the difference to what can be expected: of the place in `contexts` and in `steps`, of `epoch` and
`at_us` to the point before; of `tick` too, but to 0 where the epoch is another; of `number` to one more than that of
the last point of the same context and step, or to 0. A column is `[low, high]`: the low bytes of its integers, and
run by run what is above them, `[value, count, value, count, ...]`.

`delays` is [place, delay_us, ...] of the points that have a delay: timers.

Points of other shapes, which no recorder writes, are kept whole: `[0, [point, ...]]`.

Processes, steps and times in a blob are as the journal has them; `Whereabouts` says what they are in the trace.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, groupby, repeat
from operator import sub
from typing import Any, NamedTuple

import msgpack

from rashomon.model import Event, Point, Trace
from rashomon.store.engine import duckdb

_WHOLE, _COLUMNS = 0, 1
_INT = 1 << 62
"""Integers up to here fit into msgpack's 64 bits, and so do the differences of two."""

Context = tuple[int, Event, tuple[int, ...], int, str | None]


IN_A_ROW = 4096
"""How many points make one blob."""


class Whereabouts(NamedTuple):
    """Where a process stands in its trace: its number, its start in microseconds from the trace's, the others' names.

    A number of None leaves everything as it is: so it is in blobs that were packed for a trace.
    """

    process: int | None = None
    shift_us: int = 0
    names: Mapping[str, int] = {}

    def number(self, process: int) -> int:
        """The number of a process in the trace."""
        return process if self.process is None else self.process

    def id(self, step: str | None) -> str | None:
        """What a step is called in the trace; None when nobody knows its process."""
        if step is None or self.process is None or ("." in step and "#" not in step):
            return step
        if "#" in step:
            name, _, own = step.partition("#")
            return f"{self.names[name]}.{own}" if name in self.names else None
        return f"{self.process}.{step}"


_AS_IT_IS = Whereabouts()


def pack(points: Sequence[Point]) -> bytes:
    """Points as a blob."""
    content = _in_columns(points) if _regular(points) else [_WHOLE, points]
    return zlib.compress(msgpack.packb(content, use_bin_type=True, unicode_errors="surrogatepass"), 6)


def rows_of(found: Sequence[Point], start: int) -> tuple[tuple[int, int, bytes], ...]:
    """Points as rows of (position, count, blob) that begin at multiples of `IN_A_ROW`, but for the first."""
    made, at = [], 0
    while at < len(found):
        place = (start + at) // IN_A_ROW
        stop = (place + 1) * IN_A_ROW - start
        listed = found[at:stop]
        made.append((place, len(listed), pack(listed)))
        at += len(listed)
    return tuple(made)


def unpack(blob: bytes, where: Whereabouts = _AS_IT_IS) -> tuple[Point, ...]:
    """The points of a blob. Raises ValueError or zlib.error when it is none."""
    content = msgpack.unpackb(zlib.decompress(blob), strict_map_key=False, unicode_errors="surrogatepass")
    if content[0] == _WHOLE:
        return tuple(_placed(_point(*fields), where) for fields in content[1])
    if content[0] != _COLUMNS:
        raise ValueError(f"points in the unknown form {content[0]!r}")
    contexts = [
        (where.number(process), Event(event), tuple(lane), loop, where.id(within))
        for process, event, lane, loop, within in content[1]
    ]
    steps, columns = list(map(where.id, content[2])), [list(_column(*column)) for column in content[3]]
    *running, ticks, numbers = columns
    last: dict[tuple[int, int], int] = {}
    tick, before, found = 0, 0, []
    for key_a, key_b, epoch, at_us, turn, more in zip(*map(accumulate, running), ticks, numbers, strict=True):
        tick, before = (tick if epoch == before else 0) + turn, epoch
        last[key_a, key_b] = number = last.get((key_a, key_b), -1) + 1 + more
        process, event, lane, loop, within = contexts[key_a]
        at = at_us + where.shift_us
        found.append(Point(process, event, steps[key_b], lane, number, loop, epoch, tick, at, within))
    for place, delay_us in zip(content[4][::2], content[4][1::2], strict=True):
        found[place] = found[place]._replace(delay_us=delay_us)
    return tuple(found)


def read(reader: duckdb.DuckDBPyConnection, trace: Trace) -> tuple[Point, ...]:
    """The points of a trace from its store. Raises ValueError or zlib.error for blobs that are none."""
    rows = reader.execute(
        "SELECT process, shift_us, packed FROM points WHERE trace = ? ORDER BY process, position", [trace.id]
    ).fetchall()
    names = {f"{one.epoch_ns:016x}-{one.pid}": one.number for one in trace.processes} if rows else {}
    found = [unpack(packed, Whereabouts(process, shift_us, names)) for process, shift_us, packed in rows]
    return tuple(chain.from_iterable(found))


def _placed(point: Point, where: Whereabouts) -> Point:
    step, within = where.id(point.step), where.id(point.within)
    at_us = point.at_us + where.shift_us if where.shift_us else point.at_us
    return point._replace(process=where.number(point.process), step=step, at_us=at_us, within=within)


def _point(process: int, event: str, step: Any, lane: Iterable[int], *rest: Any) -> Point:
    return Point(process, Event(event), step, tuple(lane), *rest)


def _regular(points: Sequence[Point]) -> bool:
    """True when every field is what the recorder writes, and of a size that can be subtracted."""
    if not points:
        return True
    process, event, step, lane, number, loop, epoch, tick, at_us, within, delay_us = zip(*points, strict=True)
    integers = (process, number, loop, epoch, tick, at_us, delay_us, tuple(chain.from_iterable(set(lane))))
    return (
        set(map(type, event)) == {Event}
        and {*map(type, step), *map(type, within)} <= {str, type(None)}
        and all(set(map(type, column)) <= {int} for column in integers)
        and all(min(column, default=0) > -_INT and max(column, default=0) < _INT for column in integers)
    )


def _in_columns(points: Sequence[Point]) -> list[Any]:
    contexts: dict[Context, int] = {}
    steps: dict[str | None, int] = {}
    last: dict[tuple[int, int], int] = {}
    rows: list[tuple[int, ...]] = [(0,) * 6]
    turn = before = 0
    for process, event, step, lane, number, loop, epoch, tick, at_us, within, _ in points:
        context = process, event, lane, loop, within
        key = contexts.setdefault(context, len(contexts)), steps.setdefault(step, len(steps))
        rows.append((*key, epoch, at_us, tick - (turn if epoch == before else 0), number - last.get(key, -1) - 1))
        last[key], turn, before = number, tick, epoch
    columns = list(zip(*rows, strict=True))
    differences = [list(map(sub, column[1:], column)) for column in columns[:4]]
    differences += [list(column[1:]) for column in columns[4:]]
    delays = [part for place, point in enumerate(points) if point.delay_us for part in (place, point.delay_us)]
    return [_COLUMNS, list(contexts), list(steps), [_split(column) for column in differences], delays]


def _split(column: Sequence[int]) -> tuple[bytes, list[int]]:
    """A column as its low bytes and, in runs, what is above them: each of the two packs well by itself."""
    low = bytes([value & 255 for value in column])
    runs = [(high, len(list(run))) for high, run in groupby([value >> 8 for value in column])]
    return low, list(chain.from_iterable(runs))


def _column(low: bytes, runs: Sequence[int]) -> Iterator[int]:
    high = chain.from_iterable(map(repeat, runs[::2], runs[1::2]))
    return (above << 8 | below for above, below in zip(high, low, strict=True))
