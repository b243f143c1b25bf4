"""Plain arguments, read without the command framework, which takes longer to load than a list of traces.

Nothing is decided here that typer would decide otherwise: whatever is not plainly right (a name that is not spelled
out, a value that does not fit, `--help`, a shell that completes) is left to it, with its words for what is wrong.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

from rashomon.commands.declared import Declared

COMMANDS = ("ls", "show", "grep", "sql", "note")
"""The commands that are read so: `rashomon.commands.NAME` has a function of that name."""

_SETTINGS = {"metavar", "help", "min", "max", "autocompletion", "show_default", "hidden", "rich_help_panel"}
"""What a declaration may say for its values to be understood here."""

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_STARRED = 0x04 | 0x08
"""The flags of a function with `*args` or `**kwargs`."""


class _Given(NamedTuple):
    """One parameter of a command: how it is named, what it takes, and whether it may be left out."""

    name: str
    options: tuple[str, ...]
    kind: Any
    many: bool
    needed: bool
    low: int | None
    high: int | None

    def value(self, text: str) -> Any:
        """The value that a text stands for; raises ValueError where typer is to decide."""
        if self.kind is str:
            return text
        if self.kind is Path:
            return Path(text)
        if self.kind is int:
            return self._integer(text)
        if isinstance(self.kind, type) and issubclass(self.kind, Enum):
            return self.kind(text)
        raise ValueError(text)

    def _integer(self, text: str) -> int:
        number = int(text) if _INTEGER.fullmatch(text) else None
        if (
            number is None
            or not (self.low is None or number >= self.low)
            or not (self.high is None or number <= self.high)
        ):
            raise ValueError(text)
        return number


def run(arguments: list[str]) -> int | None:
    """Run a command whose arguments are plain; its exit code. None: typer is to read them.

    What the command raises goes through.
    """
    if not arguments or arguments[0] not in COMMANDS:
        return None
    name = arguments[0]
    try:
        command = getattr(import_module(f"rashomon.commands.{name}"), name)
    except ModuleNotFoundError as error:
        if error.name != f"rashomon.commands.{name}":
            raise
        return None
    values = read(command, arguments[1:])
    if values is None:
        return None
    try:
        code = command(**values)
    except Exception as error:  # a command ends early by an exception of typer's, which had to be loaded for that
        if "typer" not in sys.modules:
            raise
        from rashomon.commands.app import ended

        return ended(error, arguments)
    return code if isinstance(code, int) else 0


def read(command: Callable[..., Any], words: list[str]) -> dict[str, Any] | None:
    """The values of a command's parameters; None where typer is to read them."""
    try:
        given = _parameters(command)
        found = _words(given, words)
    except ValueError:
        return None
    if any(one.needed and one.name not in found for one in given):
        return None
    return found


def _parameters(command: Callable[..., Any]) -> list[_Given]:
    hints, code = get_type_hints(command, include_extras=True), command.__code__
    if code.co_kwonlyargcount or code.co_flags & _STARRED:
        raise ValueError(command.__name__)
    names, defaults = code.co_varnames[: code.co_argcount], len(command.__defaults__ or ())
    return [_parameter(name, hints[name], at < len(names) - defaults) for at, name in enumerate(names)]


def _parameter(name: str, hint: Any, needed: bool) -> _Given:
    plain, *said = get_args(hint)
    declared = said[0] if said else None
    what = getattr(declared, "what", None) or type(declared).__name__.removesuffix("Info")
    names, settings = _said(declared)
    if what not in ("Option", "Argument") or not settings.keys() <= _SETTINGS:
        raise ValueError(name)
    kinds = [kind for kind in get_args(plain) or (plain,) if kind is not NoneType]
    many = getattr(kinds[0], "__origin__", None) is list or getattr(plain, "__origin__", None) is list
    kind = (get_args(kinds[0]) or (kinds[0],))[0]
    if len(kinds) != 1:
        raise ValueError(name)
    options = () if what == "Argument" else names or (f"--{name.replace('_', '-')}",)
    if kind is bool and any("/" in one for one in options):
        raise ValueError(name)
    low, high = settings.get("min"), settings.get("max")
    return _Given(name, options, kind, many, needed, low, high)


def _said(declared: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    if isinstance(declared, Declared):
        return declared.names, declared.settings
    raise ValueError("typer is loaded: it can read them as well")


def _words(given: list[_Given], words: list[str]) -> dict[str, Any]:
    by_option = {option: one for one in given for option in one.options}
    positional: list[str] = []
    found: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        if word[:1] != "-" or word == "-":
            positional.append(word)
            continue
        option, has_value, text = word.partition("=") if word.startswith("--") else (word, "", "")
        if option not in by_option:
            raise ValueError(word)
        one = by_option[option]
        if one.kind is bool:
            if has_value:
                raise ValueError(word)
            found[one.name] = True
            continue
        if not has_value:
            text = next(rest, "-")
            if text.startswith("-"):
                raise ValueError(word)
        _put(found, one, text)
    return found | _arguments([one for one in given if not one.options], positional)


def _put(found: dict[str, Any], one: _Given, text: str) -> None:
    if one.many:
        found.setdefault(one.name, []).append(one.value(text))
    else:
        found[one.name] = one.value(text)


def _arguments(given: list[_Given], positional: list[str]) -> dict[str, Any]:
    """Words without an option, in order; the last argument may take many."""
    found: dict[str, Any] = {}
    for at, one in enumerate(given):
        if one.many and at < len(given) - 1:
            raise ValueError(one.name)
        if not positional:
            break
        if one.many:
            found[one.name], positional = [one.value(text) for text in positional], []
        else:
            found[one.name] = one.value(positional.pop(0))
    if positional:
        raise ValueError(positional[0])
    return found
