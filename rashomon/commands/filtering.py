"""A filter on the command line: how a shell's words become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from rashomon.commands.declared import typer

if TYPE_CHECKING:
    from rashomon.filters import Query

Terms = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILTER", help="Terms such as kind:llm status:err 'ms>2s' -model:m-2; docs/filter.md."),
]


def query_of(terms: Sequence[str] | None) -> Query:
    """The filter that the words are together; raises `FilterError`."""
    from rashomon.filters import NOTHING, from_arguments

    return from_arguments(terms) if terms else NOTHING
