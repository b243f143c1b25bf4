"""A list of any length with a cursor: traces, steps, aligned pairs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive

from rashomon.tui.actions import Place, bindings
from rashomon.tui.model import Rows
from rashomon.tui.paint import Painted
from rashomon.tui.spans import Line, Span, text_of, wrapped


class LineList(Painted):
    """Rows with a cursor, a heading that stays, and stops that `n` and `N` walk."""

    BINDINGS = bindings(Place.LINES)

    cursor: reactive[int] = reactive(0, repaint=False, init=False)
    """The index of the row that the cursor is on."""

    class Moved(Message):
        """The cursor came to a row."""

        def __init__(self, sender: LineList, index: int) -> None:
            super().__init__()
            self.sender, self.index = sender, index

    class Opened(Message):
        """A row was clicked twice."""

        def __init__(self, sender: LineList, index: int) -> None:
            super().__init__()
            self.sender, self.index = sender, index

    def __init__(self, pointer: str = "▸", *, css_id: str | None = None) -> None:
        self._rows: Rows | None = None
        self._said: Sequence[Line] = ()
        self._pointer = pointer
        super().__init__(css_id=css_id)

    # ---------------------------------------------------------------------------------------- content

    def show(self, rows: Rows, cursor: int = 0) -> None:
        """Show rows, the cursor on one of them."""
        self._rows, self._said = rows, ()
        self.forget()
        self.virtual_size = Size(0, len(rows) + 1)
        last = max(0, len(rows) - 1)
        target = min(max(0, cursor), last)
        moved = self.cursor != target
        self.cursor = target
        self._keep_in_view(target)
        self.refresh()
        if not moved and len(rows):
            self.post_message(self.Moved(self, target))

    @property
    def has_rows(self) -> bool:
        """Whether rows are shown, and not a message."""
        return self._rows is not None

    def say(self, lines: Sequence[Line]) -> None:
        """Show a message in place of rows."""
        self._rows, self._said = None, lines
        self.forget()
        self.virtual_size = Size(0, len(lines) + 1)
        self.refresh()

    @property
    def rows(self) -> Rows | None:
        """What is shown, or None while a message is."""
        return self._rows

    def get_line_text(self, index: int) -> str:
        """A row as text."""
        return text_of(self._rows.line(index, self._room)) if self._rows is not None else ""

    def repaint(self) -> None:
        """Paint all rows anew, when what they say has changed."""
        self.forget()
        self.refresh()

    @property
    def _room(self) -> int:
        return max(1, self.size.width - 3)

    # --------------------------------------------------------------------------------------- painting

    def line_at(self, y: int, width: int) -> tuple[int, Line | None, str]:
        """The heading at the top, then the rows; a message where there are none."""
        if self._rows is None:
            said = wrapped(self._said, self._room) if y else ()
            return -2 - y, (Span("  "), *said[y - 1]) if 0 < y <= len(said) else None, ""
        if y == 0:
            return -1, (Span("  "), *self._rows.head(self._room)), ""
        index = self.scroll_offset.y + y - 1
        if index >= len(self._rows):
            return index, None, ""
        here = index == self.cursor
        cursor = ("cursor" if self.has_focus else "cursor-idle") if here else ""
        if (index, cursor, width) in self._strips:
            return index, (), cursor
        line = self._rows.line(index, self._room)
        return index, (Span(f"{self._pointer if here else ' '} ", "strong" if here else ""), *line), cursor

    def watch_cursor(self, before: int, now: int) -> None:
        """Repaint the two rows that changed, and scroll only when the cursor leaves the window."""
        self._refresh_row(before)
        self._refresh_row(now)
        self._keep_in_view(now)
        self.post_message(self.Moved(self, now))

    def _refresh_row(self, index: int) -> None:
        y = index - self.scroll_offset.y + 1
        if 0 < y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _keep_in_view(self, index: int) -> None:
        top, height = self.scroll_offset.y, self.size.height - 1
        if height < 1:
            return
        if index < top:
            self.scroll_lines(index)
        elif index >= top + height:
            self.scroll_lines(index - height + 1)

    def on_focus(self) -> None:
        """The cursor shows where keys go."""
        self._refresh_row(self.cursor)

    def on_blur(self) -> None:
        """The cursor stays, paler."""
        self._refresh_row(self.cursor)

    def on_resize(self) -> None:
        """Stay on the row."""
        self._keep_in_view(self.cursor)

    # ----------------------------------------------------------------------------------------- moving

    def go(self, index: int) -> None:
        """Put the cursor on a row, or on the nearest that there is."""
        count = len(self._rows) if self._rows is not None else 0
        if count:
            self.cursor = max(0, min(count - 1, index))

    def go_far(self, index: int) -> None:
        """Put the cursor on a row with a third of the window above it, when it is out of view."""
        height = self.size.height - 1
        if not self.scroll_offset.y <= index < self.scroll_offset.y + height:
            self.scroll_lines(max(0, index - height // 3))
        self.go(index)

    def to_stop(self, direction: int) -> bool:
        """Go to the next or the previous stop; False when there is none."""
        stops = self._rows.stops if self._rows is not None else ()
        at = bisect_right(stops, self.cursor) if direction > 0 else bisect_left(stops, self.cursor) - 1
        if not 0 <= at < len(stops):
            return False
        self.go_far(stops[at])
        return True

    def action_move(self, count: int) -> None:
        """Some rows down or up."""
        self.go(self.cursor + count)

    def action_page(self, direction: int) -> None:
        """A window down or up."""
        self.go(self.cursor + direction * max(1, self.size.height - 2))

    def action_edge(self, direction: int) -> None:
        """To the first or the last row."""
        self.go(0 if direction < 0 or self._rows is None else len(self._rows) - 1)

    def on_click(self, event: events.Click) -> None:
        """A click selects; the second one opens."""
        offset = event.get_content_offset(self)
        if offset is None or self._rows is None or offset.y < 1:
            return
        index = self.scroll_offset.y + offset.y - 1
        if index < len(self._rows):
            self.go(index)
            if event.chain == 2:
                self.post_message(self.Opened(self, index))
