"""How much two JSON values have in common, cheaply: the overlap of their keys and words, 0 to 1."""

from __future__ import annotations

import re
from zlib import crc32

from rashomon.model import Json

LIKE = 0.4
"""From here on two values are taken for versions of one thing."""

Sketch = frozenset[str]

_WORD = re.compile(r"\w+")
_WHOLE = 200
_MOST = 1024
_NODES = 20_000


def sketch(value: Json) -> Sketch:
    """The keys and words of a value. Of a long text: its ends and the text itself; at most 1024 entries."""
    found: set[str] = set()
    todo: list[Json] = [value]
    nodes = 0
    while todo and nodes < _NODES:
        item = todo.pop()
        nodes += 1
        if isinstance(item, dict):
            found.update(f"{key}:" for key in item)
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, str):
            if len(item) <= _WHOLE:
                found.update(_WORD.findall(item))
            else:
                found.add(f"{len(item)}:{crc32(item.encode('utf-8', 'surrogatepass'))}")
                found.update(_WORD.findall(f"{item[:_WHOLE]} {item[-_WHOLE:]}"))
        else:
            found.add(str(item))
    if len(found) > _MOST:  # the same choice on both sides, so that overlaps stay comparable
        ranked = sorted(found, key=lambda word: (crc32(word.encode("utf-8", "surrogatepass")), word))
        return frozenset(ranked[:_MOST])
    return frozenset(found)


def overlap(a: Sketch, b: Sketch) -> float:
    """Dice's coefficient of two sketches; 1.0 for two empty ones."""
    if not a and not b:
        return 1.0
    return 2 * len(a & b) / (len(a) + len(b))


def likeness(a: Json, b: Json) -> float:
    """The overlap of two values."""
    return overlap(sketch(a), sketch(b))
