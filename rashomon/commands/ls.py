"""`rashomon ls`: the traces of a home, newest first."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rashomon.commands import options
from rashomon.errors import UsageError

if TYPE_CHECKING:
    from rashomon.store import TraceRow

EXAMPLE = "Example: rashomon ls --since 24h --where \"outcome = 'error'\""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_OUTCOME_STYLES = {"ok": "green", "error": "red", "killed": "red", "open": "yellow"}


def ls(
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="Only traces for which this SQL over the table traces holds."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="AGE", help="Only traces started since: 30m, 24h, 7d, 2w.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only traces of this name.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """List traces, newest first."""
    from rashomon.commands import terminal

    since_ns = None if since is None else time.time_ns() - age_ns(since)
    with options.reading(home) as store:
        rows = store.list_traces(where=where, since_ns=since_ns, name=name, limit=limit)
    if as_json:
        terminal.print_json({"format": "rashomon.traces/1", "traces": [facts(row) for row in rows]})
    elif terminal.in_terminal():
        _print_rich(rows)
    elif rows:
        terminal.print_text(terminal.columns([cells(row) for row in rows], HEADS, right=(3,)))


def age_ns(text: str) -> int:
    """`24h` in nanoseconds. Raises `UsageError` for what is no age."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if found is None:
        raise UsageError(f"--since {text!r} is no age.", "Write a number and s, m, h, d or w, such as 24h.")
    return int(float(found[1]) * _UNITS[found[2]] * 1_000_000_000)
