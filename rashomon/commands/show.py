"""`rashomon show`: a trace as a tree of steps, or one step whole."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rashomon.commands import filtering, options
from rashomon.commands.declared import typer
from rashomon.errors import UsageError

if TYPE_CHECKING:
    from rashomon.commands.trace_text import Narrowed
    from rashomon.filters import Query
    from rashomon.model import Tape
    from rashomon.store import TraceStore

EXAMPLE = "Example: rashomon show @last 3 --json; rashomon show @last kind:tool status:err"

_STEP = re.compile(r"\d+(\.\d+)?")


class Raw(StrEnum):
    """Which of a step's two bodies."""

    REQUEST = "request"
    RESPONSE = "response"


def show(
    trace: Annotated[str, options.Reference],
    chosen: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STEP | FILTER...]",
            help="The number of a step in the list, or its id; or terms such as kind:tool status:err.",
        ),
    ] = None,
    raw: Annotated[Raw | None, typer.Option("--raw", help="Write the exact bytes of a step's body to stdout.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print steps as they end, until the trace does.")
    ] = False,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Show a trace as a tree of steps, those that a FILTER chooses, or one step whole.

    A step has its request, response, pieces, failure; --raw the exact bytes of a body. --follow goes on while the
    trace is recorded; with --json it prints JSON lines.
    """
    words = chosen or []
    step = words[0] if len(words) == 1 and _STEP.fullmatch(words[0]) else None
    if raw is not None and step is None:
        raise UsageError("--raw needs a step.", "Name one: rashomon show TRACE STEP --raw response.")
    if step is not None:
        if follow:
            raise UsageError("--follow goes with a trace, not with a step.", "Leave the step out.")
        _show_step(trace, step, raw, as_json, home)
        return
    if follow:
        from rashomon.commands import follow as following

        options.check(home)
        following.follow(options.chosen_home(home), trace, filtering.query_of(words), as_json)
        return
    _show_trace(trace, filtering.query_of(words) if words else None, as_json, home)


def _show_trace(trace: str, query: Query | None, as_json: bool, home: Path | None) -> None:
    options.begin(home, options.TO_SHOW)
    from rashomon import measures
    from rashomon.commands import note, terminal

    if as_json:  # what prints is loaded while the store is opened
        from rashomon.commands import documents
    else:
        from rashomon.commands import trace_text
    with options.reading(home) as store:
        found = store.resolve(trace)
        noted, cost = note.of(store, found), store.cost(found)
        options.tell_damage(store)
        whole, narrowed = _narrowed(store, found, query) if query is not None and query.terms else (None, None)
        if as_json:
            document = whole or store.outline(found)
        else:
            shown = whole or store.shown(found)
        store.leave()
    if not as_json:
        trace_text.print_trace(shown, narrowed, measures.told_cost(*cost), note.lines(noted))
        return
    if whole is not None and narrowed is not None:
        document = whole._replace(steps=tuple(step for step in whole.steps if step.id in narrowed.ids))
    costs = {"cost": cost[0], "unpriced": cost[1]}
    terminal.print_json(documents.trace_document(document) | costs | {"notes": note.listed(noted)})


def _narrowed(store: TraceStore, trace: str, query: Query) -> tuple[Tape, Narrowed]:
    from rashomon.commands.trace_text import Narrowed
    from rashomon.store.filter_steps import StepFilter, beside

    tape = store.tape(trace)
    chosen = StepFilter(query, tape.trace, tape.steps, beside(store, trace)).chosen()
    return tape, Narrowed(str(query), frozenset(step.id for step in chosen))


def _show_step(trace: str, step: str, raw: Raw | None, as_json: bool, home: Path | None) -> None:
    options.begin(home, options.TO_SHOW_STEP)
    from rashomon.commands import note, terminal
    from rashomon.store import restored

    if as_json:
        from rashomon.commands import documents
    elif raw is None:
        from rashomon.commands import step_text
    with options.reading(home) as store:
        found = store.resolve(trace)
        chosen = store.step(found, step)
        facts = restored.named(store, found)
        noted = [one for one in note.of(store, found) if one.step == chosen.id]
        store.leave()
    if raw is not None:
        body = chosen.request.body if raw is Raw.REQUEST else chosen.response.body
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
    elif as_json:
        terminal.print_json(documents.step_document(facts, chosen) | {"notes": note.listed(noted)})
    else:
        step_text.print_step(facts, chosen)
        if noted:
            terminal.print_text("\n".join(["", "notes", *note.lines(noted)]))
