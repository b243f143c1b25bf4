"""`rashomon show`: a trace as a tree of steps, or one step whole."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from rashomon.commands import options
from rashomon.errors import UsageError

EXAMPLE = "Example: rashomon show @last 3 --json"


class Raw(StrEnum):
    """Which of a step's two bodies."""

    REQUEST = "request"
    RESPONSE = "response"


def show(
    trace: Annotated[str, options.Reference],
    step: Annotated[
        str | None, typer.Argument(metavar="STEP", help="The number of a step in the list, or its id.")
    ] = None,
    raw: Annotated[Raw | None, typer.Option("--raw", help="Write the exact bytes of a step's body to stdout.")] = None,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Show a trace as a tree of steps, or one step.

    A step is shown whole: request, response, pieces, failure. --raw has the exact bytes of a body.
    """
    from rashomon.commands import documents, step_text, terminal, trace_text

    if raw is not None and step is None:
        raise UsageError("--raw needs a step.", "Name one: rashomon show TRACE STEP --raw response.")
    with options.reading(home) as store:
        found = store.resolve(trace)
        if step is None:
            tape = store.tape(found)
        else:
            facts, chosen = store.trace(found), store.step(found, step)
    if step is None:
        if as_json:
            terminal.print_json(documents.trace_document(tape))
        else:
            trace_text.print_trace(tape)
    elif raw is not None:
        body = chosen.request.body if raw is Raw.REQUEST else chosen.response.body
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
    elif as_json:
        terminal.print_json(documents.step_document(facts, chosen))
    else:
        step_text.print_step(facts, chosen)
