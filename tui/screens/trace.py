"""The steps of one trace, and the step under the cursor: what went out, what came back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from textual.containers import Container
from textual.timer import Timer
from textual.widget import Widget

from rashomon.beside import uncovered
from rashomon.filters import Query
from rashomon.measures import shown_duration
from rashomon.model import Step, Tape, Trace
from rashomon.tui.actions import Place, bindings
from rashomon.tui.document import facts_line, match_lines, request_lines, response_lines
from rashomon.tui.glyphs import Glyphs
from rashomon.tui.lines import LineList
from rashomon.tui.model import SHORT_ID, duration_us
from rashomon.tui.notes import NoteItem, note_lines
from rashomon.tui.screens.narrowed import NarrowedPage
from rashomon.tui.screens.page import error_lines
from rashomon.tui.spans import Line, Span, plural
from rashomon.tui.steps import StepRows, step_json
from rashomon.tui.text import TextPane


class _Inspected(NamedTuple):
    facts: list[Line]
    request: list[Line]
    response: list[Line]


class _Facts(TextPane):
    """What is known of a step, without a frame. Keys go there only when there is more of it than is seen."""

    def allow_focus(self) -> bool:
        """Only with something to scroll to."""
        return super().allow_focus() and (self.has_focus or self.max_scroll_y > 0)


class TraceScreen(NarrowedPage):
    """A list of steps beside their content, or above it where the window is narrow."""

    BINDINGS = bindings(Place.TRACE, Place.EVERYWHERE)

    def __init__(self, trace_id: str) -> None:
        self._trace_id = trace_id
        self._rows: StepRows | None = None
        self._tape: Tape | None = None
        self._waiting: Timer | None = None
        self._notes: list[NoteItem] = []
        self._failing: frozenset[str] = frozenset()
        super().__init__()

    def body(self) -> Iterable[Widget]:
        """The steps, and an inspector of three panes."""
        yield LineList(self.rashomon.glyphs.cursor, css_id="steps")
        with Container(id="inspector"):
            yield _Facts(css_id="facts")
            with Container(id="sides"):
                for name in ("request", "response"):
                    pane = TextPane(css_id=name)
                    pane.border_title = name
                    yield pane

    def on_mount(self) -> None:
        """Ask for the steps."""
        self.lines.focus()
        self.lines.say([(), (Span("Loading steps …", "dim"),)])
        self.trail("traces", self._trace_id[:SHORT_ID], "")
        self.action_reload()

    @property
    def lines(self) -> LineList:
        """The list of steps."""
        return self.query_one("#steps", LineList)

    @property
    def current(self) -> Step | None:
        """The step under the cursor."""
        return self._rows.steps[self.lines.cursor] if self._rows is not None and len(self._rows) else None

    def action_reload(self) -> None:
        """Read the trace again: it may be recorded at this moment."""
        source = self.rashomon.source
        self.in_background("tape", lambda: source.tape(self._trace_id), self._loaded, self.still_reading)

    def _loaded(self, tape: Tape) -> None:
        self._tape = tape
        self.show_chosen()
        if self.bar.is_open:  # typed while the steps were loaded, or it chooses among new ones too
            self.bar.renew()
        self.in_background("notes", lambda: self.rashomon.source.notes(self._trace_id), self._noted)
        self.in_background("failing", lambda: self.rashomon.source.failing(tape), self._read_failing)

    def _read_failing(self, failing: frozenset[str]) -> None:
        """What heads do not tell: the errors that stand in answers of status 200."""
        if failing != self._failing:
            self._failing = failing
            self.show_chosen()

    def _noted(self, notes: list[NoteItem]) -> None:
        self._notes = notes
        if notes:
            self.show_chosen()

    def search(self, query: Query) -> Callable[[], frozenset[str]] | None:
        """The ids of the steps that a filter chooses."""
        tape, source = self._tape, self.rashomon.source
        return None if tape is None else lambda: source.chosen(tape, query)

    def show_chosen(self) -> None:
        """List all steps, or those that the filter chose; the cursor stays on its step while that is there."""
        tape, first_time = self._tape, self._rows is None
        if tape is None:
            return
        steps = tape.steps
        if self.chosen is not None:
            steps = tuple(step for step in tape.steps if step.id in self.chosen)
        noted = frozenset(note.step for note in self._notes if note.step is not None)
        rows = StepRows(tape._replace(steps=steps), self.rashomon.glyphs, noted, self._failing)
        at = self.place_among([step.id for step in steps], rows.first or 0 if first_time else 0)
        self._rows = rows
        self._write_trail(tape, len(steps))
        if not steps:
            self.lines.say(self.nothing_matches(len(tape.steps), "steps") if tape.steps else _no_steps(tape))
            self._show_step(_Inspected([], [], []))
            return
        self.lines.show(rows, at)

    def under_cursor(self) -> str | None:
        """The id of the step under the cursor."""
        return None if self.current is None else self.current.id

    def _write_trail(self, tape: Tape, shown: int) -> None:
        trace, bar = tape.trace, self.rashomon.glyphs.bar
        if self.filter.terms:
            path = f"{trace.name} {trace.id[:SHORT_ID]}"
            self.trail("traces", path, f"{bar} {self.told_filter(shown, len(tape.steps))}")
            return
        told = [trace.outcome, plural(len(tape.steps), "step"), shown_duration(duration_us(trace))]
        if self._notes:
            told.append(plural(len(self._notes), "note"))
        complete = trace.coverage.complete and not trace.losses
        if not complete and not trace.imported:
            told.append(" ".join(["! incomplete:", *dict.fromkeys(trace.coverage.missed)]).rstrip(":"))
        if trace.parent:
            count = len(trace.divergences)
            how = plural(count, "divergence") if count else "held"
            told.append(f"replay of {trace.parent[:SHORT_ID]}: {how}")
        if complete or trace.imported:
            told.append("imported" if trace.imported else _complete(trace))
        self.trail("traces", f"{trace.name} {trace.id[:SHORT_ID]}", f"{bar} " + f" {bar} ".join(filter(None, told)))

    def failed(self, group: str, error: Exception) -> None:
        """A trace that cannot be read: said in place of its steps. A step: in place of its content."""
        lines = error_lines(error, self.rashomon.glyphs.error)
        if group == "tape":
            self._rows = self._tape = None
            self.lines.say(lines)
            self._show_step(_Inspected([], [], []))
        elif group in ("filter", "notes", "copy"):
            super().failed(group, error)
        else:
            self.query_one("#response", TextPane).show(lines)

    # -------------------------------------------------------------------------------------- inspector

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Show the step once the cursor rests on it."""
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = None
        if self.rashomon.rest_s > 0:
            self._waiting = self.set_timer(self.rashomon.rest_s, self._inspect)
        else:
            self._inspect()

    def _inspect(self) -> None:
        step, rows = self.current, self._rows
        if step is None or rows is None:
            return
        said = [one.summary for one in rows.trace.divergences if one.step == step.id]
        notes = [note for note in self._notes if note.step == step.id or (note.step is None and not step.index)]
        glyphs = self.rashomon.glyphs
        self.in_background("step", lambda: _inspected(step, said, notes, glyphs), self._show_step, self._reading)

    def _reading(self) -> None:
        """A large body takes its time; until then no other step's content stands beside this one."""
        self._show_step(_Inspected([], [(Span("Reading …", "dim"),)], []))

    def _show_step(self, seen: _Inspected) -> None:
        self.query_one("#facts", TextPane).show(seen.facts)
        self.query_one("#request", TextPane).show(seen.request)
        self.query_one("#response", TextPane).show(seen.response)

    # ------------------------------------------------------------------------------------------- keys

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """A double click goes to the answer."""
        self.action_read()

    def action_read(self) -> None:
        """Go to the answer, so that keys scroll it; in a low window it takes the place of the list."""
        if self.current is not None:
            self.add_class("-reading")
            self.call_after_refresh(self.query_one("#response").focus)

    def on_descendant_focus(self) -> None:
        """A low window has room for one of both: the list, or the content that keys go to."""
        self.set_class(isinstance(self.focused, TextPane), "-reading")

    def action_back(self, may_quit: bool) -> None:
        """From the content that took the place of the list back to it, before all else."""
        if self.maximized is None and self.has_class("-short") and self.has_class("-reading"):
            self.remove_class("-reading")
            self.call_after_refresh(self.lines.focus)
        else:
            super().action_back(may_quit)

    def action_step(self, count: int) -> None:
        """Another step, from inside a pane."""
        self.lines.action_move(count)

    def action_stop(self, direction: int) -> None:
        """To the next divergence or error."""
        if self._rows is not None and not self.lines.to_stop(direction):
            self.notify("No further divergence or error.", markup=False, timeout=2)

    def action_first(self) -> None:
        """To the first divergence."""
        if self._rows is None:
            return
        if self._rows.first is None:
            self.notify("No divergence in this trace.", markup=False, timeout=2)
        else:
            self.lines.go_far(self._rows.first)

    def action_diff(self) -> None:
        """Align with the marked trace, else with the parent."""
        if self._rows is not None:
            self.compare(self._trace_id, self._rows.trace.parent)

    def action_copy(self) -> None:
        """Copy the step as JSON."""
        step = self.current
        if step is not None and self._rows is not None:
            self.copy(partial(step_json, self._rows.trace, step), f"step {step.index} as JSON")


def _inspected(step: Step, divergences: list[str], notes: list[NoteItem], glyphs: Glyphs) -> _Inspected:
    facts = [facts_line(step, glyphs), *match_lines(step, divergences, glyphs), *note_lines(notes, glyphs)]
    return _Inspected(facts, request_lines(step), response_lines(step, glyphs))


def _complete(trace: Trace) -> str:
    """`complete`, and how many programs ran beside it into which no recorder can look."""
    count = len(uncovered(trace))
    if not count:
        return "complete"
    return f"complete but for {plural(count, 'program')} that {'is' if count == 1 else 'are'} not Python"


def _no_steps(tape: Tape) -> list[Line]:
    missed = tape.trace.coverage.missed
    lines: list[Line] = [(), (Span("No calls were recorded in this trace.", "strong"),), ()]
    if missed:
        lines.append((Span("The program reached unrecorded: ", "warn"), Span(", ".join(missed))))
    lines.append((Span("why      ", "dim"), Span(f"rashomon show {tape.trace.id[:SHORT_ID]}", "key")))
    return lines
