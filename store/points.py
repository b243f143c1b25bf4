"""The points of a trace as one small blob: some bytes for each, where a row of a table would take a hundred.

zlib around the msgpack array `[1, contexts, steps, columns, delays]`. `contexts` lists each (process, event, lane,
loop, within) once and `steps` each step id once, in the order in which they first occur. A column has one integer for
each point, as the difference to what can be expected: of the place in `contexts` and in `steps`, of `epoch` and
`at_us` to the point before; of `tick` too, but to 0 where the epoch is another; of `number` to one more than that of
the last point of the same context and step, or to 0. A column is `[low, high]`: the low bytes of its integers, and
run by run what is above them, `[value, count, value, count, ...]`.

`delays` is [place, delay_us, ...] of the points that have a delay: timers.

Points of other shapes, which no recorder writes, are kept whole: `[0, [point, ...]]`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, groupby, repeat
from operator import sub
from typing import Any

import msgpack

from rashomon.model import Event, Point

_WHOLE, _COLUMNS = 0, 1
_INT = 1 << 62
"""Integers up to here fit into msgpack's 64 bits, and so do the differences of two."""

Context = tuple[int, Event, tuple[int, ...], int, str | None]


def pack(points: Sequence[Point]) -> bytes:
    """Points as a blob."""
    content = _in_columns(points) if _regular(points) else [_WHOLE, points]
    return zlib.compress(msgpack.packb(content, use_bin_type=True, unicode_errors="surrogatepass"), 6)


def unpack(blob: bytes) -> tuple[Point, ...]:
    """The points of a blob. Raises ValueError or zlib.error when it is none."""
    content = msgpack.unpackb(zlib.decompress(blob), strict_map_key=False, unicode_errors="surrogatepass")
    if content[0] == _WHOLE:
        return tuple(_point(*fields) for fields in content[1])
    if content[0] != _COLUMNS:
        raise ValueError(f"points in the unknown form {content[0]!r}")
    contexts = [(process, Event(event), tuple(lane), *rest) for process, event, lane, *rest in content[1]]
    steps, columns = content[2], [list(_column(*column)) for column in content[3]]
    *running, ticks, numbers = columns
    last: dict[tuple[int, int], int] = {}
    tick, before, found = 0, 0, []
    for key_a, key_b, epoch, at_us, turn, more in zip(*map(accumulate, running), ticks, numbers, strict=True):
        tick, before = (tick if epoch == before else 0) + turn, epoch
        last[key_a, key_b] = number = last.get((key_a, key_b), -1) + 1 + more
        process, event, lane, loop, within = contexts[key_a]
        found.append(Point(process, event, steps[key_b], lane, number, loop, epoch, tick, at_us, within))
    for place, delay_us in zip(content[4][::2], content[4][1::2], strict=True):
        found[place] = found[place]._replace(delay_us=delay_us)
    return tuple(found)


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
