"""The list of traces, newest first, each replay under what it replays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from textual.widget import Widget

from rashomon.errors import RashomonError
from rashomon.filters import Query
from rashomon.tui.actions import Place, bindings
from rashomon.tui.lines import LineList
from rashomon.tui.model import TraceItem, TraceRows, item_lines
from rashomon.tui.notes import NoteItem, note_lines
from rashomon.tui.screens.narrowed import NarrowedPage
from rashomon.tui.screens.page import error_lines
from rashomon.tui.spans import Line, Span, plural
from rashomon.tui.text import TextPane


class TracesScreen(NarrowedPage):
    """All traces of a home, and what is known of the one under the cursor."""

    BINDINGS = bindings(Place.TRACES, Place.EVERYWHERE)

    def __init__(self) -> None:
        self._items: TraceRows | None = None
        self._all: list[TraceItem] = []
        super().__init__()

    def body(self) -> Iterable[Widget]:
        """The list over the preview."""
        yield LineList(self.rashomon.glyphs.cursor, css_id="traces")
        yield TextPane(css_id="preview")

    def on_mount(self) -> None:
        """Ask for the traces."""
        self.lines.focus()
        self.lines.say([(), (Span("Loading traces …", "dim"),)])
        self.trail("traces", "")
        self.action_reload()

    @property
    def lines(self) -> LineList:
        """The list."""
        return self.query_one("#traces", LineList)

    @property
    def current(self) -> TraceItem | None:
        """The trace under the cursor."""
        if not self._items:
            return None
        return self._items[self.lines.cursor]

    def action_reload(self) -> None:
        """Read the home again."""
        self.in_background("traces", self.rashomon.source.traces, self._listed, self.still_reading)

    def _listed(self, items: list[TraceItem]) -> None:
        self._all = items
        self.show_chosen()
        if self.filter.terms:  # it may choose among the new ones too
            self.search_again(self.filter)

    def search(self, query: Query) -> Callable[[], frozenset[str]]:
        """The ids of the traces that a filter chooses."""
        source = self.rashomon.source
        return lambda: source.matching(query)

    def show_chosen(self) -> None:
        """List all traces, or those that the filter chose."""
        place, known = self.rashomon.source.place, self._all
        items = known if self.chosen is None else [item for item in known if item.id in self.chosen]
        rows = TraceRows(items, self.rashomon.glyphs, self.rashomon.marked)
        at = self.place_among([rows[number].id for number in range(len(rows))], 0)
        self._items = rows
        told = self.told_filter(len(items), len(known)) or plural(len(known), "trace")
        self.trail("traces", f"{told} in {place}")
        if items:
            self.lines.show(rows, at)
        else:
            self.lines.say(self.nothing_matches(len(known), "traces") if known else _nothing_yet(place))
            self.query_one("#preview", TextPane).show(())

    def under_cursor(self) -> str | None:
        """The id of the trace under the cursor."""
        return None if self.current is None else self.current.id

    def failed(self, group: str, error: Exception) -> None:
        """A home that cannot be read: said in place of the list. A wrong reference ends the application."""
        if group == "traces":
            self._items, self._all = None, []
            self.trail("traces", f"in {self.rashomon.source.place}")
            self.lines.say(error_lines(error, self.rashomon.glyphs.error))
            self.query_one("#preview", TextPane).show(())
        elif group == "refs" and isinstance(error, RashomonError):
            self.rashomon.end_with(error)
        else:
            super().failed(group, error)

    def on_screen_resume(self) -> None:
        """A mark may have been taken away in the meantime."""
        self._show_mark()

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Tell about the trace under the cursor."""
        if self._items is not None and event.index < len(self._items):
            item, source = self._items[event.index], self.rashomon.source
            self._preview(item, [])
            if item.notes:
                self.in_background("notes", lambda: source.notes(item.id), lambda notes: self._preview(item, notes))

    def _preview(self, item: TraceItem, notes: list[NoteItem]) -> None:
        """Tell about a trace, if it is still under the cursor."""
        if self._items is not None and item.id == self.under_cursor():
            glyphs = self.rashomon.glyphs
            lines = [*item_lines(item, self._items, glyphs), *note_lines(notes, glyphs)]
            self.query_one("#preview", TextPane).show(lines)

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """A double click opens."""
        self.action_open()

    def action_open(self) -> None:
        """Open the trace under the cursor."""
        if self.current is not None:
            self.rashomon.open_trace(self.current.id)

    def action_mark(self) -> None:
        """Mark the trace under the cursor, or take its mark away."""
        if self.current is not None:
            marked = self.current.id
            self.rashomon.marked = None if self.rashomon.marked == marked else marked
            self._show_mark()

    def _show_mark(self) -> None:
        if self._items is not None and self._items.marked != self.rashomon.marked:
            self._items.marked = self.rashomon.marked
            self.lines.repaint()

    def action_diff(self) -> None:
        """Align with the marked trace, else with the parent."""
        if self.current is not None:
            self.compare(self.current.id, self.current.parent)

    def action_stop(self, direction: int) -> None:
        """To the next trace that failed or diverged."""
        if self._items is not None and not self.lines.to_stop(direction):
            self.notify("No further trace that failed or diverged.", markup=False, timeout=2)

    def action_copy(self) -> None:
        """Copy the id."""
        if self.current is not None:
            self.copy(partial(str, self.current.id), f"the id of {self.current.name}")


def _nothing_yet(place: str) -> list[Line]:
    return [
        (),
        (Span(f"No traces in {place}.", "strong"),),
        (),
        (Span("record   ", "dim"), Span("rashomon record -- python agent.py", "key")),
        (Span("demo     ", "dim"), Span("rashomon demo", "key"), Span("   without keys or network", "dim")),
        (Span("other    ", "dim"), Span("rashomon tui --home FOLDER", "key")),
    ]
