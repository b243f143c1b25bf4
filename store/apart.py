"""A request body taken apart, as values: what `rashomon.store.bodies` makes, and makes more of."""

from __future__ import annotations

from array import array
from hashlib import blake2b
from typing import Any, NamedTuple


class Hole(NamedTuple):
    """Where parts were taken out of a frame.

    `at` is the offset in the frame, in characters; `path` the member's key; `first` the place of the first part in the
    member's list, None where the part is the member itself; `start` its place among the parts, counted from 1 (the
    frame is before them), and `count` how many there are, with `separator` between any two.
    """

    at: int
    path: str
    first: int | None
    start: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    separator: str


class Apart(NamedTuple):
    """A body taken apart: a frame, its holes, and the parts that fill them, by the numbers that `Keep` gave.

    Of a body that is one JSON object: `identity` determines it as a value, `values` are those of its members that are
    no lists, and `known` says where a body that begins alike need not be read again.
    """

    frame: bytes
    holes: tuple[Hole, ...]
    parts: array[int]
    identity: bytes | None = None
    values: dict[str, Any] | None = None
    keys: frozenset[str] = frozenset()
    known: Known | None = None
    shared: int = 0
    """How many of the first parts were known to be those of the other body."""
    rest: Rest | None = None


class Known(NamedTuple):
    """What is known of a body up to and with the elements of its longest list: the state of reading it there.

    `ends` are the offsets in bytes behind each of the elements, `spelled` what stands for each in `identity`; both may
    go on with those of a body that has more elements.
    """

    key: str
    ends: list[int]
    spelled: list[bytes]
    hole: Hole
    frame: str
    holes: tuple[Hole, ...]
    parts: array[int]
    values: dict[str, Any]
    members: dict[str, bytes]


class Rest(NamedTuple):
    """What follows the elements of a body's longest list, to go on from when another body only has more of them.

    `text` begins behind the last element, `parts` fill the `holes` in it, which are numbered from the list's end on.
    `spelled` is the state of the list's digest, and `before` and `after` stand around the list in the identity.
    """

    text: str
    holes: tuple[Hole, ...]
    parts: array[int]
    spelled: blake2b
    before: bytes
    after: bytes
