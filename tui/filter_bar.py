"""The filter bar: one line to type a filter into, and under it where the filter is wrong."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Static

from rashomon import filters
from rashomon.errors import RashomonError
from rashomon.filters import FilterError, Query
from rashomon.tui.spans import plain

REST_S = 0.15
"""Typing must rest this long, in seconds, before the filter is tried."""

_PROMPT = " / "


class FilterBar(Container):
    """An input for a filter. Tells `Changed` of each filter that can be read, and `Left` when the typist is done.

    What cannot be read is pointed at, and the last filter that could be stays in force.
    """

    class Changed(Message):
        """A filter was typed that can be read; it has no terms when it was cleared."""

        def __init__(self, query: Query) -> None:
            super().__init__()
            self.query = query

    class Left(Message):
        """The typist is done, and wants to go on in the list."""

    def __init__(self, rest_s: float = REST_S) -> None:
        self._rest_s = rest_s
        self._waiting: Timer | None = None
        self._last = filters.NOTHING
        self._refused: Exception | None = None
        super().__init__(id="filter-bar")

    def compose(self) -> ComposeResult:
        """Prompt and input, and below them what is wrong."""
        with Horizontal(id="filter-line"):
            yield Static(_PROMPT, id="filter-prompt", markup=False)
            yield Input(placeholder='kind:llm status:err ms>2s body~"refund.*window"', id="filter-input", compact=True)
        yield Static(id="filter-error", markup=False)

    @property
    def is_open(self) -> bool:
        """Whether the bar is seen."""
        return self.has_class("-open")

    @property
    def query_text(self) -> str:
        """What is typed."""
        return self.query_one(Input).value

    def open(self) -> None:
        """Show the bar, and type into it."""
        self.add_class("-open")
        self.query_one(Input).focus()

    def clear(self) -> None:
        """Take the filter away, and the bar."""
        self.query_one(Input).value = ""
        self.remove_class("-open")
        self._try()

    def renew(self) -> None:
        """Tell of the filter again."""
        self._last = filters.NOTHING
        self._try()

    def told(self, error: Exception) -> None:
        """Say under the bar what is wrong with the filter."""
        if isinstance(error, FilterError) and error.source:
            room = max(20, self.size.width - len(_PROMPT) - 1)
            at = min(error.column, room - 1)
            carets = " " * (len(_PROMPT) + at) + "^" * min(error.length, room - at)
            lines = [carets, f"{' ' * len(_PROMPT)}{error.problem} {error.remedy}"]
        elif isinstance(error, RashomonError):
            lines = [f"{' ' * len(_PROMPT)}{error.problem} {error.remedy}"]
        else:
            lines = [f"{' ' * len(_PROMPT)}{type(error).__name__}: {error}"]
        self.query_one("#filter-error", Static).update(Content("\n".join(map(plain, lines))))
        self.add_class("-wrong")

    def refuse(self, error: Exception) -> None:
        """Say that the filter which was told of last cannot be used."""
        self._refused = error
        self.told(error)

    def _fine(self) -> None:
        self.query_one("#filter-error", Static).update("")
        self.remove_class("-wrong")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Try the filter once typing rests."""
        event.stop()
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = None
        if self._rest_s > 0:
            self._waiting = self.set_timer(self._rest_s, self._try)
        else:
            self._try()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Try it at once, and leave; an empty bar goes away."""
        event.stop()
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = None
        self._try()
        if not self.query_text.strip():
            self.remove_class("-open")
        self.post_message(self.Left())

    def _try(self) -> None:
        try:
            query = filters.parse(self.query_text)
        except FilterError as error:
            self.told(error)
            return
        if query.terms != self._last.terms:
            self._last, self._refused = query, None
            self.post_message(self.Changed(query))
        if self._refused is None:
            self._fine()
        else:
            self.told(self._refused)
