"""`rashomon forget`: a person's data goes for good, and a search of everything shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rashomon.commands import options
from rashomon.commands.gc import SHOWN, Ended, Yes, shown_size
from rashomon.commands.gc import chosen as by_query
from rashomon.errors import DamagedData, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rashomon.store import TraceStore
    from rashomon.store.forgetting import Choice, Forgotten
    from rashomon.store.lake_removal import InLakes

EXAMPLE = "Example: rashomon forget --tag user=u-17 --text jane@example.com"


def forget(
    where: Annotated[
        str | None, typer.Option("--where", metavar="SQL", help="Traces for which this SQL over trace_list holds.")
    ] = None,
    matching: Annotated[
        str | None, typer.Option("--filter", metavar="FILTER", help="Traces that this filter of `ls` finds.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TEXT", help="Every trace that holds this text anywhere. Repeatable."),
    ] = None,
    trace: Annotated[
        list[str] | None,
        typer.Option("--trace", metavar="TRACE", help="This trace. Repeatable.", autocompletion=options.complete_trace),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Traces with this tag. Repeatable.")
    ] = None,
    lakes: Annotated[bool, typer.Option("--lakes", help="Take them out of attached lakes too.")] = False,
    yes: Yes = False,
    ended: Ended = False,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Remove traces for good, from store, journals and notes, and search everything for what was removed.

    What any of the options names goes, with what is within it and its replays. Says what would go; --yes does it.
    --lakes alone takes out of lakes what was forgotten before. Exit code 4 when something is left. Bundles, exports
    and backups are outside.
    """
    from rashomon.commands import terminal
    from rashomon.commands.progress import Bar
    from rashomon.store import forgetting, lake_removal

    texts = text or []
    if where is None and matching is None and not (texts or trace or tag or lakes):
        raise UsageError("Nothing says what is to be forgotten.", "Give --where, --filter, --text, --trace or --tag.")
    forgetting.check_texts(texts)
    pairs = [pair(one) for one in tag or ()]
    folder = options.chosen_home(home)
    with options.reading(home) as store:
        ids = [*by_query(store, where, matching), *chosen(store, trace or [], pairs)]
    choice = forgetting.choose(folder, ids, texts)
    elsewhere = lake_removal.holding(folder, choice.traces, texts)
    done = None
    if yes:
        with Bar("forgetting") as bar:
            done = forgetting.forget(folder, choice, texts, bar.tell, ended)
        if lakes:
            elsewhere = out_of_lakes(folder, elsewhere, choice, texts)
    if as_json:
        terminal.print_json(document(choice, done, elsewhere))
    else:
        told = planned(choice) if done is None else reported(done, choice)
        terminal.print_text("\n".join([*told, *lake_lines(elsewhere, done is not None, lakes)]))
    if done is not None and (done.proof.found or done.done.left or elsewhere.held or elsewhere.problems):
        raise typer.Exit(DamagedData.exit_code)


def out_of_lakes(folder: Path, elsewhere: InLakes, choice: Choice, texts: list[str]) -> InLakes:
    """Take it out of lakes, and look again."""
    from rashomon.commands.progress import Bar
    from rashomon.store import lake_removal

    if elsewhere.held:
        with Bar("forgetting in lakes") as bar:
            lake_removal.remove(elsewhere.held, bar.tell)
    return lake_removal.holding(folder, choice.traces, texts)


def lake_lines(elsewhere: InLakes, done: bool, lakes: bool) -> list[str]:
    """What lakes hold, for people."""
    from rashomon.commands import terminal

    what = "LEFT in" if done else "also in"
    told = []
    for held in elsewhere.held[:SHOWN]:
        told.append(
            f"  {what} lake {held.lake}, day {held.day}, {held.source}: {terminal.plural(len(held.traces), 'trace')}"
        )
    if len(elsewhere.held) > SHOWN:
        told.append(f"  ... and {len(elsewhere.held) - SHOWN:,} more days (--json names all)")
    if elsewhere.held and not lakes:
        told.append(f"--lakes takes {'them' if done else 'what is in lakes'} out there too.")
    told += [f"  NOT searched, {problem}" for problem in elsewhere.problems]
    return told


def pair(text: str) -> tuple[str, str]:
    """`user=u-17` as key and value. Raises `UsageError`."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"--tag {text!r} is no tag.", "Write KEY=VALUE, such as user=u-17.")
    return key, value


def chosen(store: TraceStore, traces: list[str], tags: list[tuple[str, str]]) -> list[str]:
    """Ids of the traces that are named, and of those with one of the tags."""
    found = [store.resolve(one) for one in traces]
    if tags:
        found += [row.id for row in store.traces() if any(row.tags.get(key) == value for key, value in tags)]
    return found


def planned(choice: Choice) -> list[str]:
    """What would go, for people."""
    from rashomon.commands import terminal

    told = [f"{terminal.plural(len(choice.traces), 'trace')} would be forgotten."]
    told += [f"  {one}: {why}" for one, why in list(choice.traces.items())[:SHOWN]]
    if len(choice.traces) > SHOWN:
        told.append(f"  ... and {len(choice.traces) - SHOWN:,} more (--json names all)")
    if choice.notes:
        told.append(f"{terminal.plural(choice.notes, 'note')} that hold the text would go.")
    told += [f"  also in {one.place}, {one.where}" for one in choice.loose]
    told.append("Nothing was changed. --yes does it, and cannot be undone.")
    return told


def reported(done: Forgotten, choice: Choice) -> list[str]:
    """What was done, for people, with the proof."""
    from rashomon.commands import terminal

    work, proof = done.done, done.proof
    deleted = sum(1 for one in work.journals if one.action == "deleted")
    rewritten = sum(1 for one in work.journals if one.action == "rewritten")
    told = [
        f"{terminal.plural(len(work.removed), 'trace')} forgotten: {terminal.plural(deleted, 'journal')} deleted,"
        f" {rewritten:,} rewritten, {terminal.plural(done.notes, 'note')} with the text removed; store"
        f" {shown_size(work.store_before)} → {shown_size(work.store_after)}."
    ]
    told += [f"  {one}: {choice.traces.get(one, '')}" for one in work.removed[:SHOWN]]
    told += [f"  NOT removed, {name}: {reason}" for name, reason in work.left]
    searched = f"Searched {terminal.plural(proof.files, 'file')}, {shown_size(proof.size)}, by bytes and by SQL, for"
    told.append(f"{searched} {proof.needles:,} ids and spellings: ")
    if proof.found:
        told[-1] += f"found in {terminal.plural(len(proof.found), 'place')}."
        told += [f"  LEFT in {one.place}, {one.where}" for one in proof.found[:SHOWN]]
    else:
        told[-1] += "nothing found."
    told += [f"  not looked into, as it is compressed: {name}" for name in proof.outside]
    told.append("Bundles, exports and backups made before are outside of this home.")
    return told


def document(choice: Choice, done: Forgotten | None, elsewhere: InLakes) -> dict[str, Any]:
    """`rashomon.forget/1`."""
    found: dict[str, Any] = {
        "format": "rashomon.forget/1",
        "applied": done is not None,
        "traces": [{"id": one, "reason": why} for one, why in choice.traces.items()],
        "notes": choice.notes if done is None else done.notes,
        "lakes": [held._asdict() for held in elsewhere.held],
        "lake_problems": list(elsewhere.problems),
    }
    if done is not None:
        work, proof = done.done, done.proof
        found |= {
            "removed": list(work.removed),
            "journals": [one._asdict() for one in work.journals],
            "store_bytes": work.store_before,
            "store_bytes_after": work.store_after,
            "proof": {**proof._asdict(), "holds": proof.holds, "found": [one._asdict() for one in proof.found]},
        }
    return found
