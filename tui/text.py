"""A pane of text: JSON, prose, differences. Long lines wrap at the width of the pane."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Size

from rashomon.tui.actions import Place, bindings
from rashomon.tui.paint import Painted
from rashomon.tui.spans import Line, Ready, cleaned, text_of, wrap, wrapped_row


class TextPane(Painted):
    """Lines to read. It scrolls, and has no cursor."""

    BINDINGS = bindings(Place.LINES)

    def __init__(self, *, css_id: str | None = None) -> None:
        self._lines: Sequence[Line] = ()
        self._shown: list[tuple[int, int, int]] = []
        self._wrapped_at = -1
        super().__init__(css_id=css_id)

    def show(self, lines: Sequence[Line]) -> None:
        """Show lines, from the first."""
        self._lines = lines if isinstance(lines, Ready) else [cleaned(line) for line in lines]
        self._shown, self._wrapped_at = [], -1  # a hidden pane has no width to wrap at yet
        self._wrap()
        self.scroll_lines(0)
        self.refresh()

    @property
    def text(self) -> str:
        """All lines as text, not wrapped."""
        return "\n".join(text_of(line) for line in self._lines)

    @property
    def row_count(self) -> int:
        """How many rows the lines take at the present width."""
        return len(self._shown)

    def on_resize(self) -> None:
        """Wrap again when the width is another one."""
        self._wrap()

    def watch_show_vertical_scrollbar(self) -> None:
        """A scroll bar takes a column of the text; the widget's size stays, so that nothing else tells of it."""
        self._wrap()

    def _wrap(self) -> None:
        width = self.scrollable_size.width
        if width <= 0 or width == self._wrapped_at:
            return
        self._wrapped_at = width
        self._shown = [
            (number, start, end) for number, line in enumerate(self._lines) for start, end in wrap(text_of(line), width)
        ]
        self.forget()
        self.virtual_size = Size(0, len(self._shown))
        self.refresh()  # rows may have been painted already since the width changed

    def line_at(self, y: int, width: int) -> tuple[int, Line | None, str]:
        """A wrapped row; what continues a line is indented like it."""
        row = self.scroll_offset.y + y
        if row >= len(self._shown):
            return row, None, ""
        if (row, "", width) in self._strips:
            return row, (), ""
        number, start, end = self._shown[row]
        line = self._lines[number]
        return row, wrapped_row(line, start, end, self._wrapped_at), ""

    def action_move(self, count: int) -> None:
        """Some rows down or up."""
        self.scroll_lines(round(self.scroll_y) + count)

    def action_page(self, direction: int) -> None:
        """A window down or up."""
        self.scroll_lines(round(self.scroll_y) + direction * max(1, self.size.height - 1))

    def action_edge(self, direction: int) -> None:
        """To the first or the last row."""
        self.scroll_lines(0 if direction < 0 else max(0, len(self._shown) - self.size.height))
