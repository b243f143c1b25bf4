"""Options that all reading commands share, and the store that they read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rashomon import measures
from rashomon.commands.declared import typer
from rashomon.commands.progress import Bar
from rashomon.errors import NotWritable, RashomonError, UsageError
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


def age(option: str, text: str) -> int:
    """`30d` in nanoseconds. Raises `UsageError` for what is no age."""
    found = measures.age_ns(text)
    if found is None:
        remedy = "Write a number (12 digits at most) and s, m, h, d, w or y, such as 24h."
        raise UsageError(f"{option} {text!r} is no age.", remedy)
    return found


def size(option: str, text: str) -> int:
    """`20GB` in bytes. Raises `UsageError` for what is no size."""
    found = measures.size_of(text)
    if found is None:
        raise UsageError(f"{option} {text!r} is no size.", "Write a number and kB, MB, GB or TB, such as 20GB.")
    return int(found)


def check(home: Path | None, listing: bool = False) -> None:
    """Raises UsageError for a home that is named and is not there: a list of nothing would mislead.

    `listing`: one that only $RASHOMON_HOME names is told of, and is no failure, as the first recording will make it.
    """
    named, where = (home, "--home") if home is not None else (os.environ.get("RASHOMON_HOME"), "RASHOMON_HOME")
    if not named or os.path.lexists(named):
        return
    problem, remedy = f"{named} is not there: nothing has been recorded in it.", f"Check {where}."
    if home is not None or not listing:
        raise UsageError(problem, remedy)
    from rashomon.recorders.complaints import complain

    complain(f"{problem} {remedy}")


_begun: list[tuple[Path, TraceStore]] = []
"""A home and its store, whose file another thread is opening."""


_WITH_LISTS = ("decimal", "uuid")
"""What DuckDB loads with the first list that a question holds; before DuckDB 2, with the first text."""

TO_LIST = ("rashomon.store.trace_rows", "rashomon.commands.terminal")
TO_FILTER = (*TO_LIST, *_WITH_LISTS, "rashomon.store.filtering")
_TO_RESTORE = ("rashomon.store.references", "rashomon.store.restored")
TO_SHOW = (*_TO_RESTORE, "rashomon.store.lists", "rashomon.store.surroundings")
TO_SHOW_STEP = (*_TO_RESTORE, "rashomon.store.contents", "rashomon.store.bodies", "rashomon.views")
TO_SEARCH = (*TO_FILTER, "rashomon.store.filter_whole")
"""What questions will load."""


def begin(home: Path | None, meanwhile: Sequence[str] = ()) -> None:
    """Have the store opened, where nothing is to be taken in before; load some modules `meanwhile`.

    The next `reading` of this home gives it. Of one that nobody asks for the command line lets go when it ends.
    """
    store = ready(home)
    if store is not None:
        open_soon(home, store, meanwhile)


def ready(home: Path | None, listing: bool = False) -> TraceStore | None:
    """The store of a home, not open yet, where nothing is to be taken in before; else None.

    `listing` is as for `check`.
    """
    from rashomon.store.up_to_date import ready

    check(home, listing)
    try:
        return ready(chosen_home(home))
    except ModuleNotFoundError:  # `reading` says so, when the command has found its words to be right
        return None


def open_soon(home: Path | None, store: TraceStore, meanwhile: Sequence[str]) -> None:
    """Have a store opened, and load some modules `meanwhile`; the next `reading` of this home gives it."""
    try:
        store.begin()
    except ModuleNotFoundError:
        return
    _begun.append((chosen_home(home), store))
    for module in meanwhile:
        import_module(module)


def end() -> None:
    """Let go of what `begin` began, if nobody did."""
    while _begun:
        _begun.pop()[1].close()


def reading(home: Path | None, bar: Bar | None = None, new: bool = False, checked: bool = False) -> TraceStore:
    """The store of a home, with everything recorded so far in it; for use in a `with`.

    `new`: it may be one, and what is recorded must be in it. `checked`: whether the home is there was looked at.
    """
    if not (new or checked):
        check(home)
    if _begun and bar is None and _begun[0][0] == chosen_home(home):
        return _begun.pop()[1]
    from rashomon.store import engine, open_home

    try:
        engine.load()
    except ModuleNotFoundError as error:
        if error.name != "duckdb":
            raise
        raise RashomonError(
            "Reading recordings needs duckdb, which is not installed.", "Install it: pip install 'rashomon[all]'"
        ) from error
    if bar is not None:
        return open_home(chosen_home(home), bar.tell, thorough=True)
    with Bar("ingesting") as own:
        return open_home(chosen_home(home), own.tell, behind=None if new else tell_behind)


def tell_behind(error: NotWritable) -> None:
    """Say on stderr, in one line, that the store is shown without what is new."""
    import sys

    problem = f"{error.problem.rstrip('.')}, so what is new is not in it yet"
    print(f"rashomon: {problem}; `rashomon verify` says how much.", file=sys.stderr)


def tell_damage(store: TraceStore) -> None:
    """Say on stderr, in one line, that journals of this home could not be read whole; nothing when all could."""
    tell(store.damage())


def tell(damage: tuple[str | None, int]) -> None:
    """Say on stderr which journal could not be read whole, and how many more."""
    import sys

    name, count = damage
    if count:
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
    metavar="TRACE", help="An id, a unique prefix, a name, @last, @prev or @last~2.", autocompletion=complete_trace
)
