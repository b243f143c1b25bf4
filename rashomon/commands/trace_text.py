"""A trace as text: what it was, what slipped through, and its steps as a tree."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

from rashomon import disk, telemetry
from rashomon.commands import terminal
from rashomon.commands.told import duration_us, told, warnings
from rashomon.lines import one_line
from rashomon.measures import shown_duration
from rashomon.model import End, Grade, Site, Step, Tape, Trace

if TYPE_CHECKING:
    from rashomon.store import Outline, StepRow
    from rashomon.store.lists import Columns, Shown, ShownLine, StepLine


_COMMAND = 160
"""How much of a subprocess's command is shown; all of it is in JSON."""
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


def depths(steps: Sequence[Step | StepRow | StepLine | ShownLine]) -> dict[str, int]:
    """How deep each step stands below the tools that it was made in."""
    found: dict[str, int] = {}
    for step in steps:
        found[step.id] = found.get(step.within, -1) + 1 if step.within is not None else 0
    return found


def rows(tape: Tape | Outline | Shown) -> list[Row]:
    """The steps in order; a step made inside a tool stands one level deeper."""
    return list(map(Row, *cells(tape)))


def cells(tape: Tape | Outline | Shown) -> list[Sequence[Any]]:
    """The fields of `rows`, each of all steps. There may be thousands: what can be made column by column, is."""
    from rashomon.store.lists import Columns

    steps = tape.steps
    if isinstance(steps, Columns):
        return _cells_of(steps)
    deep = depths(steps)
    return list(zip(*[row_of(step, deep[step.id]) for step in steps], strict=True)) or [()] * len(Row._fields)


def _cells_of(steps: Columns[ShownLine]) -> list[Sequence[Any]]:
    column, nothing = steps.column, [""] * len(steps)
    kind, ended, grade, lane = column("kind"), column("end"), column("grade"), column("lane")
    deep = depths(steps) if any(column("within")) else {}
    facts = zip(ended, grade, column("marks"), column("failure_type"), strict=True)
    unwell = [at for at, one in enumerate(facts) if one not in _ALL_WELL]
    wrong = nothing
    if unwell:
        wrong = nothing.copy()
        for at, step in zip(unwell, steps.chosen(unwell), strict=True):
            wrong[at] = trouble(step)
    return [
        list(map(str, column("index"))),
        [deep[one] for one in column("id")] if deep else [0] * len(steps),
        kind,
        column("title"),
        ["" if status is None else str(status) for status in column("status")],
        [
            "" if sent is None and received is None else f"{sent or 0:,}/{received or 0:,}"
            for sent, received in zip(column("input_tokens"), column("output_tokens"), strict=True)
        ],
        lane if any(lane) else nothing,
        _durations(ended, column("duration_us")),
        [one or "" for one in grade] if any(grade) else nothing,
        wrong,
    ]


def _durations(ended: Sequence[str], took: Sequence[int]) -> list[str]:
    if _OPEN in ended:
        return ["" if end == _OPEN else shown_duration(us) for end, us in zip(ended, took, strict=True)]
    return [shown_duration(us) for us in took]


_OPEN = End.OPEN.value
_FILES = 5
"""So many files are shown of those that a program met."""
_ALL_WELL = ((End.COMPLETE.value, None, None, None), (End.COMPLETE.value, Grade.EXACT.value, None, None))
"""How a step ended, its grade, marks and failure, as columns have them, where there is no trouble to tell of."""


def row_of(step: Step | StepRow | StepLine | ShownLine, depth: int) -> Row:
    """A step as a line."""
    said = told(step)
    sent, received, grade, end = said.input_tokens, said.output_tokens, said.grade, said.end
    return Row(
        str(said.index),
        depth,
        said.kind._value_,  # a look-up of `value` takes longer, and there may be thousands
        said.title,
        "" if said.status is None else str(said.status),
        "" if sent is None and received is None else f"{sent or 0:,}/{received or 0:,}",
        ".".join(map(str, said.lane)) if said.lane else "",
        "" if end is End.OPEN else shown_duration(said.duration_us),
        "" if grade is None else grade._value_,
        "" if end is End.COMPLETE and grade is None and not said.marks and said.failure_type is None else trouble(said),
    )


def trouble(step: StepRow | StepLine | ShownLine) -> str:
    """What is wrong with a step beyond what its title says; empty when nothing is."""
    found = []
    if step.failure_type is not None:
        name, message = step.failure_type.rpartition(":")[2], (step.failure_message or "").split("\n")[0]
        if name not in step.title:
            found.append(f"{name}: {message}".rstrip(": "))
    elif step.end not in (End.COMPLETE, End.CLOSED):
        found.append(f"ended {step.end.value}" if step.end is not End.OPEN else "never ended")
    if step.grade in (Grade.MISSED, Grade.DRIFTED) and step.match_detail:
        found.append(step.match_detail)
    found.extend(step.marks)
    return "; ".join(found)


def header(tape: Tape | Outline | Shown) -> list[tuple[str, str]]:
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
            terminal.local_time(trace.started_ns) + (f", took {shown_duration(took)}" if took is not None else ""),
        )
    )
    lines.append(("outcome", _outcome(trace)))
    if trace.parent:
        lines.append(("replay of", trace.parent))
    lines.extend(("changed", json.dumps(swap, ensure_ascii=False, default=str)) for swap in trace.swaps)
    if trace.within:
        lines.append(("within", trace.within))
    lines.extend(provenance(trace))
    if trace.tags:
        lines.append(("tags", " ".join(f"{key}={value}" for key, value in sorted(trace.tags.items()))))
    lines.append(("coverage", coverage(tape)))
    lines.extend(("missed", text) for text in missed(trace))
    lines.extend(("beyond", text) for text in uncontrolled(trace))
    lines.extend(("telemetry", one.reason) for one in trace.uncontrolled if telemetry.is_one(one))
    lines.extend(("launched", text) for text in launched(trace))
    lines.extend(("files", text) for text in files(trace))
    return lines


def provenance(trace: Trace) -> list[tuple[str, str]]:
    """Where a trace is from: the state of the program's working copy, and how it came here; label and text."""
    lines = []
    git, imported = trace.provenance.get("git") or {}, trace.provenance.get("imported") or {}
    if git:
        state = [str(git.get("commit") or "no commit yet")[:12]]
        state += [f"on {git['branch']}"] if git.get("branch") else []
        state += ["with changes that were not committed"] if git.get("dirty") else []
        lines.append(("git", " ".join(state)))
    if imported:
        lines.append(("imported", f"from {imported.get('file', '?')} ({imported.get('format', '?')})"))
        lines.extend(("lacks", str(text)) for text in imported.get("lacks", ()))
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
    missed = {*trace.coverage.missed, telemetry.WHAT}
    others = [one for one in trace.uncontrolled if one.what not in missed and not disk.is_one(one)]
    return [f"{one.what}: {one.reason}" + (f"; {_place(one.site)}" if one.site else "") for one in others]


def launched(trace: Trace) -> list[str]:
    """The subprocesses that the program started, a line each; equal ones from one place are counted."""
    found = Counter((one_line(shlex.join(one.argv), _COMMAND), _place(one.site)) for one in trace.launched)
    return [f"{command}{_times(times)}" + (f"; {place}" if place else "") for (command, place), times in found.items()]


def files(trace: Trace) -> list[str]:
    """The files that the program met on the disk, which are no part of the recording; of many the first."""
    found = disk.told(trace.uncontrolled)
    told = [f"{path}: {met}" + (f"; {_place(site)}" if site else "") for path, met, site in found[:_FILES]]
    return [*told, f"and {len(found) - _FILES:,} more: --json"] if len(found) > _FILES else told


def _times(count: int) -> str:
    return f" ({count} times)" if count > 1 else ""


def _place(site: Site | None) -> str:
    return "" if site is None else f"{site.file}:{site.line} in {site.function}"


def _outcome(trace: Trace) -> str:
    code = "" if trace.exit_code is None else f" (exit code {trace.exit_code})"
    return f"{trace.outcome}{code}" + (f": {trace.error}" if trace.error else "")


def coverage(tape: Tape | Outline | Shown) -> str:
    """`complete` when nothing is known to have slipped past, else that it is not.

    Connections of recorded calls are counted once, however many calls they served.
    """
    trace = tape.trace
    if trace.imported:
        return "not known: another tool recorded it"
    opened = terminal.plural(trace.coverage.connections, "connection")
    if trace.coverage.complete and not trace.losses and not warnings(tape):
        return f"complete ({opened}, {terminal.plural(len(tape.steps), 'step')}){_beside(trace)}"
    return f"INCOMPLETE ({opened}, {terminal.plural(len(tape.steps), 'step')})"


def _beside(trace: Trace) -> str:
    """What stands beside `complete` where programs ran that no recorder looks into."""
    if not trace.launched:
        return ""
    from rashomon.beside import uncovered  # few need it

    found = len(uncovered(trace))
    ran = f"{terminal.plural(found, 'program')} that {'is' if found == 1 else 'are'} not Python"
    return f"; not known what {ran} reached: see launched" if found else ""


def divergences(trace: Trace) -> list[str]:
    """Where a replay left its recording, line by line."""
    lines = []
    for one in trace.divergences:
        lines.append(f"DIVERGED: {one.summary}")
        lines.extend(f"  {line}" for line in one.detail or one.paths)
    return lines


class Narrowed(NamedTuple):
    """Which steps are shown of a trace: the filter as its reader wrote it, and the ids of the steps that match."""

    source: str
    ids: frozenset[str]


def print_trace(
    tape: Tape | Outline | Shown, narrowed: Narrowed | None = None, cost: str = "", noted: Sequence[str] = ()
) -> None:
    """Print a trace for whoever reads stdout; of its steps those that a filter chose, where there is one.

    `cost` is what it cost, as `measures.told_cost` has it, and `noted` what people wrote on it, line by line.
    """
    loud = [f"WARNING: {warning}" for warning in warnings(tape)] + divergences(tape.trace)
    labels, found = header(tape), cells(tape)
    labels += [("cost", cost)] if cost else []
    labels += [("note", line) for line in noted]
    if narrowed is not None:
        steps: Sequence[Step | StepRow | StepLine | ShownLine] = tape.steps
        chosen = [step.id in narrowed.ids for step in steps]
        found = [list(compress(column, chosen)) for column in found]
        labels.append(("filter", f"{narrowed.source} ({sum(chosen):,} of {terminal.plural(len(steps), 'step')})"))
    if terminal.in_terminal():
        _print_rich(labels, list(map(Row, *found)), tape.trace.outcome, loud)
        return
    lines = terminal.clean("\n".join([*(f"{label:<10} {text}" for label, text in labels), *loud]))
    terminal.print_clean(f"{lines}\n\n{_plain_table(found)}" if found[0] else lines)


def _plain_table(found: list[Sequence[Any]]) -> str:
    number, depth, kind, title, status, tokens, lane, took, grade, wrong = found
    calls = title
    if any(depth) or any(wrong):
        calls = [
            f"{'  ' * deep}{what}  !! {trouble}" if trouble else "  " * deep + what
            for deep, what, trouble in zip(depth, title, wrong, strict=True)
        ]
    shown = [("STEP", number), ("KIND", kind), ("CALL", calls), ("STATUS", status), ("TOKENS", tokens), ("TOOK", took)]
    shown += [(head, column) for head, column in (("LANE", lane), ("MATCH", grade)) if any(column)]
    return terminal.table([[head, *column] for head, column in shown], right=(0, 4, 5))


def _print_rich(labels: list[tuple[str, str]], found: list[Row], outcome: str, loud: list[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    out = terminal.console()
    for label, text in labels:
        style = _OUTCOME_STYLES.get(outcome, "") if label == "outcome" else ""
        if text.startswith("INCOMPLETE") or label == "missed":
            style = "bold red"
        out.print(Text(f"{label:<10} ", style="dim").append_text(terminal.styled(text, style)))
    for line in loud:
        out.print(terminal.styled(line, "dim" if line.startswith(" ") else "bold red"))
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
