"""Who meets at the boundary, each as a protocol: who answers, who watches, who says when, and how an answer is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, NamedTuple, Protocol, TypeVar

from rashomon.model import Call, End, Event, Head, Response

T = TypeVar("T")

Place = tuple[int, int, int]
"""Where a completion was handed out: the number of the event loop, epoch, tick. `NOWHERE`: not by such a loop."""
NOWHERE: Place = (-1, -1, -1)


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

    def piece(self, data: bytes, number: int = 0, place: Place | None = None) -> None:
        """These bytes are about to reach the program. With a place it is told what `at` would be: they are the piece of
        that number, handed out there."""

    def overtaken(self, at_end: bool = False) -> None:
        """The caller is cancelled in the turn of its loop in which the last piece came, or the failure that `ended` is
        about to be told; or, `at_end`, in which it would have learned that the answer is whole."""

    def ended(self, end: End, error: BaseException | None = None) -> None:
        """No more will come. Only the first call counts."""


class SilentWitness:
    """Keeps nothing of what it is told."""

    leaf = True
    number: int | None = None
    pace: Pace | None = None

    def at(self, event: Event, number: int, place: Place) -> None: ...

    def began(self, head: Head) -> None: ...

    def piece(self, data: bytes, number: int = 0, place: Place | None = None) -> None: ...

    def overtaken(self, at_end: bool = False) -> None: ...

    def ended(self, end: End, error: BaseException | None = None) -> None: ...


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
