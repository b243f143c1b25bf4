"""What a tool returned or raised: written while it is recorded, handed out in a replay."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from rashomon import boundary, values
from rashomon.boundary import Witness, end_of
from rashomon.errors import Missed
from rashomon.model import Divergence, End, Response
from rashomon.objects import slots
from rashomon.recorders.complaints import complain
from rashomon.values import Lost

_ATOMS = frozenset({str, int, float, bool, bytes, type(None)})
_warned: set[tuple[str, str]] = set()


class Given(Protocol):
    """The arguments of a call that can be changed: a `tool_arguments.Watched`."""

    nodes: list[Any]
    numbers: dict[int, int]

    def apply(self, data: bytes) -> None: ...


class ValueCodec:
    """The results of one tool, which come at once; those of one call, where that was given what can be changed."""

    __slots__ = ("given", "tool")

    def __init__(self, tool: str, given: Given | None = None) -> None:
        self.tool, self.given = tool, given

    def tee(self, answer: Any, witness: Witness) -> Any:
        data, lost = values.encode_told(answer, None if self.given is None else self.given.numbers)
        if lost:
            tell_lost(self.tool, lost)
        witness.piece(data)
        witness.ended(End.COMPLETE)
        return answer

    def play(self, response: Response, witness: Witness) -> Any:
        if response.head:
            witness.began(response.head)
            self._change(response.head.get("changed"), witness)
        if response.end is not End.COMPLETE:
            raise_recorded(response, witness)
        if not response.pieces:
            raise unplayable(values.NotRebuildable("the recording has lost it"), witness)
        data = response.pieces[0].data
        answer = rebuilt(data, witness, None if self.given is None else self.given.nodes)
        witness.piece(data)
        witness.ended(End.COMPLETE)
        return answer

    def _change(self, data: bytes | None, witness: Witness) -> None:
        """Do to the arguments what the recorded body did."""
        if data is not None and self.given is not None:
            try:
                self.given.apply(data)
            except Exception as error:  # they are not what they were: a stub's, or those of a call that drifted
                raise unplayable(values.NotRebuildable(f"its arguments do not fit: {error}"), witness) from None

    async def discard(self, answer: Any) -> None:
        """A value needs no release."""


def rebuilt(data: bytes, witness: Witness, given: list[Any] | None = None) -> Any:
    """A recorded value. Raises `Missed` where it cannot be served."""
    try:
        return values.decode(data, reading(witness), given)
    except values.NotRebuildable as error:
        raise unplayable(error, witness) from None


def unplayable(error: values.NotRebuildable, witness: Witness) -> Missed:
    """What ends a call whose recorded answer cannot be served."""
    missed = Missed(f"The recorded result of this tool cannot be served: {error}. Stub the tool (--stub) instead.")
    witness.ended(End.ERROR, missed)
    return missed


def reading(witness: Witness) -> Callable[[str], None]:
    """Tells the replay that the program reads a part of this answer that was recorded by its type only."""

    def tell(summary: str) -> None:
        diverge = getattr(boundary.current(), "diverge", None)
        if diverge is not None:
            diverge(Divergence("unplayable", summary, None if witness.number is None else str(witness.number)))

    return tell


def raise_recorded(response: Response, witness: Witness) -> NoReturn:
    """Raise what was recorded, with what it came from."""
    handled = sys.exception()
    error = _recorded(response, witness)
    context = error.__context__
    try:
        raise error  # which makes its context what the program handles at the moment
    finally:
        if context is not None:
            error.__context__ = context
            _join(error, handled)


def _join(error: BaseException, handled: BaseException | None) -> None:
    """Where the recorded exception came from what the program was handling, it comes from what it handles now."""
    link = error
    for _ in range(100):
        before = link.__context__
        if before is None or handled is None or handled is error:
            return
        if type(before) is type(handled) and before.args == handled.args:
            link.__context__ = handled
            return
        link = before


def _recorded(response: Response, witness: Witness) -> BaseException:
    try:
        error = (
            values.decode_failure(response.failure, reading(witness))
            if response.failure is not None
            else Missed(
                "The tape does not hold the end of this tool call: the recorded process was killed in it, or could not "
                "write it down."
            )
        )
    except values.NotRebuildable as gone:
        return unplayable(gone, witness)
    witness.ended(end_of(error), error)
    return error


# ----------------------------------------------------------------------------------------------- while it is recorded


def encoded(tool: str, value: Any) -> bytes:
    """A part of a tool's result as bytes; what is lost of it is told."""
    data, lost = values.encode_told(value)
    if lost:
        tell_lost(tool, lost)
    return data


def tell_lost(tool: str, lost: tuple[Lost, ...]) -> None:
    """A replay will not be able to serve this result, or not all of it: say so now. Never raises."""
    for one in lost:
        what = f"has an attribute {one.attribute!r}, a {one.type}," if one.attribute else f"holds a {one.type},"
        then = "what reads it ends the replay" if one.attribute else "a replay cannot serve it"
        uncontrolled(tool, f"its result {what} which is recorded by its type only: {then}")
        if (tool, one.type) not in _warned:
            _warned.add((tool, one.type))
            complain(f"the result of the tool {tool} {what} which is recorded by its type only: {then}.")


def tell_raised(tool: str, error: BaseException) -> None:
    """Say which attributes of an exception a replay will not have. Never raises."""
    plain = not error.__dict__ and error.__context__ is None and not slots(type(error))
    if plain and _ATOMS.issuperset(map(type, error.args)):  # as most are
        return
    for one in values.encode_failure_told(error)[1]:
        what = f"{one.attribute!r} of the {type(error).__name__} that it raised holds a {one.type}"
        uncontrolled(tool, f"{what}, which is recorded by its type only: what reads it ends the replay")


def uncontrolled(tool: str, reason: str) -> None:
    """List what a replay will not have of a tool. Never raises."""
    guard = boundary.current()
    note = getattr(getattr(guard, "scribe", guard), "uncontrolled", None)
    if note is not None:
        note(f"tool {tool}", reason)
