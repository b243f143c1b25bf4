"""Two traces aligned: recorded and replayed side by side, and what differs in the pair under the cursor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial

from textual.timer import Timer
from textual.widget import Widget

from rashomon import views
from rashomon.replay.alignment import Alignment, Pair, align
from rashomon.tui.actions import Place, bindings
from rashomon.tui.aligned import AlignedRows
from rashomon.tui.document import pair_lines
from rashomon.tui.lines import LineList
from rashomon.tui.model import SHORT_ID
from rashomon.tui.screens.page import Page, error_lines
from rashomon.tui.spans import Line, Span, plural
from rashomon.tui.text import TextPane


class DiffScreen(Page):
    """The aligned list over the differences of one pair."""

    BINDINGS = bindings(Place.DIFF, Place.EVERYWHERE)

    def __init__(self, left: str, right: str) -> None:
        self._ids = (left, right)
        self._rows: AlignedRows | None = None
        self._waiting: Timer | None = None
        super().__init__()

    def body(self) -> Iterable[Widget]:
        """Pairs over differences."""
        yield LineList(self.rashomon.glyphs.cursor, css_id="pairs")
        pane = TextPane(css_id="differences")
        pane.border_title = "differences"
        yield pane

    def on_mount(self) -> None:
        """Ask for both traces."""
        self.lines.focus()
        self.lines.say([(), (Span("Aligning …", "dim"),)])
        self.trail("traces", "diff", "")
        self.in_background("align", self._align, self._aligned)

    @property
    def lines(self) -> LineList:
        """The list of pairs."""
        return self.query_one("#pairs", LineList)

    @property
    def pair(self) -> Pair | None:
        """The pair under the cursor; None on a fold."""
        return self._rows.pair(self.lines.cursor) if self._rows is not None and len(self._rows) else None

    def _align(self) -> Alignment:
        source = self.rashomon.source
        return align(source.tape(self._ids[0]), source.tape(self._ids[1]))

    def _aligned(self, alignment: Alignment) -> None:
        self._rows = AlignedRows(alignment, self.rashomon.glyphs)
        self._write_trail(alignment)
        if not alignment.pairs:
            self.lines.say([(), (Span("Neither trace has a step.", "strong"),), *_end_lines(alignment)])
            return
        self.lines.show(self._rows, 0)
        if self._rows.first is not None:
            self.lines.go_far(self._rows.first)

    def _write_trail(self, alignment: Alignment) -> None:
        rows, glyphs = self._rows, self.rashomon.glyphs
        left, right = alignment.left, alignment.right
        name = left.name if left.name == right.name else f"{left.name}, {right.name}"
        between = "-" if glyphs.ascii else "⇄"
        if alignment.first is None or rows is None:
            told = f"{glyphs.same} all {plural(len(alignment.pairs), 'step')} identical"
        else:
            same = sum(pair.mark.value == "same" for pair in alignment.pairs)
            groups = plural(rows.groups, "group")
            told = f"{groups} of differences {glyphs.bar} {same} of {len(alignment.pairs)} identical"
        for end in alignment.ends:
            told += "" if end.passing else f" {glyphs.bar} {_ENDS[end.kind]}"
        self.trail("traces", f"{name} {left.id[:SHORT_ID]} {between} {right.id[:SHORT_ID]}", f"{glyphs.bar} {told}")

    def failed(self, group: str, error: Exception) -> None:
        """Said in place of what failed."""
        lines = error_lines(error, self.rashomon.glyphs.error)
        if group == "align":
            self.lines.say(lines)
        elif group == "copy":
            super().failed(group, error)
        else:
            self.query_one("#differences", TextPane).show(lines)

    # ------------------------------------------------------------------------------------ differences

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Show the differences once the cursor rests on a pair."""
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = None
        if self.rashomon.rest_s > 0:
            self._waiting = self.set_timer(self.rashomon.rest_s, self._compare_pair)
        else:
            self._compare_pair()

    def _compare_pair(self) -> None:
        rows, pair = self._rows, self.pair
        if rows is None:
            return
        alignment, glyphs = rows.alignment, self.rashomon.glyphs
        if pair is None:
            self.in_background("pair", lambda: [_folded(), *_end_lines(alignment)], self._show_pair)
        else:
            asked_for = rows.asked_for(pair)
            work = partial(pair_lines, pair, alignment, glyphs, asked_for)
            self.in_background("pair", work, self._show_pair, lambda: self._show_pair([(Span("Comparing …", "dim"),)]))

    def _show_pair(self, lines: Sequence[Line]) -> None:
        pane, pair = self.query_one("#differences", TextPane), self.pair
        # the title is ours and a number: nothing recorded may get here, since titles are read as markup
        pane.border_title = _title(pair) if pair is not None else "identical steps"
        pane.show(lines)

    # ------------------------------------------------------------------------------------------- keys

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """A double click unfolds, or goes to the differences."""
        self.action_read()

    def action_read(self) -> None:
        """Unfold; on a pair, go to its differences."""
        if self._rows is None or not len(self._rows):
            return
        if self._rows.is_fold(self.lines.cursor):
            self.action_unfold()
        else:
            self.query_one("#differences").focus()

    def action_unfold(self) -> None:
        """Open the fold under the cursor, or close the run that it came from."""
        if self._rows is not None and len(self._rows):
            self.lines.show(self._rows, self._rows.toggle(self.lines.cursor))

    def action_unfold_all(self) -> None:
        """Open or close all folds."""
        if self._rows is not None and len(self._rows):
            self.lines.show(self._rows, self._rows.toggle_all(self.lines.cursor))

    def action_step(self, count: int) -> None:
        """Another pair, from inside the pane."""
        self.lines.action_move(count)

    def action_stop(self, direction: int) -> None:
        """To the next group of differences."""
        if self._rows is not None and not self.lines.to_stop(direction):
            self.notify("No further difference.", markup=False, timeout=2)

    def action_first(self) -> None:
        """To the first divergence."""
        first = self._rows.first if self._rows is not None else None
        if first is None:
            self.notify(self._no_difference(), markup=False, timeout=2)
        else:
            self.lines.go_far(first)

    def _no_difference(self) -> str:
        ends = self._rows.alignment.ends if self._rows is not None else ()
        said = " ".join(end.summary for end in ends if not end.passing)
        return f"The steps do not differ. {said}" if said else "The traces do not differ."

    def action_copy(self) -> None:
        """Copy both steps as JSON."""
        if self.pair is not None:
            self.copy(partial(_pair_json, self.pair), "the pair as JSON")


_ENDS = {"output": "printed something else", "exit": "another exit code", "result": "returned something else"}


def _pair_json(pair: Pair) -> str:
    sides = {
        side: {"step": step.index, "kind": step.kind.value, "name": step.name, **views.step_view(step)}
        for side, step in (("left", pair.left), ("right", pair.right))
        if step is not None
    }
    return json.dumps({"mark": pair.mark.value, **sides}, ensure_ascii=False, indent=2, default=str)


def _title(pair: Pair) -> str:
    if pair.left is None or pair.right is None or pair.left.index == pair.right.index:
        step = pair.right or pair.left
        return "" if step is None else f"step {step.index}"
    return f"steps {pair.left.index} and {pair.right.index}"


def _folded() -> Line:
    return (Span("These steps are identical on both sides. u unfolds them, U all of them.", "dim"),)


def _end_lines(alignment: Alignment) -> list[Line]:
    """What differs beside the steps; nothing where nothing does."""
    lines: list[Line] = []
    for end in alignment.ends:
        lines += [(), (Span(end.summary, "dim" if end.passing else "action"),)]
        lines += [(Span(detail),) for detail in end.detail]
    return lines
