"""`rashomon gc`: old traces go, and their space comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rashomon.commands import options
from rashomon.errors import UsageError
from rashomon.measures import shown_size

if TYPE_CHECKING:
    from pathlib import Path

    from rashomon.store import TraceStore
    from rashomon.store.retention import Done, Keep, Plan

EXAMPLE = "Example: rashomon gc --keep 30d --max-size 20GB --keep-label incident"

SHOWN = 20
"""So many traces are named in the text for people; `--json` names all."""

_ROUNDS = 5

Yes = Annotated[bool, typer.Option("--yes", "--apply", help="Do it. Without this, only say what would be done.")]
Ended = Annotated[
    bool,
    typer.Option("--ended", help="Processes that left a journal open have ended (killed, or on another machine)."),
]


def gc(
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="AGE", help="Traces that ended longer ago go: 36h, 30d, 8w, 1y.")
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="The oldest go until store and journals fit: 500MB, 20GB."),
    ] = None,
    keep_label: Annotated[
        list[str] | None, typer.Option("--keep-label", metavar="LABEL", help="Traces labelled so stay. Repeatable.")
    ] = None,
    keep_filter: Annotated[
        str | None, typer.Option("--keep-filter", metavar="FILTER", help="Traces that this filter of `ls` finds stay.")
    ] = None,
    keep_where: Annotated[
        str | None, typer.Option("--keep-where", metavar="SQL", help="Traces stay for which this SQL holds.")
    ] = None,
    yes: Yes = False,
    ended: Ended = False,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Remove old traces from store and journals, and give their space back.

    Says what would go; --yes does it. What is still being written stays, and the recordings of replays that stay.
    """
    from rashomon.commands import terminal
    from rashomon.commands.progress import Bar
    from rashomon.store import retention

    if keep is None and max_size is None:
        raise UsageError("Nothing says what is to stay.", "Give --keep 30d, --max-size 20GB, or both.")
    if not all(label.strip() for label in keep_label or ()):
        raise UsageError("A --keep-label is empty.", "Write a label, such as incident.")
    age_ns = None if keep is None else options.age("--keep", keep)
    max_bytes = None if max_size is None else options.size("--max-size", max_size)
    folder = options.chosen_home(home)
    with options.reading(home) as store:
        found = chosen(store, keep_where, keep_filter)
    policy = retention.Keep(age_ns, max_bytes, tuple(keep_label or ()), frozenset(found))
    plan = retention.plan(folder, policy, time.time_ns(), ended)
    done = None
    if yes:
        with Bar("removing") as bar:
            done = collect(folder, policy, plan, bar.tell, ended)
    if as_json:
        terminal.print_json(document(plan, done))
    else:
        terminal.print_text("\n".join(lines(plan, done, max_bytes)))


def chosen(store: TraceStore, where: str | None, text: str | None) -> list[str]:
    """Ids of the traces for which SQL over `trace_list` holds, and of those that a filter finds.

    Raises `UsageError` for one that is empty: a variable of a script that is not set must not choose everything.
    """
    from rashomon import filters

    for given in (where, text):
        if given is not None and not given.strip():
            raise UsageError("A filter or condition is empty, which would choose every trace.", "Write what is meant.")

    found = [] if where is None else [row.id for row in store.traces(where=where)]
    if text is not None:
        found += [row.id for row in store.traces(matching=filters.parse(text))]
    return found


def collect(folder: Path, policy: Keep, plan: Plan, tell: Any, ended: bool) -> list[Done]:
    """Remove what the plan says; and again, while the files measured are larger than was wanted."""
    from rashomon.store import retention

    done = [retention.remove(folder, [one.id for one in plan.going], tell, ended)]
    for _ in range(_ROUNDS):
        if policy.max_bytes is None or done[-1].store_after + done[-1].journals_after <= policy.max_bytes:
            break
        more = retention.plan(folder, policy._replace(age_ns=None), time.time_ns(), ended).going
        if not more or not done[-1].removed:
            break
        done.append(retention.remove(folder, [one.id for one in more], tell, ended))
    return done


def lines(plan: Plan, done: list[Done] | None, max_bytes: int | None) -> list[str]:
    """What would be done, or was, for people."""
    from rashomon.commands import terminal

    told = []
    if done is None:
        store = sum(one.store_bytes for one in plan.going)
        journals = sum(one.journal_bytes for one in plan.going)
        told.append(
            f"{terminal.plural(len(plan.going), 'trace')} would go: about {shown_size(store)} of"
            f" {shown_size(plan.store_bytes)} in the store, {shown_size(journals)} of"
            f" {shown_size(plan.journal_bytes)} in journals."
        )
        told += [f"  {one.id}  {terminal.local_time(one.ended_ns)}  {one.name}" for one in plan.going[:SHOWN]]
        if len(plan.going) > SHOWN:
            told.append(f"  ... and {len(plan.going) - SHOWN:,} more (--json names all)")
    else:
        first, last = done[0], done[-1]
        told.append(
            f"{terminal.plural(sum(len(one.removed) for one in done), 'trace')} removed. Store"
            f" {shown_size(first.store_before)} → {shown_size(last.store_after)}, journals"
            f" {shown_size(first.journals_before)} → {shown_size(last.journals_after)}."
        )
        told += [f"  left: {name}: {reason}" for one in done for name, reason in one.left]
        if max_bytes is not None and last.store_after + last.journals_after > max_bytes:
            why = "what is left may not go" if plan.spared else "no trace is left that could go"
            told.append(f"More than {shown_size(max_bytes)} stay: {why}.")
    told += [f"  stays: {one}: {why}" for one, why in plan.spared[:SHOWN]]
    if len(plan.spared) > SHOWN:
        told.append(f"  ... and {len(plan.spared) - SHOWN:,} more stay (--json names all)")
    if done is None and plan.going and max_bytes is not None:
        limit = shown_size(max_bytes)
        told.append(f"Sizes are estimates: more go, the oldest first, while the files are larger than {limit}.")
    if done is None and plan.going:
        told.append("Nothing was changed. --yes does it.")
    return told


def document(plan: Plan, done: list[Done] | None) -> dict[str, Any]:
    """`rashomon.gc/1`."""
    found: dict[str, Any] = {
        "format": "rashomon.gc/1",
        "applied": done is not None,
        "traces": [one._asdict() for one in plan.going],
        "spared": [{"trace": one, "reason": why} for one, why in plan.spared],
        "store_bytes": plan.store_bytes,
        "journal_bytes": plan.journal_bytes,
    }
    if done is not None:
        found["removed"] = [one for turn in done for one in turn.removed]
        found["left"] = [{"journal": name, "reason": why} for turn in done for name, why in turn.left]
        found["store_bytes_after"] = done[-1].store_after
        found["journal_bytes_after"] = done[-1].journals_after
    return found
