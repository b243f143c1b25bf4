"""A trace as text: what it was, what slipped through, and its steps as a tree."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from typing import NamedTuple

from rashomon import views
from rashomon.commands import terminal
from rashomon.commands.documents import duration_us
from rashomon.commands.record import warnings
from rashomon.model import End, Grade, Site, Step, Tape, Trace

_OUTCOME_STYLES = {"ok": "green", "error": "bold red", "killed": "bold red", "open": "yellow"}
_GRADE_STYLES = {
    Grade.EXACT: "dim",
    Grade.EXPLAINED: "green",
    Grade.STUBBED: "yellow",
    Grade.LIVE: "yellow",
    Grade.DRIFTED: "bold red",
    Grade.MISSED: "bold red",
}


class Row(NamedTuple):
    """One step as a line: every cell is text, ready for a table."""

    number: str
    depth: int
    kind: str
    title: str
    status: str
    tokens: str
    lane: str
    duration: str
    grade: str
    trouble: str


def depths(steps: tuple[Step, ...]) -> dict[str, int]:
    """How deep each step stands below the tools that it was made in."""
    found: dict[str, int] = {}
    for step in steps:
        found[step.id] = found.get(step.within, -1) + 1 if step.within is not None else 0
    return found


def rows(tape: Tape) -> list[Row]:
    """The steps in order; a step made inside a tool stands one level deeper."""
    deep = depths(tape.steps)
    return [_row(step, deep[step.id]) for step in tape.steps]


def _row(step: Step, depth: int) -> Row:
    said = views.summary(step)
    status = "" if said.status is None else str(said.status)
    tokens = ""
    if said.input_tokens is not None or said.output_tokens is not None:
        tokens = f"{said.input_tokens or 0:,}/{said.output_tokens or 0:,}"
    lane = ".".join(map(str, step.lane))
    grade = "" if step.match is None else step.match.grade.value
    took = "" if step.response.end is End.OPEN else terminal.duration(step.response.duration_us)
    wrong = trouble(step, said.title)
    return Row(str(step.index), depth, step.kind.value, said.title, status, tokens, lane, took, grade, wrong)


def trouble(step: Step, title: str) -> str:
    """What is wrong with a step beyond what its title says; empty when nothing is."""
    found = []
    response = step.response
    if response.failure is not None:
        name, message = response.failure.type.rpartition(":")[2], response.failure.message.split("\n")[0]
        if name not in title:
            found.append(f"{name}: {message}".rstrip(": "))
    elif response.end not in (End.COMPLETE, End.CLOSED):
        found.append(f"ended {response.end.value}" if response.end is not End.OPEN else "never ended")
    if step.match is not None and step.match.grade in (Grade.MISSED, Grade.DRIFTED) and step.match.detail:
        found.append(step.match.detail)
    found.extend(step.marks)
    return "; ".join(found)


def header(tape: Tape) -> list[tuple[str, str]]:
    """What a reader wants to know of a trace before its steps: label and text."""
    trace = tape.trace
    lines = [("trace", f"{trace.id}  {trace.name}")]
    if trace.command:
        lines.append(("command", shlex.join(trace.command)))
    if trace.entrypoint:
        lines.append(("entry", str(trace.entrypoint.get("ref", ""))))
    took = duration_us(trace)
    lines.append(
        (
            "started",
            terminal.local_time(trace.started_ns) + (f", took {terminal.duration(took)}" if took is not None else ""),
        )
    )
    lines.append(("outcome", _outcome(trace)))
    if trace.parent:
        lines.append(("replay of", trace.parent))
    lines.extend(("changed", json.dumps(swap, ensure_ascii=False, default=str)) for swap in trace.swaps)
    if trace.within:
        lines.append(("within", trace.within))
    if trace.tags:
        lines.append(("tags", " ".join(f"{key}={value}" for key, value in sorted(trace.tags.items()))))
    lines.append(("coverage", coverage(tape)))
    lines.extend(("missed", text) for text in missed(trace))
    lines.extend(("beyond", text) for text in uncontrolled(trace))
    lines.extend(("launched", text) for text in launched(trace))
    return lines


def missed(trace: Trace) -> list[str]:
    """The peers that no recorded call reached, and where in the source; equal ones are counted."""
    places: dict[str, list[str]] = {}
    for one in trace.uncontrolled:
        places.setdefault(one.what, []).append(_place(one.site) or one.reason)
    return [
        f"{peer}{_times(times)}" + "".join(f"; {place}" for place in dict.fromkeys(places.get(peer, ())))
        for peer, times in Counter(trace.coverage.missed).items()
    ]


def uncontrolled(trace: Trace) -> list[str]:
    """What a replay cannot control, why, and where it was used; without the peers that `missed` lists."""
    others = [one for one in trace.uncontrolled if one.what not in trace.coverage.missed]
    return [f"{one.what}: {one.reason}" + (f"; {_place(one.site)}" if one.site else "") for one in others]


def launched(trace: Trace) -> list[str]:
    """The subprocesses that the program started; equal ones from one place are counted."""
    found = Counter((shlex.join(one.argv), _place(one.site)) for one in trace.launched)
    return [f"{command}{_times(times)}" + (f"; {place}" if place else "") for (command, place), times in found.items()]


def _times(count: int) -> str:
    return f" ({count} times)" if count > 1 else ""


def _place(site: Site | None) -> str:
    return "" if site is None else f"{site.file}:{site.line} in {site.function}"


def _outcome(trace: Trace) -> str:
    code = "" if trace.exit_code is None else f" (exit code {trace.exit_code})"
    return f"{trace.outcome}{code}" + (f": {trace.error}" if trace.error else "")


def coverage(tape: Tape) -> str:
    """`complete` when nothing is known to have slipped past, else that it is not.

    Connections of recorded calls are counted once, however many calls they served.
    """
    trace = tape.trace
    opened = terminal.plural(trace.coverage.connections, "connection")
    if trace.coverage.complete and not trace.losses and not warnings(tape):
        return f"complete ({opened}, {terminal.plural(len(tape.steps), 'step')})"
    return f"INCOMPLETE ({opened}, {terminal.plural(len(tape.steps), 'step')})"


def divergences(trace: Trace) -> list[str]:
    """Where a replay left its recording, line by line."""
    lines = []
    for one in trace.divergences:
        lines.append(f"DIVERGED: {one.summary}")
        lines.extend(f"  {line}" for line in one.detail or one.paths)
    return lines


def print_trace(tape: Tape) -> None:
    """Print a trace for whoever reads stdout."""
    loud = [f"WARNING: {warning}" for warning in warnings(tape)] + divergences(tape.trace)
    if terminal.in_terminal():
        _print_rich(tape, loud)
        return
    lines = [f"{label:<10} {text}" for label, text in header(tape)]
    lines += loud
    if tape.steps:
        lines.append("")
        lines.append(_plain_table(rows(tape)))
    terminal.print_text("\n".join(lines))


def _plain_table(found: list[Row]) -> str:
    lanes, grades = any(row.lane for row in found), any(row.grade for row in found)
    heads = ["STEP", "KIND", "CALL", "STATUS", "TOKENS", "TOOK"]
    heads += ["LANE"] * lanes + ["MATCH"] * grades
    cells = []
    for row in found:
        title = "  " * row.depth + row.title + (f"  !! {row.trouble}" if row.trouble else "")
        line = [row.number, row.kind, title, row.status, row.tokens, row.duration]
        cells.append(line + [row.lane] * lanes + [row.grade] * grades)
    return terminal.columns(cells, heads, right=(0, 4, 5))


def _print_rich(tape: Tape, loud: list[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    out = terminal.console()
    for label, text in header(tape):
        style = _OUTCOME_STYLES.get(tape.trace.outcome, "") if label == "outcome" else ""
        if text.startswith("INCOMPLETE") or label == "missed":
            style = "bold red"
        out.print(Text(f"{label:<10} ", style="dim").append_text(terminal.styled(text, style)))
    for line in loud:
        out.print(terminal.styled(line, "dim" if line.startswith(" ") else "bold red"))
    found = rows(tape)
    if not found:
        return
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for head, options in _rich_columns(found, out.width):
        table.add_column(head, **options)  # type: ignore[arg-type]
    grades, lanes = any(row.grade for row in found), any(row.lane for row in found)
    for row in found:
        style = terminal.KIND_STYLES.get(row.kind, "dim")
        title = Text("  " * row.depth + terminal.GLYPHS[row.kind] + " ", style=style)
        title.append_text(terminal.styled(row.title.replace("\n", " "), "red" if row.trouble else ""))
        grade = terminal.styled(row.grade, _GRADE_STYLES[Grade(row.grade)] if row.grade else "")
        cells: list[str | Text] = [row.number, title, row.status, row.tokens, row.duration]
        table.add_row(*cells, *[row.lane] * lanes, *[grade] * grades)
        if row.trouble:
            table.add_row("", terminal.styled("  " * row.depth + "  ✗ " + row.trouble.replace("\n", " "), "red"))
    out.print()
    out.print(table)


def _rich_columns(found: list[Row], width: int) -> list[tuple[str, dict[str, object]]]:
    """Heads and settings: the call gives way when the terminal is narrow, the numbers never do."""
    cells: list[tuple[str, list[str]]] = [
        ("#", [row.number for row in found]),
        ("call", []),
        ("status", [row.status for row in found]),
        ("tokens", [row.tokens for row in found]),
        ("took", [row.duration for row in found]),
    ]
    if any(row.lane for row in found):
        cells.append(("lane", [row.lane for row in found]))
    if any(row.grade for row in found):
        cells.append(("match", [row.grade for row in found]))
    widths = {head: max([len(head), *map(len, texts)]) for head, texts in cells}
    left = width - sum(widths[head] + 2 for head in widths if head != "call") - 2
    columns: list[tuple[str, dict[str, object]]] = []
    for head, _ in cells:
        settings: dict[str, object] = {"no_wrap": True, "overflow": "ellipsis"}
        if head == "call":
            settings["max_width"] = max(20, left)
        else:
            settings |= {"min_width": widths[head], "justify": "right", "style": "dim"}
        columns.append((head, settings))
    return columns
