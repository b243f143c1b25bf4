"""What stands in a replay for a part of an object that the recording could not keep."""

from __future__ import annotations

import _thread  # `threading` takes a millisecond to load
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from rashomon.errors import Missed

Tell = Callable[[str], None]
"""Is told that the program reads what is not there."""


class StandIn:
    """Can be handed around and printed, for its text is recorded. Whatever else is done with it ends the replay."""

    __slots__ = ("_said", "_tell", "_text", "_type")

    def __init__(self, type_name: str, text: str, tell: Tell | None, said: str | None = None) -> None:
        for name, value in (("_type", type_name), ("_text", text), ("_tell", tell), ("_said", said)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return told(self)[1]

    def __str__(self) -> str:
        said: str | None = object.__getattribute__(self, "_said")
        return told(self)[1] if said is None else said


class GoneError(Exception):
    """Stands for the cause of an exception, where that could not be kept."""


class _Unheard(_thread._local):
    """Whether it is not the program that reads, but who writes down what it got, in this thread.

    A finalizer that the garbage collector runs may come here, and may set no context variable: see
    `rashomon.collector`.
    """

    now = False


_unheard = _Unheard()


@contextmanager
def unheard() -> Iterator[None]:
    """What is read within is not read by the program."""
    before, _unheard.now = _unheard.now, True
    try:
        yield
    finally:
        _unheard.now = before


def told(stand_in: StandIn) -> tuple[str, str]:
    """The type and the text of what it stands for."""
    return object.__getattribute__(stand_in, "_type"), object.__getattribute__(stand_in, "_text")


def _refuse(self: StandIn, *args: Any, **kwargs: Any) -> NoReturn:
    summary = (
        f"The program reads a {told(self)[0]} that was recorded by its type only, as a part of what a tool raised or "
        "returned. Stub the tool (--stub) instead."
    )
    tell: Tell | None = object.__getattribute__(self, "_tell")
    if tell is not None and not _unheard.now:
        tell(summary)
    raise Missed(summary)


_USES = (
    "getattribute setattr delattr dir reduce_ex copy deepcopy bool hash int float index bytes format fspath",
    "len iter next contains getitem setitem delitem call eq ne lt le gt ge neg pos abs",
    "enter exit aenter aexit await aiter anext",
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod and rand or ror xor rxor",
)
for _line in _USES:
    for _use in _line.split():
        setattr(StandIn, f"__{_use}__", _refuse)
