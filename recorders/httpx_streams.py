"""The streams of `httpx` and `httpx2`, sync and async: they report what passes, from the wire or from the tape."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from rashomon import boundary, values
from rashomon.boundary import (
    Pace,
    Witness,
    blocking_place,
    completed,
    end_of,
    handed_out,
    inside,
    told,
)
from rashomon.boundary import threads as _threads
from rashomon.errors import Missed
from rashomon.model import End, Event, Response
from rashomon.recorders import lanes

# to look a member of an enumeration up takes a fifth of a microsecond
_CLOSED, _COMPLETE, _LEAKED, _PIECE = End.CLOSED, End.COMPLETE, End.LEAKED, Event.PIECE
_UNFINISHED = {
    End.CLOSED: "the recorded program stopped reading it there",
    End.CANCELLED: "the recorded call was cancelled there",
    End.LEAKED: "the recorded program dropped it there",
    End.OPEN: "the recorded program read no further and did not close it, or was killed there",
}


def ran_out(response: Response) -> Missed:
    """What a program gets that reads on where the recording ends."""
    size = sum(len(piece.data) for piece in response.pieces)
    why = _UNFINISHED.get(response.end, "nothing more was recorded")
    return Missed(f"The tape holds {size} bytes of this answer and the program asks for more: {why}.")


def recorded_failure(response: Response) -> BaseException:
    """The exception that the recorded call ended with; `Missed` when this program does not know its class.

    `Missed` and no plain exception: an SDK would take that for a failed connection, and try again.
    """
    if response.failure is None:
        return ran_out(response)
    try:
        return values.decode_failure(response.failure)
    except values.NotRebuildable as gone:
        return Missed(f"The recorded failure of this call cannot be raised again: {gone}.")


def stream_classes(module: ModuleType) -> tuple[Any, Any]:
    """The two stream classes, made once for each module: a client checks for its own base classes."""
    return (
        type("SyncTee", (_SyncTee, module.SyncByteStream), {}),
        type("AsyncTee", (_AsyncTee, module.AsyncByteStream), {}),
    )


class _Tee:
    """What both have in common: an answer that is dropped unread has ended, whatever else still knows its call."""

    _witness: Witness

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._witness.ended(_LEAKED)


class _SyncTee(_Tee):
    """Reports what passes: from the wire, or from the tape."""

    def __init__(self, witness: Witness, inner: Any, recorded: Response | None) -> None:
        self._witness, self._inner = witness, inner
        # one iterator for good: who reads on by iterating anew gets what is left, as from a connection
        self._recorded = None if recorded is None else _recorded(recorded, witness.pace)
        self._number = 0

    def __iter__(self) -> Iterator[bytes]:
        witness = self._witness
        report = witness.piece
        live = self._recorded is None
        try:
            for chunk in self._inner if self._recorded is None else self._recorded:
                report(chunk, self._number, blocking_place() if live and len(_threads) > 1 else None)
                self._number += 1  # also of those that no other thread was there for: a replay counts all
                yield chunk
        except GeneratorExit:
            witness.ended(End.CLOSED)
            raise
        except BaseException as error:
            if live:
                completed(witness, Event.END)
            witness.ended(end_of(error), error)
            raise
        if live and len(_threads) > 1:
            completed(witness, Event.END)
        witness.ended(_COMPLETE)

    def close(self) -> None:
        witness = self._witness
        try:
            if self._inner is not None:
                token = boundary.enter(witness)
                try:
                    self._inner.close()
                finally:
                    boundary.leave(token)
        finally:
            witness.ended(_CLOSED)


def _recorded(response: Response, pace: Pace | None) -> Iterator[bytes]:
    for number, piece in enumerate(response.pieces):
        if pace is not None:
            pace.wait(Event.PIECE, number)
        yield piece.data
    if pace is not None:
        pace.wait(Event.END)
    if response.failure is not None and response.end is End.ERROR:
        raise recorded_failure(response)
    if response.end is not End.COMPLETE:
        raise ran_out(response)


class _AsyncTee(_Tee):
    """The same, for an async client. It goes on where a replay can: see `boundary.handed_out`."""

    def __init__(self, witness: Witness, inner: Any, recorded: Response | None) -> None:
        self._witness, self._inner, self._closings = witness, inner, 0
        # one iterator for good, as above
        self._chunks = aiter(inner) if recorded is None else _recorded_async(recorded, witness.pace)
        self._live = recorded is None
        self._number = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._from_wire() if self._live else self._from_tape()

    async def _from_wire(self) -> AsyncIterator[bytes]:
        witness, pull = self._witness, self._chunks.__anext__
        report, enter, leave = witness.piece, inside.set, inside.reset
        state = None if boundary.ticker is None else boundary.ticker.state()
        settling = place = None
        while True:
            before = None if state is None else state.here
            token = enter(witness)
            try:
                chunk = await pull()
            except StopAsyncIteration:
                boundary.leave(token)
                await boundary.whole(witness, before)
                return
            except BaseException as error:
                boundary.leave(token)
                await told(witness, error, before)
                raise
            try:  # `_leave` and `handed_out`, written out: a stream has hundreds of these
                leave(token)
            except ValueError:
                inside.set(None)
            if state is None:
                settling = handed_out(witness, _PIECE, self._number, None)
            elif before is not state.here:
                if state.pending or state.loop._ready:
                    settling = state.settle(partial(witness.at, _PIECE, self._number))
                else:  # as in `boundary.make_async`
                    place = state.here
            report(chunk, self._number, place)
            self._number += 1
            place = None
            try:
                if settling is not None:
                    await settling
                    settling = None
                yield chunk
            except GeneratorExit:
                witness.ended(End.CLOSED)
                raise
            except BaseException as error:
                _cut_off(witness, settling is not None, error)
                raise

    async def _from_tape(self) -> AsyncIterator[bytes]:
        witness = self._witness
        report = witness.piece
        try:
            async for chunk in self._chunks:
                report(chunk)
                yield chunk
        except GeneratorExit:
            witness.ended(End.CLOSED)
            raise
        except BaseException as error:
            witness.ended(end_of(error), error)
            raise
        witness.ended(End.COMPLETE)

    async def aclose(self) -> None:
        inner, witness, number = self._inner, self._witness, self._closings
        self._closings = number + 1
        try:
            if lanes.is_quiet():  # the garbage collector's doing: when it comes says nothing about the program
                if inner is not None:
                    await inner.aclose()
            elif inner is None:
                if witness.pace is not None:
                    await _close_recorded(witness.pace, number)
            else:
                state = None if boundary.ticker is None else boundary.ticker.state()
                before = None if state is None else state.here
                token = inside.set(witness)
                is_closed = False
                try:
                    await inner.aclose()
                except GeneratorExit:
                    is_closed = True
                    raise
                finally:
                    boundary.leave(token)
                    settling = None
                    if state is None or state.here is not before:
                        settling = handed_out(witness, Event.CLOSE, number, before)
                    if settling is not None and not is_closed:
                        await settling
        finally:
            witness.ended(_CLOSED)


def _cut_off(witness: Witness, unheard: bool, error: BaseException) -> None:
    if unheard:
        witness.overtaken()
    witness.ended(end_of(error), error)


async def _close_recorded(pace: Pace, number: int) -> None:
    settling = pace.settle(Event.CLOSE, number)
    if settling is not None:
        try:
            await settling
        except BaseException as error:
            settling = pace.settle(Event.CLOSE, number)  # what closing did when it was cancelled took its time
            if settling is not None and not boundary.is_closing(error):
                await settling
            raise


async def _recorded_async(response: Response, pace: Pace | None) -> AsyncIterator[bytes]:
    for number, piece in enumerate(response.pieces):
        settling = None if pace is None else pace.settle(Event.PIECE, number)
        if settling is not None:
            await settling
        yield piece.data
    if pace is not None and response.end is End.CANCELLED:
        await pace.cancelled()
    settling = None if pace is None else pace.settle(Event.END)
    if settling is not None:
        await settling
    if response.failure is not None and response.end is End.ERROR:
        raise recorded_failure(response)
    if response.end is not End.COMPLETE:
        raise ran_out(response)
