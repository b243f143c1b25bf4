"""What the list of traces shows, as values: each line is computed when it is seen.

Nothing here knows the terminal application; a test needs no app.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from rashomon.measures import shown_cost, shown_duration, told_cost
from rashomon.model import Kind, Trace
from rashomon.tui.glyphs import Glyphs
from rashomon.tui.spans import (
    Column,
    Line,
    Span,
    count_of,
    fit,
    heading,
    layout,
    plural,
)

_OUTCOMES = {"ok": "ok", "error": "bad", "killed": "bad", "open": "warn"}


class Rows(Protocol):
    """What a list needs: how many rows, each as a line, the head above them, where `n` and `N` stop."""

    @property
    def stops(self) -> Sequence[int]:
        """Indices of the rows that next and previous go to, ascending."""
        ...

    def __len__(self) -> int: ...

    def head(self, width: int) -> Line:
        """The line above the rows; empty for none."""
        ...

    def line(self, index: int, width: int) -> Line:
        """A row, at most `width` cells wide."""
        ...


SHORT_ID = 12
"""So much of an id is shown: it begins with the time in milliseconds, in twelve hexadecimal digits."""


class TraceItem(NamedTuple):
    """A trace in the list: light facts, no steps. Times as in `Trace`; counts are 0 where unknown.

    `missed` counts peers reached outside of any recorded call, `unseen` programs that it started and no recorder looks
    into, `losses` the reasons why `lost` steps were not recorded; `swaps` are a replay's changes in few words; `notes`
    counts what people wrote on it; `cost` is in US dollars, None where no call has a price, and `unpriced` counts those
    without one.
    """

    id: str
    name: str
    started_ns: int
    duration_us: int | None = None
    outcome: str = "open"
    exit_code: int | None = None
    error: str | None = None
    parent: str | None = None
    within: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    swaps: tuple[str, ...] = ()
    steps: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    divergences: int = 0
    missed: int = 0
    unseen: int = 0
    losses: int = 0
    lost: int = 0
    imported: bool = False
    notes: int = 0
    cost: float | None = None
    unpriced: int = 0


def shortest(ids: Iterable[str], least: int = SHORT_ID) -> int:
    """How many characters of an id tell all of these apart; not below `least`."""
    known = set(ids)
    longest = max(map(len, known), default=least)
    for length in range(least, longest, 2):
        if len({one[:length] for one in known}) == len(known):
            return length
    return max(least, longest)


def duration_us(trace: Trace) -> int | None:
    """How long a trace took; None while it is open."""
    return None if trace.ended_ns is None else (trace.ended_ns - trace.started_ns) // 1000


_LEAST_NAME = 28
"""So many cells are left for the name of a trace before a column goes."""


class _Placed(NamedTuple):
    item: TraceItem
    depth: int


def _families(items: Sequence[TraceItem]) -> list[_Placed]:
    """Newest family first; in a family the recording, then what replays it or happened within it."""
    known = {item.id: item for item in items}
    below: dict[str, list[TraceItem]] = {}
    roots: list[TraceItem] = []
    for item in items:
        above = item.parent if item.parent in known else item.within
        if above is None or above not in known or above == item.id:
            roots.append(item)
        else:
            below.setdefault(above, []).append(item)
    families = [_family(root, below) if root.id in below else [_Placed(root, 0)] for root in roots]
    families.sort(key=_newest, reverse=True)
    listed = [placed for family in families for placed in family]
    if len(listed) < len(items):  # parents in a circle: shown flat, never lost
        seen = {placed.item.id for placed in listed}
        listed += [_Placed(item, 0) for item in items if item.id not in seen]
    return listed


def _newest(family: list[_Placed]) -> int:
    return max([placed.item.started_ns for placed in family]) if len(family) > 1 else family[0].item.started_ns


def _family(root: TraceItem, below: dict[str, list[TraceItem]]) -> list[_Placed]:
    found: list[_Placed] = []
    waiting = [_Placed(root, 0)]
    while waiting:
        placed = waiting.pop()
        found.append(placed)
        children = sorted(below.pop(placed.item.id, ()), key=lambda item: item.started_ns, reverse=True)
        waiting += [_Placed(child, placed.depth + 1) for child in children]
    return found


class TraceRows:
    """The traces of a home, newest first, replays under what they replay."""

    COLUMNS = (
        Column("mark", "", 1),
        Column("id", "trace", SHORT_ID),
        Column("name", "name", 0),
        Column("outcome", "outcome", 8, keep=8),
        Column("steps", "steps", 5, keep=7, right=True),
        Column("div", "div", 4, keep=6, right=True),
        Column("time", "time", 6, keep=5, right=True),
        Column("tokens", "tokens", 9, keep=0, right=True),
        Column("cost", "cost", 8, keep=1, right=True),
        Column("coverage", "cov", 3, keep=4),
        Column("notes", "", 1, keep=2),
        Column("when", "when", 11, keep=3),
    )

    def __init__(self, items: Sequence[TraceItem], glyphs: Glyphs, marked: str | None = None) -> None:
        self._placed = _families(items)
        self._glyphs = glyphs
        self._shown = shortest(item.id for item in items)
        noted = any(item.notes for item in items)
        paid = any(item.cost is not None or item.unpriced for item in items)
        lacking = {name for name, there in (("notes", noted), ("cost", paid)) if not there}
        self._columns = [
            column._replace(width=self._shown) if column.name == "id" else column
            for column in self.COLUMNS
            if column.name not in lacking
        ]
        self.marked = marked
        self.stops: Sequence[int] = [
            number for number, placed in enumerate(self._placed) if placed.item.divergences or is_bad(placed.item)
        ]

    def __len__(self) -> int:
        return len(self._placed)

    def __getitem__(self, index: int) -> TraceItem:
        return self._placed[index].item

    def short(self, trace_id: str) -> str:
        """The shortest unique beginning of an id."""
        return trace_id[: self._shown]

    def head(self, width: int) -> Line:
        """The names of the columns."""
        return heading(layout(self._columns, width, _LEAST_NAME))

    def line(self, index: int, width: int) -> Line:
        """A trace as a line."""
        placed = self._placed[index]
        line: list[Span] = []
        for column in layout(self._columns, width, _LEAST_NAME):
            text, style = self._cell(column.name, placed)
            line.append(Span(fit(text, column.width, column.right, column.name == "name"), style))
            line.append(Span(" "))
        return tuple(line[:-1])

    def _cell(self, name: str, placed: _Placed) -> tuple[str, str]:
        item, glyphs = placed.item, self._glyphs
        match name:
            case "mark":
                return (glyphs.marked, "warn") if item.id == self.marked else ("", "")
            case "id":
                return self.short(item.id), "strong"
            case "name":
                return tree_name(placed.item, placed.depth, glyphs), ""
            case "outcome":
                sign = f"{glyphs.error} " if is_bad(item) else ""
                return f"{sign}{item.outcome}", _OUTCOMES.get(item.outcome, "")
            case "steps":
                return count_of(item.steps), ""
            case "div":
                return (f"{glyphs.action}{item.divergences}" if item.divergences else ""), "action"
            case "time":
                return shown_duration(item.duration_us), "dim"
            case "tokens":
                told = f"{count_of(item.input_tokens)}/{count_of(item.output_tokens)}"
                return (told if item.input_tokens or item.output_tokens else ""), "dim"
            case "cost":
                return shown_cost(item.cost, item.unpriced), "dim"
            case "coverage":
                return _covered(item)
            case "notes":
                return (glyphs.kinds[Kind.NOTE] if item.notes else ""), "yours"
            case _:
                return moment(item.started_ns, "%m-%d %H:%M"), "dim"


def _covered(item: TraceItem) -> tuple[str, str]:
    """Whether all of a trace is known, in one character."""
    if item.missed or item.losses:
        return "!", "bad"
    return ("?", "dim") if item.imported or item.unseen else ("", "")


def tree_name(item: TraceItem, depth: int, glyphs: Glyphs) -> str:
    """A name with its place in the family, and what is known beyond it."""
    lead = f"{'  ' * (depth - 1)}{glyphs.branch} " if depth else ""
    what = "replay of " if item.parent and not depth else ""
    tags = "".join(f"  {key}={value}" for key, value in item.tags)
    swaps = f"  {', '.join(item.swaps)}" if item.swaps else "  replay" if item.parent and depth else ""
    return f"{lead}{what}{item.name}{swaps}{tags}"


def swap_words(swaps: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """What a replay was told to change, in few words: `stub get_order`, `live llm`."""
    return tuple(f"{key} {str(value).partition('=')[0]}" for swap in swaps for key, value in list(swap.items())[:1])


def is_bad(item: TraceItem) -> bool:
    """True for a trace that did not end well."""
    return item.outcome in ("error", "killed")


def moment(ns: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A point in time on the reader's clock."""
    return datetime.fromtimestamp(ns / 1e9).strftime(form)


def item_lines(item: TraceItem, rows: TraceRows, glyphs: Glyphs) -> list[Line]:
    """What the preview below the list says about one trace."""
    ended = item.outcome if item.exit_code in (None, 0) else f"{item.outcome}, exit code {item.exit_code}"
    lines: list[Line] = [
        (
            Span(ended, _OUTCOMES.get(item.outcome, "")),
            Span(f"   recorded {moment(item.started_ns)}", "dim"),
            Span(f"   took {shown_duration(item.duration_us)}" if item.duration_us is not None else "", "dim"),
            Span(f"   cost {cost}" if (cost := told_cost(item.cost, item.unpriced)) else "", "dim"),
        ),
        (
            Span(
                f"{plural(item.steps, 'step')}: {plural(item.llm_calls, 'model call')}, "
                f"{plural(item.tool_calls, 'tool call')}"
            ),
            Span(f"   tokens {item.input_tokens:,} in, {item.output_tokens:,} out", "dim"),
            *_complete(item),
        ),
    ]
    if item.error:
        lines.append((Span(f"{glyphs.error} ", "bad"), Span(item.error)))
    if item.parent:
        how = "diverged" if item.divergences else "held"
        style = "action" if item.divergences else "ok"
        lines.append((Span(f"replay of {rows.short(item.parent)}: "), Span(how, style)))
    if item.missed or item.losses:
        lines.append((Span("! incomplete: ", "bad"), Span(_incomplete(item))))
    return lines


def _complete(item: TraceItem) -> list[Span]:
    if item.missed or item.losses:
        return []
    if item.imported:
        return [Span("   another tool recorded it: what it missed is not known", "dim")]
    if not item.unseen:
        return [Span("   complete", "ok")]
    told = f"complete, but for {plural(item.unseen, 'unseen program')}; rashomon show {item.id[:SHORT_ID]} names them"
    return [Span(f"   {told}", "dim")]


def _incomplete(item: TraceItem) -> str:
    told = []
    if item.missed:
        told.append(f"{plural(item.missed, 'peer')} reached outside of any recorded call")
    if item.losses:
        told.append(f"{plural(item.lost, 'step')} lost" if item.lost else "a journal is damaged")
    return f"{', '.join(told)}; rashomon show {item.id[:SHORT_ID]} names them"
