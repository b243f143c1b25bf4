"""`rashomon verify`: is everything what it was when it was recorded?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rashomon.commands import options
from rashomon.errors import DamagedData, NotWritable
from rashomon.home import store_path

if TYPE_CHECKING:
    from rashomon.store.verification import Verified

EXAMPLE = "Example: rashomon verify --deep"


def verify(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also compare each trace with what its journals say, step by step.")
    ] = False,
    lakes: Annotated[bool, typer.Option("--lakes", help="Also read all files of the attached lakes.")] = False,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Check journals and store: checksums, digests of all content, rebuilt requests, references.

    Changes nothing but to take in what is new. Exit code 4 when something is damaged; it is named, and the rest
    stays usable.
    """
    from rashomon.commands import terminal
    from rashomon.commands.progress import Bar
    from rashomon.store import connection, ingest_new, verification

    folder = options.chosen_home(home)
    options.check(home)
    if Path(store_path(folder)).exists():
        connection.refuse_newer(Path(store_path(folder)))
    behind, problem = 0, ""
    try:
        with Bar("ingesting") as bar:
            ingest_new(folder, bar.tell)
    except (DamagedData, NotWritable) as error:
        if not Path(store_path(folder)).exists():
            raise
        # else the store is damaged, and the check says how; or its disk is full, and it is behind
        if isinstance(error, NotWritable):
            behind, problem = verification.not_in_store(folder), error.problem
    with Bar("verifying") as bar:
        found = verification.verify(folder, deep, bar.tell, lakes)
    if behind:
        known = f"{terminal.plural(behind, 'journal')} of {found.journals:,} not in the store, or not as now: {problem}"
        found = found._replace(not_in_store=behind, remarks=(known, *found.remarks))
    if as_json:
        terminal.print_json(document(found))
    else:
        terminal.print_text("\n".join(lines(found)))
    if found.flaws:
        raise typer.Exit(DamagedData.exit_code)


def lines(found: Verified) -> list[str]:
    """What was found, for people."""
    from rashomon.commands.terminal import plural
    from rashomon.store.verification import BACK, is_of_lake

    counts = [
        plural(found.journals, "journal"),
        plural(found.traces, "trace"),
        plural(found.steps, "step"),
        plural(found.parts, "part"),
    ]
    if found.lake_files:
        counts.append(plural(found.lake_files, "lake file"))
    told = [f"{flaw.place}: {flaw.where}: {flaw.problem}." for flaw in found.flaws]
    told += found.remarks
    checked = f"Checked {', '.join(counts[:-1])} and {counts[-1]}"
    if found.flaws:
        damaged = [flaw for flaw in found.flaws if flaw.problem != BACK]
        remedy = " `rashomon salvage` rebuilds the store." if any(not is_of_lake(flaw) for flaw in damaged) else ""
        if any(map(is_of_lake, damaged)):
            remedy += " A damaged file of a lake: delete it, and export again from the home that wrote it."
        told.append(f"{checked}: {plural(len(found.flaws), 'flaw')}.{remedy}")
    else:
        told.append(f"{checked}: {'what is in the store' if found.not_in_store else 'all'} is well.")
    return told


def document(found: Verified) -> dict[str, Any]:
    """`rashomon.verify/1`."""
    return {
        "format": "rashomon.verify/1",
        "sound": not found.flaws,
        **found._asdict(),
        "flaws": [flaw._asdict() for flaw in found.flaws],
        "remarks": list(found.remarks),
    }
