"""`rashomon show TRACE --follow`: the steps of a trace as they end, while another process records it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Protocol

from rashomon import views
from rashomon.commands import documents, options, terminal, trace_text
from rashomon.filters import Query
from rashomon.following import Following
from rashomon.measures import shown_duration
from rashomon.model import End, Json, Step, Tape, Trace
from rashomon.store.filter_steps import Beside, StepFilter
from rashomon.store.liveness import growing

LOOK_S = 0.1
"""So often the journals are looked at, in seconds."""

QUIET_S = 2.0
"""When no process of this machine writes the trace any more, it is over after so many seconds without news."""

_RUNNING_SHOWN = 5
FORMAT = "rashomon.follow/1"


class Printer(Protocol):
    """Where what is followed is told."""

    def begin(self, trace: Trace) -> None:
        """Say which trace it is."""

    def step(self, step: Step, depth: int) -> None:
        """Say that a step has ended."""

    def running(self, steps: list[Step], waited_s: float) -> None:
        """Say which steps are running, for as long as they are."""

    def end(self, tape: Tape, lost: str | None) -> None:
        """Say how the trace ended; `lost` when nothing writes to it any more though nobody said that it ended."""


def follow(home: Path, reference: str, query: Query, as_json: bool) -> None:
    """Print the steps of a trace as they end, until the trace ends."""
    with options.reading(home) as store:
        trace = store.trace(store.resolve(reference))
    following = Following(home, trace.id, trace.started_ns)
    StepFilter(query, trace)  # what cannot be asked is refused before anything is printed
    _refuse_unknown(query)
    printer: Printer = _Lines() if as_json else _Terminal() if terminal.in_terminal() else _Plain()
    try:
        _Follow(following, query, printer).run(trace)
    finally:
        if isinstance(printer, _Terminal):
            printer.close()


def _refuse_unknown(query: Query) -> None:
    """Raise `FilterError` for what is known only of traces in the store."""
    for term in query.terms:
        asked = {term.field, *(value.text for value in term.values if term.field == "has")}
        for word in ("cost", "note", "label"):
            if word in asked:
                raise query.error(
                    term,
                    f"A {word} is not known while a trace is followed.",
                    "Leave it out, or use show without --follow.",
                )


class _Follow:
    """One trace that is being followed: which steps were told, and whether it has ended."""

    def __init__(self, following: Following, query: Query, printer: Printer) -> None:
        self.following, self.query, self.printer = following, query, printer
        self._told: set[str] = set()
        self._news = time.monotonic()

    def run(self, trace: Trace) -> None:
        """Tell until the end."""
        self.following.look()
        self.printer.begin(self.following.tape.trace if self.following.tape else trace)
        while True:
            self.tell()
            lost = self.lost()
            if self.ended() or lost is not None:
                break
            time.sleep(LOOK_S)
            if self.following.look():
                self._news = time.monotonic()
        tape = self.following.tape or Tape(trace, ())
        self.tell(at_end=True)
        self.printer.end(tape, lost)

    def tell(self, at_end: bool = False) -> None:
        """Tell of the steps that ended since; at the end of the trace also of those that never did."""
        tape = self.following.tape
        if tape is None:
            return
        chosen = StepFilter(self.query, tape.trace, tape.steps, Beside())
        deep = trace_text.depths(tape.steps)
        running = []
        for step in tape.steps:
            if step.id in self._told:
                continue
            if step.response.end is End.OPEN and not at_end:
                running.append(step)
                continue
            self._told.add(step.id)
            if chosen.matches(step):
                self.printer.step(step, deep[step.id])
        self.printer.running(running, time.time() - tape.trace.started_ns / 1e9)

    def ended(self) -> bool:
        """True when the trace said how it ended, and nothing came since the last look."""
        tape = self.following.tape
        if tape is None or tape.trace.ended_ns is None:
            return False
        while self.following.look():
            self.tell()
        return True

    def lost(self) -> str | None:
        """Why nothing more is to come though nobody said that the trace ended; None when something may."""
        if time.monotonic() - self._news < QUIET_S:
            return None
        writers = self.following.writers()
        if any(growing(path, process, closed, ended=True) for path, process, closed in writers):
            return None
        if writers and all(closed for _, _, closed in writers):
            return "Its processes ended without saying how."
        pids = sorted({str(process.get("pid")) for _, process, closed in writers if not closed})
        who = f"process {' and '.join(pids)}" if pids else "its process"
        return f"Nothing records it any more: {who} was killed, or is not on this machine."


# ---------------------------------------------------------------------------------------------- output


class _Plain:
    """Lines of text for a pipe."""

    def begin(self, trace: Trace) -> None:
        terminal.print_text(f"trace      {trace.id}  {trace.name}")

    def step(self, step: Step, depth: int) -> None:
        terminal.print_text(step_line(step, depth))

    def running(self, steps: list[Step], waited_s: float) -> None:
        pass  # a pipe is told of what has ended

    def end(self, tape: Tape, lost: str | None) -> None:
        for line in end_lines(tape, lost):
            terminal.print_text(line)


class _Lines:
    """A JSON document in each line."""

    def begin(self, trace: Trace) -> None:
        _print_line("trace", {"trace": documents.trace_facts(trace)})

    def step(self, step: Step, depth: int) -> None:
        _print_line("step", {"step": documents.step_facts(step)})

    def running(self, steps: list[Step], waited_s: float) -> None:
        pass  # a reader of lines is told of what has ended

    def end(self, tape: Tape, lost: str | None) -> None:
        _print_line("end", {"trace": documents.trace_facts(tape.trace), "steps": len(tape.steps), "lost": lost})


def _print_line(event: str, facts: dict[str, Json]) -> None:
    text = json.dumps({"format": FORMAT, "event": event, **facts}, ensure_ascii=False, default=str)
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()


class _Terminal:
    """Lines that stay, and below them the steps that are running."""

    def __init__(self) -> None:
        from rich.live import Live

        self._console = terminal.console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def begin(self, trace: Trace) -> None:
        self._console.print(terminal.styled("trace ", "dim") + terminal.styled(f"{trace.id}  {trace.name}"))

    def step(self, step: Step, depth: int) -> None:
        row = trace_text.row_of(step, depth)
        text = terminal.styled(f"{step.id:>6}  ", "dim")
        sign = "  " * depth + terminal.GLYPHS[row.kind] + " "
        text.append_text(terminal.styled(sign, terminal.KIND_STYLES.get(row.kind, "dim")))
        text.append_text(terminal.styled(row.title.replace("\n", " "), "red" if row.trouble else ""))
        text.append_text(terminal.styled(f"  {_measures(row)}", "dim"))
        if row.trouble:
            text.append_text(terminal.styled(f"  ✗ {row.trouble}".replace("\n", " "), "red"))
        self._console.print(text, overflow="ellipsis", no_wrap=True)

    def running(self, steps: list[Step], waited_s: float) -> None:
        from rich.text import Text

        shown = Text()
        for step in steps[:_RUNNING_SHOWN]:
            took = shown_duration(max(0, int(waited_s * 1e6) - step.started_us))
            name = views.request_title(step).replace("\n", " ")
            line = terminal.styled(f"{step.id:>6}  … {name}  {took}", "yellow")
            line.truncate(self._console.width - 1, overflow="ellipsis")
            shown.append_text(line).append("\n")
        if len(steps) > _RUNNING_SHOWN:
            shown.append(f"        and {len(steps) - _RUNNING_SHOWN} more are running\n", style="dim")
        shown.rstrip()
        self._live.update(shown, refresh=True)

    def end(self, tape: Tape, lost: str | None) -> None:
        self._live.update("", refresh=True)
        for line in end_lines(tape, lost):
            style = "green" if tape.trace.outcome == "ok" and not lost else "bold red"
            self._console.print(terminal.styled(line, style))


def step_line(step: Step, depth: int) -> str:
    """A step that has ended, as a line."""
    row = trace_text.row_of(step, depth)
    trouble = f"  !! {row.trouble}" if row.trouble else ""
    title = row.title.replace("\n", "\\n")
    return f"{step.id:>6}  {row.kind:<6}  {'  ' * depth}{title}{trouble}  {_measures(row)}".rstrip()


def _measures(row: trace_text.Row) -> str:
    return "  ".join(filter(None, (row.status, row.tokens, row.duration)))


def end_lines(tape: Tape, lost: str | None) -> list[str]:
    """How the trace ended."""
    label, text = next(pair for pair in trace_text.header(tape) if pair[0] == "outcome")
    lines = [f"{label:<10} {text}, {terminal.plural(len(tape.steps), 'step')}"]
    if tape.trace.outcome == "killed":
        lines.append("           The program was killed.")
    if lost is not None:
        lines.append(f"           {lost}")
    return lines
