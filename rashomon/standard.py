"""Types of the standard library that `rashomon.values` knows: by their text, or by parts (extension 14).

For each type: the parts that an encoding keeps, the value that they make, and how they look as JSON. Nothing here
imports a module that the program has not loaded, but to build a value of its type.
"""

from __future__ import annotations

import builtins
import importlib
from typing import Any

TEXT_TYPES: dict[str, tuple[str, str]] = {
    "datetime.datetime": ("isoformat", "fromisoformat"),
    "datetime.date": ("isoformat", "fromisoformat"),
    "datetime.time": ("isoformat", "fromisoformat"),
    "decimal.Decimal": ("__str__", ""),
    "uuid.UUID": ("__str__", ""),
    "fractions.Fraction": ("__str__", ""),
    "pathlib.PosixPath": ("__str__", ""),
    "pathlib.WindowsPath": ("__str__", ""),
    "pathlib.PurePosixPath": ("__str__", ""),
    "pathlib.PureWindowsPath": ("__str__", ""),
    "pathlib._local.PosixPath": ("__str__", ""),
    "pathlib._local.WindowsPath": ("__str__", ""),
}
"""Types that have an exact text form: how it is made, and what makes the value of it; empty: the type itself."""
_FACTORIES = frozenset({"bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple"})
"""What a `defaultdict` makes by default, of what can be told by its name."""
_MAPPINGS = frozenset({"collections:OrderedDict", "collections:Counter", "collections:defaultdict"})


def parts(value: Any, cls: type) -> list[Any] | None:
    """What a value is built from; None for one of any other type, or one that would not be what it was."""
    name = f"{cls.__module__}:{cls.__qualname__}"
    if name == "builtins:range":
        return [value.start, value.stop, value.step]
    if name == "collections:deque":
        return [list(value), value.maxlen]
    if name in _MAPPINGS:
        return _mapping(value, name)
    if name == "types:SimpleNamespace":
        return [vars(value)]
    if name in ("datetime:datetime", "datetime:time"):
        plain = value.tzinfo is None or repr(value.tzinfo) == repr(_offset(value))
        return None if plain and not value.fold else [value.isoformat(), value.fold, value.tzinfo]
    if name == "datetime:timezone":
        return [value.utcoffset(None), value.tzname(None)]
    if name == "zoneinfo:ZoneInfo":
        return None if value.key is None else [value.key]
    return None


def _mapping(value: Any, name: str) -> list[Any] | None:
    pairs = [[key, item] for key, item in value.items()]
    if name != "collections:defaultdict":
        return [pairs]
    factory: Any = value.default_factory
    if factory is None:
        return [pairs, None]
    known = next((made for made in _FACTORIES if getattr(builtins, made) is factory), None)
    return None if known is None else [pairs, known]


def _offset(value: Any) -> Any:
    """The time zone that the text of a date or time says, if it says one."""
    return type(value).fromisoformat(value.isoformat()).tzinfo


def build(name: str, given: list[Any]) -> Any:
    """The value. Raises ValueError, TypeError or ImportError for parts that do not fit."""
    if name == "builtins:range":
        return range(*given)
    module, _, qualname = name.partition(":")
    if (module, qualname) not in _BUILT_BY_NAME:
        raise ValueError(f"{name} is not built from parts in this version")
    cls = getattr(importlib.import_module(module), qualname)
    if qualname == "defaultdict":
        pairs, factory = given
        if factory is not None and factory not in _FACTORIES:
            raise ValueError(f"{factory} makes no default")
        return cls(None if factory is None else getattr(builtins, factory), pairs)
    if qualname in ("datetime", "time"):
        text, fold, zone = given
        return cls.fromisoformat(text).replace(tzinfo=zone, fold=fold)
    if qualname == "SimpleNamespace":
        return cls(**given[0])
    if qualname == "Counter":
        return cls(dict(given[0]))
    return cls(*given)


_BUILT_BY_NAME = frozenset(
    {
        ("collections", "Counter"),
        ("collections", "OrderedDict"),
        ("collections", "defaultdict"),
        ("collections", "deque"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timezone"),
        ("types", "SimpleNamespace"),
        ("zoneinfo", "ZoneInfo"),
    }
)


def is_known(name: str) -> bool:
    """True for what `build` builds."""
    return name == "builtins:range" or tuple(name.split(":", 1)) in _BUILT_BY_NAME


def view(name: str, given: list[Any]) -> Any:
    """The parts, which are JSON already, as people read such a value."""
    if name in _MAPPINGS:
        return {str(key): item for key, item in given[0]}
    if name in ("collections:deque", "datetime:datetime", "datetime:time"):
        return given[0]
    if name == "types:SimpleNamespace" and isinstance(given[0], dict):
        return {"$type": name, **given[0]}
    if len(given) == 1 and isinstance(given[0], dict) and len(given[0]) == 1:  # an address, or headers
        return next(iter(given[0].values())) if given[0].keys() <= {"$url", "$headers"} else {"$type": name, **given[0]}
    return {"$type": name, "value": given}
