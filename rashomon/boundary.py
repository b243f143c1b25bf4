"""The one seam between an agent and the world: every shim crosses it, in every mode.

A shim describes its call, and an `Interceptor` (a recorder, a replay session, or nobody) answers
`GoLive` or `Play`. Either way a `Witness` is told how the answer begins, each piece of it, and how it
ends, while the program consumes it; so a stream is teed and never buffered, and a replay writes its
own trace with the same code that recorded the first one. `cross` and `cross_async` are the only places
where the difference between sync and async shows.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import NamedTuple, Protocol, TypeVar

from rashomon.model import Call, End, Head, Response

T = TypeVar("T")
_PATIENCE = 2.0
"""Seconds beyond twice the recorded time that a replay waits for a cancellation to come again."""


class Witness(Protocol):
    """Is told about the answer to one call. Never raises, never blocks for long."""

    leaf: bool
    """True for a transport: what happens inside it is part of this call. False for a tool, whose
    own calls are steps too."""

    @property
    def number(self) -> int | None:
        """The step's number in its journal, where there is one."""

    def began(self, head: Head) -> None:
        """The head of the answer is about to reach the program."""

    def piece(self, data: bytes) -> None:
        """These bytes are about to reach the program."""

    def ended(self, end: End, error: BaseException | None = None) -> None:
        """No more will come. Only the first call counts."""


class GoLive(NamedTuple):
    """Make the call for real."""

    witness: Witness


class Play(NamedTuple):
    """Answer from the recording."""

    response: Response
    witness: Witness


class Interceptor(Protocol):
    """What stands at the boundary: a recorder or a replay session."""

    def arrive(self, call: Call) -> GoLive | Play:
        """Decide on a call. Raises `errors.Missed` when it must neither be answered nor made."""

    def connected(self, peer: str) -> None:
        """`peer` is being reached from here: `host:port`, `unix:path` or `dns:name`. Raises
        `errors.Escaped` to refuse it."""

    def failed(self, error: Exception) -> None:
        """A shim could not describe a call or watch its answer. A recorder counts the loss and lets
        the call be made; a replay refuses it."""


class Codec(Protocol[T]):
    """How one client's answers are watched while they are consumed, and rebuilt from a recording."""

    def tee(self, answer: T, witness: Witness) -> T:
        """The live answer, wrapped so that `witness` sees what the program sees."""

    def play(self, response: Response, witness: Witness) -> T:
        """The recorded answer as the client's own object; raises the recorded failure."""


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


class intercepted:
    """`with intercepted(interceptor):` the calls of this block, and of what it spawns, meet it."""

    __slots__ = ("_interceptor", "_token")

    def __init__(self, interceptor: Interceptor | None) -> None:
        self._interceptor = interceptor

    def __enter__(self) -> None:
        self._token = _local.set(self._interceptor)

    def __exit__(self, *exc_info: object) -> None:
        _local.reset(self._token)


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
    if isinstance(verdict, Play):
        return codec.play(verdict.response, witness)
    token = inside.set(witness)
    try:
        answer = live()
    except BaseException as error:
        witness.ended(end_of(error), error)
        raise
    finally:
        inside.reset(token)
    return _tee(guard, codec, answer, witness)


async def cross_async(call: Call, live: Callable[[], Awaitable[T]], codec: Codec[T]) -> T:
    """Cross the boundary with an awaitable call."""
    guard = guard_here()
    if guard is None:
        return await live()
    verdict = guard.arrive(call)
    witness = verdict.witness
    if isinstance(verdict, Play):
        if verdict.response.head is None and verdict.response.end is End.CANCELLED:
            await _until_cancelled(verdict.response, witness)
        return codec.play(verdict.response, witness)
    token = inside.set(witness)
    try:
        answer = await live()
    except BaseException as error:
        witness.ended(end_of(error), error)
        raise
    finally:
        inside.reset(token)
    return _tee(guard, codec, answer, witness)


async def _until_cancelled(response: Response, witness: Witness) -> None:
    """The recorded call was cancelled before it had an answer: wait to be cancelled again, for a while."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return
    try:
        await asyncio.sleep(2 * response.duration_us / 1e6 + _PATIENCE)
    except BaseException as error:
        witness.ended(end_of(error), error)
        raise


def _tee(guard: Interceptor, codec: Codec[T], answer: T, witness: Witness) -> T:
    """The live answer has come: whatever fails in watching it, the program gets it."""
    try:
        return codec.tee(answer, witness)
    except Exception as error:  # a bug of a codec's: told to the guard, and not the program's
        witness.ended(End.LEAKED)
        guard.failed(error)
        return answer
