"""A body that is an earlier one with more elements in its longest list: a conversation that went on.

Only the new elements are looked at: the frame, its holes and everything else that is known of the earlier body hold.
"""

from __future__ import annotations

from rashomon.store.apart import Apart, Hole, Known, Rest
from rashomon.store.bodies import LONG, Keep, Memory, scan, spelled_element

_new = tuple.__new__
"""Makes a named tuple in a third of the time that its class takes."""


def grown(body: bytes, keep: Keep, memory: Memory, base: Apart, prefix: int) -> Apart | None:
    """What `take_apart` makes of a body whose first `prefix` bytes are those of another; None where that must tell.

    That is so unless the body has all elements of the other's longest list, more behind them that are parts too,
    separated in the same way, and then the same as the other.
    """
    known, rest = base.known, base.rest
    if known is None or rest is None:
        return None
    count = known.hole.count
    offset = known.ends[count - 1]
    if prefix < offset:
        return None
    tail = body[offset:]
    try:
        text = tail.decode("utf-8")
        found = _elements(text, known, keep, memory)
    except (ValueError, IndexError, RecursionError, StopIteration):  # not JSON, or cut
        return None
    if found is None:
        return None
    at, parts, ends, spelled = found
    if text[at:] != rest.text:
        return None
    if len(text) != len(tail):
        ends = [len(text[:end].encode()) for end in ends]
    return _with(base, known, rest, parts, [offset + end for end in ends], spelled)


def _elements(
    text: str, known: Known, keep: Keep, memory: Memory
) -> tuple[int, list[int], list[int], list[bytes]] | None:
    """Where the elements at the beginning of a text end, their parts, where each ends, and what stands for each."""
    separator, at = known.hole.separator, 0
    parts: list[int] = []
    ends: list[int] = []
    spelled: list[bytes] = []
    while text.startswith(separator, at):
        start = at + len(separator)
        seen = memory.find(text, start)
        if seen is not None:
            element, part, stands = seen
            at = start + len(element)
        else:
            value, at = scan(text, start)
            if value.__class__ is not dict and at - start < LONG:
                return None
            element, stands = text[start:at], spelled_element(value)
            part = keep(element.encode())
            memory.keep(element, part, stands)
        parts.append(part)
        ends.append(at)
        spelled.append(stands)
    return at, parts, ends, spelled


def _with(base: Apart, known: Known, rest: Rest, new: list[int], ends: list[int], spelled: list[bytes]) -> Apart:
    """The earlier body with these parts behind those of its list."""
    key, before_ends, before_spelled, old, frame, before, were, values, members = known
    at, path, first, start, counted, separator = old
    shared, count = start - 1 + counted, counted + len(ends)
    end = start - 1 + count
    state = rest.spelled.copy()
    for one in spelled:
        state.update(b"," + one)
    parts = were[:shared]
    parts.extend(new)
    parts += rest.parts
    if len(before_ends) > counted:  # another body went on from there: these lists are its
        before_ends, before_spelled = before_ends[:counted], before_spelled[:counted]
    before_ends += ends
    before_spelled += spelled
    hole = _new(Hole, (at, path, first, start, count, separator))
    holes = (*before, hole)
    if rest.holes:
        holes += tuple([Hole(*one[:3], one.start + end, *one[4:]) for one in rest.holes])
    identity = b"".join((rest.before, state.digest(), rest.after))
    now = _new(Known, (key, before_ends, before_spelled, hole, frame, before, parts, values, members))
    left = _new(Rest, (rest.text, rest.holes, rest.parts, state, rest.before, rest.after))
    return _new(Apart, (base.frame, holes, parts, identity, base.values, base.keys, now, shared, left))
