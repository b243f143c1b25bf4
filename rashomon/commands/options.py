"""Options that all reading commands share, and the store that they read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rashomon.commands.declared import typer
from rashomon.commands.progress import Bar
from rashomon.errors import RashomonError
from rashomon.home import find_home

if TYPE_CHECKING:
    from rashomon.store import TraceStore

Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="FOLDER", help="Where recordings live (default: $RASHOMON_HOME, else .rashomon)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def chosen_home(home: Path | None) -> Path:
    """The folder named by `--home`, else the one that is found."""
    return find_home() if home is None else home.absolute()


def reading(home: Path | None, bar: Bar | None = None) -> TraceStore:
    """The store of a home, with everything recorded so far in it; for use in a `with`."""
    try:
        from rashomon.store import open_home
    except ModuleNotFoundError as error:
        if error.name != "duckdb":
            raise
        raise RashomonError(
            "Reading recordings needs duckdb, which is not installed.", "Install it: pip install 'rashomon[all]'"
        ) from error
    if bar is not None:
        return open_home(chosen_home(home), bar.tell, thorough=True)
    with Bar("ingesting") as own:
        return open_home(chosen_home(home), own.tell)


def tell_damage(store: TraceStore) -> None:
    """Say on stderr, in one line, that journals of this home could not be read whole; nothing when all could."""
    import sys

    found = store.query(
        "SELECT name, count(*) OVER () FROM journals WHERE len(damage) > 0 OR state <> 'read' ORDER BY name LIMIT 1"
    ).rows
    if found:
        name, count = found[0]
        more = f" and {count - 1:,} more journals" if count > 1 else ""
        print(f"rashomon: {name}{more} cannot be read whole; `rashomon verify` says why.", file=sys.stderr)


def complete_trace(incomplete: str) -> list[str]:
    """References to traces, for the shell: what the store knows, newest first."""
    try:
        with reading(None) as store:
            rows = store.traces(limit=50)
    except Exception:  # a shell's completion has nowhere to say what is wrong
        return []
    known = [
        "@last",
        "@prev",
        *dict.fromkeys(row.name for row in rows),
        *(row.id for row in rows),
    ]
    return [reference for reference in known if reference.startswith(incomplete)]


Reference = typer.Argument(
    metavar="TRACE", help="An id, a unique prefix, a name, @last or @prev.", autocompletion=complete_trace
)
