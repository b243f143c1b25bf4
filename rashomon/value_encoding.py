"""How a value becomes bytes: `rashomon.values` says what for, `docs/formats/values.md` how it looks."""

from __future__ import annotations

import re
import sys
from typing import Any, NamedTuple

import msgpack

from rashomon import libraries, standard, standard_more
from rashomon.errors import Missed
from rashomon.objects import (
    BIGINT,
    BUILT,
    COMPLEX,
    ENUM,
    EXCEPTION,
    FROZENSET,
    GIVEN,
    NAMED,
    OBJECT,
    OPAQUE,
    PAIRS,
    SET,
    SHARED,
    STR,
    TEXT,
    TUPLE,
    field_names,
    is_found,
    is_model,
    loaded,
    state,
    type_name,
)
from rashomon.standins import StandIn, told

MAX_DEPTH = 64
MAX_NODES = 200_000
_MAX_REPR = 2000
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_UNCHANGING = frozenset(
    {"datetime", "decimal", "uuid", "fractions", "pathlib", "pathlib._local", "zoneinfo", "ipaddress"}
)
"""Modules of values that nobody can change: whether one of them is the same or an equal one, nobody sees."""

BESIDE: tuple[tuple[type[BaseException], tuple[str, ...]], ...] = (
    (OSError, ("filename", "filename2")),
    (ImportError, ("name", "path")),
    (NameError, ("name",)),
    (AttributeError, ("name",)),
)
"""What exceptions keep beside their arguments and their dictionary."""


class Lost(NamedTuple):
    """Something of which an encoding holds the type only; of an exception, the attribute that it was in."""

    type: str
    attribute: str = ""


class Walk:
    """One encoding in progress: lowers a value to what msgpack knows plus extension types.

    `shared` numbers the objects that are known to be met more than once, `given` those that a call was given; both by
    `id`. With `bare` these are written by their numbers alone. `repeated` are those that this walk met more than once,
    `lost` is what it could not encode.
    """

    __slots__ = ("active", "bare", "given", "lost", "met", "nodes", "repeated", "shared")

    def __init__(
        self, shared: dict[int, int] | None = None, given: dict[int, int] | None = None, bare: bool = False
    ) -> None:
        self.bare = bare
        self.active: list[int] = []
        self.nodes = 0
        self.met: dict[int, tuple[Any, int]] = {}  # kept alive: else another object may get its `id`
        self.repeated: dict[int, None] = {}
        self.shared, self.given = shared or {}, given or {}
        self.lost: list[Lost] = []

    def pack(self, value: Any) -> bytes:
        return msgpack.packb(self.lower(value), use_bin_type=True)  # type: ignore[no-any-return]

    def ext(self, code: int, content: Any) -> msgpack.ExtType:
        return msgpack.ExtType(code, self.pack(content))

    def opaque(self, cls: type, text: str) -> msgpack.ExtType:
        self.lost.append(Lost(type_name(cls)))
        return _opaque(type_name(cls), text)

    def lower(self, value: Any) -> Any:
        cls = type(value)
        if value is None or cls is bool or cls is bytes or cls is float:
            return value
        if cls is str:
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                return msgpack.ExtType(STR, value.encode("utf-8", "surrogatepass"))
            return value
        if cls is int:
            return value if -(2**63) <= value < 2**64 else msgpack.ExtType(BIGINT, b"%x" % value)
        if cls is StandIn:
            return _opaque(*told(value))
        return self.enter(value, cls)

    def enter(self, value: Any, cls: type) -> Any:
        """A container or an object: not twice on one path, not too deep, not without end; a second time by number."""
        self.nodes += 1
        key = id(value)
        if key in self.active:
            return self.opaque(cls, "<contains itself>")
        if len(self.active) >= MAX_DEPTH or self.nodes > MAX_NODES:
            return self.opaque(cls, "<too deep or too large>")
        if self.bare and key in self.given:
            return _numbered(GIVEN, self.given[key])
        if key in self.met and not _unchanging(value, cls):
            return self.again(key, cls)
        before = self.nodes
        self.active.append(key)
        try:
            lowered = self.content(value, cls)
        except (Exception, Missed):  # its own code raised: that object is lost, what is around it is not
            return self.opaque(cls, "<not encodable>")
        finally:
            self.active.pop()
        self.met[key] = value, self.nodes - before
        number = self.given.get(key)
        if number is not None:
            return _numbered(GIVEN, number, lowered)
        number = self.shared.get(key)
        return lowered if number is None else _numbered(SHARED, number, lowered)

    def again(self, key: int, cls: type) -> Any:
        """What was met before. It counts as often as it is there: so large it is for who looks at it."""
        self.nodes += self.met[key][1]
        if self.nodes > MAX_NODES:
            return self.opaque(cls, "<too deep or too large>")
        self.repeated[key] = None
        if key in self.given:
            return _numbered(GIVEN, self.given[key])
        return _numbered(SHARED, self.shared[key]) if key in self.shared else None  # the next walk will know it

    def content(self, value: Any, cls: type) -> Any:
        if cls is list:
            return [self.lower(item) for item in value]
        if cls is dict:
            return self.mapping(value)
        return self.other(value, cls)

    def mapping(self, value: dict[Any, Any]) -> Any:
        if all(type(key) in (str, int, bytes, bool) for key in value):
            return {self.lower(key): self.lower(item) for key, item in value.items()}
        return self.ext(PAIRS, [[key, item] for key, item in value.items()])

    def other(self, value: Any, cls: type) -> Any:
        if cls is tuple:
            return self.ext(TUPLE, list(value))
        if cls is set or cls is frozenset:
            # sorted by encoding: the order of a set is chance, and requests are compared by content
            items = sorted(value, key=lambda item: type(self)().pack(item))
            return self.ext(SET if cls is set else FROZENSET, items)
        if cls is complex:
            return self.ext(COMPLEX, [value.real, value.imag])
        known = self.built(value, cls)
        if known is not None:
            return self.ext(BUILT, list(known))
        name = f"{cls.__module__}.{cls.__qualname__}"
        if name in standard.TEXT_TYPES:
            return self.ext(TEXT, [type_name(cls), getattr(value, standard.TEXT_TYPES[name][0])()])
        if name == "datetime.timedelta":
            text = f"{value.days},{value.seconds},{value.microseconds}"
            return self.ext(TEXT, [type_name(cls), text])
        return self.instance(value, cls)

    def built(self, value: Any, cls: type) -> tuple[str, list[Any]] | None:
        """Under which name a value is built from parts, and from which."""
        parts = standard.parts(value, cls)
        if parts is None:
            parts = libraries.parts(value, cls)
        return standard_more.parts(value, cls) if parts is None else (type_name(cls), parts)

    def instance(self, value: Any, cls: type) -> Any:
        enum = loaded("enum", "Enum")
        if enum is not None and isinstance(value, enum):
            return self.ext(ENUM, [self.name(cls), value.value])
        if isinstance(value, tuple) and hasattr(cls, "_fields"):
            named: Any = value
            return self.object(NAMED, cls, dict(zip(named._fields, value, strict=True)), state(value))
        if isinstance(value, BaseException):
            return msgpack.ExtType(EXCEPTION, msgpack.packb(list(self.failure(value)), use_bin_type=True))
        if is_model(cls):
            return self.model(value, cls)
        names = field_names(cls)
        if names is not None:
            attributes = state(value)
            return self.object(
                OBJECT, cls, {one: attributes.pop(one) for one in names if one in attributes}, attributes
            )
        return self.opaque(cls, _ADDRESS.sub("", repr(value)))

    def name(self, cls: type) -> str:
        """The name of a class that a replay has to find."""
        if not is_found(cls):
            self.lost.append(Lost(type_name(cls)))
        return type_name(cls)

    def object(self, code: int, cls: type, fields: dict[str, Any], beside: dict[str, Any]) -> msgpack.ExtType:
        """An object by its fields; what else it has stands beside them, and may be lost by itself."""
        content = [self.name(cls), self.lower(fields)]
        if beside:
            content.append(msgpack.packb(self.attributes(beside), use_bin_type=True))
        return msgpack.ExtType(code, msgpack.packb(content, use_bin_type=True))

    def model(self, value: Any, cls: type) -> Any:
        """A model of pydantic's; of a generic one's class, what it was made of."""
        fields = {"$pydantic": value.__getstate__()}
        generic = getattr(cls, "__pydantic_generic_metadata__", None) or {}
        origin = generic.get("origin")
        if origin is None:
            return self.ext(OBJECT, [self.name(cls), fields])
        lost = len(self.lost)
        fields["$of"] = self.pack([cls.__qualname__, list(generic["args"])])
        del self.lost[lost:]  # it can do without
        return self.ext(OBJECT, [self.name(origin), fields])

    def attributes(self, given: dict[str, Any]) -> dict[str, Any]:
        """Attributes by name; of what is lost in each, its name is told."""
        lowered = {}
        for key, item in given.items():
            before = len(self.lost)
            lowered[key] = self.lower(item)
            self.lost[before:] = [one._replace(attribute=key) for one in self.lost[before:]]
        return lowered

    def failure(self, error: BaseException) -> tuple[str, str, bytes]:
        """Type, message and values of an exception."""
        content = [self.attributes({"args": list(error.args)})["args"], self.attributes(self.beside(error))]
        links = self.attributes(_links(error))
        if links:
            content.append(links)
        return type_name(type(error)), said(error), msgpack.packb(content, use_bin_type=True)

    def beside(self, error: BaseException) -> dict[str, Any]:
        """The attributes that an exception has itself."""
        kept = {key: item for key, item in state(error).items() if not key.startswith("__") or key == "__notes__"}
        return kept | noted(error)


def said(error: BaseException) -> str:
    """The text of an exception."""
    try:
        return str(error)
    except (Exception, Missed):  # a broken __str__ must not hide the failure itself
        return "<unprintable>"


def noted(error: BaseException) -> dict[str, Any]:
    """What an exception keeps beside its dictionary."""
    found: dict[str, Any] = {}
    for cls, names in BESIDE:
        if isinstance(error, cls):
            found |= {name: item for name in names if (item := getattr(error, name, None)) is not None}
    return found


def _links(error: BaseException) -> dict[str, Any]:
    """What an exception came from, and what makes one that arguments do not make; nothing where all is as usual."""
    cause, context, suppressed = error.__cause__, error.__context__, error.__suppress_context__
    found: dict[str, Any] = {}
    if cause is not None:
        found["cause"] = cause
    if context is not None:
        found["context"] = True if context is cause else context
    if suppressed is not (cause is not None):
        found["suppressed"] = suppressed
    invalid = loaded("pydantic_core", "ValidationError")
    if invalid is not None and type(error) is invalid:
        made: Any = error.__reduce__()[1]
        title, lines, *more = made
        found["made"] = [title, list(map(_line, lines)), *more]
    return found


def _line(line: Any) -> Any:
    """One line of what pydantic found; a kind of failure that is not its own by parts."""
    kind = line["type"]
    if isinstance(kind, str):
        return line
    return {**line, "type": [kind.type, kind.message_template, kind.context]}


def _unchanging(value: Any, cls: type) -> bool:
    if cls in (tuple, frozenset, complex, range) or cls.__module__ in _UNCHANGING or isinstance(value, type):
        return True
    enum = sys.modules.get("enum")
    return enum is not None and isinstance(value, enum.Enum)


def _numbered(code: int, *content: Any) -> msgpack.ExtType:
    return msgpack.ExtType(code, msgpack.packb(list(content), use_bin_type=True))


def _opaque(name: str, text: str) -> msgpack.ExtType:
    return msgpack.ExtType(OPAQUE, msgpack.packb([name, text[:_MAX_REPR]], unicode_errors="replace"))


def without_addresses(value: Any) -> str:
    """The `repr` of an object, which may have its address in it."""
    return _ADDRESS.sub("", repr(value))
