"""`@rashomon.tool`: a function whose calls are steps. Sync, async, generators and async generators.

Arguments are recorded by parameter name, so that `f(1)` and `f(x=1)` are the same call. A generator's
values are the pieces of its answer.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from rashomon import values
from rashomon.boundary import (
    Play,
    Witness,
    called,
    cross_async,
    end_of,
    first_of,
    guard_here,
    handed_over,
    inside,
    make_async,
    place_now,
    play_async,
)
from rashomon.errors import UsageError
from rashomon.model import Call, End, Head, Kind, Request, Response
from rashomon.recorders import lanes
from rashomon.recorders.tool_answers import ValueCodec, tell_raised
from rashomon.recorders.tool_arguments import Watched, watch
from rashomon.recorders.tool_generators import played, played_async, watched, watched_async

if TYPE_CHECKING:
    import inspect  # loaded when the first tool is decorated: it would double the time of `import rashomon`

F = TypeVar("F", bound=Callable[..., Any])


class _Tool:
    """What is known of a decorated function."""

    def __init__(self, function: Callable[..., Any], name: str | None, flavour: str) -> None:
        import inspect

        made: Any = function
        while isinstance(made, functools.partial):
            made = made.func
        if not hasattr(made, "__qualname__"):  # an object that can be called: its class has the name
            made = type(made)
        self.name = name or made.__name__
        self.codec = ValueCodec(self.name)
        self.head = {"ref": f"{made.__module__}:{made.__qualname__}", "flavour": flavour}
        try:
            self.signature: inspect.Signature | None = inspect.signature(function)
        except (TypeError, ValueError):  # a builtin without a signature: arguments by position
            self.signature = None

    def call(self, arguments: dict[str, Any]) -> Call:
        return Call(Kind.TOOL, self.name, Request(self.head, values.encode_arguments(arguments)))

    def codec_of(self, watched: Watched | None) -> ValueCodec:
        """What writes and plays the result of a call."""
        return self.codec if watched is None else ValueCodec(self.name, watched)

    def over(self, watched: Watched | None, head: Head) -> Head:
        """The body of a call has ended: tell what it did to its arguments. Gives the head as it is then."""
        changed, witness = None if watched is None else watched.changed(self.name), inside.get()
        if changed is None or witness is None:
            return head
        head = {**head, "changed": changed}
        witness.began(head)
        return head

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if self.signature is not None:
            try:
                bound = self.signature.bind(*args, **kwargs)
                bound.apply_defaults()
                return dict(bound.arguments)
            except TypeError:
                pass  # a wrong call: the function itself will say so
        return {"args": list(args), "kwargs": kwargs}


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(*, name: str | None = None) -> Callable[[F], F]: ...
def tool(function: Any = None, /, *, name: str | None = None) -> Any:
    """Make the calls of a function steps of the trace.

        @rashomon.tool
        def get_order(order_id: str) -> dict: ...

    Without an active trace the function is called as it is.
    """
    if function is None:
        return functools.partial(_decorate, name=name)
    return _decorate(function, name=name)


def _decorate(function: Any, name: str | None = None) -> Any:
    import inspect

    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(_decorate(function.__func__, name))
    if not callable(function):
        raise UsageError(
            f"@rashomon.tool marks functions, and a {type(function).__name__} is none.",
            f"Write it below @{type(function).__name__}, directly above the function.",
        )
    made = function
    while isinstance(made, functools.partial):
        made = made.func
    routine = inspect.isroutine(made) or inspect.isclass(made)
    body = made if routine else type(made).__call__  # of an object that can be called
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(body):
        return _wrap_async(function, _Tool(function, name, "async"))
    if inspect.isasyncgenfunction(body):
        return _wrap_async_generator(function, _Tool(function, name, "async generator"))
    if inspect.isgeneratorfunction(body):
        return _wrap_generator(function, _Tool(function, name, "generator"))
    return _wrap_sync(function, _Tool(function, name, "sync"))


def _wrap_sync(function: Callable[..., Any], known: _Tool) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        guard = guard_here()
        if guard is None:
            return function(*args, **kwargs)
        line = lanes.spawn()
        arguments = known.arguments(args, kwargs)
        watched = watch(arguments)
        codec = known.codec_of(watched)
        verdict = guard.arrive(known.call(arguments))
        witness = verdict.witness
        if isinstance(verdict, Play):
            return _played(verdict.response, witness, codec)

        def body() -> Any:
            try:
                with lanes.inner(line):
                    answer = function(*args, **kwargs)
            except BaseException as error:
                tell_raised(known.name, error)
                known.over(watched, {})
                raise
            known.over(watched, {})
            return answer

        answer = called(witness, body)
        if isinstance(answer, CoroutineType):  # of an async function that another one, which is not, hands on
            witness.began(_AWAITED)
            return make_async(guard, witness, lambda: _body(lambda: answer, line, known, watched, _AWAITED), codec)
        return handed_over(guard, witness, answer, codec)

    return wrapper


_AWAITED = {"awaited": True}


def _played(response: Response, witness: Witness, codec: ValueCodec) -> Any:
    """The recorded answer of a tool; to be awaited where that had to be."""
    if response.head is not None and "awaited" in response.head:
        return play_async(response, witness, codec)
    if witness.pace is not None:
        witness.pace.wait(first_of(response))
    return codec.play(response, witness)


def _wrap_async(function: Callable[..., Any], known: _Tool) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if guard_here() is None:
            return await function(*args, **kwargs)
        line = lanes.spawn()

        arguments = known.arguments(args, kwargs)
        watched = watch(arguments)

        def live() -> Awaitable[Any]:
            return _body(lambda: function(*args, **kwargs), line, known, watched, {})

        return await cross_async(known.call(arguments), live, known.codec_of(watched))

    return wrapper


async def _body(
    ask: Callable[[], Awaitable[Any]], line: lanes.Line | None, known: _Tool, watched: Watched | None, head: Head
) -> Any:
    """The body of an async tool."""
    before = _cancellations()
    try:
        with lanes.inner(line):
            value = await ask()
    except BaseException as error:
        tell_raised(known.name, error)
        head = known.over(watched, head)
        if end_of(error) is not End.CANCELLED:
            _tell_withheld(before, head)
        raise
    _tell_withheld(before, known.over(watched, head))
    return value


def _cancellations() -> int:
    """How often the running task of asyncio was cancelled and has heard of it."""
    if place_now() is None:
        return 0
    task: Any = sys.modules["asyncio"].current_task()
    return 0 if task is None else task.cancelling() - bool(getattr(task, "_must_cancel", False))


def _tell_withheld(before: int, head: Head) -> None:
    """The body of an async tool ends. Cancellations of its caller that it has not passed on are told in the head: in a
    replay nobody else would keep them from the caller."""
    withheld, witness = _cancellations() - before, inside.get()
    if withheld > 0 and witness is not None:
        witness.began({**head, "withheld": withheld})


def _wrap_generator(function: Callable[..., Any], known: _Tool) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        guard = guard_here()
        if guard is None:
            return (yield from function(*args, **kwargs))
        line = lanes.spawn()
        verdict = guard.arrive(known.call(known.arguments(args, kwargs)))
        if isinstance(verdict, Play):
            return (yield from played(verdict.response, verdict.witness))
        return (yield from watched(known.name, function(*args, **kwargs), verdict.witness, line))

    return wrapper


def _wrap_async_generator(function: Callable[..., Any], known: _Tool) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        guard = guard_here()
        if guard is None:
            chosen = function(*args, **kwargs)
        else:
            line = lanes.spawn()
            verdict = guard.arrive(known.call(known.arguments(args, kwargs)))
            if isinstance(verdict, Play):
                chosen = played_async(verdict.response, verdict.witness)
            else:
                chosen = watched_async(known.name, function(*args, **kwargs), verdict.witness, line)
        sent: Any = None
        step = chosen.asend
        try:
            while True:
                try:
                    item = await step(sent)
                except StopAsyncIteration:
                    return
                try:
                    sent, step = (yield item), chosen.asend
                except GeneratorExit:
                    raise
                except BaseException as thrown:
                    sent, step = thrown, chosen.athrow
        finally:
            await chosen.aclose()

    return wrapper
