"""What the body of a tool does to its arguments: noticed while it is recorded, done to the live ones in a replay.

Looked at are lists, dicts, sets and the like, dataclasses, attrs classes and pydantic models wherever they are in the
arguments, and the attributes of other objects that are arguments themselves. They are numbered as they are found.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from rashomon import values
from rashomon.objects import field_names, has_dict, is_model, restore, slots, state
from rashomon.recorders.tool_answers import uncontrolled

_MOST = 200
"""Arguments with more objects than that are not looked at: it would take its time with every call."""
_ATOMS = frozenset({str, int, float, bool, bytes, complex, type(None)})
_PLAIN = frozenset({list, set, bytearray, deque})
_MAPPINGS = frozenset({dict, OrderedDict, defaultdict, Counter})
_NEVER = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, BaseException)


class Watched:
    """The objects in the arguments of one call, and what they were."""

    __slots__ = ("_before", "nodes", "numbers")

    def __init__(self, nodes: list[Any]) -> None:
        self.nodes = nodes
        self.numbers = {id(node): number for number, node in enumerate(nodes)}
        self._before = list(map(_content, nodes))

    def changed(self, tool: str) -> bytes | None:
        """What has become of them, where they are not what they were. Never raises."""
        try:
            effects = []
            for number, node in enumerate(self.nodes):
                before, now = self._before[number], _content(node)
                same = type(now) is tuple and len(now) == len(before) and all(map(is_, before, now))
                if not same and not _same(before, now):
                    effects.append([number, _effect(node, before, now)])
            if not effects:
                return None
            data, lost = values.encode_effects(effects, self.numbers)
        except Exception as error:  # an object's own code: recording must not break the program
            uncontrolled(tool, f"what it does to its arguments cannot be seen: {type(error).__name__}")
            return None
        if lost:
            what = ", ".join(sorted({one.type for one in lost}))
            uncontrolled(tool, f"it changes its arguments, by what is recorded by its type only: {what}")
            return None
        return data

    def apply(self, data: bytes) -> None:
        """Make them what they had become. Raises `NotRebuildable`."""
        for number, effect in values.decode_effects(data, self.nodes):
            if number < len(self.nodes):
                _become(self.nodes[number], effect)


def watch(arguments: dict[str, Any]) -> Watched | None:
    """The objects that a call may change; None where there are none, or too many. Never raises."""
    for item in arguments.values():
        if type(item) not in _ATOMS:
            break
    else:
        return None
    try:
        found = _found(arguments)
        return Watched(found) if found else None
    except Exception:  # an object's own code: nothing is known of such arguments
        return None


def _found(arguments: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    seen: set[int] = set()
    waiting = [(item, True) for item in reversed(arguments.values())]
    while waiting:
        node, direct = waiting.pop()
        cls = type(node)
        if cls in _ATOMS or id(node) in seen:
            continue
        inner = list(node.values()) if cls is dict else _inner(node, cls, direct)
        if inner is None:
            continue
        seen.add(id(node))
        if cls is not tuple:
            found.append(node)
        if len(seen) > _MOST or len(inner) > 20 * _MOST:
            return []
        if _ATOMS.issuperset(map(type, inner)):
            continue
        waiting += [(item, direct and cls is tuple) for item in reversed(inner) if type(item) not in _ATOMS]
    return found


def _inner(node: Any, cls: type, direct: bool) -> list[Any] | None:
    """What is in an object; None for one that is not looked at."""
    if cls in _MAPPINGS:
        return list(node.values())
    if cls in _PLAIN or cls is tuple:
        return list(node) if cls is not set and cls is not bytearray else []
    if issubclass(cls, _NEVER):
        return None
    if field_names(cls) is not None or is_model(cls) or (direct and has_dict(cls)):
        return list(state(node).values())
    return None


def _content(node: Any) -> Any:
    cls = type(node)
    if cls is dict:
        return (*node, *node.values())
    if cls in _PLAIN:
        return frozenset(node) if cls is set else tuple(node)
    return (*node, *node.values()) if cls in _MAPPINGS else state(node)


def _same(before: Any, now: Any) -> bool:
    """True where an object holds the very same objects, or equal plain values."""
    if isinstance(before, dict):
        return before.keys() == now.keys() and all(_equal(item, now[key]) for key, item in before.items())
    if len(before) != len(now):
        return False
    if isinstance(before, frozenset):
        return bool(before == now)
    return all(map(_equal, before, now))


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    return type(one) is type(other) and type(one) in _ATOMS and bool(one == other)


def _effect(node: Any, before: Any, now: Any) -> list[Any]:
    """What makes an object what it is now."""
    if type(node) in _PLAIN:
        return [list(now)]
    if type(node) in _MAPPINGS:
        return [[list(pair) for pair in node.items()]]
    new = {key: item for key, item in now.items() if key not in before or not _equal(before[key], item)}
    return [new, [key for key in before if key not in now]]


def _become(node: Any, effect: list[Any]) -> None:
    content: Any = effect[0]
    cls = type(node)
    if cls is list or cls is bytearray:
        node[:] = content
    elif cls is deque:
        node.clear()
        node.extend(content)
    elif cls is set or cls in _MAPPINGS:
        node.clear()
        node.update(content if cls is set else dict(content))
    else:
        restore(node, content)
        kept = dict(slots(cls))
        for name in effect[1]:
            if name in kept:
                kept[name].__delete__(node)
            else:
                vars(node).pop(name, None)
