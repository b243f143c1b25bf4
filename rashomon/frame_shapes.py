"""What a frame may hold: what a checksum does not say, since whoever wrote the frame may be newer, foreign or wrong.

Frames that are written for each call are looked at only where something else would fail on them later. Of maps, which
are written once for a trace, what is of another type than the format says is left out and named, and the rest counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from rashomon.model import Failure

TIMES = 1 << 61
"""Microseconds of a step's beginning, and numbers of steps, stay below, so that they can be added and kept."""

_INT, _PROCESSES = 1 << 63, 1 << 31
_ID = 100
_INTEGERS = frozenset((int,))


def refuse(what: str) -> NoReturn:
    """Raise ValueError: the frame is not what the format says."""
    raise ValueError(what)


def lane(written: Any) -> tuple[int, ...]:
    """A line of control. Raises ValueError."""
    if written.__class__ is not list:
        refuse("its lane is no list")
    if not _INTEGERS.issuperset(map(type, written)):
        refuse("its lane is no list of integers")
    return tuple(written)


def number(written: Any) -> int:
    """An integer. Raises ValueError."""
    return written if written.__class__ is int else refuse("a number is no integer")


def time(written: Any) -> int:
    """Microseconds that can be. Raises ValueError."""
    t_us = number(written)
    return t_us if is_place(t_us) else refuse("its time is none")


def is_place(t_us: int, process: int = 0) -> bool:
    """Whether there can be such a time, and such a process in a trace."""
    return -TIMES < t_us < TIMES and -_PROCESSES < process < _PROCESSES


def text(written: Any) -> str:
    """A text. Raises ValueError."""
    return written if written.__class__ is str else refuse("a text is none")


def text_or_none(written: Any) -> str | None:
    """A text or nothing. Raises ValueError."""
    return None if written is None else text(written)


def step(written: Any) -> str | None:
    """A step that is named by its number, or as text where it is another process's. Raises ValueError."""
    return written if written is None or written.__class__ is str else str(number(written))


def failure(written: Any) -> Failure:
    """What an answer ended with. Raises ValueError."""
    if written.__class__ is not list:
        refuse("its failure is no list")
    kind, message, *rest = written[:3]
    if rest and rest[0].__class__ is not bytes:
        refuse("its failure's values are no bytes")
    return Failure(text(kind), text(message), *rest)


def head(written: Any) -> dict[str, Any]:
    """A head. Raises ValueError."""
    return written if written.__class__ is dict else refuse("its head is no map")


def mend_call(elements: list[Any]) -> list[str] | None:
    """Take out of a CALL what is odd in it and can be missed, and name it; its head and its body are not looked at.

    Raises ValueError or IndexError of one that is none.
    """
    number, trace, name, t_us, within = elements[1], elements[2], elements[4], elements[6], elements[7]
    if not (number.__class__ is trace.__class__ is t_us.__class__ is int and -TIMES < t_us < TIMES):
        refuse("its numbers or its time are none")
    if not 0 <= number < TIMES:
        refuse("its step's number is none")
    if (
        name.__class__ is str
        and elements[5].__class__ is list
        and _INTEGERS.issuperset(map(type, elements[5]))
        and (within is None or within.__class__ is int)
        and len(elements) == _CALL
    ):
        return None
    return _odd_in_call(elements)


def _odd_in_call(elements: list[Any]) -> list[str]:
    odd = []
    if elements[4].__class__ is not str:
        elements[4] = "?"
        odd.append("name")
    if not (elements[5].__class__ is list and _INTEGERS.issuperset(map(type, elements[5]))):
        elements[5] = []
        odd.append("lane")
    if elements[7].__class__ not in _STEPS:
        elements[7] = None
        odd.append("within")
    if len(elements) > _CALL and not _is_id(elements[_CALL]):
        del elements[_CALL:]
        odd.append("id")
    return odd


_CALL = 10
"""How many elements a CALL has where no id is told."""
_STEPS = frozenset((int, str, type(None)))


def _is_id(given: Any) -> bool:
    numbers = given.split(".") if isinstance(given, str) and len(given) < _ID and given.isascii() else []
    return 0 < len(numbers) < 3 and all(number.isdecimal() for number in numbers)


def is_header(item: Any) -> bool:
    """Whether it is a header with its name and value, and a number or none."""
    return (
        item.__class__ is list
        and len(item) > 2
        and (item[0] is None or item[0].__class__ is int)
        and all(isinstance(text, (str, bytes)) for text in item[1:3])
    )


# ---------------------------------------------------------------------------------------------- maps


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _integer(value: Any) -> bool:
    return value.__class__ is int and -_INT <= value < _INT


def _map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _list_of(one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(one, value))


def _row_of(*kinds: Callable[[Any], bool], least: int) -> Callable[[Any], bool]:
    def is_row(value: Any) -> bool:
        return (
            isinstance(value, list)
            and least <= len(value) <= len(kinds)
            and all(is_kind(item) for is_kind, item in zip(kinds, value, strict=False))
        )

    return is_row


def _switch(value: Any) -> bool:
    return value.__class__ is bool


def _bytes(value: Any) -> bool:
    return isinstance(value, bytes)


_texts, _lane = _list_of(_text), _list_of(_integer)
_PROCESS = _row_of(_integer, _integer, _texts, _text, _switch, _lane, _integer, _integer, least=5)

Fields = dict[str, Callable[[Any], bool]]
PROCESS: Fields = {
    "role": _text, "pid": _integer, "ppid": _integer, "lane": _lane, "started_ns": _integer, "monotonic_ns": _integer,
    "argv": _texts, "cwd": _text, "versions": _map,
}  # fmt: skip
TRACE: Fields = {
    "id": _text, "name": _text, "started_ns": _integer, "tags": _map, "parent": _text, "within": _text,
    "swaps": _list_of(_map), "command": _texts, "entrypoint": _map, "cwd": _text, "environ": _map,
    "provenance": _map, "losses": _list_of(_row_of(_text, _integer, least=2)), "processes": _list_of(_PROCESS),
}  # fmt: skip
TRACE_END: Fields = {"outcome": _text, "exit_code": _integer, "error": _text, "result": _bytes, "ended_ns": _integer}
DIVERGENCE: Fields = {
    "kind": _text, "summary": _text, "step": _text, "recorded": _text, "paths": _texts, "detail": _texts,
}  # fmt: skip
_NEVER_NONE = frozenset(
    (
        "pid",
        "lane",
        "started_ns",
        "monotonic_ns",
        "argv",
        "versions",
        "kind",
        "summary",
        "paths",
        "detail",
        "losses",
        "processes",
    )
)
"""What is there or left out; others may say that they are not known."""


def usable(written: Any, fields: Fields) -> tuple[dict[str, Any], list[str]]:
    """A map without what is of another type than its field has, and what that is. Raises ValueError of what is none.

    Fields that are not known are kept as they are.
    """
    if written.__class__ is not dict:
        refuse("its map is none")
    odd = [
        name
        for name, fits in fields.items()
        if name in written and not (fits(written[name]) if written[name] is not None else name not in _NEVER_NONE)
    ]
    return ({name: value for name, value in written.items() if name not in odd} if odd else written), odd
