"""Reads, launched subprocesses and points of a batch into the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rashomon.store import columns, points
from rashomon.store.portions import Chunk, Place, Portion

if TYPE_CHECKING:
    from rashomon.store.writing import Writing


def add_others(writing: Writing) -> None:
    """Add reads and subprocesses: those of a process behind its earlier ones, before those of the next."""
    for table, field in (("ambient", "reads"), ("launched", "launched")):
        arriving = [
            (
                portion,
                [(at, place) for at, place in enumerate(portion.places[table]) if writing.placed(portion, place)],
            )
            for portion, _ in writing.portions
        ]
        added: dict[str, dict[str, int]] = {}
        for portion, listed in arriving:
            for _, place in listed:
                counts = added.setdefault(place.trace, {})
                counts[portion.name] = counts.get(portion.name, 0) + 1
        starts = {trace: make_room(writing, table, field, trace, counts) for trace, counts in added.items()}
        for portion, listed in arriving:
            if listed:
                insert_others(writing, portion, table, listed, starts)


def make_room(writing: Writing, table: str, field: str, trace: str, counts: dict[str, int]) -> dict[str, int]:
    """Where the new rows of each process go; those that are there move on behind those of earlier processes."""
    old_start = start = 0
    starts: dict[str, int] = {}
    moves = []
    for name in writing.placements[trace].workers:
        before = writing.stored[trace].get(name)
        there: int = getattr(before, field) if before is not None else 0
        if there and start > old_start:
            moves.append((start - old_start, old_start, old_start + there))
        starts[name] = start + there
        old_start += there
        start += there + counts.get(name, 0)
    for by, first, behind in reversed(moves):
        sql = f"UPDATE {table} SET position = position + ? WHERE trace = ? AND position >= ? AND position < ?"
        writing.writer.execute(sql, [by, trace, first, behind])
    return starts


def insert_others(
    writing: Writing, portion: Portion, table: str, listed: list[tuple[int, Place]], starts: dict[str, dict[str, int]]
) -> None:
    """Append rows of one portion; `starts` says where the next of each trace and journal goes."""
    name, found = portion.name, portion.tables[table]
    if len(listed) != len(portion.places[table]):
        found = found.take([at for at, _ in listed])
    positions = []
    for _, place in listed:
        positions.append(starts[place.trace][name])
        starts[place.trace][name] += 1
    spots = [(place, writing.placements[place.trace]) for _, place in listed]
    added = {
        "trace": columns.texts([place.trace for place, _ in spots]),
        "position": columns.integers(positions, small=True),
        "within": columns.texts([writing.within(name, place) for place, _ in spots]),
    }
    if table == "ambient":
        processes = [place.process if place.process >= 0 else spot.number(name) for place, spot in spots]
        added["process"] = columns.integers(processes)
        added["at_us"] = columns.integers([place.t_us + spot.shift_us(name) for place, spot in spots])
    for column, values in added.items():
        found = found.append_column(column, values)
    writing.insert(table, found)


def add_points(writing: Writing) -> None:
    """Add points to the last row of their process, and more rows behind it."""
    for portion, _ in writing.portions:
        for chunk in portion.chunks:
            if writing.placed(portion, chunk):
                insert_points(writing, portion.name, chunk)


def insert_points(writing: Writing, journal: str, chunk: Chunk) -> None:
    place = writing.placements[chunk.trace]
    process = None if chunk.numbered else place.number(journal)
    for position, count, packed in chunk.rows:
        if position == chunk.start // points.IN_A_ROW and chunk.start % points.IN_A_ROW:
            where = "trace = ? AND process IS NOT DISTINCT FROM ? AND position = ?"
            key = [chunk.trace, process, position]
            before = writing.writer.execute(f"SELECT packed FROM points WHERE {where}", key).fetchall()
            if before:
                writing.writer.execute(f"DELETE FROM points WHERE {where}", key)
                whole = (*points.unpack(before[0][0]), *points.unpack(packed))
                count, packed = len(whole), points.pack(whole)
        writing.writer.execute(
            "INSERT INTO points (trace, count, packed, process, position, shift_us) VALUES (?, ?, ?, ?, ?, ?)",
            [chunk.trace, count, packed, process, position, place.shift_us(journal)],
        )
