"""`rashomon lake`: which lakes of Parquet files `rashomon sql` sees beside the store."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from rashomon.commands import options
from rashomon.errors import UsageError

EXAMPLE = "Example: rashomon lake attach s3://bucket/traces --name years"


class Action(StrEnum):
    """What is done."""

    ATTACH = "attach"
    DETACH = "detach"
    LIST = "list"


def lake(
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.LIST,
    target: Annotated[
        str | None, typer.Argument(metavar="URL|NAME", help="attach: a folder or URL. detach: the lake's name.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What SQL calls it (default: lake).")
    ] = None,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Attach lakes that `rashomon export --to` made, read-only.

    In `rashomon sql`, the tables and views of a lake called years are years.steps, years.llm_calls and so on.
    """
    from rashomon.commands import terminal

    folder = options.chosen_home(home)
    if action is not Action.ATTACH:
        options.check(home)
    options.reading(folder, new=True)
    from rashomon.store import lake as lakes

    if (target is None) != (action is Action.LIST):
        raise UsageError(f"lake {action.value} takes {'nothing' if target else 'a target'}.", EXAMPLE)
    if name is not None and action is not Action.ATTACH:
        raise UsageError("--name goes with attach.", EXAMPLE)
    if target is not None and action is Action.ATTACH:
        lakes.attach(folder, target, name or "lake")
    elif target is not None:
        lakes.detach(folder, target)
    found = lakes.attached(folder)
    if as_json:
        terminal.print_json({"format": "rashomon.lakes/1", "lakes": [one._asdict() for one in found]})
    elif found:
        terminal.print_text(terminal.columns([[one.name, one.url] for one in found], ("NAME", "URL")))
