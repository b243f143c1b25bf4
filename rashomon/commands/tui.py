"""`rashomon tui`: the terminal application."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rashomon.commands import options
from rashomon.errors import RashomonError, UsageError

EXAMPLE = "Example: rashomon tui @prev @last"


def at_terminal() -> bool:
    """True when a person can use the application: it reads keys from stdin, and draws on stderr as on stdout."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def tui(
    traces: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TRACE",
            help="One to open as a list of steps, two to open aligned; none for the list of traces.",
            autocompletion=options.complete_trace,
        ),
    ] = None,
    home: options.Home = None,
) -> None:
    """Look at traces in the terminal application."""
    refs = tuple(traces or ())
    if len(refs) > 2:
        raise UsageError(f"{len(refs)} traces cannot be opened together.", "Name one, or two to compare.")
    if not at_terminal():
        raise UsageError("The terminal application needs a terminal.", "In a pipe, use show, diff or ls.")
    options.check(home)
    try:
        from rashomon.tui.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("textual", "duckdb"):
            raise
        raise RashomonError(
            f"The terminal application needs {error.name}, which is not installed.",
            "Install it: pip install 'rashomon[all]'",
        ) from error
    raise typer.Exit(run(options.chosen_home(home), refs))
