"""`rashomon sql`: read-only SQL over the store, once or in a session."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rashomon.commands import options
from rashomon.commands.declared import typer
from rashomon.commands.interrupting import Interruptible
from rashomon.commands.sql_formats import Format, of_file, opened, write
from rashomon.errors import UsageError
from rashomon.home import refuse_own

if TYPE_CHECKING:
    from rashomon.store import TraceStore
    from rashomon.store.asking import Answer

EXAMPLE = 'Example: rashomon sql "select model, sum(cost) from costs group by model" --format csv'


def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY", help="One statement that only reads; - reads it from stdin.", show_default=False
        ),
    ] = None,
    shape: Annotated[
        Format | None,
        typer.Option(
            "--format", help="How to write the rows (default: table, or what --output ends in).", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write them to a file, there when it is whole; - is stdout."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    home: options.Home = None,
) -> None:
    """Ask the store in read-only SQL; without QUERY, in a terminal, a session with history and completion.

    Views: llm_calls, tool_calls, requested_calls, messages, unique_messages, prompts, conversations, costs, failures,
    replays, notes, tool_definitions, trace_list. Tables: traces, steps, parts, ambient and more; `.tables` in a session
    lists all, `.schema NAME` their columns. docs/questions.md has twenty questions with their SQL.

    Nothing that is asked can write, or reach a file. Ctrl-C stops a query: the session goes on, and a single one exits
    with 130 and, unless it had more than 64 MB to print, prints nothing.
    """
    if output is not None and str(output) == "-":
        output = None
    chosen = Format.JSON if as_json else shape or (of_file(output) if output else Format.TABLE)
    if query is None and sys.stdin.isatty():
        if not sys.stdout.isatty() or output is not None or shape is not None or as_json:
            raise UsageError("There is no QUERY.", 'Give one statement, such as "select * from trace_list".')
        from rashomon.commands.sql_session import session

        session(home)
        return
    once(typed() if query in (None, "-") else query, chosen, output, home)


def typed() -> str:
    """What stdin has. Raises `UsageError` where that is no text."""
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"What stdin has is no UTF-8 at byte {error.start}.", "Write the SQL in UTF-8.") from error


def once(query: str, shape: Format, output: Path | None, home: Path | None) -> int:
    """Ask one question and write what comes of it: how many rows, where it has none of the binary formats. Raises
    `KeyboardInterrupt` when Ctrl-C stopped it."""
    if output is not None:
        refuse_own(output, options.chosen_home(home))
    options.begin(home)
    from rashomon.store.asking import Stopped

    with options.reading(home) as store, Interruptible() as run:
        try:
            # the inner block ends first: the store is let go of before a slow reader has taken the answer
            with opened(shape, output) as out, _asked(store, query, run) as answer:
                write(answer, shape, out)
        except Stopped:
            raise KeyboardInterrupt from None
        run.check()
    return answer.given


@contextmanager
def _asked(store: TraceStore, query: str, run: Interruptible) -> Iterator[Answer]:
    """The answer of a store; at the end of the block, it is let go of without waiting until it is closed."""
    from rashomon.store import asking, connection, lake, opening

    begun = store.handed_over()
    if begun is None or lake.attached(store.path.parent):
        with asking.ask(store.path, query, run, begun=begun) as answer:
            yield answer
        return
    try:
        yield asking.Answer(query, begun, run)
    finally:
        if os.path.exists(connection.spill(store.path)):  # what did not fit into memory: the database removes it
            begun.close()
        else:
            opening.close_soon(begun)
