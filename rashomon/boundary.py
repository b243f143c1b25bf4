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
from types import FrameType
from typing import Any, NamedTuple, Protocol, TypeVar

from rashomon import collector
from rashomon.model import Call, End, Event, Head, Response

T = TypeVar("T")
threads: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]
"""The running threads; `threading.active_count()` would take a lock."""


Place = tuple[int, int, int]
"""Where a completion was handed out: the number of the event loop, epoch, tick. `NOWHERE`: not by such a loop."""
NOWHERE: Place = (-1, -1, -1)
_HEAD, _END, _CLOSE = Event.HEAD, Event.END, Event.CLOSE  # to look one up takes a fifth of a microsecond


class Pace(Protocol):
    """Hands out the completions of one recorded answer when they are due."""

    def wait(self, event: Event, number: int = 0) -> None:
        """Block until this completion is due; at once where no order is known."""

    def settle(self, event: Event, number: int = 0) -> Awaitable[None] | None:
        """The same for a coroutine; None when it had not been suspended there, and must not be now."""

    def ending(self) -> Awaitable[None] | None:
        """As `settle(Event.END)`, for a call that has just been cancelled: what it did then took its time."""

    def over(self) -> None:
        """The program has done with the answer, maybe before its recorded end."""

    def cancelled(self) -> Awaitable[None]:
        """The recorded call was cancelled here: wait to be cancelled again, which is raised when it is due."""


class Ticker(Protocol):
    """Knows where the running event loop is in its life. `rashomon.recorders.loops` has the one there is."""

    def place(self) -> Place | None:
        """Loop, epoch and tick of the running loop; None where they are not known."""

    def state(self) -> Any:
        """What is known of the running loop: a `recorders.loops.LoopState`, or None. Its `here` is the loop's place:
        the same object until the loop turns."""

    def loops(self) -> int:
        """How many loops this process has had."""

    def settle(self, note: Callable[[Place], None], held: bool = False) -> Awaitable[None]:
        """Go on at the next tick, behind all that is ready now: the same place for a recording and its replay. `note`
        is told that place when it has come. With `held` a cancellation, too, comes there and not before."""

    def held(self, hold: Callable[[], bool]) -> Any:
        """A future of the running loop with a method `due()`, which ends it. A cancellation for which `hold` returns
        True is kept until then."""


class Witness(Protocol):
    """Is told about the answer to one call. Never raises, never blocks for long."""

    leaf: bool
    """True for a transport: what happens inside it is part of this call. False for a tool, whose
    own calls are steps too."""

    pace: Pace | None
    """In a replay: when each completion of this answer is due. None while recording."""

    @property
    def number(self) -> int | None:
        """The step's number in its journal, where there is one."""

    def at(self, event: Event, number: int, place: Place) -> None:
        """A completion of this call is handed to the program at this place in the life of its event loop."""

    def began(self, head: Head) -> None:
        """The head of the answer is about to reach the program."""

    def piece(self, data: bytes) -> None:
        """These bytes are about to reach the program."""

    def overtaken(self, at_end: bool = False) -> None:
        """The caller is cancelled in the turn of its loop in which the last piece came, or the failure that `ended` is
        about to be told; or, `at_end`, in which it would have learned that the answer is whole."""

    def ended(self, end: End, error: BaseException | None = None) -> None:
        """No more will come. Only the first call counts."""


class GoLive(NamedTuple):
    """Make the call for real."""

    witness: Witness


class Play(NamedTuple):
    """Answer from the recording."""

    response: Response
    witness: Witness


class LateCall(Protocol):
    """A call that needs not be described before it is made: who only writes calls down may do so while the answer is
    waited for."""

    def describe(self) -> Call:
        """The call. Raises what a request of a strange shape makes it raise."""


class Interceptor(Protocol):
    """What stands at the boundary: a recorder or a replay session."""

    isolates: bool
    """True for a replay: nothing real may be reached, and no library may see the real clock."""

    def arrive(self, call: Call) -> GoLive | Play:
        """Decide on a call. Raises `errors.Missed` when it must neither be answered nor made.

        One that lets every call go live may have a method `put_off`: see `Scribe`.
        """

    def connected(self, peer: str, frame: FrameType | None = None) -> None:
        """`peer` is being reached from here: `host:port`, `unix:path` or `dns:name`. Raises
        `errors.Escaped` to refuse it."""

    def failed(self, error: Exception) -> None:
        """A shim could not describe a call or watch its answer. A recorder counts the loss and lets
        the call be made; a replay refuses it."""

    def read(self, kind: str, what: str, real: Callable[[], Any], frame: FrameType) -> Any:
        """The program's own code, in `frame`, reads the clock, draws chance or asks the process: `what`
        (`time.time`). `real` gives the real value. A recorder notes it, a replay gives the recorded one."""

    def library_read(self, kind: str, what: str, real: Callable[[], Any]) -> Any:
        """The same for the standard library and installed packages: not recorded; virtual in a replay."""

    def sleep(self, seconds: float, real: Callable[[], None], frame: FrameType) -> None:
        """A blocking sleep, by whatever code. A replay does not wait, and wakes up in the recorded order."""

    def reaching(self, action: str, target: tuple[str, ...], frame: FrameType | None) -> None:
        """About to `run` a subprocess (its arguments) or to `write` a file (its path). Raises `errors.Escaped`
        to refuse it."""


class Scribe(Interceptor, Protocol):
    """Lets every call go live, and may write a call down after it is made."""

    def put_off(self, call: LateCall) -> Witness:
        """The witness of a call that is to be made now. It has a method `sent`, to be called when the request has gone
        out: then the call is described. Never raises."""


class Codec(Protocol[T]):
    """How one client's answers are watched while they are consumed, and rebuilt from a recording.

    It may have a method `limits`: the block in which a replay waits for an answer, where the client itself makes a
    failure of a cancellation.
    """

    def tee(self, answer: T, witness: Witness) -> T:
        """The live answer, wrapped so that `witness` sees what the program sees."""

    def play(self, response: Response, witness: Witness) -> T:
        """The recorded answer as the client's own object; raises the recorded failure."""

    async def discard(self, answer: T) -> None:
        """Release a live answer that nobody will get: its caller was cancelled as it came. Never raises."""


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
    stopped = names & {"CancelledError", "GeneratorExit", "KeyboardInterrupt"}
    return End.CANCELLED if stopped else End.ERROR


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
        settling = state.settle(partial(witness.at, _HEAD, 0))
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
    settling, end = handed_out(witness, Event.END, 0, before), end_of(error)
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
            if settling is not None:
                await settling
            witness.ended(end_of(error), error)
            raise


def _unwatched(guard: Interceptor, answer: T, witness: Witness, error: Exception) -> T:
    """A bug of a codec's is told to the guard, and is not the program's: it gets the live answer all the same."""
    witness.ended(End.LEAKED)
    guard.failed(error)
    return answer
