"""What objects are called, what state they have, and how it is set: no method and no property of theirs is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, NamedTuple

(
    TUPLE,
    SET,
    FROZENSET,
    BIGINT,
    COMPLEX,
    TEXT,
    ENUM,
    OBJECT,
    NAMED,
    EXCEPTION,
    OPAQUE,
    STR,
    PAIRS,
    BUILT,
    SHARED,
    GIVEN,
) = range(1, 17)
"""Extension codes of `rashomon.values`; `docs/formats/values.md` says what each holds."""


class Opaque(NamedTuple):
    """What stands for a value that could not be encoded."""

    type: str
    text: str


class NotRebuildable(Exception):
    """An encoded value cannot be turned back into the object that it was."""


def type_name(cls: Any) -> str:
    """`module:qualname`."""
    return f"{cls.__module__}:{cls.__qualname__}"


def find(name: str) -> Any:
    """What is called so; its module is imported. Raises `NotRebuildable`."""
    module_name, _, path = name.partition(":")
    try:
        found: Any = sys.modules.get(module_name) or importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise NotRebuildable(f"{name} cannot be imported: {error}") from error
    return found


def find_class(name: str) -> Any:
    """The class that is called so. Raises `NotRebuildable`."""
    found = find(name)
    if not isinstance(found, type):
        raise NotRebuildable(f"{name} is not a class")
    return found


def is_found(thing: Any) -> bool:
    """True for a class or a function that its own name leads to. Imports nothing."""
    found: Any = sys.modules.get(thing.__module__)
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


def loaded(module: str, name: str) -> Any:
    """A class of a library, where the program has loaded that; else None."""
    return getattr(sys.modules.get(module), name, None)


_slots: dict[type, tuple[tuple[str, Any], ...]] = {}


def slots(cls: type) -> tuple[tuple[str, Any], ...]:
    """The attributes that instances keep in slots, with what reads and sets each: those of all bases, these first."""
    known = _slots.get(cls)
    if known is None:
        known = tuple(dict(_own_slots(cls)).items())
        if len(_slots) < 10_000:
            _slots[cls] = known
    return known


def _own_slots(cls: type) -> Iterator[tuple[str, Any]]:
    for base in reversed(cls.__mro__):
        names = vars(base).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else tuple(names):
            mangled = name.startswith("__") and not name.endswith("__")
            kept = f"_{base.__name__.lstrip('_')}{name}" if mangled else name
            slot = vars(base).get(kept)
            if isinstance(slot, MemberDescriptorType):
                yield kept, slot


_dicts: dict[type, bool] = {}


def has_dict(cls: type) -> bool:
    """True where instances have a dictionary of the usual kind."""
    known = _dicts.get(cls)
    if known is None:
        known = any(isinstance(vars(base).get("__dict__"), GetSetDescriptorType) for base in cls.__mro__)
        if len(_dicts) < 10_000:
            _dicts[cls] = known
    return known


def state(value: Any) -> dict[str, Any]:
    """All attributes that an object itself has, in slots and in its dictionary."""
    cls = type(value)
    found = {}
    for name, slot in slots(cls):
        try:
            found[name] = slot.__get__(value)
        except AttributeError:  # it was never set
            pass
    if has_dict(cls):
        found.update(vars(value))
    return found


def restore(value: Any, attributes: dict[str, Any]) -> None:
    """Set attributes as `state` gives them. Raises TypeError or AttributeError where they do not fit."""
    kept = dict(slots(type(value)))
    for name, item in attributes.items():
        slot = kept.get(name)
        if slot is not None:
            slot.__set__(value, item)
        elif has_dict(type(value)):
            vars(value)[name] = item
        else:
            object.__setattr__(value, name, item)


def field_names(cls: type) -> list[str] | None:
    """The fields of a dataclass or an attrs class; None for any other."""
    fields: Any = getattr(cls, "__dataclass_fields__", None)
    if isinstance(fields, dict):
        return list(fields)
    fields = getattr(cls, "__attrs_attrs__", None)
    return None if fields is None else [attribute.name for attribute in fields]


def is_model(cls: type) -> bool:
    """True for a model of pydantic's."""
    base = loaded("pydantic", "BaseModel")
    return isinstance(base, type) and issubclass(cls, base)
