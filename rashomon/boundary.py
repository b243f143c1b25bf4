"""The one seam between an agent and the world: every shim crosses it, in every mode.

A shim describes its call, and an `Interceptor` (a recorder, a replay session, or nobody) answers
`GoLive` or `Play`. Either way a `Witness` is told how the answer begins, each piece of it, and how it
ends, while the program consumes it; so a stream is teed and never buffered, and a replay writes its
own trace with the same code that recorded the first one. `cross` and `cross_async` are the only places
where the difference between sync and async shows.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from rashomon import collector
from rashomon.model import Call, End, Event, Response
from rashomon.parties import NOWHERE as NOWHERE
from rashomon.parties import Codec as Codec
from rashomon.parties import GoLive as GoLive
from rashomon.parties import Interceptor as Interceptor
from rashomon.parties import LateCall as LateCall
from rashomon.parties import Pace as Pace
from rashomon.parties import Place as Place
from rashomon.parties import Play as Play
from rashomon.parties import Scribe as Scribe
from rashomon.parties import Ticker as Ticker
from rashomon.parties import Witness as Witness

T = TypeVar("T")
threads: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]
"""The running threads; `threading.active_count()` would take a lock."""


_HEAD, _END, _CLOSE = Event.HEAD, Event.END, Event.CLOSE  # to look one up takes a fifth of a microsecond

_local: ContextVar[Interceptor | None] = ContextVar("rashomon_interceptor", default=None)
_process: Interceptor | None = None
inside: ContextVar[Witness | None] = ContextVar("rashomon_inside", default=None)
"""The witness of the live call that this code is inside of. Whatever a library does inside a leaf
(connections, helper tasks) belongs to that call."""


def current() -> Interceptor | None:
    """The interceptor of this line of control: its own, else the process's."""
    return _local.get() or _process


def local_interceptor() -> Interceptor | None:
    """The interceptor of this line of control alone, to hand on to what it spawns."""
    return _local.get()


def guard_here() -> Interceptor | None:
    """The interceptor that a call made here must meet: none inside a leaf, whose call has met it."""
    guard = _local.get() or _process
    if guard is not None:
        enclosing = inside.get()
        if enclosing is not None and enclosing.leaf:
            return None
    return guard


def set_process_interceptor(interceptor: Interceptor | None) -> None:
    """Install what answers every line of control that has no interceptor of its own."""
    global _process
    _process = interceptor


def process_interceptor() -> Interceptor | None:
    """What `set_process_interceptor` installed last."""
    return _process


ticker: Ticker | None = None
"""Set when asyncio is patched."""
conductor: Any = None
"""In a replay: `replay.conductor.Conductor`, which decides what an idle event loop goes on with."""


def other_threads() -> bool:
    """True when more than one thread is running: then the order of completions is worth noting."""
    return len(threads) > 1


def completed(witness: Witness, event: Event, number: int = 0) -> None:
    """A blocking call has come to a completion. Its order is worth noting where there are other threads."""
    if len(threads) > 1:
        witness.at(event, number, blocking_place())


def blocking_place() -> Place:
    """Where a blocking call is made. In a loop's own thread: `-2 - loop`, with the tick that it happens in."""
    place = place_now()
    return NOWHERE if place is None else (-2 - place[0], place[1], place[2])


def place_now() -> Place | None:
    """Where the running event loop is; to be compared with a later place."""
    return None if ticker is None else ticker.place()


def handed_out(witness: Witness, event: Event, number: int, before: Place | None) -> Awaitable[None] | None:
    """An awaited call has come to a completion: note where. What is returned must be awaited before going on.

    None when the loop has not turned since `before`: the program was not suspended, and is not now.
    """
    after = None if ticker is None else ticker.place()
    if after is None or ticker is None:
        witness.at(event, number, NOWHERE)
        return None
    if after == before:
        return None
    return ticker.settle(partial(witness.at, event, number), event is _END or event is _CLOSE)


class intercepted:
    """`with intercepted(interceptor):` the calls of this block, and of what it spawns, meet it."""

    __slots__ = ("_interceptor", "_token")

    def __init__(self, interceptor: Interceptor | None) -> None:
        self._interceptor = interceptor

    def __enter__(self) -> None:
        self._token = _local.set(self._interceptor)

    def __exit__(self, *exc_info: object) -> None:
        _local.reset(self._token)


def sent() -> None:
    """The request of the call that this code is inside of has gone out: what was put off can be done now."""
    tell = getattr(inside.get(), "sent", None)
    if tell is not None:
        tell()


def end_of(error: BaseException) -> End:
    """`CANCELLED` for cancellation in any of its forms, else `ERROR`."""
    names = {cls.__name__ for cls in type(error).__mro__}
    stopped = names & {"CancelledError", "GeneratorExit", "KeyboardInterrupt"} or _is_trios(error)
    return End.CANCELLED if stopped else End.ERROR


def _is_trios(error: BaseException) -> bool:
    return type(error).__name__ == "Cancelled" and type(error).__module__.partition(".")[0] == "trio"


def cross(call: Call, live: Callable[[], T], codec: Codec[T]) -> T:
    """Cross the boundary with a blocking call."""
    guard = guard_here()
    if guard is None:
        return live()
    verdict = guard.arrive(call)
    witness = verdict.witness
    if type(verdict) is Play:
        if witness.pace is not None:
            witness.pace.wait(first_of(verdict.response))
        return codec.play(verdict.response, witness)
    return make(guard, witness, live, codec)


def enter(witness: Witness) -> Any:
    """What happens from here on is part of a call. In a finalizer that the garbage collector runs it is not noted."""
    return None if collector.is_running() else inside.set(witness)


def leave(token: Any) -> None:
    """What follows is the program's own again. A frame that is unwound by the garbage collector, or in another context,
    has nothing to end there."""
    if token is not None and not collector.is_running():
        try:
            inside.reset(token)
        except ValueError:
            inside.set(None)


def make(guard: Interceptor, witness: Witness, live: Callable[[], T], codec: Codec[T]) -> T:
    """Make a blocking call that goes live."""
    return handed_over(guard, witness, called(witness, live), codec)


def called(witness: Witness, live: Callable[[], T]) -> T:
    """What a call that goes live answers; its failure is told."""
    token = enter(witness)
    try:
        return live()
    except BaseException as error:
        completed(witness, Event.END)
        witness.ended(end_of(error), error)
        raise
    finally:
        leave(token)


def handed_over(guard: Interceptor, witness: Witness, answer: T, codec: Codec[T]) -> T:
    """A live answer, as the program gets it."""
    if len(threads) > 1:
        completed(witness, Event.HEAD)
    try:
        return codec.tee(answer, witness)
    except Exception as error:
        return _unwatched(guard, answer, witness, error)


async def cross_async(call: Call, live: Callable[[], Awaitable[T]], codec: Codec[T]) -> T:
    """Cross the boundary with an awaitable call."""
    guard = guard_here()
    if guard is None:
        return await live()
    verdict = guard.arrive(call)
    witness = verdict.witness
    if isinstance(verdict, Play):
        return await play_async(verdict.response, witness, codec)
    return await make_async(guard, witness, live, codec)


async def play_async(response: Response, witness: Witness, codec: Codec[T]) -> T:
    """A recorded answer, when it is due."""
    if witness.pace is not None:
        await _due(response, witness, witness.pace, getattr(codec, "limits", None))
    return codec.play(response, witness)


async def make_async(guard: Interceptor, witness: Witness, live: Callable[[], Awaitable[T]], codec: Codec[T]) -> T:
    """Make an awaitable call that goes live."""
    state = None if ticker is None else ticker.state()
    before = None if state is None else state.here
    token = inside.set(witness)
    try:
        answer = await live()
    except BaseException as error:
        leave(token)
        await told(witness, error, before)
        raise
    inside.reset(token)
    settling = None
    if state is None:
        settling = handed_out(witness, _HEAD, 0, None)
    elif state.here is not before:
        if state.pending or state.loop._ready:
            settling = state.settle(partial(witness.at, _HEAD, 0))
        else:  # nobody stands behind it: it has the same place now as at the start of the next turn
            witness.at(_HEAD, 0, state.here)
    try:
        answer = codec.tee(answer, witness)
    except Exception as error:
        answer = _unwatched(guard, answer, witness, error)
    if settling is not None:
        try:
            await settling
        except BaseException as error:
            witness.overtaken()
            witness.ended(end_of(error), error)
            try:
                if not is_closing(error):
                    await codec.discard(answer)
            finally:  # where it was cancelled once more as well
                await told(witness, error, before)
            raise
    return answer


async def whole(witness: Witness, before: Place | None) -> None:
    """An awaited answer has come to its end: say so, and go on where a replay can."""
    settling = handed_out(witness, Event.END, 0, before)
    witness.ended(End.COMPLETE)
    if settling is not None:
        try:
            await settling
        except BaseException:
            witness.overtaken(at_end=True)
            raise


async def told(witness: Witness, error: BaseException, before: Place | None) -> None:
    """An awaited call has failed or was cancelled: say so, and go on where a replay can."""
    end = end_of(error)
    settling = None if collector.is_running() else handed_out(witness, Event.END, 0, before)
    if is_closing(error):
        settling = None
    if settling is not None and end is End.ERROR:
        try:
            await settling
        except BaseException:
            witness.overtaken()
            raise
        finally:
            witness.ended(end, error)
        return
    witness.ended(end, error)
    if settling is not None:
        await settling


def is_closing(error: BaseException) -> bool:
    """True in a coroutine that is being closed (`close()`, or nobody keeps it): it must not wait for anything more.
    What it would have waited for has its place in the order all the same."""
    return isinstance(error, GeneratorExit)


def first_of(response: Response) -> Event:
    """The completion that a caller waits for: that the call returned, or that it failed."""
    return Event.END if response.end is End.ERROR and not _began(response) else Event.HEAD


_ASIDE = frozenset({"withheld", "awaited", "changed"})
"""What the head of a tool's answer may say without being its beginning."""

_LATER = frozenset({"awaited", "changed"})


def _began(response: Response) -> bool:
    """True where an answer had begun."""
    return response.head is not None and _ASIDE.isdisjoint(response.head)


async def _due(
    response: Response, witness: Witness, pace: Pace, limits: Callable[[Response], AbstractContextManager[Any]] | None
) -> None:
    """Wait until a recorded answer is due, within the time limits of a client that has its own."""
    if (response.head or {}).keys() <= _LATER and not response.pieces and response.end is End.CANCELLED:
        settling: Awaitable[None] | None = pace.cancelled()
    else:
        settling = pace.settle(first_of(response))
    if settling is not None:
        try:
            with nullcontext() if limits is None else limits(response):
                await settling
        except BaseException as error:
            settling = None if collector.is_running() else pace.ending()
            if settling is not None and not is_closing(error):
                await settling
            witness.ended(end_of(error), error)
            raise


def _unwatched(guard: Interceptor, answer: T, witness: Witness, error: Exception) -> T:
    """A bug of a codec's is told to the guard, and is not the program's: it gets the live answer all the same."""
    witness.ended(End.LEAKED)
    guard.failed(error)
    return answer
