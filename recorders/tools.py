"""`@rashomon.tool`: a function whose calls are steps. Sync, async, generators and async generators.

Arguments are recorded by parameter name, so that `f(1)` and `f(x=1)` are the same call. A generator's
values are the pieces of its answer.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar, overload

from rashomon import values
from rashomon.boundary import (
    Play,
    Witness,
    completed,
    cross,
    cross_async,
    end_of,
    enter,
    guard_here,
    handed_out,
    inside,
    leave,
    place_now,
    told,
    whole,
)
from rashomon.errors import Missed, UsageError
from rashomon.model import Call, End, Event, Kind, Request, Response
from rashomon.recorders import lanes

if TYPE_CHECKING:
    import inspect  # loaded when the first tool is decorated: it would double the time of `import rashomon`

F = TypeVar("F", bound=Callable[..., Any])


class _ValueCodec:
    """A result that comes at once."""

    def tee(self, answer: Any, witness: Witness) -> Any:
        witness.piece(values.encode(answer))
        witness.ended(End.COMPLETE)
        return answer

    def play(self, response: Response, witness: Witness) -> Any:
        if response.head:
            witness.began(response.head)
        if response.end is not End.COMPLETE:
            raise _recorded_error(response, witness)
        if not response.pieces:
            raise _unplayable(values.NotRebuildable("the recording has lost it"), witness)
        answer = _decoded(response.pieces[0].data, witness)
        witness.ended(End.COMPLETE)
        return answer

    async def discard(self, answer: Any) -> None:
        """A value needs no release."""


def _decoded(data: bytes, witness: Witness) -> Any:
    """A recorded value, told to `witness`. Raises `Missed` when it cannot be rebuilt."""
    try:
        value = values.decode(data)
    except values.NotRebuildable as error:
        raise _unplayable(error, witness) from None
    witness.piece(data)
    return value


def _recorded_error(response: Response, witness: Witness) -> BaseException:
    try:
        error = (
            values.decode_failure(response.failure)
            if response.failure is not None
            else Missed(
                "The tape does not hold the end of this tool call: the recorded process was killed in it, or could not "
                "write it down."
            )
        )
    except values.NotRebuildable as gone:
        return _unplayable(gone, witness)
    witness.ended(end_of(error), error)
    return error


def _unplayable(error: values.NotRebuildable, witness: Witness) -> Missed:
    missed = Missed(f"The recorded result of this tool cannot be served: {error}. Stub the tool (--stub) instead.")
    witness.ended(End.ERROR, missed)
    return missed


_CODEC = _ValueCodec()


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
        self.head = {"ref": f"{made.__module__}:{made.__qualname__}", "flavour": flavour}
        try:
            self.signature: inspect.Signature | None = inspect.signature(function)
        except (TypeError, ValueError):  # a builtin without a signature: arguments by position
            self.signature = None

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return Call(Kind.TOOL, self.name, Request(self.head, values.encode_arguments(self._arguments(args, kwargs))))

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
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
        if guard_here() is None:
            return function(*args, **kwargs)
        line = lanes.spawn()

        def body() -> Any:
            with lanes.inner(line):
                return function(*args, **kwargs)

        return cross(known.call(args, kwargs), body, _CODEC)

    return wrapper


def _wrap_async(function: Callable[..., Any], known: _Tool) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if guard_here() is None:
            return await function(*args, **kwargs)
        line = lanes.spawn()

        async def body() -> Any:
            before = _cancellations()
            try:
                with lanes.inner(line):
                    answer = await function(*args, **kwargs)
            except BaseException as error:
                if end_of(error) is not End.CANCELLED:
                    _tell_withheld(before)
                raise
            _tell_withheld(before)
            return answer

        return await cross_async(known.call(args, kwargs), body, _CODEC)

    return wrapper


def _cancellations() -> int:
    """How often the running task of asyncio was cancelled and has heard of it."""
    if place_now() is None:
        return 0
    task: Any = sys.modules["asyncio"].current_task()
    return 0 if task is None else task.cancelling() - bool(getattr(task, "_must_cancel", False))


def _tell_withheld(before: int) -> None:
    """The body of an async tool ends. Cancellations of its caller that it has not passed on are told in the head: in a
    replay nobody else would keep them from the caller."""
    withheld, witness = _cancellations() - before, inside.get()
    if withheld > 0 and witness is not None:
        witness.began({"withheld": withheld})


def _wrap_generator(function: Callable[..., Any], known: _Tool) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        guard = guard_here()
        if guard is None:
            return (yield from function(*args, **kwargs))
        line = lanes.spawn()
        verdict = guard.arrive(known.call(args, kwargs))
        if isinstance(verdict, Play):
            return (yield from _played(verdict.response, verdict.witness))
        return (yield from _watched(function(*args, **kwargs), verdict.witness, line))

    return wrapper


def _watched(generator: Any, witness: Witness, line: lanes.Line | None) -> Generator[Any, Any, Any]:
    """A live generator, told to `witness` value by value; sends and throws reach it."""
    sent: Any = None
    step = generator.send
    number = 0
    thrown: list[int] = []
    try:
        while True:
            token = enter(witness)
            try:
                with lanes.inner(line):
                    item = step(sent)
            except StopIteration as stop:
                if stop.value is not None:
                    witness.began({"thrown": thrown, "returned": values.encode(stop.value)})
                completed(witness, Event.END)
                witness.ended(End.COMPLETE)
                return stop.value
            finally:
                leave(token)
            completed(witness, Event.PIECE, number)
            number += 1
            witness.piece(values.encode(item))
            try:
                sent, step = (yield item), generator.send
            except GeneratorExit:
                generator.close()
                witness.ended(End.CLOSED)
                raise
            except BaseException as error:
                thrown.append(number - 1)
                witness.began({"thrown": thrown})
                sent, step = error, generator.throw
    except GeneratorExit:
        raise
    except BaseException as error:
        completed(witness, Event.END)
        witness.ended(end_of(error), error)
        raise


def _played(response: Response, witness: Witness) -> Generator[Any, Any, Any]:
    """The values of a recorded generator, and its end."""
    pace = witness.pace
    for number, piece in enumerate(response.pieces):
        if pace is not None:
            pace.wait(Event.PIECE, number)
        item = _decoded(piece.data, witness)
        try:
            yield item
        except BaseException as error:
            if _passes(error, number, response, witness):
                if pace is not None:
                    pace.wait(Event.END)
                witness.ended(end_of(error), error)
                raise
    if pace is not None:
        pace.wait(Event.END)
    return _played_end(response, witness)


def _passes(error: BaseException, number: int, response: Response, witness: Witness) -> bool:
    """The program throws into a recorded generator: True where that one let such an exception through; False where
    it was thrown into there, and went on otherwise. What else it would do, nobody knows. To close it ends it."""
    if isinstance(error, GeneratorExit):
        witness.ended(End.CLOSED)
        raise error
    failure, last = response.failure, number == len(response.pieces) - 1
    if last and failure is not None and failure.type == f"{type(error).__module__}:{type(error).__qualname__}":
        return True
    if number in (response.head or {}).get("thrown", ()):
        return False
    missed = Missed(f"The program throws {type(error).__name__} into this generator; the recorded one did not.")
    witness.ended(End.ERROR, missed)
    raise missed from error


def _played_end(response: Response, witness: Witness) -> Any:
    if response.end is End.COMPLETE:
        returned = (response.head or {}).get("returned")
        witness.ended(End.COMPLETE)
        return None if returned is None else values.decode(returned)
    if response.end is End.ERROR:
        raise _recorded_error(response, witness)
    missed = Missed(f"The tape holds {len(response.pieces)} values of this generator and the program asks for more.")
    witness.ended(End.ERROR, missed)
    raise missed


def _wrap_async_generator(function: Callable[..., Any], known: _Tool) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        guard = guard_here()
        if guard is None:
            chosen = function(*args, **kwargs)
        else:
            line = lanes.spawn()
            verdict = guard.arrive(known.call(args, kwargs))
            if isinstance(verdict, Play):
                chosen = _played_async(verdict.response, verdict.witness)
            else:
                chosen = _watched_async(function(*args, **kwargs), verdict.witness, line)
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


async def _watched_async(generator: Any, witness: Witness, line: lanes.Line | None) -> AsyncGenerator[Any, None]:
    """A live async generator, told to `witness` value by value; sends and throws reach it."""
    sent: Any = None
    step = generator.asend
    number = 0
    thrown: list[int] = []
    while True:
        before = place_now()
        token = inside.set(witness)
        try:
            with lanes.inner(line):
                item = await step(sent)
        except StopAsyncIteration:
            inside.reset(token)
            await whole(witness, before)
            return
        except BaseException as error:
            leave(token)
            await told(witness, error, before)
            raise
        inside.reset(token)
        settling = handed_out(witness, Event.PIECE, number, before)
        number += 1
        witness.piece(values.encode(item))
        try:
            if settling is not None:
                await settling
        except BaseException as error:
            witness.overtaken()
            witness.ended(end_of(error), error)
            raise
        try:
            sent, step = (yield item), generator.asend
        except GeneratorExit:
            await generator.aclose()
            witness.ended(End.CLOSED)
            raise
        except BaseException as error:
            thrown.append(number - 1)
            witness.began({"thrown": thrown})
            sent, step = error, generator.athrow


async def _played_async(response: Response, witness: Witness) -> AsyncGenerator[Any, None]:
    """The values of a recorded async generator, each when it is due, and its end."""
    pace = witness.pace
    for number, piece in enumerate(response.pieces):
        settling = None if pace is None else pace.settle(Event.PIECE, number)
        if settling is not None:
            await _until(settling, witness)
        item = _decoded(piece.data, witness)
        try:
            yield item
        except BaseException as error:
            if _passes(error, number, response, witness):
                cancelled = response.end is End.CANCELLED  # by the loop, as it closes: no completion is due
                settling = None if pace is None or cancelled else pace.settle(Event.END)
                if settling is not None:
                    await _until(settling, witness)
                witness.ended(end_of(error), error)
                raise
    if pace is not None and response.end is End.CANCELLED:
        await _until(pace.cancelled(), witness)
    settling = None if pace is None else pace.settle(Event.END)
    if settling is not None:
        await _until(settling, witness)
    _played_end(response, witness)


async def _until(settling: Awaitable[None], witness: Witness) -> None:
    try:
        await settling
    except BaseException as error:
        witness.ended(end_of(error), error)
        raise
