"""Heads of requests and answers as they arrive: each header is spelled and looked at once, however often it comes.

A journal names a header that it has told already by a number. So most of a head's JSON text, and where its content's
type stands, is known before it is put together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rashomon.store.spelling import encodable, exact_json, texts

_TYPE, _ENCODING = "content-type", "content-encoding"
_SIZES = frozenset((len(_TYPE), len(_ENCODING)))
_new = tuple.__new__
"""Makes a named tuple in a third of the time that its class takes: there are several for each step."""


class Headed(NamedTuple):
    """A head with its headers put back; its JSON text, where that can be given for certain; what its content is.

    `type` and `encoding` are None where they are not known from here.
    """

    head: dict[str, Any]
    text: str | None
    type: str | None
    encoding: str | None


class Odd(Exception):
    """A head that is not as recorders write them."""


_Entry = tuple[list[str], str, str | None]
"""A header, its JSON text, and its name where that says what the content is."""

_NUMBERS = {int}
_REMEMBERED = 256
"""How many runs of headers are remembered."""


class _Run(NamedTuple):
    """Some headers one after the other, as one."""

    pairs: list[list[str]]
    text: str
    said: dict[str, str]


class Heads(dict[int, _Entry]):
    """The headers of one journal by their numbers. `known` are those that were told, and is kept up with what comes."""

    def __init__(self, known: dict[int, list[str]]) -> None:
        super().__init__()
        self.known = known
        self.runs: dict[tuple[int, ...], _Run] = {}

    def forget(self) -> None:
        """Look at everything anew: `known` was changed."""
        self.clear()
        self.runs.clear()

    def __missing__(self, number: int) -> _Entry:
        pair = self.known.get(number)
        if pair is None:
            raise Odd
        entry = self[number] = _entry(pair)
        return entry

    def headed(self, head: dict[str, Any]) -> Headed:
        """A head that has headers. Raises `Odd`, KeyError or TypeError of one that must be looked at more closely."""
        items = head["headers"]
        if items.__class__ is not list:
            raise Odd
        last = items[-1] if items else None
        if last.__class__ is list:  # a size or an id: most heads have one header of their own, behind all others
            pairs, text, said = self.run(items[:-1])
            pair, spelled, name = self.define(last)
            pairs, text = [*pairs, pair], f"{text},{spelled}" if text else spelled
            if name is not None and name not in said:
                said = {**said, name: pair[1]}
        else:
            pairs, text, said = self.run(items)
            pairs = [*pairs]
        head = {**head, "headers": pairs}
        spelled_head = _spelled(head, f"[{text}]")
        return _new(Headed, (head, spelled_head, said.get(_TYPE, ""), said.get(_ENCODING, "")))

    def run(self, items: list[Any]) -> _Run:
        """Headers one after the other. Those that all came before are remembered."""
        known = set(map(type, items)) == _NUMBERS
        key = tuple(items) if known else ()
        run = self.runs.get(key) if known else None
        if run is None:
            entries = [self[item] if item.__class__ is int else self.define(item) for item in items]
            said = {entry[2]: entry[0][1] for entry in reversed(entries) if entry[2] is not None}  # the first counts
            run = _Run([entry[0] for entry in entries], ",".join([entry[1] for entry in entries]), said)
            if known:
                if len(self.runs) >= _REMEMBERED:
                    self.runs.clear()
                self.runs[key] = run
        return run

    def define(self, item: Any) -> _Entry:
        """A header that comes with its name and value, and with a number where it may come again."""
        if item.__class__ is not list or len(item) < 3:
            raise Odd
        number = item[0]
        if number is not None and number.__class__ is not int:
            raise Odd
        entry = _entry(item[1:3])
        if number is not None:
            if number in self.known:  # it meant another before
                self.runs.clear()
            self.known[number] = entry[0]
            self[number] = entry
        return entry


def _entry(pair: list[str]) -> _Entry:
    name, value = pair
    if name.__class__ is not str or value.__class__ is not str:
        raise Odd
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:  # JSON spells it as it is
        text = f'[{texts[name]},"{value}"]'
    else:
        text = exact_json(pair)
    if not (text.isascii() or encodable(text)):
        raise Odd
    if len(name) not in _SIZES:
        return pair, text, None
    told = name.lower()
    if told not in (_TYPE, _ENCODING):
        return pair, text, None
    if not value:  # whether a later one counts depends on who asks
        raise Odd
    return pair, text, told


def _spelled(head: dict[str, Any], headers: str) -> str | None:
    """The JSON text of a head whose headers are spelled; None where it has anything but short texts and integers."""
    members = []
    for key, value in head.items():
        if key.__class__ is not str:
            return None
        if value.__class__ is str:
            members.append(f"{texts[key]}:{texts[value]}")
        elif key == "headers":
            members.append(f'"headers":{headers}')
        elif value.__class__ is int:
            members.append(f"{texts[key]}:{value}")
        else:
            return None
    line = f"{{{','.join(members)}}}"
    return line if line.isascii() or encodable(line) else None
