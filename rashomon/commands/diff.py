"""`rashomon diff`: two traces aligned, what differs in each pair, and how they ended."""

from __future__ import annotations

from typing import Annotated

import typer

from rashomon.commands import options

EXAMPLE = "Example: rashomon diff @prev @last"


def diff(
    left: Annotated[str, options.Reference],
    right: Annotated[str, options.Reference],
    whole: Annotated[bool, typer.Option("--all", help="Show every step: do not fold runs that are the same.")] = False,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Align two traces step by step.

    Exit code 0 when they are the same, 1 when they differ.
    """
    from rashomon.commands import diff_text, documents, terminal
    from rashomon.replay.alignment import align

    with options.reading(home) as store:
        tapes = [store.tape(store.resolve(reference)) for reference in (left, right)]
    alignment = align(*tapes)
    if as_json:
        terminal.print_json(documents.diff_document(alignment))
    else:
        diff_text.print_diff(alignment, folded=not whole)
    if not alignment.same:
        raise typer.Exit(1)
