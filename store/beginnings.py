"""How the conversations of one journal begin: found once for each, and known again in every turn that goes on one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rashomon import dialects
from rashomon.canonical import digest
from rashomon.model import Json
from rashomon.store import bodies
from rashomon.store.portions import Parts


class Beginning(NamedTuple):
    """Digest of the system prompt and of the first message that is none, and the prompt's number as a part."""

    prompt: str | None = None
    conversation: str | None = None
    prompt_part: int | None = None


NO_BEGINNING = Beginning()
_TOLD = ("system", "instructions")
"""Lists whose elements are the system prompt's."""


class _Seen(NamedTuple):
    """What a later request needs to have in common to begin alike: so many of its first parts, and these members.

    `keys` are the names of all members, also of lists.
    """

    parts: int
    keys: frozenset[str]
    values: dict[str, Json]
    found: Beginning


class Beginnings:
    """The beginnings of the requests that later ones may go on."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._seen: dict[int, _Seen] = {}

    def forget(self, number: int) -> None:
        """A request that no later one will go on."""
        self._seen.pop(number, None)

    def clear(self) -> None:
        """Forget everything: the numbers of parts are not valid any more."""
        self._seen.clear()

    def find(self, number: int, base: int | None, apart: bodies.Apart, body: bytes) -> Beginning:
        """How a request begins, which goes on the one of the step `base`."""
        values = apart.values
        if values is None:
            return NO_BEGINNING
        before = self._seen.get(base) if base is not None else None
        alike = before is not None and apart.shared >= before.parts and before.keys == apart.keys
        if before is None or not alike or not (before.values is values or before.values == values):
            return self._look(number, values, apart, body)
        self._seen[number] = before
        return before.found

    def _look(self, number: int, values: dict[str, Json], apart: bodies.Apart, body: bytes) -> Beginning:
        seen: list[tuple[int, bytes]] = []
        told = [hole.start - 1 + hole.count for hole in apart.holes if hole.first is not None and hole.path in _TOLD]
        instructed = bool(told)
        try:
            begin = dialects.opening(values, _elements(apart, self._parts, body, seen), instructed)
        except Exception:  # a prompt that cannot be found is none
            return NO_BEGINNING
        prompt = begin.system.encode("utf-8", "replace") if begin.system is not None else None
        conversation = digest(begin.first) if begin.first is not None else None
        part = self._parts.keep(prompt) if prompt is not None else None
        found = Beginning(digest(prompt) if prompt is not None else None, conversation, part)
        place = next((at for at, content in seen if content is begin.first), None)
        if place is not None and place >= max(told, default=0):
            self._seen[number] = _Seen(place, apart.keys, values, found)
        return found


def _elements(
    apart: bodies.Apart, parts: Parts, body: bytes, seen: list[tuple[int, bytes]]
) -> Iterator[tuple[str, bytes]]:
    """The elements of a request's lists, as far as they are parts, with their paths.

    `seen` gets what was taken, with how many of the request's parts there are up to it.
    """
    read: dict[str, bytes] | None = None
    for hole in apart.holes:
        for place in range(hole.count if hole.first is not None else 0):
            path = f"{hole.path}[{(hole.first or 0) + place}]"
            content = parts.content(apart.parts[hole.start - 1 + place])
            if content is None:  # not remembered any more
                read = read if read is not None else {part.path: part.content for part in bodies.split(body).parts}
                content = read[path]
            seen.append((hole.start + place, content))
            yield path, content
