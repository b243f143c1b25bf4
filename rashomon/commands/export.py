"""`rashomon export`: traces to a file that stands for itself, or to tables that other tools read."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NamedTuple

import typer

from rashomon.commands import options
from rashomon.errors import UsageError
from rashomon.home import refuse_own

if TYPE_CHECKING:
    from rashomon.model import Tape
    from rashomon.store import TraceStore

EXAMPLE = "Example: rashomon export @last -o refund.rsh"


class Format(StrEnum):
    """What is written."""

    BUNDLE = "bundle"
    JSONL = "jsonl"
    PARQUET = "parquet"
    OTLP = "otlp"


class Partition(StrEnum):
    """How a lake is divided."""

    DAY = "day"


_SUFFIXES = {
    ".rsh": Format.BUNDLE,
    ".jsonl": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".json": Format.OTLP,
    ".otlp": Format.OTLP,
}
_References = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TRACE", help="Ids, prefixes, names, @last, @prev, @last~2.", autocompletion=options.complete_trace
    ),
]
_Output = Annotated[
    str | None, typer.Option("-o", "--output", metavar="FILE", help="Where to; - is stdout, for jsonl and otlp.")
]
_ALL_OF_A_LAKE = "A lake takes all that is new."


def export(
    traces: _References = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="SQL", help="Also traces for which this over trace_list holds.")
    ] = None,
    matching: Annotated[
        str | None, typer.Option("--filter", metavar="FILTER", help="Also traces that this filter finds, as in ls.")
    ] = None,
    output: _Output = None,
    shape: Annotated[
        Format | None, typer.Option("--format", help="What to write (default: by the name of FILE, else bundle).")
    ] = None,
    with_parents: Annotated[
        bool, typer.Option("--with-parents", help="Of replays, also the traces that they replay.")
    ] = False,
    sql: Annotated[
        str | None, typer.Option("--sql", metavar="QUERY", help="Write this query's rows instead: parquet or jsonl.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="A lake: a folder, or s3://bucket/prefix and the like.")
    ] = None,
    partition: Annotated[
        Partition, typer.Option("--partition-by", help="With --to: how its files are divided.")
    ] = Partition.DAY,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Write traces to a file, with all that was recorded within them.

    A bundle (.rsh) holds everything that was recorded: import it elsewhere, and it replays there. jsonl has one line
    a step, parquet one file a table in the folder FILE, otlp OpenTelemetry spans. --to adds to a lake of Parquet files
    what it does not have yet.
    """
    from rashomon.commands import terminal

    folder = options.chosen_home(home)
    if to is not None:
        if traces or where or matching or output or sql or shape not in (None, Format.PARQUET) or with_parents:
            raise UsageError("--to stands alone.", _ALL_OF_A_LAKE)
        report = _lake(folder, home, to)
    else:
        chosen = _Chosen(tuple(traces or ()), where, matching, with_parents)
        report = _export(folder, home, chosen, output, shape, sql)
    if output == "-":
        return
    if as_json:
        terminal.print_json({"format": "rashomon.export/1", **report})
    else:
        terminal.print_text(said(report))


def said(report: dict[str, Any]) -> str:
    """What was written, in a line."""
    from rashomon.commands.terminal import plural

    counts = [plural(report[key], noun) for key, noun in (("traces", "trace"), ("steps", "step"), ("rows", "row"),
              ("days", "day")) if report.get(key) is not None]  # fmt: skip
    size = f", {plural(report['bytes'], 'byte')}" if report.get("bytes") is not None else ""
    return f"{report['to']}: {', '.join(counts)}{size}."


class _Chosen(NamedTuple):
    """Which traces are exported, as it was said."""

    references: tuple[str, ...]
    where: str | None
    matching: str | None
    parents: bool

    @property
    def any(self) -> bool:
        """Whether anything was said."""
        return bool(self.references or self.where or self.matching)

    def ids(self, store: TraceStore) -> list[str]:
        """The ids of these traces in the store."""
        from rashomon.filters import NOTHING, parse
        from rashomon.store import exporting

        found: list[str] = []
        if self.where is not None or self.matching is not None:
            query = NOTHING if self.matching is None else parse(self.matching)
            found = [row.id for row in store.traces(where=self.where, matching=query)]
        return exporting.chosen(store, self.references, found, self.parents)


def _export(
    folder: Path, home: Path | None, chosen: _Chosen, output: str | None, shape: Format | None, sql: str | None
) -> dict[str, Any]:
    if output is None:
        raise UsageError("There is no file to export to.", "Name one: -o refund.rsh")
    suffix = Path(output).suffix.lower()
    if shape is None and sql is not None:
        shape = Format.PARQUET if suffix in ("", ".pq") else _SUFFIXES.get(suffix, Format.BUNDLE)
    shape = shape or _SUFFIXES.get(suffix, Format.BUNDLE)
    if output == "-" and shape not in (Format.JSONL, Format.OTLP):
        raise UsageError(f"A {shape.value} export cannot be written to stdout.", "Name a file with -o.")
    path = Path(output)
    if output != "-":
        refuse_own(path, folder)
    if sql is not None:
        return _query(home, sql, shape, path, chosen.any)
    if not chosen.any:
        raise UsageError("There is nothing to export.", "Name traces, or choose them: --filter status:err")
    from rashomon.store import exporting

    store = options.reading(home)
    ids = chosen.ids(store)
    if not ids:
        raise UsageError("No trace is like that, so nothing was written.", "See what there is: rashomon ls")
    if shape is Format.BUNDLE:
        done = exporting.export_bundle(store, folder, ids, path)
        return {"to": str(path), "traces": len(done.traces), "steps": done.steps, "bytes": done.size}
    if shape is Format.PARQUET:
        from rashomon.store import export_tables

        files = export_tables.export_folder(store.path, ids, path)
        return {"to": str(path), "traces": len(ids), "rows": sum(files.values())}
    steps = _write_text(store, ids, shape, output)
    return {"to": output, "traces": len(ids), "steps": steps}


def _query(home: Path | None, sql: str, shape: Format, path: Path, selects: bool) -> dict[str, Any]:
    if selects:
        raise UsageError("--sql chooses what is written by itself.", "Name no traces; choose them in the query.")
    if shape not in (Format.PARQUET, Format.JSONL):
        raise UsageError(
            "--sql writes its rows as Parquet or JSONL, and nothing else.",
            "Name a .parquet or a .jsonl file; for other formats: rashomon sql",
        )
    if shape is Format.JSONL:
        from rashomon.commands import sql as sql_command
        from rashomon.commands.sql_formats import Format as Rows

        return {"to": str(path), "rows": sql_command.once(sql, Rows.JSONL, None if str(path) == "-" else path, home)}
    from rashomon.store import export_tables

    return {"to": str(path), "rows": export_tables.export_query(options.reading(home).path, sql, path)}


def _lake(folder: Path, home: Path | None, url: str) -> dict[str, Any]:
    from rashomon.commands.progress import Bar
    from rashomon.store import lake_writing

    if not url:
        raise UsageError("--to is empty.", "Name a folder, or an address such as s3://bucket/prefix.")
    store = options.reading(home)
    with Bar("exporting") as bar:
        done = lake_writing.export_lake(store, folder, url, bar.tell)
    return {"to": url, "days": len(done.days), "traces": done.traces, "rows": done.rows}


# ------------------------------------------------------------------------------------------ text formats


def _write_text(store: TraceStore, ids: list[str], shape: Format, output: str) -> int:
    from rashomon.store import exporting

    counted = _Counted(exporting.tapes(store, ids))
    with _binary(output) as file:
        if shape is Format.OTLP:
            from rashomon.interchange import otlp

            otlp.write(counted, file)
        else:
            for tape in counted:
                for document in step_lines(tape):
                    file.write(json.dumps(document, ensure_ascii=True, default=str).encode("ascii") + b"\n")
    return counted.steps


class _Counted:
    """Tapes as they pass by, and how many steps they had."""

    def __init__(self, tapes: Iterable[Tape]) -> None:
        self._tapes = tapes
        self.steps = 0

    def __iter__(self) -> Iterator[Tape]:
        for tape in self._tapes:
            self.steps += len(tape.steps)
            yield tape


@contextlib.contextmanager
def _binary(output: str) -> Iterator[BinaryIO]:
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    from rashomon.store.exporting import replacing

    with replacing(Path(output)) as file:
        yield file


def step_lines(tape: Tape) -> Iterator[dict[str, Any]]:
    """`rashomon.step_line/1`: a step whole, with what is to be known of its trace."""
    from rashomon.commands import documents

    trace = tape.trace
    own = {
        "id": trace.id,
        "name": trace.name,
        "started": documents.rfc3339(trace.started_ns),
        "outcome": trace.outcome,
        "tags": dict(trace.tags),
        "parent": trace.parent,
        "within": trace.within,
        "commit": (trace.provenance.get("git") or {}).get("commit"),
    }
    for step in tape.steps:
        yield {"format": "rashomon.step_line/1", "trace": own, "step": documents.step_document(trace, step)["step"]}
