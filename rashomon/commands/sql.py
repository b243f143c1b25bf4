"""`rashomon sql`: read-only SQL over the store."""

from __future__ import annotations

import csv
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rashomon.commands import options

if TYPE_CHECKING:
    from rashomon.store import Result

EXAMPLE = 'Example: rashomon sql "select name, steps, outcome from trace_list" --format csv'


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def sql(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="One statement that only reads; - reads it from stdin.")
    ],
    shape: Annotated[Format, typer.Option("--format", help="How to print the rows.")] = Format.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    home: options.Home = None,
) -> None:
    """Ask the store in read-only SQL.

    Tables: traces, steps, parts, ambient, uncontrolled, launched and more. Views: trace_list, llm_calls, tool_calls,
    notes.
    """
    from rashomon.commands import terminal

    text = sys.stdin.read() if query == "-" else query
    with options.reading(home) as store:
        result = store.query(text)
    if as_json or shape is Format.JSON:
        terminal.print_json(document(result))
    elif shape is Format.CSV:
        _print_csv(result)
    elif terminal.in_terminal():
        _print_rich(result)
    else:
        rows = [[cell(value) for value in row] for row in result.rows]
        terminal.print_text(terminal.columns(rows, result.columns, right=numeric(result)))


def document(result: Result) -> dict[str, Any]:
    """`rashomon.sql/1`."""
    columns = [{"name": name, "type": kind} for name, kind in zip(result.columns, result.types, strict=True)]
    return {
        "format": "rashomon.sql/1",
        "columns": columns,
        "rows": [[plain(value) for value in row] for row in result.rows],
    }


def plain(value: Any) -> Any:
    """A value of the database as JSON: what JSON has no form for becomes text, NaN and infinity too."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return str(value)


def cell(value: Any) -> str:
    """A value as one cell of text; NULL is empty."""
    if value is None:
        return ""
    simple = plain(value)
    if isinstance(simple, (list, dict)):
        from json import dumps

        return dumps(simple, ensure_ascii=False)
    return str(simple)


def numeric(result: Result) -> list[int]:
    """The columns that hold numbers."""
    return [at for at, kind in enumerate(result.types) if kind.split("(")[0] in _NUMERIC]


_SIGNED = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}
_NUMERIC = _SIGNED | {f"U{name}" for name in _SIGNED} | {"FLOAT", "DOUBLE", "DECIMAL"}


def _print_csv(result: Result) -> None:
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")  # type: ignore[union-attr]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows([[cell(value) for value in row] for row in result.rows])


def _print_rich(result: Result) -> None:
    from rich.table import Table

    from rashomon.commands import terminal

    table = Table(box=None, padding=(0, 1), header_style="dim")
    right = numeric(result)
    for at, name in enumerate(result.columns):
        table.add_column(terminal.styled(name), justify="right" if at in right else "left", overflow="fold")
    for row in result.rows:
        table.add_row(*(terminal.styled(cell(value)) for value in row))
    out = terminal.console()
    out.print(table)
    out.print(terminal.styled(terminal.plural(len(result.rows), "row"), "dim"))
