"""How the arguments of a tool are written: as the first version of the format had them.

They are what a call is found again by, so that the tapes of all versions match. What was raised, and is an argument,
is written as the second version had it.
"""

from __future__ import annotations

import sys
from typing import Any

import msgpack

from rashomon import standard
from rashomon.objects import ENUM, EXCEPTION, NAMED, OBJECT, type_name
from rashomon.value_encoding import MAX_DEPTH, MAX_NODES, Walk, noted, said, without_addresses


class FirstWalk(Walk):
    """As the first version of the format had it."""

    __slots__ = ()

    def enter(self, value: Any, cls: type) -> Any:
        self.nodes += 1
        if id(value) in self.active:
            return self.opaque(cls, "<contains itself>")
        if len(self.active) >= MAX_DEPTH or self.nodes > MAX_NODES:
            return self.opaque(cls, "<too deep or too large>")
        self.active.append(id(value))
        try:
            return self.content(value, cls)
        except Exception:  # as there
            return self.opaque(cls, "<not encodable>")
        finally:
            self.active.pop()

    def other(self, value: Any, cls: type) -> Any:
        return bytes(value) if cls is bytearray or cls is memoryview else super().other(value, cls)

    def built(self, value: Any, cls: type) -> tuple[str, list[Any]] | None:
        return None

    def instance(self, value: Any, cls: type) -> Any:
        name = type_name(cls)
        enum = sys.modules.get("enum")
        if enum is not None and isinstance(value, enum.Enum):
            return self.ext(ENUM, [name, value.value])
        if isinstance(value, tuple) and hasattr(cls, "_fields"):
            return self.ext(NAMED, [name, dict(zip(cls._fields, value, strict=True))])
        if isinstance(value, BaseException):
            return self.ext(EXCEPTION, list(SecondWalk().failure(value)))
        fields = _fields(value, cls)
        return self.opaque(cls, without_addresses(value)) if fields is None else self.ext(OBJECT, [name, fields])


class SecondWalk(FirstWalk):
    """As the second version had it."""

    __slots__ = ()

    def built(self, value: Any, cls: type) -> tuple[str, list[Any]] | None:
        parts = standard.parts(value, cls)
        return None if parts is None else (type_name(cls), parts)

    def failure(self, error: BaseException) -> tuple[str, str, bytes]:
        kept = {key: item for key, item in vars(error).items() if not key.startswith("__") or key == "__notes__"}
        try:
            values = self.pack([list(error.args), kept | noted(error)])
        except Exception:  # as the second version did
            values = msgpack.packb(self.opaque(list, "<not encodable>"))
        return type_name(type(error)), said(error), values


def _fields(value: Any, cls: type) -> dict[str, Any] | None:
    """The state of an object whose class could be rebuilt then, or None."""
    if hasattr(cls, "__pydantic_fields__") or hasattr(cls, "__pydantic_core_schema__"):
        state = value.__getstate__()
        return {"$pydantic": state} if isinstance(state, dict) else None
    for listing in ("__dataclass_fields__", "__attrs_attrs__"):
        names = getattr(cls, listing, None)
        if names is not None:
            keys = names if isinstance(names, dict) else [attribute.name for attribute in names]
            return {key: getattr(value, key) for key in keys if hasattr(value, key)}
    return None
