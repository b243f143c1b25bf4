"""`rashomon.entrypoint`: each call of a function is a trace of its own, with its arguments and its result.

What the function hands on belongs to its trace, too: a coroutine, and the values of a generator, between which the
caller's own code runs and is not of the trace; also where the generator is what an answer to the web streams.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from types import AsyncGeneratorType, CoroutineType, GeneratorType, MethodType
from typing import Any, TypeVar

from rashomon import values
from rashomon.boundary import end_of
from rashomon.errors import UsageError
from rashomon.model import End
from rashomon.session import trace

F = TypeVar("F", bound=Callable[..., Any])
Begin = Callable[[tuple[Any, ...], dict[str, Any]], tuple[trace, Any]]
"""Begins a trace and calls a function in it, or goes on with one: the trace, and what the function gave."""

MAX_YIELDED = 10_000
"""So many values of a generator are kept as its result; of more, how many they were."""

_MARK = "__rashomon_entrypoint__"


def entrypoint(function: F, /) -> F:
    """Make each call of a function one trace, with its arguments and its result, that can be replayed.

    The trace of a generator, sync or async, begins when its first value is asked for and ends with it; its result is
    what it yielded. Raises `UsageError` for what cannot be called.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(_marked(function.__func__, isinstance(function, classmethod)))
    if not callable(function):
        raise UsageError(
            f"@rashomon.entrypoint marks functions, and a {type(function).__name__} is none.",
            f"Write it below @{type(function).__name__}, directly above the function.",
        )
    return _marked(function)


def _marked(function: F, of_class: bool = False) -> F:
    """`of_class`: its first argument is the class that it is a method of."""
    wrapper: Any = functools.wraps(function)(_wrapper(function, of_class))
    setattr(wrapper, _MARK, function)
    return wrapper  # type: ignore[no-any-return]


def _wrapper(function: Any, of_class: bool) -> Any:
    made = function
    while isinstance(made, functools.partial):
        made = made.func
    body = made if inspect.isroutine(made) or inspect.isclass(made) else type(made).__call__

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[trace, Any]:
        current = _trace_of(function, args, kwargs, of_class)
        with _Part(current):
            return current, function(*args, **kwargs)

    if inspect.isasyncgenfunction(body):
        return _async_generator(begin)
    if inspect.isgeneratorfunction(body):
        return _generator(begin)
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(body):
        return _coroutine(begin)
    return lambda *args, **kwargs: _handed_on(*begin(args, kwargs))


class _Part:
    """What runs in the block belongs to a trace, which goes on behind it; where the block raises, that is its end.

    `yielded`: what a generator has yielded so far, which is its result where its caller ends it: it closes it or, with
    `thrown`, throws into it, or it is cancelled, as a server does whose client has gone.
    """

    __slots__ = ("_thrown", "_trace", "_yielded")

    def __init__(self, current: trace, yielded: Yielded | None = None, thrown: bool = False) -> None:
        self._trace, self._yielded, self._thrown = current, yielded, thrown

    def __enter__(self) -> None:
        self._trace.resume()

    def __exit__(self, exc_type: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            self._trace.suspend()
            return
        if self._yielded is not None and (self._thrown or end_of(error) is End.CANCELLED):
            self._trace.set_result(self._yielded.result(closed=True))
        self._trace.__exit__(exc_type, error, traceback)


def _handed_on(current: trace, result: Any) -> Any:
    """The result of a call, whose trace ends here; or what goes on with it."""
    going_on = _GOING_ON.get(type(result))
    if going_on is not None:
        return going_on(lambda args, kwargs: (current, result))()
    name, streamed = _streamed(result)
    if name:
        result.__dict__[name] = _GOING_ON[type(streamed)](lambda args, kwargs: (current, streamed))()
        return result
    _end(current, result)
    return result


def _coroutine(begin: Begin) -> Any:
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        current, coroutine = begin(args, kwargs)
        with _Part(current):
            result = await coroutine
        return _handed_on(current, result)

    return awaited


def _generator(begin: Begin) -> Any:
    def passing(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        current, generator = begin(args, kwargs)
        yielded = Yielded()
        sent, step, into = None, generator.send, False
        while True:
            over: StopIteration | None = None
            with _Part(current, yielded, into):
                try:
                    item = step(sent)
                except StopIteration as stop:
                    over = stop
            if over is not None:
                _end(current, yielded.result(over.value))
                return over.value
            yielded.add(item)
            try:
                sent, step, into = (yield item), generator.send, False
            except GeneratorExit:
                with _Part(current, yielded, True):
                    generator.close()
                _end(current, yielded.result(closed=True))
                raise
            except BaseException as thrown:  # whatever the caller throws is for the function
                sent, step, into = thrown, generator.throw, True

    return passing


def _async_generator(begin: Begin) -> Any:
    async def passing(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        current, generator = begin(args, kwargs)
        yielded = Yielded()
        sent, step, into = None, generator.asend, False
        while True:
            over = False
            with _Part(current, yielded, into):
                try:
                    item = await step(sent)
                except StopAsyncIteration:
                    over = True
            if over:
                _end(current, yielded.result())
                return
            yielded.add(item)
            try:
                sent, step, into = (yield item), generator.asend, False
            except GeneratorExit:
                with _Part(current, yielded, True):
                    await generator.aclose()
                _end(current, yielded.result(closed=True))
                raise
            except BaseException as thrown:  # as above
                sent, step, into = thrown, generator.athrow, True

    return passing


_GOING_ON: dict[type, Callable[[Begin], Any]] = {
    CoroutineType: _coroutine,
    GeneratorType: _generator,
    AsyncGeneratorType: _async_generator,
}


_STREAMS = ("body_iterator", "response")
"""The attributes in which answers hold what they stream: Starlette's (and FastAPI's), werkzeug's (and Flask's)."""


def _streamed(result: Any) -> tuple[str, Any]:
    """The generator from which an answer to the web will be read, and its attribute; an empty name where none is."""
    held: Any = getattr(result, "__dict__", None)
    for name in _STREAMS if isinstance(held, dict) else ():
        if isinstance(held.get(name), (GeneratorType, AsyncGeneratorType)):
            return name, held[name]
    return "", None


class Yielded:
    """What a generator has yielded: its result, in place of a value of its own."""

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._count = 0

    def add(self, item: Any) -> None:
        """One value more."""
        self._count += 1
        if len(self._items) < MAX_YIELDED:
            self._items.append(item)

    def result(self, returned: Any = None, closed: bool = False) -> dict[str, Any]:
        """`yielded`, the values; where there were more, their `count`; what a generator `returned`, and whether its
        caller `closed` it before its end."""
        told: dict[str, Any] = {"yielded": self._items}
        if self._count > len(self._items):
            told["count"] = self._count
        if returned is not None:
            told["returned"] = returned
        if closed:
            told["closed"] = True
        return told


def _end(current: trace, result: Any) -> None:
    current.set_result(result)
    current.__exit__(None, None, None)


def _trace_of(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], of_class: bool) -> trace:
    """The trace of a call, begun and suspended."""
    named = function if hasattr(function, "__qualname__") else type(function)
    module, name, given = named.__module__, named.__qualname__, [*args]
    owner = function.__self__ if isinstance(function, MethodType) else None
    if of_class:
        owner, *given = given
    if isinstance(owner, type):  # maybe one below that which has the method
        module, name = owner.__module__, f"{owner.__qualname__}.{named.__name__}"
    elif owner is not None:
        given = [owner, *given]
    if named is not function:  # an object of that class: to be called again only by whoever has it
        name += "()"
    file = function.__code__.co_filename if hasattr(function, "__code__") else None
    entry = {"ref": f"{module}:{name}", "file": file, "args": values.encode([given, kwargs])}
    current = trace(getattr(named, "__name__", "entrypoint"), entrypoint=entry)
    current.__enter__()
    current.suspend()
    return current


# ------------------------------------------------------------------------------------------------- called again


def unmarked(found: Any) -> Any:
    """The function itself, of one that was marked, maybe below other decorators: called so it begins no trace."""
    inner = found
    while inner is not None:
        if _MARK in getattr(inner, "__dict__", {}):
            function = getattr(inner, _MARK)
            owner = getattr(found, "__self__", None)
            return function if owner is None else MethodType(function, owner)
        inner = getattr(inner, "__wrapped__", None)
    return found


def again(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], recorded: Any) -> Any:
    """Call a function as it was called, and what it hands on to its end; the result as a trace has it.

    `recorded` is the result of the recording: a generator that was closed early is closed at the same place.
    """
    result = function(*args, **kwargs)
    name, streamed = _streamed(result)
    result = streamed if name else result
    if isinstance(result, GeneratorType):
        return _consumed(result, _limit(recorded))
    if isinstance(result, AsyncGeneratorType) or hasattr(result, "__await__"):
        import asyncio

        return asyncio.run(_all(result, _limit(recorded)))
    return result


def _limit(recorded: Any) -> int | None:
    if isinstance(recorded, dict) and recorded.get("closed") and isinstance(recorded.get("yielded"), list):
        return int(recorded.get("count", len(recorded["yielded"])))
    return None


def _consumed(generator: Generator[Any, Any, Any], limit: int | None) -> dict[str, Any]:
    yielded, count = Yielded(), 0
    while count != limit:
        try:
            yielded.add(next(generator))
        except StopIteration as stop:
            return yielded.result(stop.value)
        count += 1
    generator.close()
    return yielded.result(closed=True)


async def _all(result: Any, limit: int | None) -> Any:
    if hasattr(result, "__await__"):
        result = await result
    name, streamed = _streamed(result)
    result = streamed if name else result
    if isinstance(result, GeneratorType):
        return _consumed(result, limit)
    if not isinstance(result, AsyncGeneratorType):
        return result
    yielded, count = Yielded(), 0
    while count != limit:
        try:
            yielded.add(await anext(result))
        except StopAsyncIteration:
            return yielded.result()
        count += 1
    await result.aclose()
    return yielded.result(closed=True)
