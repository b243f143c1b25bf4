"""The keys, from the registry that binds them."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from rashomon.tui.actions import HELP_ORDER, Place, bindings, key_names, of_place
from rashomon.tui.screens.page import Page
from rashomon.tui.spans import Line, Span, fit
from rashomon.tui.text import TextPane

_SIGNS = (
    ("same", "dim", "the same on both sides"),
    ("content", "content", "the same action with other content"),
    ("action", "action", "another action: other tools called, failed instead of answered"),
    ("left", "removed", "only in the recording, or on the left"),
    ("right", "added", "only in the replay, or on the right"),
    ("moved", "content", "the same step at another place"),
    ("yours", "yours", "changed by you: stubbed, or sent live"),
    ("error", "bad", "failed"),
)


class HelpScreen(Page):
    """All keys by place, and what the signs mean."""

    BINDINGS = bindings(Place.EVERYWHERE)

    def body(self) -> Iterable[Widget]:
        """One pane."""
        yield TextPane(css_id="keys")

    def on_mount(self) -> None:
        """Write the page."""
        self.trail("keys", "")
        self.query_one(TextPane).show(self._lines())

    def action_help(self) -> None:
        """The key that opened this closes it."""
        self.action_back(False)

    def _lines(self) -> list[Line]:
        glyphs = self.rashomon.glyphs
        lines: list[Line] = []
        for place in HELP_ORDER:
            lines += [(), (Span(place.value, "strong"),)]
            for action in of_place(place):
                keys = " ".join(key_names(action, glyphs.ascii))
                lines.append((Span(f"  {fit(keys, 20)}", "key"), Span(action.says)))
        lines += [(), (Span("Signs", "strong"),)]
        lines += [(Span(f"  {fit(getattr(glyphs, name), 20)}", style), Span(says)) for name, style, says in _SIGNS]
        kinds = "  ".join(f"{sign} {kind}" for kind, sign in glyphs.kinds.items())
        lines.append((Span(f"  {fit('kinds', 20)}", "dim"), Span(kinds)))
        return lines
