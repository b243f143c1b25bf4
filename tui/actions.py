"""Every key of the application, once: bindings, footer, help screen and docs/tui.md all come from here."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from textual.binding import Binding, BindingType


class Place(StrEnum):
    """Where a key works; the value is its heading in the help."""

    EVERYWHERE = "Everywhere"
    LINES = "In every list and pane"
    TRACES = "List of traces"
    TRACE = "Steps of a trace"
    DIFF = "Two traces aligned"
    FILTER = "While a filter is typed"


class Action(NamedTuple):
    """Something a key does. `keys` as Textual names them, comma separated; `call` is the action's name.

    `label` is what the footer says, where `footer` is true; `says` is the sentence of the help.
    """

    id: str
    place: Place
    keys: str
    call: str
    label: str
    says: str
    footer: bool = False


HELP_ORDER = (Place.TRACES, Place.TRACE, Place.DIFF, Place.FILTER, Place.LINES, Place.EVERYWHERE)
"""The places in the order of the help: what is particular first."""

_E, _L, _S, _T, _D, _F = Place.EVERYWHERE, Place.LINES, Place.TRACES, Place.TRACE, Place.DIFF, Place.FILTER

ACTIONS: tuple[Action, ...] = (
    Action("traces.open", _S, "enter", "open", "open", "open the trace", footer=True),
    Action("traces.filter", _S, "slash", "filter", "filter", "filter the list; Esc takes the filter away", footer=True),
    Action("traces.mark", _S, "m", "mark", "mark", "mark the trace, to compare another with it", footer=True),
    Action("traces.diff", _S, "d", "diff", "diff", "align with the marked trace, or the parent", footer=True),
    Action("traces.next", _S, "n", "stop(1)", "next", "next trace that failed or diverged", footer=True),
    Action("traces.previous", _S, "N", "stop(-1)", "previous", "previous trace that failed or diverged"),
    Action("traces.copy", _S, "y", "copy", "copy id", "copy the id of the trace", footer=True),
    Action("traces.reload", _S, "ctrl+r", "reload", "reload", "take in what was recorded since", footer=True),
    Action("trace.read", _T, "enter", "read", "read", "go to the answer of the step", footer=True),
    Action("trace.filter", _T, "slash", "filter", "filter", "filter the steps; Esc takes the filter away", footer=True),
    Action("trace.next", _T, "n", "stop(1)", "next", "next divergence or error", footer=True),
    Action("trace.previous", _T, "N", "stop(-1)", "previous", "previous divergence or error"),
    Action("trace.first", _T, "F", "first", "first", "first divergence of a replay", footer=True),
    Action("trace.diff", _T, "d", "diff", "diff", "align with the marked trace, or the parent", footer=True),
    Action("trace.copy", _T, "y", "copy", "copy step", "copy the step as JSON", footer=True),
    Action("trace.reload", _T, "ctrl+r", "reload", "reload", "take in what was recorded since"),
    Action("trace.step_down", _T, "J", "step(1)", "next step", "next step, from inside a pane"),
    Action("trace.step_up", _T, "K", "step(-1)", "previous step", "previous step, from inside a pane"),
    Action("diff.read", _D, "enter", "read", "read", "unfold; on a pair, go to its differences", footer=True),
    Action("diff.next", _D, "n", "stop(1)", "next", "next group of differences", footer=True),
    Action("diff.previous", _D, "N", "stop(-1)", "previous", "previous group of differences"),
    Action("diff.first", _D, "F", "first", "first", "first divergence that nobody asked for", footer=True),
    Action("diff.unfold", _D, "u", "unfold", "unfold", "unfold this run, or fold it again", footer=True),
    Action("diff.unfold_all", _D, "U", "unfold_all", "unfold all", "unfold all runs, or fold them again"),
    Action("diff.copy", _D, "y", "copy", "copy pair", "copy both steps as JSON", footer=True),
    Action("diff.step_down", _D, "J", "step(1)", "next pair", "next pair, from inside the pane"),
    Action("diff.step_up", _D, "K", "step(-1)", "previous pair", "previous pair, from inside the pane"),
    Action("filter.done", _F, "enter", "submit", "to the list", "go to the list; the filter stays", footer=True),
    Action("filter.clear", _F, "escape", "screen.back(False)", "take away", "take the filter away", footer=True),
    Action("lines.down", _L, "down,j", "move(1)", "down", "one line down"),
    Action("lines.up", _L, "up,k", "move(-1)", "up", "one line up"),
    Action("lines.page_down", _L, "pagedown,ctrl+d,space", "page(1)", "page down", "one page down"),
    Action("lines.page_up", _L, "pageup,ctrl+u", "page(-1)", "page up", "one page up"),
    Action("lines.top", _L, "home,g", "edge(-1)", "first line", "to the first line"),
    Action("lines.bottom", _L, "end,G", "edge(1)", "last line", "to the last line"),
    Action("page.pane", _E, "tab", "app.focus_next", "pane", "next pane"),
    Action("page.pane_back", _E, "shift+tab", "app.focus_previous", "previous pane", "previous pane"),
    Action("page.zoom", _E, "z", "zoom", "zoom", "give this pane the whole window, or take it back"),
    Action("page.back", _E, "q", "back(True)", "back", "back; from the first list, quit", footer=True),
    Action("page.cancel", _E, "escape", "back(False)", "back", "back; never quits"),
    Action("page.help", _E, "question_mark", "help", "keys", "these keys", footer=True),
    Action("page.quit", _E, "ctrl+q", "app.quit", "quit", "quit"),
)  # fmt: skip

_NAMES = {
    "down": "↓",
    "up": "↑",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "enter": "Enter",
    "escape": "Esc",
    "question_mark": "?",
    "slash": "/",
    "home": "Home",
    "end": "End",
    "space": "Space",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
}
_ASCII_NAMES = {"down": "Down", "up": "Up"}


def bindings(*places: Place) -> list[BindingType]:
    """The keys of some places, as Textual binds them; the footer shows them in this order."""
    return [
        Binding(
            action.keys,
            action.call,
            action.label,
            show=action.footer,
            key_display=key_name(action.keys.split(",")[0]),
            id=action.id,
        )
        for place in places
        for action in of_place(place)
    ]


def key_name(key: str, ascii_only: bool = False) -> str:
    """A key as it is written for people: `Enter`, `?`, `Ctrl+D`."""
    if ascii_only and key in _ASCII_NAMES:
        return _ASCII_NAMES[key]
    if key in _NAMES:
        return _NAMES[key]
    return f"Ctrl+{key[5:].upper()}" if key.startswith("ctrl+") else key


def key_names(action: Action, ascii_only: bool = False) -> list[str]:
    """All keys of an action, for people."""
    return [key_name(key, ascii_only) for key in action.keys.split(",")]


def of_place(place: Place) -> list[Action]:
    """The actions of a place, in the order of the help."""
    return [action for action in ACTIONS if action.place is place]


def markdown() -> str:
    """All keys as Markdown tables: the body of docs/tui.md between its two markers."""
    parts = []
    for place in HELP_ORDER:
        rows = [
            f"| {' '.join(f'`{name}`' for name in key_names(action))} | {action.says} |" for action in of_place(place)
        ]
        parts.append("\n".join([f"### {place.value}", "", "| key | does |", "|---|---|", *rows]))
    return "\n\n".join(parts)
