"""`rashomon ingest`: take journals into the store."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rashomon.commands import options
from rashomon.errors import DamagedData, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rashomon.store import IngestReport

EXAMPLE = "Example: rashomon ingest colleague/journals/*.rsj"


def ingest(
    journals: Annotated[
        list[Path] | None,
        typer.Argument(metavar="JOURNAL", help="Files from elsewhere; none for what is new in the home."),
    ] = None,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Take journals into the store.

    The reading commands do this by themselves. Exit code 4 when something is damaged; the rest is kept.
    """
    from rashomon.commands import terminal

    for path in journals or ():
        if not path.is_file():
            raise UsageError(f"There is no file {path}.", "Name journals: files that end in .rsj.")
    with options.reading(home) as store, _progress() as progress:
        report = store.ingest(journals or None, progress=progress)
    if as_json:
        terminal.print_json(document(report))
    else:
        terminal.print_text("\n".join(lines(report)))
    if report.damage:
        raise typer.Exit(DamagedData.exit_code)


def document(report: IngestReport) -> dict[str, Any]:
    """`rashomon.ingest/1`."""
    return {
        "format": "rashomon.ingest/1",
        "journals": report.journals,
        "traces": report.traces,
        "steps": report.steps,
        "damage": [damage._asdict() for damage in report.damage],
    }


def lines(report: IngestReport) -> list[str]:
    """The report as text: counts first, then each damaged stretch."""
    from rashomon.commands.terminal import plural

    read, grown = plural(report.journals, "journal"), plural(report.traces, "trace")
    found = [f"{read} read: {grown} new or grown, {plural(report.steps, 'step')}."]
    for damage in report.damage:
        where = f" at byte {damage.offset:,}, {plural(damage.size, 'byte')}" if damage.size else ""
        found.append(f"DAMAGED: {damage.path}{where}: {damage.reason}")
    return found


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr while a terminal is looking; nothing else is ever written there."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("ingesting", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
