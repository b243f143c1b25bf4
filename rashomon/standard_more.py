"""More types of the standard library that `rashomon.values` knows by parts, since the third version of the format.

Classes, functions and types are kept by their names, and only where those lead to them.
"""

from __future__ import annotations

import functools
import importlib
import operator
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from rashomon.objects import find, is_found, type_name


class _Known(NamedTuple):
    """How values of a type are taken apart, and put together again."""

    parts: Callable[[Any], list[Any] | None]
    build: Callable[..., Any]


def parts(value: Any, cls: type) -> tuple[str, list[Any]] | None:
    """Under which name a value is known, and what it is built from; None for one of any other type."""
    name = type_name(cls)
    known = _KNOWN.get(name)
    if known is not None:
        given = known.parts(value)
        return None if given is None else (name, given)
    if issubclass(cls, type):
        found = _class_parts(value)
        return None if found is None else ("builtins:type", found)
    if issubclass(cls, tuple) and hasattr(cls, "n_sequence_fields") and name.partition(":")[0] in _SEQUENCES:
        fields, hidden = value.__reduce__()[1]
        return name, [list(fields), hidden]
    return _zone(value)


def build(name: str, given: list[Any]) -> Any:
    """The value. Raises ValueError, TypeError or ImportError for parts that do not fit, and for a type not known."""
    known = _KNOWN.get(name)
    if known is not None:
        return known.build(*given)
    cls = find(name)
    if name.partition(":")[0] in _SEQUENCES and isinstance(cls, type) and hasattr(cls, "n_sequence_fields"):
        return cls(given[0], given[1])
    raise ValueError(f"{name} is not built from parts in this version")


def is_known(name: str) -> bool:
    """True for what `build` builds."""
    return name in _KNOWN or name.partition(":")[0] in _SEQUENCES


_SEQUENCES = frozenset({"time", "os", "posix", "pwd", "grp", "resource"})
"""Whose records are C's kind of named tuples."""


def _zone(value: Any) -> tuple[str, list[Any]] | None:
    """Any time zone with one offset, which has no other for summer, is that offset."""
    import datetime

    if isinstance(value, datetime.tzinfo):
        offset = value.utcoffset(None)
        if offset is not None and not value.dst(None):
            return "datetime:timezone", [offset, value.tzname(None)]
    return None


# ---------------------------------------------------------------------------------------------- what has a name


def _class_parts(value: Any) -> list[Any] | None:
    generic = getattr(value, "__pydantic_generic_metadata__", None)
    if isinstance(generic, dict) and generic.get("origin") is not None:
        return [type_name(generic["origin"]), list(generic["args"])]
    if value is types.NoneType:  # whose own name leads nowhere
        return ["types:NoneType"]
    return [type_name(value)] if is_found(value) else None


def _class_build(name: str, args: list[Any] | None = None) -> Any:
    found = find(name)
    if not isinstance(found, type):
        raise ValueError(f"{name} is not a class")
    return found if args is None else found[tuple(args)]  # type: ignore[index]


def _function_parts(value: Any) -> list[Any] | None:
    module = getattr(value, "__module__", None)
    return [type_name(value)] if isinstance(module, str) and is_found(value) else None


def _function_build(name: str) -> Any:
    found = find(name)
    if not isinstance(found, (types.FunctionType, types.BuiltinFunctionType)):
        raise ValueError(f"{name} is not a function")
    return found


def _variable_parts(value: Any) -> list[Any] | None:
    named: Any = getattr(sys.modules.get(value.__module__), value.__name__, None)
    return [f"{value.__module__}:{value.__name__}"] if value is named else None


def _variable_build(name: str) -> Any:
    found = find(name)
    if not isinstance(found, TypeVar):
        raise ValueError(f"{name} is not a type variable")
    return found


def _alias_parts(value: Any) -> list[Any] | None:
    """`Foo[int]`, where `Foo` is a class of the program's; not `typing.List[int]`."""
    origin: Any = value.__origin__
    if not isinstance(origin, type) or value._name not in (None, origin.__name__) or origin.__module__ == "builtins":
        return None
    return [origin, list(value.__args__)]


def _alias_build(origin: Any, args: list[Any]) -> Any:
    if not isinstance(origin, type):
        raise ValueError("it is no alias of a class")
    return origin[tuple(args)]  # type: ignore[index]


# ------------------------------------------------------------------------------------------- what has a content


def _view_parts(value: memoryview) -> list[Any]:
    return [value.tobytes(), value.format, list(value.shape or ()), value.readonly]


def _view_build(data: bytes, form: str, shape: list[int], readonly: bool) -> memoryview:
    flat = memoryview(data if readonly else bytearray(data))
    if form == "B" and len(shape) == 1:
        return flat
    whole: Any = flat
    return memoryview(whole.cast(form) if len(shape) < 2 else whole.cast(form, shape))


def _row_parts(value: Any) -> list[Any]:
    return [list(value.keys()), list(value)]


def _row_build(names: list[str], items: list[Any]) -> Any:
    import sqlite3

    connection = sqlite3.connect(":memory:")
    try:
        named = ", ".join('null as "' + name.replace('"', '""') + '"' for name in names)
        return sqlite3.Row(connection.execute(f"select {named}"), tuple(items))
    finally:
        connection.close()


def _text_file_parts(value: Any) -> list[Any] | None:
    return None if value.closed else [value.getvalue(), value.tell()]


def _file_build(name: str) -> Callable[..., Any]:
    def build(content: Any, place: int) -> Any:
        made = getattr(importlib.import_module("io"), name)(content)
        made.seek(place)
        return made

    return build


def _element_parts(value: Any) -> list[Any] | None:
    if not isinstance(value.tag, str):  # a comment, or an instruction to a processor
        return None
    return [value.tag, dict(value.attrib), value.text, value.tail, list(value)]


def _element_build(tag: str, attributes: dict[str, str], text: str, tail: str, children: list[Any]) -> Any:
    from xml.etree.ElementTree import Element

    made = Element(tag, attributes)
    made.text, made.tail = text, tail
    made.extend(children)
    return made


def _of(name: str, *attributes: str) -> _Known:
    """A type whose constructor takes what these attributes say."""
    module, _, qualname = name.partition(":")

    def build(*given: Any, **named: Any) -> Any:
        cls: Any = importlib.import_module(module)
        for part in qualname.split("."):
            cls = getattr(cls, part)
        return cls(*given, **named)

    return _Known(lambda value: [getattr(value, one) for one in attributes], build)


def _as_text(name: str) -> _Known:
    return _of(name)._replace(parts=lambda value: [str(value)])


def _made(name: str, take: Callable[[Any], list[Any] | None]) -> _Known:
    return _of(name)._replace(parts=take)


_ADDRESSES = ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network", "IPv4Interface", "IPv6Interface")
_FUNCTION = _Known(_function_parts, _function_build)
_KNOWN: dict[str, _Known] = {
    **{f"ipaddress:{name}": _as_text(f"ipaddress:{name}") for name in _ADDRESSES},
    "_io:BytesIO": _Known(_text_file_parts, _file_build("BytesIO")),
    "_io:StringIO": _Known(_text_file_parts, _file_build("StringIO")),
    "array:array": _made("array:array", lambda value: [value.typecode, list(value)]),
    "argparse:Namespace": _Known(lambda value: [vars(value)], lambda given: _of("argparse:Namespace").build(**given)),
    "builtins:builtin_function_or_method": _FUNCTION,
    "builtins:bytearray": _made("builtins:bytearray", lambda value: [bytes(value)]),
    "builtins:ellipsis": _Known(lambda value: [], lambda: ...),
    "builtins:NotImplementedType": _Known(lambda value: [], lambda: NotImplemented),
    "builtins:function": _FUNCTION,
    "builtins:mappingproxy": _Known(lambda value: [dict(value)], types.MappingProxyType),
    "builtins:memoryview": _Known(_view_parts, _view_build),
    "builtins:slice": _of("builtins:slice", "start", "stop", "step"),
    "builtins:type": _Known(_class_parts, _class_build),
    "collections:ChainMap": _made("collections:ChainMap", lambda value: list(value.maps)),
    "collections:UserDict": _of("collections:UserDict", "data"),
    "collections:UserList": _of("collections:UserList", "data"),
    "collections:UserString": _of("collections:UserString", "data"),
    "functools:partial": _Known(
        lambda value: [value.func, list(value.args), value.keywords],
        lambda function, args, keywords: functools.partial(function, *args, **keywords),
    ),
    "re:Pattern": _Known(
        lambda value: [value.pattern, value.flags],
        lambda pattern, flags: importlib.import_module("re").compile(pattern, flags),
    ),
    "sqlite3:Row": _Known(_row_parts, _row_build),
    "string:Template": _of("string:Template", "template"),
    "subprocess:CompletedProcess": _of("subprocess:CompletedProcess", "args", "returncode", "stdout", "stderr"),
    "types:GenericAlias": _Known(
        lambda value: [value.__origin__, list(value.__args__)],
        lambda origin, args: types.GenericAlias(origin, tuple(args)),
    ),
    "types:UnionType": _Known(lambda value: list(value.__args__), lambda *args: functools.reduce(operator.or_, args)),
    "typing:TypeVar": _Known(_variable_parts, _variable_build),
    "typing:_GenericAlias": _Known(_alias_parts, _alias_build),
    "xml.etree.ElementTree:Element": _Known(_element_parts, _element_build),
}
