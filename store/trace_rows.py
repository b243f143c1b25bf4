"""The lines of a list of traces: those of the view `trace_list`, without its work where that is not needed.

The view adds up what is within each trace, which takes longer to plan than all else takes. A page needs the sums of its
own lines only, and a store in which no trace is within another none at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple


class TraceRow(NamedTuple):
    """One line of a list of traces. Counts and tokens include the traces within it.

    `started_ns` is Unix time in nanoseconds; `duration_us` None while it is open. `divergences`,
    `coverage_missed` (peers), `unseen` (programs that it started and no recorder looks into) and `losses` are counts;
    `lost` is the number of steps known to be lost.
    `failures` counts steps that failed, `cost` is in US dollars and None where no call has a price, `unpriced` counts
    calls without one. `imported`: another tool recorded it, and what slipped past is not known.
    """

    id: str
    name: str
    started_ns: int
    duration_us: int | None
    outcome: str
    exit_code: int | None
    steps: int
    llm_calls: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    models: list[str]
    parent: str | None
    within: str | None
    divergences: int
    coverage_missed: int
    unseen: int
    lost: int
    losses: int
    tags: dict[str, str]
    swaps: list[dict[str, Any]]
    error: str | None
    failures: int
    cost: float | None
    unpriced: int
    imported: bool


_TAGS, _SWAPS = map(TraceRow._fields.index, ("tags", "swaps"))


def trace_row_from(columns: Sequence[Any]) -> TraceRow:
    """A line of a list from the columns of `trace_list`, in the order of the fields."""
    fields = list(columns)
    tags, swaps = str(fields[_TAGS]), str(fields[_SWAPS])
    fields[_TAGS] = {} if tags == "{}" else json.loads(tags)
    fields[_SWAPS] = [] if swaps == "[]" else json.loads(swaps)
    return TraceRow._make(fields)


SUMS = ("steps", "llm_calls", "tool_calls", "failures", "input_tokens", "output_tokens", "unpriced")
"""The columns that are added up over a trace and those within it; `cost` and `models` are, too, in their own ways."""

_ADDED = re.compile(rf"trace_list\.({'|'.join((*SUMS, 'cost', 'models'))})\b")

WHAT_THERE_IS = """
    SELECT EXISTS (FROM traces WHERE within IS NOT NULL), EXISTS (FROM divergences), EXISTS (FROM losses),
        EXISTS (FROM launched WHERE within IS NULL)
"""
"""Whether there are traces within others, divergences, losses, programs that were started outside of tools."""

DEEPER = """
    SELECT EXISTS (
        FROM (SELECT within FROM traces WHERE within IS NOT NULL) AS inside
        JOIN (SELECT id FROM traces WHERE within IS NOT NULL) AS between ON between.id = inside.within
    )
"""
"""Whether a trace is within one that is itself within another."""

_ROWS = """
    SELECT
        traces.id, traces.name, traces.started_ns, (traces.ended_ns - traces.started_ns) // 1000 AS duration_us,
        traces.outcome, traces.exit_code, {sums}, {cost} AS cost, {models} AS models, traces.parent, traces.within,
        {divergences} AS divergences, len(traces.missed) AS coverage_missed, {unseen} AS unseen, {lost} AS lost,
        {losses} AS losses, traces.tags, traces.swaps, traces.error,
        coalesce(json_array_length(traces.provenance, '$.imported.lacks'), 0) > 0 AS imported
    FROM traces {joined}
"""
_DIVERGENCES = """
    LEFT JOIN (SELECT trace, count(*) AS found FROM divergences GROUP BY trace) AS diverged
    ON diverged.trace = traces.id
"""
_LOSSES = """
    LEFT JOIN (SELECT trace, count(*) AS found, sum(steps)::BIGINT AS steps FROM losses GROUP BY trace) AS lost
    ON lost.trace = traces.id
"""
_UNSEEN = r"""
    LEFT JOIN (
        SELECT trace, count(*) AS found
        FROM launched
        WHERE within IS NULL
            AND NOT regexp_matches(program(argv), '^(python|pypy)|\.py$')
            AND NOT EXISTS (
                FROM processes
                WHERE processes.trace = launched.trace AND program(processes.argv) = program(launched.argv)
                    AND processes.argv[2:] = launched.argv[2:]
            )
        GROUP BY trace
    ) AS unseen ON unseen.trace = traces.id
"""
_INSIDE = f"""
    LEFT JOIN (
        SELECT within AS id, {", ".join(f"sum({name})::BIGINT AS {name}" for name in SUMS)}, sum(cost) AS cost,
            flatten(list(models)) AS models
        FROM traces WHERE within IS NOT NULL AND within <> id GROUP BY within
    ) AS inside ON inside.id = traces.id
"""
_COSTS = "CASE WHEN inside.cost IS NULL THEN traces.cost ELSE coalesce(traces.cost, 0) + inside.cost END"
_MODELS = """
    CASE WHEN inside.models IS NULL THEN traces.models
    ELSE list_sort(list_distinct(list_concat(traces.models, inside.models))) END
"""


def by_sums(condition: str) -> bool:
    """Whether a condition of a filter asks for what the view adds up."""
    return _ADDED.search(condition) is not None


def source(diverged: bool, lost: bool, unseen: bool, inside: bool = False) -> str:
    """What the view `trace_list` is, to select from, where there are divergences, losses or `launched`, or are none.

    `inside`: with what is within each trace, one level deep; else lines count what is in each trace itself.
    """
    added = " + coalesce(inside.{0}, 0)" if inside else "::BIGINT"
    joins = (inside, _INSIDE), (diverged, _DIVERGENCES), (lost, _LOSSES), (unseen, _UNSEEN)
    rows = _ROWS.format(
        sums=", ".join(f"traces.{name}{added.format(name)} AS {name}" for name in SUMS),
        cost=_COSTS if inside else "traces.cost",
        models=_MODELS if inside else "traces.models",
        divergences="coalesce(diverged.found, 0)" if diverged else "0::BIGINT",
        lost="coalesce(lost.steps, 0)" if lost else "0::BIGINT",
        losses="coalesce(lost.found, 0)" if lost else "0::BIGINT",
        unseen="coalesce(unseen.found, 0)" if unseen else "0::BIGINT",
        joined="".join(join for there, join in joins if there),
    )
    return f"({rows}) AS trace_list"


class Inner(NamedTuple):
    """What a trace within another adds to its line."""

    within: str
    id: str
    sums: tuple[int, ...]
    cost: float | None
    models: list[str]


def inner(traces: Iterable[str], select: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]) -> list[Inner]:
    """All traces within some traces, at whatever depth; `select` asks the store."""
    found: list[Inner] = []
    asked: set[str] = set()
    while wanted := [one for one in dict.fromkeys(traces) if one not in asked]:
        asked.update(wanted)
        marks = ", ".join("?" * len(wanted))
        sql = f"SELECT within, id, cost, models, {', '.join(SUMS)} FROM traces WHERE within IN ({marks})"
        level = [
            Inner(within, own, tuple([count or 0 for count in sums]), cost, models)
            for within, own, cost, models, *sums in select(sql, wanted)
        ]
        found += level
        traces = [one.id for one in level]
    return found


def added_up(rows: list[TraceRow], found: list[Inner]) -> list[TraceRow]:
    """The lines with what is within each trace, as the view `trace_list` adds it up."""
    children: dict[str, list[Inner]] = {}
    for one in found:
        children.setdefault(one.within, []).append(one)
    return [_added_up(row, children) if row.id in children else row for row in rows]


def _added_up(row: TraceRow, children: dict[str, list[Inner]]) -> TraceRow:
    family: dict[str, Inner] = {}
    waiting = [row.id]
    while waiting:
        new = [one for one in children.get(waiting.pop(), ()) if one.id not in family and one.id != row.id]
        family.update((one.id, one) for one in new)
        waiting += [one.id for one in new]
    if not family:
        return row
    own = [getattr(row, name) or 0 for name in SUMS]
    sums = [sum(one) for one in zip(own, *(inside.sums for inside in family.values()), strict=True)]
    costs = [inside.cost for inside in family.values() if inside.cost is not None]
    models = {model for inside in family.values() for model in inside.models}.union(row.models)
    changed: dict[str, Any] = dict(zip(SUMS, sums, strict=True))
    return row._replace(**changed, cost=sum(costs, row.cost or 0) if costs else row.cost, models=sorted(models))
