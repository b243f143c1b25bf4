"""`rashomon salvage`: a damaged store is built again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rashomon.commands import options
from rashomon.errors import DamagedData, RashomonError, UsageError

if TYPE_CHECKING:
    from rashomon.store.salvage import Salvaged

EXAMPLE = "Example: rashomon salvage colleague.rsh"


def salvage(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(metavar="BUNDLE", help="Bundles whose traces are taken in as well, as far as they are whole."),
    ] = None,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Build the store again, from journals, notes, bundles, and what can be read of the damaged store.

    The old store is kept beside. Exit code 4 when something could not be saved; it is named.
    """
    from rashomon.commands import terminal
    from rashomon.commands.progress import Bar
    from rashomon.store import salvage as salvaging

    folder = options.chosen_home(home)
    options.check(home)
    for bundle in bundles or ():  # before anything is changed
        if not bundle.is_file():
            raise UsageError(f"{bundle} is no file.", "Name bundles that `rashomon export` wrote.")
    with Bar("salvaging") as bar:
        done = salvaging.salvage(folder, bar.tell)
    taken = [take(folder, bundle) for bundle in bundles or ()]
    if as_json:
        terminal.print_json(document(done, taken))
    else:
        terminal.print_text("\n".join(lines(done, taken)))
    if done.lost or done.partly or done.check.flaws or any(problems for _, _, problems in taken):
        raise typer.Exit(DamagedData.exit_code)


def take(folder: Path, bundle: Path) -> tuple[str, int, list[str]]:
    """Take a bundle in: its name, how many traces are new, and what is wrong with it."""
    from rashomon.store import forgotten
    from rashomon.store.importing import Conflict, import_bundle

    try:
        found = import_bundle(folder, bundle, Conflict.SKIP, salvage=True)
    except RashomonError as error:
        return bundle.name, 0, [error.problem]
    lost = [f"{where}: {why}" for where, why in found.left_out if why != forgotten.WAS]
    return bundle.name, len(found.new), lost


def lines(done: Salvaged, taken: list[tuple[str, int, list[str]]]) -> list[str]:
    """What was done, for people."""
    from rashomon.commands.terminal import plural

    told = [f"The store was built again: {plural(done.traces, 'trace')}."]
    if done.rescued:
        told.append(f"{plural(len(done.rescued), 'trace')} came from the old store, which alone had them:")
        partly = dict(done.partly)
        told += [f"  {one}{': ' + partly[one] if one in partly else ''}" for one in done.rescued]
    told += [f"  LOST {one}: {why}" for one, why in done.lost]
    if done.notes:
        told.append(f"{plural(done.notes, 'note')} came from the old store.")
    told += [f"{name} is a copy of a journal that had lost what the store had." for name in done.moved]
    for name, count, problems in taken:
        told.append(f"{name}: {plural(count, 'new trace')}.")
        told += [f"  not taken: {problem}" for problem in problems]
    told += [f"  {flaw.place}: {flaw.where}: {flaw.problem}." for flaw in done.check.flaws]
    if done.kept:
        told.append(f"The old store is kept as {done.kept}; delete it when you miss nothing.")
    return told


def document(done: Salvaged, taken: list[tuple[str, int, list[str]]]) -> dict[str, Any]:
    """`rashomon.salvage/1`."""
    return {
        "format": "rashomon.salvage/1",
        "traces": done.traces,
        "rescued": list(done.rescued),
        "partly": [{"trace": one, "problem": why} for one, why in done.partly],
        "lost": [{"what": one, "problem": why} for one, why in done.lost],
        "notes": done.notes,
        "kept": done.kept,
        "moved": list(done.moved),
        "bundles": [{"name": name, "new": count, "problems": problems} for name, count, problems in taken],
        "flaws": [flaw._asdict() for flaw in done.check.flaws],
    }
