"""The steps of a batch into the store: what they are called in their trace, and where they stand in it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from rashomon.store import columns
from rashomon.store.portions import Head, Portion

if TYPE_CHECKING:
    from rashomon.store.writing import Numbers, Writing


class _Row(NamedTuple):
    """A step of a batch: where its portion has it, and what sorts it in its trace."""

    at: int
    head: Head
    portion: int
    order: tuple[int, ...]

    @property
    def started_us(self) -> int:
        """When it began, since the trace did."""
        return self.order[0]


_Key = tuple[str, str]
_new = tuple.__new__
"""Makes a named tuple in a third of the time that its class takes."""


def add_steps(writing: Writing) -> None:
    """Add the steps of all portions; of one that is there more than once, the last counts."""
    latest: dict[_Key, _Row] = {}
    for number, (portion, _) in enumerate(writing.portions):
        _place(writing, number, portion, latest)
    last = {row[0]: row[1:] for row in writing.rows(_LAST_STEPS, sorted({key[0] for key in latest} & writing.found))}
    positions = replaced(writing, [key for key, row in latest.items() if row.head.again])
    crossed = new_positions(latest, positions, last)
    _insert(writing, latest, positions)
    if crossed:
        writing.flush("parts", "steps", "tool_requests", "step_values")
    for trace in sorted(crossed):
        renumber(writing, trace)


def _place(writing: Writing, number: int, portion: Portion, latest: dict[_Key, _Row]) -> None:
    """Find out what the steps of a portion are called, and when they began."""
    spots: dict[str, tuple[int, int] | None] = {}
    for at, head in enumerate(portion.heads):
        trace, own, given, t_us = head[:4]
        if trace not in spots:
            place = writing.placements.get(trace)
            placed = place is not None and writing.placed(portion, head)
            spots[trace] = (place.number(portion.name), place.shift_us(portion.name)) if place and placed else None
        spot = spots[trace]
        if spot is None:
            continue
        if given is None:
            process, shift_us = spot
            latest[trace, f"{process}.{own}"] = _new(_Row, (at, head, number, (t_us + shift_us, process, own)))
        else:
            latest[trace, given] = _Row(at, head, number, (t_us + spot[1], *_numbers(given)))


def replaced(writing: Writing, keys: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Delete steps that are told of again; where they stood."""
    if not keys:
        return {}
    table = pa.table({"trace": columns.texts([key[0] for key in keys]), "id": columns.texts([key[1] for key in keys])})
    writing.writer.register("again", table)
    found = writing.writer.execute(
        "SELECT steps.trace, steps.id, steps.position, steps.response_part FROM steps JOIN again USING (trace, id)"
    ).fetchall()
    writing.writer.unregister("again")
    writing.loose |= {row[3] for row in found if row[3] is not None}
    places = [(row[0], row[2]) for row in found]
    delete_steps(writing, places)
    return {(trace, name): position for trace, name, position, _ in found}


def delete_steps(writing: Writing, places: list[tuple[str, int]]) -> None:
    """Delete steps by trace and position, with what other tables say of them."""
    if not places:
        return
    writing.altered.update(trace for trace, _ in places)
    gone = pa.table({"trace": columns.texts([one[0] for one in places]),
                     "position": columns.integers([one[1] for one in places], small=True)})  # fmt: skip
    writing.writer.register("going", gone)
    writing.writer.execute(
        "DELETE FROM steps USING going WHERE steps.trace = going.trace AND steps.position = going.position"
    )
    for table in ("tool_requests", "step_values"):
        writing.writer.execute(
            f"DELETE FROM {table} USING going WHERE {table}.trace = going.trace AND {table}.step = going.position"
        )
    writing.writer.unregister("going")


def new_positions(
    latest: dict[_Key, _Row], positions: dict[_Key, int], last: dict[str, tuple[int, int, str]]
) -> set[str]:
    """Give each new step a place behind those that are there; the traces where that is not the right one.

    `last` has for each trace its number of steps, and the start and id of its last one, from before any was
    deleted to be told of again.
    """
    new: dict[str, list[tuple[tuple[int, ...], str]]] = {}
    for key, row in latest.items():
        if key not in positions:
            new.setdefault(key[0], []).append((row.order, key[1]))
    crossed = set()
    for trace, listed in new.items():
        listed.sort()
        count, started_us, name = last.get(trace, (0, 0, "0"))
        if count and listed[0][0] < (started_us, *_numbers(name)):
            crossed.add(trace)
        for place, (_, own) in enumerate(listed, count):
            positions[trace, own] = place
    return crossed


def _insert(writing: Writing, latest: dict[_Key, _Row], positions: dict[_Key, int]) -> None:
    """Append steps, those of all portions as one table: setting one up takes as long as some hundred rows."""
    by_portion: list[list[tuple[_Key, _Row]]] = [[] for _ in writing.portions]
    for item in latest.items():
        by_portion[item[1].portion].append(item)
    added, tables = _Added(), []
    for (portion, numbers), mine in zip(writing.portions, by_portion, strict=True):
        if mine:
            writing.pause()
            tables.append(added.take(writing, portion, numbers, mine, positions))
    if tables:
        table = pa.concat_tables(tables).combine_chunks()
        for name, values in added.columns().items():
            table = table.append_column(name, values)
        writing.insert("steps", table)
    for name, listed in added.beside.items():
        insert_beside(writing, name, listed)


class _Added:
    """What is known of the steps of a batch only here: their columns, and the rows that say more of them."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, str, int, str | None, int | None, int | None]] = []
        self.parts, self.lengths = array("i"), array("i")
        self.beside: dict[str, list[tuple[tuple[str, int], columns.Row]]] = {"tool_requests": [], "step_values": []}

    def take(
        self,
        writing: Writing,
        portion: Portion,
        numbers: Numbers,
        mine: list[tuple[_Key, _Row]],
        positions: dict[_Key, int],
    ) -> pa.Table:
        """Take steps of one portion; the columns that it has of them."""
        taken = [row[0] for _, row in mine]
        table, lengths, parts = portion.steps, portion.request_lengths, numbers.of(portion.request_parts)
        if taken != list(range(len(portion.heads))):
            table, lengths, parts = _chosen(table, lengths, parts, taken)
        self.parts += parts
        self.lengths.extend(lengths)
        known = numbers.known
        for key, (_, head, _, order) in mine:
            _, _, _, _, within, _, response, prompt = head
            self.rows.append((
                key[0], positions[key], key[1], order[0],
                None if within is None else writing.within(portion.name, head),
                None if response is None else known[response],
                None if prompt is None else known[prompt],
            ))  # fmt: skip
        where = {row[0]: (key[0], positions[key]) for key, row in mine}
        for name, listed in (("tool_requests", portion.tool_requests), ("step_values", portion.step_values)):
            self.beside[name] += [(where[at], row) for at, row in listed if at in where]
        return table

    def columns(self) -> dict[str, pa.Array]:
        """The columns, in the order of the steps that were taken."""
        trace, position, name, started_us, within, response, prompt = zip(*self.rows, strict=True)
        return {
            "trace": columns.texts(trace),
            "position": columns.integers(position, small=True),
            "id": columns.texts(name),
            "started_us": columns.integers(started_us),
            "within": columns.texts(within),
            **columns.parts(self.parts, self.lengths),
            "response_part": columns.integers(response, small=True),
            "prompt_part": columns.integers(prompt, small=True),
        }


def insert_beside(writing: Writing, name: str, listed: list[tuple[tuple[str, int], columns.Row]]) -> None:
    """Append rows that say more of steps."""
    if listed:
        table = columns.table_of(name, [row for _, row in listed])
        table = table.append_column("trace", columns.texts([place[0] for place, _ in listed]))
        writing.insert(
            name, table.append_column("step", columns.integers([place[1] for place, _ in listed], small=True))
        )


def renumber(writing: Writing, trace: str) -> None:
    """Put the steps of a trace into their order."""
    writing.writer.execute("CREATE OR REPLACE TEMP TABLE moving AS " + _MOVING, [trace])
    for table, column in (("steps", "position"), ("tool_requests", "step"), ("step_values", "step")):
        writing.writer.execute(
            f"UPDATE {table} SET {column} = moving.now FROM moving"
            f" WHERE {table}.trace = ? AND {table}.{column} = moving.before", [trace]
        )  # fmt: skip
    writing.writer.execute("DROP TABLE moving")


def _numbers(name: str) -> list[int]:
    return [int(part) for part in name.split(".")]


def _chosen(
    table: pa.Table, lengths: Sequence[int], parts: array[int], taken: list[int]
) -> tuple[pa.Table, list[int], array[int]]:
    """Some of the rows of a portion."""
    starts, at = [], 0
    for length in lengths:
        starts.append(at)
        at += length
    chosen = array("i")
    for place in taken:
        chosen.extend(parts[starts[place] : starts[place] + lengths[place]])
    return table.take(taken), [lengths[place] for place in taken], chosen


_LAST_STEPS = """
    SELECT trace, max(position) + 1, arg_max(started_us, position), arg_max(id, position)
    FROM steps WHERE trace IN (SELECT unnest(?)) GROUP BY trace
"""
_MOVING = """
    SELECT position AS before, (row_number() OVER (
        ORDER BY started_us, list_transform(string_split(id, '.'), lambda number: number::BIGINT)
    ) - 1)::INTEGER AS now
    FROM steps WHERE trace = ? QUALIFY before <> now
"""
