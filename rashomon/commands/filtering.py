"""A filter on the command line: how a shell's words become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from rashomon.commands.declared import typer
from rashomon.filters import NOTHING, Query, from_arguments

Terms = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILTER", help="Terms such as kind:llm status:err 'ms>2s' -model:m-2; docs/filter.md."),
]


def query_of(terms: Sequence[str] | None) -> Query:
    """The filter that the words are together; raises `FilterError`."""
    return from_arguments(terms) if terms else NOTHING
