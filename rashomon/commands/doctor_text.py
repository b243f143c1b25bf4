"""What the doctor found, as text: the runs, the sources by what a replay makes of them, and the verdict last."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rashomon.commands import terminal
from rashomon.commands.arguments import see
from rashomon.commands.doctor_findings import Control, Finding, Run
from rashomon.commands.told import duration_us
from rashomon.lines import one_line
from rashomon.measures import shown_duration
from rashomon.model import Site

_INDENT = 4
_WIDEST = 160
_HEADS = {
    Control.CONTROLLED: ("✓", "controlled: recorded, and played back as it was", "green"),
    Control.VIRTUAL: ("~", "virtual: made up by the replay, and the same in every replay", "cyan"),
    Control.UNCONTROLLED: ("✗", "not controlled", "bold red"),
}
_LIVE_HEADS = {
    Control.CONTROLLED: "controlled in a replay",
    Control.VIRTUAL: "virtual in a replay",
    Control.UNCONTROLLED: "not controlled in a replay",
}
_SIGN_STYLES = {"- ": "red", "+ ": "green", "→ ": "bold"}


class Line(NamedTuple):
    """A line of the report: how deep it stands, its style, and whether it may be cut rather than wrapped."""

    text: str
    style: str = ""
    indent: int = 0
    cut: bool = False


def print_report(
    command: Sequence[str], runs: Sequence[Run], findings: Sequence[Finding], home: str | None = None
) -> None:
    """Print the report for whoever reads stdout. `home`: as `--home` had it, for the command that it ends with."""
    lines = list(report_lines(command, runs, findings, home))
    if not terminal.in_terminal():
        terminal.print_text("\n".join((" " * line.indent + line.text).rstrip() for line in lines))
        return
    from rich.padding import Padding

    out = terminal.console()
    for line in lines:
        if not line.text:
            out.print()
            continue
        text = terminal.styled(line.text, line.style)
        padded = Padding(text, (0, 0, 0, line.indent), expand=False)
        out.print(padded, no_wrap=line.cut, overflow="ellipsis" if line.cut else "fold")


def report_lines(
    command: Sequence[str], runs: Sequence[Run], findings: Sequence[Finding], home: str | None
) -> Iterator[Line]:
    """The report line by line."""
    yield Line(shlex.join(command), "bold")
    for run in runs:
        style = "red" if run.divergences else ""
        yield Line(f"{run.role:<9} {run.tape.trace.id}  {_outcome(run)}", style)
    live = runs[0].role == "live"
    widths = _widths(findings)
    for control, (sign, head, style) in _HEADS.items():
        section = [one for one in findings if one.control is control]
        if section:
            yield Line("")
            yield Line(f"{sign} {_LIVE_HEADS[control] if live else head}", style)
        for one in section:
            yield from _finding_lines(one, widths, live)
    yield Line("")
    yield from verdict(runs, findings, home)


def _outcome(run: Run) -> str:
    grades: dict[str, int] = {}
    for step in run.tape.steps:
        if step.match is not None:
            grades[step.match.grade.value] = grades.get(step.match.grade.value, 0) + 1
    told = ", ".join(f"{count} {grade}" for grade, count in grades.items())
    steps = terminal.plural(len(run.tape.steps), "step") + (f" ({told})" if told else "")
    took = duration_us(run.tape.trace)
    time = f", {shown_duration(took)}" if took is not None else ""
    held = "" if run.role != "replayed" else ", DIVERGED" if run.divergences else ", held"
    return f"{steps}, exit code {run.exit_code}{time}{held}"


def _widths(findings: Sequence[Finding]) -> tuple[int, int, int]:
    """How wide the columns of group, name and place are; one long name does not push all others away."""
    sources = [one for one in findings if one.control is not Control.UNCONTROLLED]
    group = max((len(one.group) for one in findings), default=0)
    name = max((min(44, len(one.what)) for one in sources), default=0)
    place = max((min(48, len(place_text(one.site))) for one in sources), default=0)
    return group, name, place


def _finding_lines(one: Finding, widths: tuple[int, int, int], live: bool) -> Iterator[Line]:
    group, name, place = widths
    cells = [f"{one.group:<{group}}", f"{one_line(one.what, _WIDEST):<{name}}", f"{place_text(one.site):<{place}}"]
    cells.append(f"{times_text(one.times):<9}")
    if live:
        cells.append("same  " if one.varies is False else "varies" if one.varies else "      ")
    cells.append(one.example)
    mark = "!" if one.changes else " "
    yield Line(f"{mark} {'  '.join(cells)}".rstrip(), "bold" if one.changes else "", _INDENT - 2, one.control
               is not Control.UNCONTROLLED)  # fmt: skip
    deep = _INDENT + group + 2
    for text in one.detail:
        yield Line(text, _SIGN_STYLES.get(text[:2], "dim"), deep)
    if one.advice:
        yield Line(f"→ {one.advice}", "", deep)


def times_text(count: int) -> str:
    """How often something was met: nothing for once, else `3 times`."""
    return "" if count <= 1 else f"{count:,} times"


def place_text(site: Site | None) -> str:
    """A place in the program, as short as it can be found from here: `agent.py:34 in main`."""
    if site is None:
        return ""
    file = site.file
    try:
        near = os.path.relpath(file)
    except ValueError:  # another drive
        near = file
    file = near if not near.startswith(os.pardir) else file
    return f"{file}:{site.line}" + (f" in {site.function}" if site.function not in ("", "<module>") else "")


def verdict(runs: Sequence[Run], findings: Sequence[Finding], home: str | None) -> Iterator[Line]:
    """What all of it comes to, in a sentence or two, and where to look next."""
    changed = sum(one.changes for one in findings)
    if runs[0].role == "live":
        yield from _live_verdict(findings, changed)
    elif changed:
        yield Line(f"It did not hold: {terminal.plural(changed, 'thing')} changed the run, marked with !.", "bold red")
    else:
        many = "The replay" if len(runs) == 2 else f"Each of {len(runs) - 1} replays"
        yield Line(f"It held. {many} did what the recording did.", "bold green")
        left = sum(one.control is Control.UNCONTROLLED for one in findings)
        if left:
            noun = "source is" if left == 1 else "sources are"
            yield Line(f"{left} {noun} not controlled, and changed nothing this time.", "yellow")
    if changed:
        other = next((run for run in runs if run.divergences), runs[1])
        yield Line(see("diff", runs[0].tape.trace.id, other.tape.trace.id, home=home))


def _live_verdict(findings: Sequence[Finding], changed: int) -> Iterator[Line]:
    if changed:
        left = sum(one.changes and one.control is Control.UNCONTROLLED for one in findings)
        yield Line(f"The two runs differ in {terminal.plural(changed, 'place')}, marked with !.", "bold yellow")
        yield Line(f"A replay controls all but {left} of them." if left else "A replay controls all of them.")
        return
    yield Line("The two runs did the same.", "bold green")
    vary = sum(bool(one.varies) for one in findings)
    if vary:
        yield Line(f"What they read differs at {terminal.plural(vary, 'place')}, and changed nothing this time.")
