"""A screen whose list can be narrowed by a filter: the bar, its keys, and the search in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual.widget import Widget

from rashomon import filters
from rashomon.filters import Query
from rashomon.tui.filter_bar import REST_S, FilterBar
from rashomon.tui.lines import LineList
from rashomon.tui.screens.page import Page
from rashomon.tui.spans import Line, Span


class NarrowedPage(Page):
    """A list and a filter. Subclasses say what a filter chooses, and show what is chosen."""

    def __init__(self) -> None:
        self.filter = filters.NOTHING
        """The filter whose result is shown."""
        self.chosen: frozenset[str] | None = None
        """The ids that it chose; None without a filter."""
        self.typed_from: str | None = None
        """Where the cursor was when the typing began: it goes back there as soon as that is chosen."""
        super().__init__()

    def above(self) -> Iterable[Widget]:
        """The bar, between trail and body."""
        yield FilterBar(min(REST_S, self.rashomon.rest_s * 4))

    @property
    def bar(self) -> FilterBar:
        """The filter bar."""
        return self.query_one(FilterBar)

    @property
    def lines(self) -> LineList:
        """The list that is narrowed."""
        raise NotImplementedError

    def search(self, query: Query) -> Callable[[], frozenset[str]] | None:
        """Work for a thread that gives the ids of what a filter chooses; None while there is nothing to search."""
        raise NotImplementedError

    def show_chosen(self) -> None:
        """Show the list as `chosen` says."""
        raise NotImplementedError

    def told_filter(self, shown: int, known: int) -> str:
        """What the trail says of the filter: `filter kind:llm: 3 of 12`; nothing without one."""
        return f"filter {self.filter}: {shown:,} of {known:,}" if self.filter.terms else ""

    def nothing_matches(self, known: int, noun: str) -> list[Line]:
        """In place of an empty list: what was asked, and how to go back."""
        return [
            (),
            (Span(f"0 of {known:,} {noun} match  ", "strong"), Span(str(self.filter))),
            (),
            (Span("Esc      ", "key"), Span("take the filter away", "dim")),
            (Span("/        ", "key"), Span("change it", "dim")),
        ]

    # ------------------------------------------------------------------------------------------- keys

    def action_filter(self) -> None:
        """Type a filter."""
        if not self.bar.has_focus_within:
            self.typed_from = self.under_cursor()
        self.bar.open()

    def under_cursor(self) -> str | None:
        """The id of what is under the cursor."""
        raise NotImplementedError

    def place_among(self, ids: list[str], otherwise: int) -> int:
        """Where the cursor goes among these."""
        here = self.under_cursor()
        return next((ids.index(one) for one in (self.typed_from, here) if one is not None and one in ids), otherwise)

    def action_back(self, may_quit: bool) -> None:
        """Escape takes the filter away before it leaves the screen."""
        if self.bar.is_open and not may_quit:
            self.bar.clear()
            self.lines.focus()
        else:
            super().action_back(may_quit)

    def on_filter_bar_left(self, event: FilterBar.Left) -> None:
        """On to the list."""
        self.typed_from = None
        self.lines.focus()

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        """Search for what the filter chooses; until then the last result stays."""
        self.search_again(event.query)

    def search_again(self, query: Query) -> None:
        """Search with a filter, in the background."""
        work = self.search(query) if query.terms else frozenset
        if work is not None:
            self.in_background("filter", work, lambda found: self._found(query, found), self.bar.wait)

    def still_reading(self) -> None:
        """Said when a list that is shown already is read again, and that takes long."""
        if self.lines.has_rows:
            self.notify("Still reading what was recorded since ...", markup=False, timeout=2)

    def _found(self, query: Query, found: frozenset[str]) -> None:
        self.bar.wait(False)
        self.filter = query
        self.chosen = found if query.terms else None
        self.show_chosen()

    def failed(self, group: str, error: Exception) -> None:
        """What is wrong with a filter stands under it; the list stays as it is."""
        if group == "filter":
            self.bar.refuse(error)
        else:
            super().failed(group, error)
