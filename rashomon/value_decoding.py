"""How bytes become a value again: the classes that they name are imported, and of most only the state is set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack

from rashomon import libraries, standard, standard_more
from rashomon.errors import Missed
from rashomon.model import Failure
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
    NotRebuildable,
    field_names,
    find,
    find_class,
    is_model,
    loaded,
    restore,
    slots,
    type_name,
)
from rashomon.standins import GoneError, StandIn, Tell, told, unheard
from rashomon.value_encoding import BESIDE

_BY_INIT: tuple[type[BaseException], ...] = (
    UnicodeEncodeError,
    UnicodeDecodeError,
    UnicodeTranslateError,
    SyntaxError,
    StopIteration,
    SystemExit,
)
_MISSING = object()


def unpack(data: bytes, hook: Any) -> Any:
    """What is in the bytes; `hook` makes values of extensions."""
    return msgpack.unpackb(data, ext_hook=hook, strict_map_key=False, max_ext_len=len(data))


class Rebuild:
    """One decoding in progress. `given` are the objects that the call was given; `tell` hears of stand-ins in use."""

    __slots__ = ("given", "shared", "tell", "tolerant")

    def __init__(self, tell: Tell | None = None, given: list[Any] | None = None) -> None:
        self.tell, self.given = tell, given or []
        self.shared: dict[int, Any] = {}
        self.tolerant = False

    def whole(self, data: bytes) -> Any:
        return unpack(data, self.hook)

    def leniently(self, data: bytes) -> Any:
        """The value, with stand-ins for parts of it that are lost."""
        before, self.tolerant = self.tolerant, True
        try:
            with unheard():
                return self.whole(data)
        finally:
            self.tolerant = before

    def hook(self, code: int, data: bytes) -> Any:
        if not self.tolerant:
            return self.value(code, data)
        if code == OPAQUE:
            name, text = unpack(data, self.hook)
            return StandIn(name, text, self.tell)
        try:
            return self.value(code, data)
        except (Exception, Missed) as error:  # its class is gone, or a part of it is a stand-in that does not fit
            return StandIn("value", str(error), self.tell)

    def value(self, code: int, data: bytes) -> Any:
        if code == STR:
            return data.decode("utf-8", "surrogatepass")
        if code == BIGINT:
            return int(data, 16)
        content = self.whole(data)
        make = _MAKE.get(code)
        if make is not None:
            return make(content)
        if code == EXCEPTION:
            return self.failure(Failure(*content))
        if code == OPAQUE:
            raise NotRebuildable(f"a {content[0]} was recorded by its type only")
        if code == SHARED:
            return self.numbered(*content)
        if code == GIVEN:
            return self.argument(*content)
        return self.object(code, *content)

    def numbered(self, number: int, value: Any = _MISSING) -> Any:
        """What is met more than once: defined the first time."""
        if value is not _MISSING:
            self.shared[number] = value
        return self.shared[number]

    def argument(self, number: int, value: Any = _MISSING) -> Any:
        """What the call was given, as it is behind it."""
        live = self.given[number] if number < len(self.given) else _MISSING
        if value is _MISSING:
            return self.shared.get(-1 - number) if live is _MISSING else live
        if type(live) is type(value):
            return live
        self.shared[-1 - number] = value
        return value

    def failure(self, failure: Failure) -> BaseException:
        """The exception; raises `NotRebuildable` when it cannot be made."""
        cls = _find_exception(failure.type)
        content = self.leniently(failure.values) if failure.values else None
        if type(content) is not list:  # of it all, only the message is there
            content = [[failure.message], {}]
        args, state = content[:2]
        links: dict[str, Any] = content[2] if len(content) > 2 else {}
        if len(args) == 1 and isinstance(args[0], StandIn):
            args = [StandIn(*told(args[0]), self.tell, failure.message)]
        try:
            with unheard():
                error = _made(cls, args, links)
                _set_attributes(error, state)
                _link(error, links)
        except (Exception, Missed) as failed:
            raise NotRebuildable(f"the recorded {failure.type} cannot be made: {failed}") from failed
        return error

    def object(self, code: int, name: str, content: Any, beside: bytes = b"") -> Any:
        """An instance of a class that a tape names. Only state is set: nothing that a tape names is called."""
        if code == OBJECT and isinstance(content, dict) and "$pydantic" in content:
            of = self.leniently(content["$of"]) if "$of" in content else None
            return _model(name, content["$pydantic"], of)
        cls = find_class(name)
        if code == ENUM:
            from enum import Enum

            if issubclass(cls, Enum):
                return cls(content)
            raise NotRebuildable(f"{name} is no longer an Enum")
        if code == NAMED:
            if not issubclass(cls, tuple) or set(getattr(cls, "_fields", ())) != set(content):
                raise NotRebuildable(f"{name} is no longer the same named tuple")
            value: Any = tuple.__new__(cls, [content[field] for field in cls._fields])
        elif code != OBJECT:
            raise NotRebuildable(f"extension code {code} is not known to this version")
        elif field_names(cls) is None:
            raise NotRebuildable(f"{name} is no longer a dataclass")
        else:
            value = object.__new__(cls)
            _restore_fields(value, content)
        if beside:
            restore(value, self.leniently(beside))
        return value


def _restore_fields(value: Any, fields: dict[str, Any]) -> None:
    kept = dict(slots(type(value)))
    for key, item in fields.items():
        if key in kept:
            kept[key].__set__(value, item)
        else:
            object.__setattr__(value, key, item)


def _model(name: str, state: Any, of: list[Any] | None) -> Any:
    """A model of pydantic's, or what an older version took for one; `of` what its generic class was made of."""
    cls = find_class(name)
    if of is not None and is_model(cls):
        cls = _specialised(cls, *of)
    if is_model(cls):
        model: Any = cls.__new__(cls)
        model.__setstate__(state)
        return model
    if field_names(cls) is not None and isinstance(state, dict) and "__dict__" not in state:
        value = object.__new__(cls)
        _restore_fields(value, state)
        return value
    raise NotRebuildable(f"{name} is no longer a pydantic model")


def _specialised(origin: Any, qualname: str, args: list[Any]) -> Any:
    """`Page[int]`: by what it was made of, else by its name, where the program has made it, else `Page`."""
    if not any(isinstance(one, StandIn) for one in args):
        return origin[tuple(args)]
    made = (cls for cls in type.__subclasses__(origin) if cls.__qualname__ == qualname)
    return next(made, origin)


def _text(name: str, text: str) -> Any:
    cls = find(name)
    if name == "datetime:timedelta":
        days, seconds, microseconds = text.split(",")
        return cls(int(days), int(seconds), int(microseconds))
    known = standard.TEXT_TYPES.get(name.replace(":", "."))
    if known is None:
        raise NotRebuildable(f"{name} has no text form known here")
    return getattr(cls, known[1])(text) if known[1] else cls(text)


def _built(name: str, parts: list[Any]) -> Any:
    if standard.is_known(name):
        return standard.build(name, parts)
    return standard_more.build(name, parts) if standard_more.is_known(name) else libraries.build(name, parts)


_MAKE: dict[int, Callable[[Any], Any]] = {
    TUPLE: tuple,
    SET: set,
    FROZENSET: frozenset,
    COMPLEX: lambda content: complex(*content),
    PAIRS: dict,
    TEXT: lambda content: _text(*content),
    BUILT: lambda content: _built(*content),
}


# --------------------------------------------------------------------------------------------------------- exceptions


def _made(cls: type[BaseException], args: list[Any], links: dict[str, Any]) -> BaseException:
    """An exception with its arguments."""
    invalid = loaded("pydantic_core", "ValidationError")
    if "made" in links and cls is invalid:
        return _validation_error(cls, *links["made"])
    error = cls.__new__(cls, *args)
    for base in _BY_INIT:
        if isinstance(error, base):
            base.__init__(error, *args)  # what it prints is set there
    error.args = tuple(args)
    return error


def _validation_error(cls: Any, title: str, lines: list[dict[str, Any]], *more: Any) -> BaseException:
    """What pydantic raises; kinds of failures that are not its own were written by their parts."""
    from pydantic_core import PydanticCustomError

    for line in lines:
        if isinstance(line["type"], list):
            line["type"] = PydanticCustomError(*line["type"])
    error: BaseException = cls.from_exception_data(title, lines, *more)
    return error


def _set_attributes(error: BaseException, attributes: dict[str, Any]) -> None:
    beside = {name for cls, names in BESIDE if isinstance(error, cls) for name in names}
    for name in beside & attributes.keys():
        setattr(error, name, attributes[name])
    restore(error, {name: item for name, item in attributes.items() if name not in beside})


def _link(error: BaseException, links: dict[str, Any]) -> None:
    cause, context = links.get("cause"), links.get("context")
    if cause is not None:
        error.__cause__ = _exception(cause)
    if context is not None:
        error.__context__ = error.__cause__ if context is True else _exception(context)
    error.__suppress_context__ = links.get("suppressed", cause is not None)


def _exception(link: Any) -> BaseException:
    return GoneError(repr(link)) if isinstance(link, StandIn) else link


def _find_exception(name: str) -> type[BaseException]:
    try:
        cls = find(name)
        if isinstance(cls, type) and issubclass(cls, BaseException):
            return cls
    except NotRebuildable:  # a class made inside a function: it may still exist, under the same name
        todo: list[type[BaseException]] = [BaseException]
        while todo:
            candidate = todo.pop()
            if type_name(candidate) == name:
                return candidate
            todo.extend(type.__subclasses__(candidate))
    raise NotRebuildable(f"the recorded exception {name} is not known to this program")
