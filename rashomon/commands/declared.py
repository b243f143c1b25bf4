"""The command framework as commands name it: loaded when it is needed, not when a command declares its options.

`from rashomon.commands.declared import typer` is typer. While typer itself is not loaded, `typer.Option(...)` and
`typer.Argument(...)` only keep what was said; `rashomon.commands.quick` reads plain arguments by that, and
`for_typer` hands it to typer for everything else: help, completion, errors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints


class Declared(NamedTuple):
    """An `Option` or an `Argument`: the names it was given, such as `--home`, and its settings."""

    what: str
    names: tuple[str, ...]
    settings: dict[str, Any]


if TYPE_CHECKING:
    import typer as typer
else:

    class _Typer:
        def Option(self, *names: str, **settings: Any) -> Any:  # noqa: N802  # typer's name
            return _declare("Option", names, settings)

        def Argument(self, *names: str, **settings: Any) -> Any:  # noqa: N802
            return _declare("Argument", names, settings)

        def __getattr__(self, name: str) -> Any:
            import typer as loaded

            return getattr(loaded, name)

    typer = _Typer()


def _declare(what: str, names: tuple[str, ...], settings: dict[str, Any]) -> Any:
    loaded = sys.modules.get("typer")
    if loaded is None or not hasattr(loaded, what):
        return Declared(what, names, settings)
    return getattr(loaded, what)(*names, **settings)


def for_typer(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with its declarations as typer's own, where some were made before typer was loaded."""
    import typer as loaded

    hints = get_type_hints(command, include_extras=True)
    for name, hint in hints.items():
        if get_origin(hint) is Annotated:
            plain, *said = get_args(hint)
            made = [getattr(loaded, one.what)(*one.names, **one.settings) if isinstance(one, Declared) else one
                    for one in said]  # fmt: skip
            hints[name] = Annotated[plain, *made]
    command.__annotations__ = hints
    return command


__all__ = ["Declared", "for_typer", "typer"]
