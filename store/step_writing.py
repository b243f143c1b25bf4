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
    """A step of a batch: which portion has it, and where."""

    portion: int
    at: int
    head: Head
    started_us: int


def add_steps(writing: Writing) -> None:
    """Add the steps of all portions; of one that is there more than once, the last counts."""
    latest: dict[tuple[str, str], _Row] = {}
    for number, (portion, _) in enumerate(writing.portions):
        for at, head in enumerate(portion.heads):
            if writing.placed(portion, head):
                started_us = head.t_us + writing.placements[head.trace].shift_us(portion.name)
                latest[head.trace, writing.step_id(portion.name, head)] = _Row(number, at, head, started_us)
    last = {row[0]: row[1:] for row in writing.rows(_LAST_STEPS, sorted({key[0] for key in latest} & writing.found))}
    positions = replaced(writing, [key for key, row in latest.items() if row.head.again])
    crossed = new_positions(writing, latest, positions, last)
    for number, (portion, numbers) in enumerate(writing.portions):
        mine = [(key, row) for key, row in latest.items() if row.portion == number]
        if mine:
            insert_steps(writing, portion, numbers, mine, positions)
    if crossed:
        writing.flush("parts", "steps", "tool_requests", "step_values")
    for trace in sorted(crossed):
        renumber(writing, trace)


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
    writing: Writing,
    latest: dict[tuple[str, str], _Row],
    positions: dict[tuple[str, str], int],
    last: dict[str, tuple[int, int, str]],
) -> set[str]:
    """Give each new step a place behind those that are there; the traces where that is not the right one.

    `last` has for each trace its number of steps, and the start and id of its last one, from before any was
    deleted to be told of again.
    """
    new: dict[str, list[tuple[tuple[int, ...], str]]] = {}
    for (trace, name), row in latest.items():
        if (trace, name) not in positions:
            new.setdefault(trace, []).append(((row.started_us, *_numbers(name)), name))
    crossed = set()
    for trace, listed in new.items():
        listed.sort()
        count, started_us, name = last.get(trace, (0, 0, "0"))
        if count and listed[0][0] < (started_us, *_numbers(name)):
            crossed.add(trace)
        for place, (_, own) in enumerate(listed, count):
            positions[trace, own] = place
    return crossed


def insert_steps(
    writing: Writing,
    portion: Portion,
    numbers: Numbers,
    mine: list[tuple[tuple[str, str], _Row]],
    positions: dict[tuple[str, str], int],
) -> None:
    """Append steps of one portion."""
    taken = [row.at for _, row in mine]
    table, lengths, parts = portion.steps, portion.request_lengths, numbers.of(portion.request_parts)
    if taken != list(range(len(portion.heads))):
        table, lengths, parts = _chosen(table, lengths, parts, taken)
    own = [positions[key] for key, _ in mine]
    added: dict[str, pa.Array] = {
        "trace": columns.texts([key[0] for key, _ in mine]),
        "position": columns.integers(own, small=True),
        "id": columns.texts([key[1] for key, _ in mine]),
        "started_us": columns.integers([row.started_us for _, row in mine]),
        "within": columns.texts([writing.within(portion.name, row.head) for _, row in mine]),
        "request_parts": columns.lists(parts, lengths),
        "response_part": columns.integers([_number(numbers, row.head.response) for _, row in mine], small=True),
        "prompt_part": columns.integers([_number(numbers, row.head.prompt) for _, row in mine], small=True),
    }
    for name, values in added.items():
        table = table.append_column(name, values)
    writing.insert("steps", table)
    where = {row.at: (key[0], positions[key]) for key, row in mine}
    for name, listed in (("tool_requests", portion.tool_requests), ("step_values", portion.step_values)):
        kept = [(where[at], row) for at, row in listed if at in where]
        insert_beside(writing, name, kept)


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


def _number(numbers: Numbers, own: int | None) -> int | None:
    return None if own is None else numbers.known[own]


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
