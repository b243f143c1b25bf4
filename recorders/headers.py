"""Headers as they are written: each that the journal has defined is a number, and none holds a secret."""

from __future__ import annotations

from typing import Any

from rashomon.redaction import MIN_SECRET, Redactor

_MAX_KNOWN = 8192
_MAX_VALUES = 32
"""So many values of one header are remembered; it is one that varies."""
_ROLES = {"content-type": "type", "content-length": "length"}
Defined = list[tuple[Any, int]]
"""Headers that a frame defines, and their numbers."""


class Headers:
    """What one journal's writer knows of the headers that it has written. One thread at a time."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._known: dict[Any, int] = {}
        self._names: dict[Any, list[Any]] = {}  # name: as text, whether its values are secrets, its role, values so far
        self._numbers = 0
        self._telling: dict[int, int] = {}  # of headers that have been numbered: what `told` says of them

    def define(self, defined: Defined) -> None:
        """These definitions are on the disk, or before whatever comes."""
        self._known.update(defined)

    def forget(self) -> None:
        """What was written last may not be on the disk: all is defined again."""
        self._known.clear()

    def written(self, headers: Any, defined: Defined) -> list[Any]:
        """Headers as they are written: those that the journal has defined are their numbers.

        What this frame defines is added to `defined`, for `define` once it is written: another thread's or task's
        frame may be written before it.
        """
        return self.answered(headers, defined)[0]

    def answered(self, headers: Any, defined: Defined) -> tuple[list[Any], int]:
        """The same, and how many bytes they announce: 0 where they do not say, -1 for a stream of events."""
        if headers and type(headers[0]) is not tuple:
            headers = [(pair[0], pair[1]) for pair in headers]
        out: list[Any] = list(map(self._known.get, headers))
        size = 0
        for number in filter(self._telling.__contains__, out):  # one or two of them: no loop over all in Python
            size = size if size < 0 else self._telling[number]
        place = -1
        for _ in range(out.count(None)):
            place = out.index(None, place + 1)
            out[place], said = self._new(headers[place], defined)
            if said and size >= 0:
                size = said
        return out, size

    def _new(self, key: Any, defined: Defined) -> tuple[tuple[int | None, str, str], int]:
        """A header that the journal has not defined yet, as it is written; and what it announces."""
        name, value = key
        record = self._names.get(name) or self._name(name)
        text, secret, role, count = record
        said = 0 if role is None else _announced(role, value)
        number = None
        if count < _MAX_VALUES and self._numbers < _MAX_KNOWN:  # request ids and dates never come again
            record[3] = count + 1
            number = self._numbers
            self._numbers = number + 1
            defined.append((key, number))
            if said:
                self._telling[number] = said
        if type(value) is bytes:
            hidden = secret or (len(value) >= MIN_SECRET and self._redactor.trigger(value) is not None)
            value = value.decode("latin-1")
        else:
            hidden = True
        return (number, text, self._redactor.header(text, value) if hidden else value), said

    def _name(self, name: Any) -> list[Any]:
        text = name.decode("latin-1") if type(name) is bytes else name
        record = [text, self._redactor.is_secret(text), _ROLES.get(text.lower()), 0]
        if len(self._names) < _MAX_KNOWN:
            self._names[name] = record
        return record


def _announced(role: str, value: Any) -> int:
    text = value.decode("latin-1") if type(value) is bytes else value
    if role == "type":
        return -1 if text[:17] == "text/event-stream" else 0
    return int(text) if text.isdecimal() and text.isascii() else 0
