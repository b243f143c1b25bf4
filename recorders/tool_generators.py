"""The calls of generators and async generators that are tools: their values are the pieces of an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import Any

from rashomon.boundary import (
    Witness,
    completed,
    end_of,
    enter,
    handed_out,
    inside,
    leave,
    place_now,
    told,
    whole,
)
from rashomon.errors import Missed
from rashomon.model import End, Event, Response
from rashomon.recorders import lanes
from rashomon.recorders.tool_answers import encoded, raise_recorded, rebuilt, tell_raised


def watched(tool: str, generator: Any, witness: Witness, line: lanes.Line | None) -> Generator[Any, Any, Any]:
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
                    witness.began({"thrown": thrown, "returned": encoded(tool, stop.value)})
                completed(witness, Event.END)
                witness.ended(End.COMPLETE)
                return stop.value
            finally:
                leave(token)
            completed(witness, Event.PIECE, number)
            number += 1
            witness.piece(encoded(tool, item))
            try:
                sent, step = (yield item), generator.send
            except GeneratorExit:
                _close(generator, witness, line, thrown)
                raise
            except BaseException as error:
                thrown.append(number - 1)
                witness.began({"thrown": thrown})
                sent, step = error, generator.throw
    except GeneratorExit:
        raise
    except BaseException as error:
        tell_raised(tool, error)
        completed(witness, Event.END)
        witness.ended(end_of(error), error)
        raise


def _close(generator: Any, witness: Witness, line: lanes.Line | None, thrown: list[int]) -> None:
    """The program closes a live generator: what that does on its way out is part of the call, and so is a failure."""
    token = enter(witness)
    try:
        with lanes.inner(line):
            generator.close()
    except BaseException:
        witness.began({"thrown": thrown, "closing": True})
        raise
    finally:
        leave(token)
    witness.ended(End.CLOSED)


def played(response: Response, witness: Witness) -> Generator[Any, Any, Any]:
    """The values of a recorded generator, and its end."""
    pace = witness.pace
    for number, piece in enumerate(response.pieces):
        if pace is not None:
            pace.wait(Event.PIECE, number)
        item = rebuilt(piece.data, witness)
        witness.piece(piece.data)
        try:
            yield item
        except GeneratorExit:
            if _fails_closing(number, response):
                raise_recorded(response, witness)
            witness.ended(End.CLOSED)
            raise
        except BaseException as error:
            if _passes(error, number, response, witness):
                if pace is not None:
                    pace.wait(Event.END)
                witness.ended(end_of(error), error)
                raise
    if pace is not None:
        pace.wait(Event.END)
    return _played_end(response, witness)


def _fails_closing(number: int, response: Response) -> bool:
    """True where the program closes a recorded generator, and that one failed on its way out."""
    return "closing" in (response.head or {}) and number == len(response.pieces) - 1


def _passes(error: BaseException, number: int, response: Response, witness: Witness) -> bool:
    """The program throws into a recorded generator: True where that one let such an exception through; False where
    it was thrown into there, and went on otherwise. What else it would do, nobody knows."""
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
        value = None if returned is None else rebuilt(returned, witness)
        witness.ended(End.COMPLETE)
        return value
    if response.end is End.ERROR and "closing" not in (response.head or {}):
        raise_recorded(response, witness)
    missed = Missed(f"The tape holds {len(response.pieces)} values of this generator and the program asks for more.")
    witness.ended(End.ERROR, missed)
    raise missed


async def watched_async(
    tool: str, generator: Any, witness: Witness, line: lanes.Line | None
) -> AsyncGenerator[Any, None]:
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
            tell_raised(tool, error)
            await told(witness, error, before)
            raise
        inside.reset(token)
        settling = handed_out(witness, Event.PIECE, number, before)
        number += 1
        witness.piece(encoded(tool, item))
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
            await _aclose(generator, witness, line, thrown)
            raise
        except BaseException as error:
            thrown.append(number - 1)
            witness.began({"thrown": thrown})
            sent, step = error, generator.athrow


async def _aclose(generator: Any, witness: Witness, line: lanes.Line | None, thrown: list[int]) -> None:
    """As `_close`. Where the loop turns meanwhile, a replay waits as long."""
    before = place_now()
    token = enter(witness)
    try:
        with lanes.inner(line):
            await generator.aclose()
    except BaseException as error:
        leave(token)
        witness.began({"thrown": thrown, "closing": True})
        await told(witness, error, before)
        raise
    leave(token)
    settling = handed_out(witness, Event.END, 0, before)
    witness.ended(End.CLOSED)
    if settling is not None:
        await settling


async def played_async(response: Response, witness: Witness) -> AsyncGenerator[Any, None]:
    """The values of a recorded async generator, each when it is due, and its end."""
    pace = witness.pace
    for number, piece in enumerate(response.pieces):
        settling = None if pace is None else pace.settle(Event.PIECE, number)
        if settling is not None:
            await _until(settling, witness)
        item = rebuilt(piece.data, witness)
        witness.piece(piece.data)
        try:
            yield item
        except GeneratorExit:
            await _played_close(number, response, witness)
            raise
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


async def _played_close(number: int, response: Response, witness: Witness) -> None:
    """The program closes a recorded async generator: that takes as long as it took, and may fail as it failed."""
    fails, pace = _fails_closing(number, response), witness.pace
    if pace is not None and (fails or (response.end is End.CLOSED and number == len(response.pieces) - 1)):
        settling = pace.settle(Event.END)
        if settling is not None:
            await _until(settling, witness)
    if fails:
        raise_recorded(response, witness)
    witness.ended(End.CLOSED)


async def _until(settling: Awaitable[None], witness: Witness) -> None:
    try:
        await settling
    except BaseException as error:
        witness.ended(end_of(error), error)
        raise
