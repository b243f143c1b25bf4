"""Headers as they are written: each that the journal has defined is a number, and none holds a secret."""

from __future__ import annotations

from typing import Any

from rashomon.redaction import Redactor

_MAX_KNOWN = 8192
_MAX_VALUES = 32
"""So many values of one header are remembered; it is one that varies."""
Defined = list[tuple[Any, int]]
"""Headers that a frame defines, and their numbers."""


class Headers:
    """What one journal's writer knows of the headers that it has written. One thread at a time."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._known: dict[Any, int] = {}
        self._names: dict[Any, list[Any]] = {}  # name: as text, whether its values are secrets, how many so far
        self._numbers = 0

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
        if headers and type(headers[0]) is not tuple:
            headers = [(pair[0], pair[1]) for pair in headers]
        out: list[Any] = list(map(self._known.get, headers))
        if None in out:
            for place, known in enumerate(out):
                if known is None:
                    out[place] = self._new(headers[place], defined)
        return out

    def _new(self, key: Any, defined: Defined) -> tuple[int | None, str, str]:
        """A header that the journal has not defined yet, as it is written."""
        redactor, names = self._redactor, self._names
        name, value = key
        known = names.get(name)
        if known is None:
            text = name.decode("latin-1") if type(name) is bytes else name
            known = [text, redactor.is_secret(text), 0]
            if len(names) < _MAX_KNOWN:
                names[name] = known
        number = None
        if known[2] < _MAX_VALUES and self._numbers < _MAX_KNOWN:  # request ids and dates never come again
            known[2] += 1
            number = self._numbers
            self._numbers += 1
            defined.append((key, number))
        if type(value) is bytes:
            hidden = known[1] or redactor.trigger(value) is not None
            value = value.decode("latin-1")
        else:
            hidden = True
        return number, known[0], redactor.header(known[0], value) if hidden else value
