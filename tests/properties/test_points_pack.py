"""Points become a small blob and come back."""

from __future__ import annotations

import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon.model import Event, Point
from rashomon.store import points

IDS = st.none() | st.sampled_from(["0.0", "0.1", "1.0"]) | st.text(st.characters(exclude_categories=()), max_size=5)
LANES = st.lists(st.integers(0, 3) | st.integers(-(2**63), 2**64 - 1), max_size=3).map(tuple)
SMALL = st.integers(-1, 40)
ANY = SMALL | st.integers(-(2**63), 2**64 - 1)
ODD = ANY | st.none() | st.floats(allow_nan=False) | st.text(max_size=3) | st.booleans()


def points_of(numbers: st.SearchStrategy[object]) -> st.SearchStrategy[list[Point]]:
    """Lists of points whose numbers are of a kind."""
    fields = (numbers, st.sampled_from(Event), IDS, LANES, numbers, numbers, numbers, numbers, numbers, IDS)
    return st.lists(st.tuples(*fields).map(lambda values: Point(*values)), max_size=12)


@given(points_of(SMALL) | points_of(ANY) | points_of(ODD))
def test_points_come_back(given_points: list[Point]) -> None:
    """Whatever is packed is unpacked as equal values of the same types."""
    again = points.unpack(points.pack(given_points))
    assert again == tuple(given_points)
    assert [[type(field) for field in point] for point in again] == [
        [type(field) for field in point] for point in given_points
    ]


def streams(chance: Random, count: int, chunks: int, at_once: int) -> list[Point]:
    """What the loop of a program hands out that reads streams, some of them at once."""
    waiting, reading, found = list(range(count)), dict[int, int](), list[Point]()
    at_us = epoch = tick = 0
    while waiting or reading:
        while waiting and len(reading) < at_once:
            reading[waiting.pop(0)] = -1
        step = chance.choice(list(reading))
        at_us += chance.randrange(100, 4000)
        epoch, tick = (epoch + 1, 1) if chance.random() < 0.6 else (epoch, tick + chance.randint(1, 3))
        number = reading[step]
        event = Event.HEAD if number < 0 else Event.PIECE if number < chunks else Event.END
        found.append(Point(0, event, f"0.{step}", (), max(0, number) if number < chunks else 0, 0, epoch, tick, at_us))
        reading[step] += 1
        if event is Event.END:
            del reading[step]
    return found


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_a_stream_costs_four_bytes_a_piece(at_once: int) -> None:
    """Streams of two hundred pieces, alone or interleaved, cost at most four bytes a point."""
    found = streams(Random(7), count=10, chunks=200, at_once=at_once)
    blob = points.pack(found)
    assert points.unpack(blob) == tuple(found)
    assert len(blob) <= 4 * len(found)


@given(st.binary(max_size=60))
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes that are no points raise; they are never taken for some."""
    for blob in (data, zlib.compress(data)):
        with pytest.raises(Exception):  # noqa: B017, PT011  # zlib, msgpack or what contradicts itself
            points.unpack(blob)
