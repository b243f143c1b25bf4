"""The filter bar: one line to type a filter into, and under it where the filter is wrong."""

from __future__ import annotations

import textwrap

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Static

from rashomon import filters
from rashomon.errors import RashomonError
from rashomon.filters import FilterError, Query
from rashomon.tui.actions import Place, bindings
from rashomon.tui.spans import plain

REST_S = 0.15
"""Typing must rest this long, in seconds, before the filter is tried."""

_PROMPT = " / "
_EXAMPLE = 'kind:llm status:err ms>2s body~"refund.*window"'
_MAX_LINES = 4


class FilterInput(Input):
    """The line itself. Its keys stand in the footer while it is typed into."""

    BINDINGS = bindings(Place.FILTER)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """A slash is typed too: without this the footer says that it opens the line."""
        return super().check_consume_key(key, "/" if key == "slash" else character)

    def on_paste(self, event: events.Paste) -> None:
        """Several lines are one filter, and nothing pasted drives the terminal; the line itself takes it then."""
        event.text = plain(" ".join(event.text.split()))


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
            yield FilterInput(placeholder=_EXAMPLE, id="filter-input", compact=True)
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
        room = max(20, self.size.width - len(_PROMPT) - 1)
        says = f"{error.problem} {error.remedy}" if isinstance(error, RashomonError) else repr(error)
        lines = textwrap.wrap(plain(says), room, max_lines=_MAX_LINES, placeholder=" …")
        if isinstance(error, FilterError) and error.source:
            at = min(error.column, room - 1)
            lines.insert(0, " " * at + "^" * min(error.length, room - at))
        self.query_one("#filter-error", Static).update(Content(textwrap.indent("\n".join(lines), " " * len(_PROMPT))))
        self.add_class("-wrong")

    def refuse(self, error: Exception) -> None:
        """Say that the filter which was told of last cannot be used."""
        self._refused = error
        self.wait(False)
        self.told(error)

    def wait(self, waiting: bool = True) -> None:
        """Show that what is listed does not follow the filter yet."""
        self.query_one("#filter-prompt", Static).update("..." if waiting else _PROMPT)

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
