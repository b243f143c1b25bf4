"""`rashomon ls`: the traces of a home, newest first."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rashomon.commands import filtering, options
from rashomon.commands.declared import typer
from rashomon.measures import shown_cost, shown_duration

if TYPE_CHECKING:
    from rashomon.filters import Query
    from rashomon.store import TraceRow
    from rashomon.store.listed import Line

EXAMPLE = "Example: rashomon ls status:err 'cost>0.01' tool:refund* since:24h"

_OUTCOME_STYLES = {"ok": "green", "error": "red", "killed": "red", "open": "yellow"}

_MOST = 2**62
"""Of what a database can count."""


def ls(
    terms: filtering.Terms = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="Only traces for which this SQL over trace_list holds."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="AGE", help="Only traces started since: 30m, 24h, 7d, 2w, 1y, or a date."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only traces of this name.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """List traces, newest first.

    A FILTER narrows the list; docs/filter.md is its language. Terms about steps hold for one step of the trace.
    """
    from rashomon.commands import terminal

    asked = _Asked(home, where, name, min(limit, _MOST), options.TO_FILTER if terms else options.TO_LIST)
    query = filtering.query_of(terms) if terms else None
    since_ns = None if since is None else start_ns(since, time.time_ns())
    lines, damage = asked.beside(query, since_ns) or asked.store(query, since_ns)
    options.tell(damage)
    if as_json:
        told = [facts(line.row, line.missed) | {"notes": line.notes} for line in lines]
        terminal.print_json({"format": "rashomon.traces/1", "traces": told})
    elif terminal.in_terminal():
        _print_rich(lines, narrowed=bool((query and query.terms) or where or since or name))
    elif lines:
        terminal.print_text(terminal.columns([cells(*line) for line in lines], HEADS, right=(3,)))
    asked.keep()


_Found = tuple[Sequence["Line"], tuple[str | None, int]]
"""What a list shows, and of which journals to tell that they could not be read whole."""


class _Asked:
    """A question for traces: answered by the list beside the store where that can, else by the store."""

    def __init__(self, home: Path | None, where: str | None, name: str | None, limit: int, meanwhile: Sequence[str]):
        from rashomon.store import listed

        self._home, self._where, self._name, self._limit, self._meanwhile = home, where, name, limit, meanwhile
        self._store = options.ready(home, listing=True)
        self._listed = None if self._store is None or where is not None else listed.beside(self._store.path)
        self._keep = self._store is not None and where is None and self._listed is None
        if self._listed is None:
            self._open()

    def _open(self) -> None:
        if self._store is not None:
            options.open_soon(self._home, self._store, self._meanwhile)

    def beside(self, query: Query | None, since_ns: int | None) -> _Found | None:
        """What the list beside the store answers; None where it cannot."""
        if self._listed is None:
            return None
        from rashomon.store.filter_listed import Beyond, traces
        from rashomon.store.listed import Unusable

        try:
            return traces(self._listed, query, since_ns, self._name, self._limit), self._listed.damage
        except Beyond:
            pass
        except Unusable:
            self._keep = True
        finally:
            self._listed.close()
        self._open()
        return None

    def store(self, query: Query | None, since_ns: int | None) -> _Found:
        """What the store answers."""
        from rashomon.store import listed
        from rashomon.store.annotations import noted

        with options.reading(self._home, checked=True) as store:
            rows = store.traces(
                where=self._where, since_ns=since_ns, name=self._name, limit=self._limit, matching=query
            )
            missed = store.missed([row.id for row in rows if row.coverage_missed])
            notes, damage = noted(store), store.damage()
            self._keep = self._keep and listed.worthwhile(store)
        return [listed.Line(row, missed.get(row.id, ()), notes.get(row.id, 0)) for row in rows], damage

    def keep(self) -> None:
        """Leave the list beside a store that had none and that nothing was new for: it may be listed again."""
        if self._keep and self._store is not None:
            from rashomon.store import TraceStore, listed

            sys.stdout.flush()
            with TraceStore(self._store.path, wait_s=0) as store:  # where somebody writes by now, it would be no use
                listed.write(store)


def start_ns(text: str, now_ns: int) -> int:
    """`24h` before now, or a date, as Unix nanoseconds. Raises `UsageError` for what is neither."""
    from rashomon.errors import UsageError
    from rashomon.filter_fields import EXPECTED, Sort, is_moment, moment_ns

    wanted = text.strip()
    if not is_moment(wanted):
        raise UsageError(f"--since {text!r} is no age or date.", f"Write {EXPECTED[Sort.MOMENT]}.")
    return moment_ns(wanted, now_ns)


HEADS = ("TRACE", "NAME", "STARTED", "TOOK", "OUTCOME", "STEPS", "LLM", "TOOL", "TOKENS", "COST", "COVERAGE", "NOTES")


_FLEXIBLE = ("NAME", "COVERAGE", "NOTES")
_LEAST = 12
"""These columns give way when the terminal is narrow, but not below so many characters."""

_FIRST_TO_GO = ("TOKENS", "TOOL", "LLM", "COST", "TOOK", "STEPS", "STARTED")
_RIGHT = ("TOOK", "STEPS", "LLM", "TOOL", "TOKENS", "COST")


def notes(row: TraceRow, noted: int = 0) -> list[str]:
    """What sets a trace apart, loud things first. `noted` counts what people wrote on it."""
    found = []
    if row.divergences:
        found.append("diverged")
    if row.parent:
        found.append(f"replay of {row.parent}")
    if noted:
        found.append(f"{noted} note{'s' * (noted != 1)}")
    found.extend(f"{key}={value}" for key, value in sorted(row.tags.items()))
    return found


def coverage(row: TraceRow, missed: tuple[str, ...]) -> str:
    """`complete`, or which peers no recorded call reached and how many steps were lost. Other tools do not count.

    Of programs that no recorder looks into it is not known what they reached.
    """
    if row.imported:
        return "not known"
    found = []
    if row.coverage_missed:
        found.append(" ".join(["INCOMPLETE", *dict.fromkeys(missed)]))
    if row.losses and not row.lost:  # nobody knows how many
        found = found or ["INCOMPLETE"]
    elif row.losses:
        found.append(f"LOST {row.lost:,}")
    if row.unseen:
        found.append(f"{'' if found else 'complete, but for '}{row.unseen:,} unseen program{'s' * (row.unseen != 1)}")
    return ", ".join(found) or "complete"


def cells(row: TraceRow, missed: tuple[str, ...] = (), noted: int = 0) -> list[str]:
    """A trace as the cells of a line, in the order of `HEADS`."""
    from rashomon.commands import terminal

    outcome = row.outcome if row.exit_code in (None, 0) else f"{row.outcome} ({row.exit_code})"
    tokens = f"{row.input_tokens:,}/{row.output_tokens:,}" if row.input_tokens or row.output_tokens else ""
    started, took = terminal.local_time(row.started_ns), shown_duration(row.duration_us)
    counts = [f"{count:,}" for count in (row.steps, row.llm_calls, row.tool_calls)]
    return [row.id, row.name, started, took, outcome, *counts, tokens, shown_cost(row.cost, row.unpriced),
            coverage(row, missed), " ".join(notes(row, noted))]  # fmt: skip


def facts(row: TraceRow, missed: tuple[str, ...] = ()) -> dict[str, Any]:
    """A trace as `rashomon.traces/1` lists it."""
    from rashomon.commands.documents import rfc3339

    listed: dict[str, Any] = row._asdict()
    return (
        {"id": row.id, "name": row.name, "started": rfc3339(row.started_ns)}
        | listed
        | {
            "complete": None if row.imported else not row.coverage_missed and not row.losses,
            "missed": list(missed),
        }
    )


def shortest(ids: list[str], least: int = 8) -> dict[str, str]:
    """Each id cut to the shortest beginning that no other one here has, and not below `least`."""
    ordered = sorted(set(ids))
    length = dict.fromkeys(ordered, least)
    for before, after in pairwise(ordered):
        common = next((at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
        length[before], length[after] = max(length[before], common + 1), max(length[after], common + 1)
    return {one: one[: length[one]] for one in ordered}


def fitting(widths: list[int], room: int) -> list[int]:
    """The columns that have room, by their place in `HEADS`: dropped one by one, never squeezed."""
    kept = list(range(len(HEADS)))
    for head in (*_FIRST_TO_GO, ""):
        least = [min(widths[at], _LEAST) if HEADS[at] in _FLEXIBLE else widths[at] for at in kept]
        if sum(least) + 2 * len(kept) <= room or not head:
            break
        kept.remove(HEADS.index(head))
    return kept


def _print_rich(lines: Sequence[Line], narrowed: bool) -> None:
    from rich.table import Table

    from rashomon.commands import terminal

    out = terminal.console()
    if not lines:
        none = "No trace matches." if narrowed else "No traces. Record one: rashomon record -- python agent.py"
        out.print(terminal.styled(none, "dim"))
        return
    rows = [line.row for line in lines]
    short = shortest([one for row in rows for one in (row.id, row.parent) if one])
    shown = [
        cells(line.row._replace(parent=short.get(line.row.parent or "")), line.missed, line.notes) for line in lines
    ]
    widths = [max([len(head), *(len(line[at]) for line in shown)]) for at, head in enumerate(HEADS)]
    widths[0] = max(len(HEADS[0]), *map(len, short.values()))
    kept = fitting(widths, out.width)
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for at in kept:
        head = HEADS[at]
        table.add_column(
            head.lower(),
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if head in _RIGHT else "left",
            min_width=min(widths[at], _LEAST) if head in _FLEXIBLE else widths[at],
            style="dim" if head in ("STARTED", "TOOK") else None,
        )
    for row, line in zip(rows, shown, strict=True):
        texts = [terminal.styled(cell) for cell in line]
        texts[0] = terminal.styled(short[row.id], "bold")
        texts[4].stylize(_OUTCOME_STYLES.get(row.outcome, ""))
        incomplete = row.coverage_missed or row.losses
        texts[HEADS.index("COVERAGE")].stylize("bold red" if incomplete else "dim")
        table.add_row(*(texts[at] for at in kept))
    out.print(table)
