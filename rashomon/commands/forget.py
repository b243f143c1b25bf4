"""`rashomon forget`: a person's data goes for good, and a search of everything shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from rashomon.commands import options
from rashomon.commands.gc import SHOWN, Ended, Yes
from rashomon.commands.gc import chosen as by_query
from rashomon.errors import DamagedData, TraceNotFound, UsageError
from rashomon.measures import shown_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rashomon.store import TraceStore
    from rashomon.store.forgetting import Choice, Forgotten, Returned
    from rashomon.store.lake_removal import Held, InLakes

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
    from rashomon.store import forgetting

    options.check(home)
    texts, folder = text or [], options.chosen_home(home)
    named = where is not None or matching is not None or bool(texts or trace or tag or lakes)
    back = forgetting.Returned() if named and yes else forgetting.came_back(folder)
    if not named and not back:
        raise UsageError("Nothing says what is to be forgotten.", "Give --where, --filter, --text, --trace or --tag.")
    forgetting.check_texts(texts)
    pairs = [pair(one) for one in tag or ()]
    with options.reading(home) as store:
        ids = [*by_query(store, where, matching), *chosen(store, trace or [], pairs, lakes)]
    wanted = Wanted(tuple(ids), tuple(texts), tuple(pairs), lakes)
    choice, elsewhere = looked_up(folder, wanted)
    done, found = None, elsewhere
    if yes:
        done, elsewhere = carried_out(folder, wanted, choice, elsewhere, ended)
    tell(Told(choice, done, elsewhere, found, lakes, back if done is None else done.returned), as_json)
    if done is not None and (done.proof.found or done.done.left or elsewhere.held or elsewhere.problems):
        raise typer.Exit(DamagedData.exit_code)


class Wanted(NamedTuple):
    """What was asked for: ids of traces, texts, tags; and whether to take it out of lakes too."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]
    lakes: bool


def looked_up(folder: Path, wanted: Wanted) -> tuple[Choice, InLakes]:
    """What would go from the home, and what attached lakes hold of it.

    Where it is to go from lakes too, what they hold goes from the home as well: a lake may know of a family that the
    home has only in part. Raises `TraceNotFound` for an id that neither has.
    """
    from rashomon.store import forgetting, lake_removal

    ids = wanted.ids
    choice = forgetting.choose(folder, ids, wanted.texts)
    while True:
        elsewhere = lake_removal.holding(folder, [*ids, *choice.traces], wanted.texts, wanted.tags)
        known = {*choice.traces, *elsewhere.traces}
        for one in ids:
            if one not in known and not elsewhere.problems:
                raise TraceNotFound(f"Neither this home nor a lake of it has a trace {one!r}.", "Give the whole id.")
        if not wanted.lakes or known == choice.traces.keys():
            return choice, elsewhere
        wider = forgetting.choose(folder, [*ids, *elsewhere.traces], wanted.texts)
        if wider.traces.keys() == choice.traces.keys():
            return choice, elsewhere
        choice = wider


def carried_out(
    folder: Path, wanted: Wanted, choice: Choice, elsewhere: InLakes, ended: bool
) -> tuple[Forgotten, InLakes]:
    """Do it, and in lakes too where that is wanted. What was done, and what lakes hold afterwards."""
    from rashomon.commands.progress import Bar
    from rashomon.store import forgetting, lake_removal

    with Bar("forgetting") as bar:
        beside = elsewhere.traces if wanted.lakes else ()
        done = forgetting.forget(folder, choice, wanted.texts, bar.tell, ended, beside)
    if not wanted.lakes:
        return done, elsewhere
    problems: tuple[str, ...] = ()
    lake_removal.sweep(folder)
    if elsewhere.held:
        with Bar("forgetting in lakes") as bar:
            problems = lake_removal.remove(elsewhere.held, bar.tell)
    left = lake_removal.holding(folder, [*choice.traces, *beside], wanted.texts, wanted.tags)
    return done, left._replace(problems=tuple(dict.fromkeys([*problems, *left.problems])))


class Told(NamedTuple):
    """What is told: what was chosen, what was done, what lakes hold now, what they held before, `--lakes`, and what was
    forgotten earlier and had come back."""

    choice: Choice
    done: Forgotten | None
    left: InLakes
    before: InLakes
    lakes: bool
    back: Returned

    @property
    def taken(self) -> list[Held]:
        """What was taken out of lakes."""
        still = {(one.url, one.day, one.source) for one in self.left.held}
        return [one for one in self.before.held if (one.url, one.day, one.source) not in still]


def tell(told: Told, as_json: bool) -> None:
    """Say what would go, or what was done."""
    from rashomon.commands import terminal

    if as_json:
        terminal.print_json(document(told))
        return
    said = planned(told.choice, told.back) if told.done is None else reported(told.done, told.choice)
    terminal.print_text("\n".join([*said, *lake_lines(told)]))


def lake_lines(told: Told) -> list[str]:
    """What lakes hold, for people."""
    said = held_lines("taken out of", told.taken)
    said += held_lines("also in" if told.done is None else "LEFT in", told.left.held)
    if told.left.held and not told.lakes:
        said.append(f"--lakes takes {'what is in lakes' if told.done is None else 'them'} out there too.")
    said += [f"  NOT searched or changed, {problem}" for problem in told.left.problems]
    return said


def held_lines(what: str, found: Sequence[Held]) -> list[str]:
    """What lakes hold, or held, by day."""
    from rashomon.commands import terminal

    said = []
    for held in found[:SHOWN]:
        counts = [(len(held.traces), "trace"), (len(held.notes), "note")]
        listed = " and ".join(terminal.plural(count, noun) for count, noun in counts if count)
        said.append(f"  {what} lake {held.lake}, day {held.day}, {held.source}: {listed}")
    if len(found) > SHOWN:
        said.append(f"  ... and {len(found) - SHOWN:,} more days (--json names all)")
    return said


def pair(text: str) -> tuple[str, str]:
    """`user=u-17` as key and value. Raises `UsageError`."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"--tag {text!r} is no tag.", "Write KEY=VALUE, such as user=u-17.")
    return key, value


def chosen(store: TraceStore, traces: list[str], tags: list[tuple[str, str]], lakes: bool) -> list[str]:
    """Ids of the traces that are named, and of those with one of the tags.

    With `lakes` a name that the home does not know is taken for an id that only a lake may have.
    """
    found = []
    for one in traces:
        try:
            found.append(store.resolve(one))
        except TraceNotFound:
            if not lakes:
                raise
            found.append(one)
    if tags:
        found += [row.id for row in store.traces() if any(row.tags.get(key) == value for key, value in tags)]
    return found


def back_lines(back: Returned, what: str) -> list[str]:
    """What was forgotten and came back, for people."""
    from rashomon.commands import terminal

    if not back:
        return []
    counts = ((len(back.traces), "trace"), (len(back.notes), "note"))
    listed = " and ".join(terminal.plural(count, noun) for count, noun in counts if count)
    return [f"{listed} that had been forgotten before {what}."]


def planned(choice: Choice, back: Returned) -> list[str]:
    """What would go, for people."""
    from rashomon.commands import terminal

    told = [f"{terminal.plural(len(choice.traces), 'trace')} would be forgotten."]
    told += [f"  {one}: {why}" for one, why in list(choice.traces.items())[:SHOWN]]
    if len(choice.traces) > SHOWN:
        told.append(f"  ... and {len(choice.traces) - SHOWN:,} more (--json names all)")
    if choice.notes:
        told.append(f"{terminal.plural(choice.notes, 'note')} with the text would go.")
    told += [f"  also in {one.place}, {one.where}" for one in choice.loose]
    told += back_lines(back, "came back and would go")
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
    told += [f"  {one}: {choice.traces.get(one, 'came back')}" for one in work.removed[:SHOWN]]
    told += back_lines(done.returned, "had come back")
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


def document(told: Told) -> dict[str, Any]:
    """`rashomon.forget/1`."""
    choice, done = told.choice, told.done
    found: dict[str, Any] = {
        "format": "rashomon.forget/1",
        "applied": done is not None,
        "traces": [{"id": one, "reason": why} for one, why in choice.traces.items()],
        "notes": choice.notes if done is None else done.notes,
        "returned": {"traces": told.back.traces, "notes": [note.id for note in told.back.notes]},
        "lakes": [held._asdict() for held in told.left.held],
        "lake_problems": list(told.left.problems),
    }
    if done is not None:
        work, proof = done.done, done.proof
        found |= {
            "removed": list(work.removed),
            "removed_from_lakes": [held._asdict() for held in told.taken],
            "journals": [one._asdict() for one in work.journals],
            "store_bytes": work.store_before,
            "store_bytes_after": work.store_after,
            "proof": {**proof._asdict(), "holds": proof.holds, "found": [one._asdict() for one in proof.found]},
        }
    return found
