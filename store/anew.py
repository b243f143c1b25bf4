"""Traces that are made anew: from the batch that is written, and from what their other journals tell of them.

A journal that is read from its beginning tells of its traces again. What other journals told of these stands in the
store in one order with it, and is read once more; where they no longer tell all of it, the trace is left as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import duckdb

from rashomon.store import bodies
from rashomon.store.arrival import Arrival
from rashomon.store.ledger import Stat
from rashomon.store.portions import Parts, Portion, Price
from rashomon.store.writing import Numbers

Portions = list[tuple[Portion, Numbers]]
"""What journals tell, with the numbers of its parts."""


class Remade(NamedTuple):
    """A trace of some journals, and what those tell of it that are not in the batch; or why it is `left` as it is."""

    journals: set[str]
    told: Portions
    left: str = ""


class Remaking:
    """Makes traces of one batch anew; the store is that of before the batch."""

    def __init__(
        self,
        reader: duckdb.DuckDBPyConnection,
        batch: Portions,
        folder: Path,
        found: dict[str, Stat],
        price: Price,
    ) -> None:
        self.reader, self.batch, self.folder, self.found, self.price = reader, batch, folder, found, price
        self.ended = {portion.name for portion, _ in batch if portion.ends}
        self.from_start = {portion.name for portion, _ in batch if portion.begins and not portion.start}

    def of(self, trace: str) -> Remade:
        """What a trace is made of, or why it is left alone."""
        mine = {portion.name for portion, _ in self.batch if trace in portion.members}
        names = mine | self._journals(trace)
        lacking = self._lacking(names - mine)
        if lacking:
            return Remade(names, [], f"{lacking[0]} no longer tells of it")
        others = self._read(names - self.from_start)
        if others or self.from_start & mine:
            lost = self._stored(trace) - self._told(trace, others)
            if lost > 0 and all(portion.ends for portion, _ in self.batch if portion.name in mine):
                return Remade(names, [], f"its journals lost {lost} steps")
        return Remade(names, [(_only(portion, trace), numbers) for portion, numbers in others])

    def _journals(self, trace: str) -> set[str]:
        """The journals that have told of a trace."""
        sql = (
            "SELECT journal FROM members WHERE trace = $1"
            " UNION SELECT name FROM journals WHERE list_contains(traces, $1)"
        )
        return {name for (name,) in self.reader.execute(sql, [trace]).fetchall()}

    def _lacking(self, others: set[str]) -> list[str]:
        """Those of a trace's other journals that have gone, or have just been read to their end without it."""
        return sorted(name for name in others if name in self.from_start & self.ended or name not in self.found)

    def _read(self, names: set[str]) -> Portions:
        """What journals tell as far as they have been read."""
        told: Portions = []
        parts, memory, numbers = Parts(), bodies.Memory(), Numbers()
        for name in sorted(names):
            limit = self.reader.execute("SELECT whole FROM journals WHERE name = ?", [name]).fetchall()
            if limit:
                arrival = Arrival(self.folder / name, parts, memory, self.price)
                for portion in arrival.portions(limit=limit[0][0]):
                    numbers = numbers.for_portion(portion)
                    told.append((portion, numbers))
        return told

    def _stored(self, trace: str) -> int:
        """How many steps of a trace are in the store."""
        found = self.reader.execute("SELECT count(*) FROM steps WHERE trace = ?", [trace]).fetchall()
        return int(found[0][0])

    def _told(self, trace: str, others: Portions) -> int:
        """How many steps of a trace the batch and its other journals tell of."""
        told = [(portion.name, head) for portion, _ in [*others, *self.batch] for head in portion.heads]
        return len({(name, head.own) for name, head in told if head.trace == trace})


def _only(portion: Portion, trace: str) -> Portion:
    """What a portion tells of one trace; the rest of it is of no trace."""
    return portion._replace(
        heads=[head if head.trace == trace else head._replace(trace="") for head in portion.heads],
        places={
            table: [place if place.trace == trace else place._replace(trace="") for place in found]
            for table, found in portion.places.items()
        },
        chunks=[chunk for chunk in portion.chunks if chunk.trace == trace],
        members={name: member for name, member in portion.members.items() if name == trace},
        late=[one for one in portion.late if one[2] == trace],
    )
