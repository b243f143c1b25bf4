"""Python values as bytes and back: arguments and results of tools, arguments of entry points.

msgpack with extension types. What msgpack knows is itself; tuples, sets, dates, decimals, UUIDs, paths,
enums, dataclasses, attrs classes, named tuples, pydantic models, exceptions and the standard library's
containers are rebuilt as themselves. Everything else, and everything nested deeper than `MAX_DEPTH`,
becomes an `Opaque`: its type and its `repr` without addresses. Encoding never fails; an `Opaque` cannot be
turned back into the object, so replay refuses to serve one. `docs/formats/values.md` lists the codes.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from typing import Any, NamedTuple

import msgpack

from rashomon import standard
from rashomon.model import Failure, Json

MAX_DEPTH = 64
MAX_NODES = 200_000
_MAX_REPR = 2000
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

(
    _TUPLE,
    _SET,
    _FROZENSET,
    _BIGINT,
    _COMPLEX,
    _TEXT,
    _ENUM,
    _OBJECT,
    _NAMED,
    _EXCEPTION,
    _OPAQUE,
    _STR,
    _PAIRS,
    _BUILT,
) = range(1, 15)
"""Extension codes. `_TEXT` is any type with an exact text form: [type, text]. `_BUILT`: see `rashomon.standard`."""
_EXTENDED = re.compile(rb"[\xc7-\xc9\xd4-\xd8]")
"""How an extension begins, as text in some languages does."""


class Opaque(NamedTuple):
    """What stands for a value that could not be encoded."""

    type: str
    text: str


class NotRebuildable(Exception):
    """An encoded value cannot be turned back into the object that it was."""


def encode(value: Any) -> bytes:
    """The value as bytes. Never raises."""
    return _encode(value, _Walk)


def encode_arguments(value: Any) -> bytes:
    """What a call is found again by, as bytes. Never raises.

    Without what came after the first version of the format, so that it equals what the tapes of that one hold.
    """
    return _encode(value, _FirstWalk)


def _encode(value: Any, walk: type[_Walk]) -> bytes:
    try:
        data: bytes = msgpack.packb(value, use_bin_type=True, strict_types=True)
        if _EXTENDED.search(data) is None:  # msgpack's own `ExtType` and `Timestamp` are no extensions of ours
            return data
    except Exception:  # something in it is not msgpack's own: walk it
        pass
    try:
        return walk().pack(value)
    except Exception:  # an object's own method raised while we looked at it: its type is all we say
        return _Walk().opaque_bytes(type(value), "<not encodable>")


def decode(data: bytes) -> Any:
    """The value; raises `NotRebuildable` when a part is opaque, its class is gone, or the bytes are bad."""
    try:
        return _unpack(data, _rebuild)
    except NotRebuildable:
        raise
    except Exception as error:
        raise NotRebuildable(f"the recorded value cannot be rebuilt: {type(error).__name__}: {error}") from error


def to_json(data: bytes) -> Json:
    """The value for people, SQL and diffs: plain JSON, with `$type` where JSON has no word for it.

    Never raises and never imports a class; bytes that are no encoded value become `{"$damaged": hex}`.
    """
    try:
        view: Json = _plain(_unpack(data, _view))
        return view
    except Exception as error:  # foreign bytes: show them rather than fail a whole listing
        return {"$damaged": data[:64].hex(), "error": type(error).__name__}


def each_json(data: bytes) -> list[Json]:
    """The values that stand one behind the other, as `to_json`; none of bytes that are no such values.

    What begins with a number is taken for foreign bytes: any text may be read as numbers.
    """
    unpacker = msgpack.Unpacker(ext_hook=_view, strict_map_key=False, max_buffer_size=max(1, len(data)))
    try:
        unpacker.feed(data)
        found: list[Json] = [_plain(value) for value in unpacker]
        whole = unpacker.tell() == len(data)
    except Exception:  # foreign bytes, as in `to_json`
        return []
    return [] if not whole or any(type(value) is int for value in found) else found


_BESIDE: tuple[tuple[type[BaseException], tuple[str, ...]], ...] = (
    (OSError, ("filename", "filename2")),
    (ImportError, ("name", "path")),
    (NameError, ("name",)),
    (AttributeError, ("name",)),
)
"""What exceptions keep beside their arguments and their dictionary."""
_BY_INIT: tuple[type[BaseException], ...] = (
    UnicodeEncodeError,
    UnicodeDecodeError,
    UnicodeTranslateError,
    SyntaxError,
    StopIteration,
    SystemExit,
)


def encode_failure(error: BaseException) -> Failure:
    """An exception as a value. Never raises."""
    try:
        message = str(error)
    except Exception:  # a broken __str__ must not hide the failure itself
        message = "<unprintable>"
    state = {key: item for key, item in vars(error).items() if not key.startswith("__") or key == "__notes__"}
    for cls, names in _BESIDE:
        if isinstance(error, cls):
            state |= {name: item for name in names if (item := getattr(error, name, None)) is not None}
    return Failure(_type_name(type(error)), message, encode([list(error.args), state]))


def decode_failure(failure: Failure) -> BaseException:
    """The exception; raises `NotRebuildable` when its class cannot be found."""
    cls = _find_exception(failure.type)
    try:
        args, state = decode(failure.values) if failure.values else ([failure.message], {})
    except NotRebuildable:  # part of its state is opaque (a request, a socket): the rest still is the error
        args, state = _tolerant(failure.values, failure.message)
    try:
        error = cls.__new__(cls, *args)
        for base in _BY_INIT:
            if isinstance(error, base):
                base.__init__(error, *args)  # what it prints is set there
        error.args = tuple(args)
        for key, value in state.items():
            setattr(error, key, value)
    except Exception as failed:
        raise NotRebuildable(f"the recorded {failure.type} cannot be made: {failed}") from failed
    return error


def _tolerant(data: bytes, message: str) -> tuple[list[Any], dict[str, Any]]:
    loose = _unpack(data, _rebuild_or_none)
    args = [message if isinstance(arg, Opaque) else arg for arg in loose[0]]
    return args, {key: value for key, value in loose[1].items() if not isinstance(value, Opaque)}


def _rebuild_or_none(code: int, data: bytes) -> Any:
    try:
        return _rebuild(code, data)
    except NotRebuildable:
        return Opaque("", "")


def _type_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _find_exception(name: str) -> type[BaseException]:
    try:
        cls = _find(name)
        if isinstance(cls, type) and issubclass(cls, BaseException):
            return cls
    except NotRebuildable:  # a class made inside a function: it may still exist, under the same name
        todo: list[type[BaseException]] = [BaseException]
        while todo:
            candidate = todo.pop()
            if _type_name(candidate) == name:
                return candidate
            todo.extend(type.__subclasses__(candidate))
    raise NotRebuildable(f"the recorded exception {name} is not known to this program")


def _find(name: str) -> Any:
    module_name, _, path = name.partition(":")
    try:
        found: Any = sys.modules.get(module_name) or importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise NotRebuildable(f"{name} cannot be imported: {error}") from error
    return found


class _Walk:
    """One encoding in progress: lowers a value to what msgpack knows plus extension types."""

    __slots__ = ("active", "nodes")

    def __init__(self) -> None:
        self.active: list[int] = []
        self.nodes = 0

    def pack(self, value: Any) -> bytes:
        return msgpack.packb(self.lower(value), use_bin_type=True)  # type: ignore[no-any-return]

    def ext(self, code: int, content: Any) -> msgpack.ExtType:
        return msgpack.ExtType(code, self.pack(content))

    def opaque(self, cls: type, text: str) -> msgpack.ExtType:
        return msgpack.ExtType(_OPAQUE, msgpack.packb([_type_name(cls), text[:_MAX_REPR]], unicode_errors="replace"))

    def opaque_bytes(self, cls: type, text: str) -> bytes:
        return msgpack.packb(self.opaque(cls, text))  # type: ignore[no-any-return]

    def lower(self, value: Any) -> Any:
        cls = type(value)
        if value is None or cls is bool or cls is bytes or cls is float:
            return value
        if cls is str:
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                return msgpack.ExtType(_STR, value.encode("utf-8", "surrogatepass"))
            return value
        if cls is int:
            return value if -(2**63) <= value < 2**64 else msgpack.ExtType(_BIGINT, b"%x" % value)
        return self.enter(value, cls)

    def enter(self, value: Any, cls: type) -> Any:
        """A container or an object: not twice on one path, not too deep, not without end."""
        self.nodes += 1
        if id(value) in self.active:
            return self.opaque(cls, "<contains itself>")
        if len(self.active) >= MAX_DEPTH or self.nodes > MAX_NODES:
            return self.opaque(cls, "<too deep or too large>")
        self.active.append(id(value))
        try:
            if cls is list:
                return [self.lower(item) for item in value]
            if cls is dict:
                return self.mapping(value)
            return self.other(value, cls)
        except Exception:  # an object's own code raised: that object is lost, what is around it is not
            return self.opaque(cls, "<not encodable>")
        finally:
            self.active.pop()

    def mapping(self, value: dict[Any, Any]) -> Any:
        if all(type(key) in (str, int, bytes, bool) for key in value):
            return {self.lower(key): self.lower(item) for key, item in value.items()}
        return self.ext(_PAIRS, [[key, item] for key, item in value.items()])

    def parts(self, value: Any, cls: type) -> list[Any] | None:
        return standard.parts(value, cls)

    def other(self, value: Any, cls: type) -> Any:
        if cls is tuple:
            return self.ext(_TUPLE, list(value))
        if cls is set or cls is frozenset:
            # sorted by encoding: the order of a set is chance, and requests are compared by content
            items = sorted(value, key=lambda item: encode(item))
            return self.ext(_SET if cls is set else _FROZENSET, items)
        if cls is complex:
            return self.ext(_COMPLEX, [value.real, value.imag])
        parts = self.parts(value, cls)
        if parts is not None:
            return self.ext(_BUILT, [_type_name(cls), parts])
        if cls is bytearray or cls is memoryview:
            return bytes(value)
        name = f"{cls.__module__}.{cls.__qualname__}"
        if name in standard.TEXT_TYPES:
            return self.ext(_TEXT, [_type_name(cls), getattr(value, standard.TEXT_TYPES[name][0])()])
        if name == "datetime.timedelta":
            text = f"{value.days},{value.seconds},{value.microseconds}"
            return self.ext(_TEXT, [_type_name(cls), text])
        return self.instance(value, cls)

    def instance(self, value: Any, cls: type) -> Any:
        name = _type_name(cls)
        enum = sys.modules.get("enum")
        if enum is not None and isinstance(value, enum.Enum):
            return self.ext(_ENUM, [name, value.value])
        if isinstance(value, tuple) and hasattr(cls, "_fields"):
            return self.ext(_NAMED, [name, dict(zip(cls._fields, value, strict=True))])
        if isinstance(value, BaseException):
            return self.ext(_EXCEPTION, list(encode_failure(value)))
        fields = _fields(value, cls)
        if fields is not None:
            return self.ext(_OBJECT, [name, fields])
        return self.opaque(cls, _ADDRESS.sub("", repr(value)))


class _FirstWalk(_Walk):
    """As the first version of the format had it."""

    __slots__ = ()

    def parts(self, value: Any, cls: type) -> list[Any] | None:
        return None


def _fields(value: Any, cls: type) -> dict[str, Any] | None:
    """The state of an object whose class we know how to rebuild, or None."""
    if _is_pydantic(cls):
        state = value.__getstate__()
        return {"$pydantic": state} if isinstance(state, dict) else None
    for listing in ("__dataclass_fields__", "__attrs_attrs__"):
        names = getattr(cls, listing, None)
        if names is not None:
            keys = names if isinstance(names, dict) else [attribute.name for attribute in names]
            return {key: getattr(value, key) for key in keys if hasattr(value, key)}
    return None


def _is_pydantic(cls: type) -> bool:
    return hasattr(cls, "__pydantic_fields__") or hasattr(cls, "__pydantic_core_schema__")


def _unpack(data: bytes, hook: Any) -> Any:
    return msgpack.unpackb(data, ext_hook=hook, strict_map_key=False, max_ext_len=len(data))


def _rebuild(code: int, data: bytes) -> Any:
    if code == _STR:
        return data.decode("utf-8", "surrogatepass")
    if code == _BIGINT:
        return int(data, 16)
    content = _unpack(data, _rebuild)
    if code == _TUPLE:
        return tuple(content)
    if code in (_SET, _FROZENSET):
        return set(content) if code == _SET else frozenset(content)
    if code == _COMPLEX:
        return complex(*content)
    if code == _PAIRS:
        return dict(content)
    if code == _TEXT:
        return _rebuild_text(*content)
    if code == _BUILT:
        return standard.build(*content)
    if code == _EXCEPTION:
        return decode_failure(Failure(*content))
    if code == _OPAQUE:
        raise NotRebuildable(f"a {content[0]} was recorded by its type only")
    return _rebuild_object(code, *content)


def _rebuild_text(name: str, text: str) -> Any:
    cls = _find(name)
    if name == "datetime:timedelta":
        days, seconds, microseconds = text.split(",")
        return cls(int(days), int(seconds), int(microseconds))
    known = standard.TEXT_TYPES.get(name.replace(":", "."))
    if known is None:
        raise NotRebuildable(f"{name} has no text form known here")
    return getattr(cls, known[1])(text) if known[1] else cls(text)


def _rebuild_object(code: int, name: str, content: Any) -> Any:
    """An instance of a class that a tape names. Only state is set: nothing that a tape names is called."""
    found = _find(name)
    if not isinstance(found, type):
        raise NotRebuildable(f"{name} is not a class")
    cls: Any = found
    if code == _ENUM:
        from enum import Enum

        if issubclass(cls, Enum):
            return cls(content)
        raise NotRebuildable(f"{name} is no longer an Enum")
    if code == _NAMED:
        if issubclass(cls, tuple) and set(getattr(cls, "_fields", ())) == set(content):
            return tuple.__new__(cls, [content[field] for field in cls._fields])
        raise NotRebuildable(f"{name} is no longer the same named tuple")
    if code != _OBJECT:
        raise NotRebuildable(f"extension code {code} is not known to this version")
    if "$pydantic" in content:
        if not _is_pydantic(cls):
            raise NotRebuildable(f"{name} is no longer a pydantic model")
        model: Any = cls.__new__(cls)
        model.__setstate__(content["$pydantic"])
        return model
    if not hasattr(cls, "__dataclass_fields__") and not hasattr(cls, "__attrs_attrs__"):
        raise NotRebuildable(f"{name} is no longer a dataclass")
    value: Any = object.__new__(cls)
    for key, item in content.items():
        object.__setattr__(value, key, item)
    return value


def _view(code: int, data: bytes) -> Any:
    """An extension value as JSON, without importing anything."""
    if code == _STR:
        return data.decode("utf-8", "replace")
    if code == _BIGINT:
        return int(data, 16)
    content = _plain(_unpack(data, _view))
    if code in (_TUPLE, _SET, _FROZENSET):
        return content
    if code == _COMPLEX:
        return {"$type": "complex", "value": content}
    if code == _PAIRS:
        return {"$type": "dict", "items": content}
    if code == _OPAQUE:
        return {"$opaque": content[0], "repr": content[1]}
    if code in (_EXCEPTION, _ENUM):
        return {"$type": content[0], "message" if code == _EXCEPTION else "value": content[1]}
    if code == _TEXT:
        return content[1]
    if code == _BUILT:
        return standard.view(*content)
    if code in (_OBJECT, _NAMED):
        fields = content[1]
        if "$pydantic" in fields:
            fields = fields["$pydantic"].get("__dict__", fields["$pydantic"])
        return {"$type": content[0], **fields}
    return {"$ext": code, "value": content}


def _plain(value: Any) -> Any:
    """msgpack's own types as JSON: bytes as text or hex, keys as strings, NaN and infinity as text."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"$bytes": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value
