"""The one widget under lists and panes: lines of spans, painted one by one on Textual's line API.

Textual renders only the lines in view, so what a list costs does not grow with its length. Painted
lines are kept until the style, the width or the content changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBarRender
from textual.strip import Strip

from rashomon.tui.spans import Line, cleaned

STYLES = (
    "dim", "strong", "said", "ok", "warn", "bad", "llm", "tool", "http", "mcp",
    "key", "string", "number", "literal",
    "content", "action", "removed", "added", "removed-word", "added-word", "yours", "fold", "absent",
)  # fmt: skip
"""The names of styles; `lines.tcss` gives each its look, as component class `line--NAME`."""

CURSORS = ("cursor", "cursor-idle")


class _PlainScrollBar(ScrollBarRender):
    """A scroll bar of colours alone, for terminals without block characters."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8


def strip_of(line: Line, width: int, under: Style, look: Callable[[str], Style]) -> Strip:
    """A line painted: whatever its texts hold, exactly `width` cells. `look` gives a style by its name."""
    segments = [Segment(text, look(style)) for text, style in cleaned(line) if text]
    return Strip(segments).adjust_cell_length(width, under)


class Painted(ScrollView, can_focus=True):
    """A scrolling widget made of lines. A subclass says which line stands where, in `line_at`."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"line--{name}" for name in (*STYLES, *CURSORS)}

    def __init__(self, *, css_id: str | None = None) -> None:
        self._strips: LRUCache[tuple[int, str, int], Strip] = LRUCache(2048)
        self._styles: dict[str, Style] = {}
        super().__init__(id=css_id)

    def on_mount(self) -> None:
        """Keep to ASCII where the application does."""
        if self.app.has_class("-ascii"):
            self.vertical_scrollbar.renderer = _PlainScrollBar  # type: ignore[misc]

    def line_at(self, y: int, width: int) -> tuple[int, Line | None, str]:
        """The line at a row of the window: a number that names it, its spans (None: blank), its cursor.

        The cursor is a name of `CURSORS`, or empty.
        """
        raise NotImplementedError

    def notify_style_update(self) -> None:
        """Forget what was painted in the old style."""
        self.forget()
        self._styles.clear()
        super().notify_style_update()

    def forget(self) -> None:
        """Paint every line anew."""
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        """A row of the window, exactly as wide as the widget."""
        width = max(0, self.size.width)
        number, line, cursor = self.line_at(y, width)
        if line is None:
            return Strip.blank(width, self._base)
        key = (number, cursor, width)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._paint(line, width, cursor, self._base)
        return strip

    def _paint(self, line: Line, width: int, cursor: str, base: Style) -> Strip:
        under = base + self._style(cursor) if cursor else base

        def look(name: str) -> Style:
            # the cursor gives its background to a coloured span, not its colour
            return base + self._style(name, behind=False) + self._over(cursor) if name else under

        return strip_of(line, width, under, look)

    @property
    def _base(self) -> Style:
        """The widget's own style; kept, since Textual works it out anew each time."""
        found = self._styles.get("")
        if found is None:
            found = self._styles[""] = self.rich_style
        return found

    def _over(self, cursor: str) -> Style:
        """What the cursor adds to a coloured span: its background, not its colour."""
        if not cursor:
            return Style.null()
        whole = self._style(cursor)
        return Style(bgcolor=whole.bgcolor, bold=whole.bold or None)

    def _style(self, name: str, behind: bool = True) -> Style:
        """A style by name. Blended with what is behind it, or only its own colour and weight."""
        key = name if behind else f"{name} only"
        found = self._styles.get(key)
        if found is None:
            # partial=False: a partial style loses the alpha of `auto` and muted colours
            found = self.get_component_rich_style(f"line--{name}")
            if not behind:
                found = Style(
                    color=found.color,
                    bold=found.bold,
                    italic=found.italic,
                    underline=found.underline,
                    dim=found.dim,
                )
            self._styles[key] = found
        return found

    def scroll_lines(self, y: int) -> None:
        """Bring a row of the content to the top of the window, at once."""
        self.scroll_to(y=y, animate=False, force=True)
