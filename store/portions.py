"""What a journal brings, as values: a portion of its frames as rows, and parts by numbers.

`rashomon.store.arrival` makes portions, `rashomon.store.writing` takes them into the store.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa

from rashomon.canonical import digest
from rashomon.journal import Damage
from rashomon.model import Loss, Step
from rashomon.store.step_rows import Row
from rashomon.store.told import Member, Resume

_CONTENTS = 2 << 20
"""How many bytes of parts are remembered, to look at how a conversation begins; and as many that came before those."""

_NUMBERED = 200_000
"""How many parts are known by their digest. When there are more, they get new numbers, and are recognised later."""

Tables = Callable[[str, list[Row]], pa.Table]
"""Makes a table of rows, or gives what stands for it until that is done."""

Price = Callable[[Step, Any, int], "float | None"]
"""The price of an LLM call: the step, its summary, and its start in Unix nanoseconds."""


class Head(NamedTuple):
    """What places a row in its trace. `own` is the number of the step, `given` the id that a tape file gave it."""

    trace: str
    own: int
    given: str | None
    t_us: int
    within: str | None
    again: bool
    response: int | None
    prompt: int | None


class Place(NamedTuple):
    """The same for reads, launched subprocesses and points; `process` is -1 unless the file says which."""

    trace: str
    process: int
    t_us: int
    within: str | None
    foreign: tuple[str, ...] = ()


class Chunk(NamedTuple):
    """Points of a trace, packed: rows of (position, count, blob), the first of which may go on an earlier one.

    `start` is how many points of this journal were before, `numbered` True where they say their process themselves.
    """

    trace: str
    start: int
    rows: tuple[tuple[int, int, bytes], ...]
    numbered: bool
    foreign: tuple[str, ...] = ()


class Portion(NamedTuple):
    """A piece of a journal, understood.

    `parts` are (digest, content) of the parts that are mentioned first, numbered on from `first_part`; `request_parts`
    and `request_lengths` list, for each step, its frame and what goes into the frame's holes.
    """

    name: str
    size: int
    process: dict[str, Any]
    closed: bool
    loss: Loss | None
    damage: tuple[Damage, ...]
    whole: int
    torn: int
    members: dict[str, Member]
    heads: list[Head]
    steps: pa.Table
    request_parts: array[int]
    request_lengths: list[int]
    tool_requests: list[tuple[int, Row]]
    step_values: list[tuple[int, Row]]
    places: dict[str, list[Place]]
    tables: dict[str, pa.Table]
    chunks: list[Chunk]
    first_part: int
    parts: list[tuple[str, bytes]]
    late: list[tuple[int, list[Any], str | None]]
    """What the frame determines, the frame, and its trace where that is known."""
    resume: Resume
    start: int
    """Where in the journal this reading of it began."""
    begins: bool
    ends: bool

    def in_order(self) -> list[tuple[str, bytes]]:
        """`parts` as they are numbered in the store: messages first, then frames, answers and prompts.

        So the messages of a conversation have numbers without gaps, and a request tells them as one run.
        """
        starts = accumulate(self.request_lengths[:-1], initial=0) if self.request_lengths else ()
        numbers: set[int | None] = {self.request_parts[start] for start in starts}
        for head in self.heads:
            numbers |= {head.response, head.prompt}
        first = self.first_part
        beside = {number - first for number in numbers if number is not None}
        places = range(len(self.parts))
        return [self.parts[at] for at in sorted(places, key=beside.__contains__)]


class Parts:
    """Parts of what one reader reads, numbered in the order in which they are mentioned first."""

    def __init__(self) -> None:
        self.count = 0
        self.new: list[tuple[str, bytes]] = []
        self.first = 0
        self.full = self._anew = False
        self._numbers: dict[str, int] = {}
        self._contents: dict[int, bytes] = {}
        self._before: dict[int, bytes] = {}
        self._size = 0

    def keep(self, content: bytes) -> int:
        """Have a part of a request kept, and remembered; its number."""
        name = digest(content)
        number = self._numbers.get(name)
        if number is None:
            number = self._number(name, content)
        if number not in self._contents:
            self._remember(number, content)
        return number

    def number(self, content: bytes) -> int:
        """Have a part of a request kept that none begins with; its number."""
        name = digest(content)
        number = self._numbers.get(name)
        return self._number(name, content) if number is None else number

    def named(self, content: bytes) -> tuple[int, str]:
        """Have a part kept; its number and its digest."""
        name = digest(content)
        number = self._numbers.get(name)
        return self._number(name, content) if number is None else number, name

    def _number(self, name: str, content: bytes) -> int:
        number = self._numbers[name] = self.count
        self.count = number + 1
        self.new.append((name, content))
        if number >= _NUMBERED:
            self.full = len(self._numbers) > _NUMBERED
        return number

    def add(self, content: bytes) -> tuple[int, str]:
        """Have a part kept that will soon be another: it is not recognised again. As `named`."""
        name = digest(content)
        self.new.append((name, content))
        self.count += 1
        return self.count - 1, name

    def content(self, number: int) -> bytes | None:
        """The content of a part, where it is still remembered; then it is for longer."""
        content = self._contents.get(number)
        if content is None:
            content = self._before.get(number)
            if content is not None:
                self._remember(number, content)
        return content

    def _remember(self, number: int, content: bytes) -> None:
        if self._size > _CONTENTS:
            self._before, self._contents, self._size = self._contents, {}, 0
        self._contents[number] = content
        self._size += len(content)

    def take(self) -> tuple[int, list[tuple[str, bytes]]]:
        """What is new since the last time, and the number of the first of it."""
        first, new = self.first, self.new
        if self._anew:
            self.count, self._anew = 0, False
        self.first, self.new = self.count, []
        return first, new

    def forget(self) -> None:
        """Number from 0 again behind what is taken next: whoever has the numbers of before keeps them apart."""
        self._anew = True
        self._numbers.clear()
        self._contents.clear()
        self._before.clear()
        self._size, self.full = 0, False
