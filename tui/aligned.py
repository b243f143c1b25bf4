"""The aligned list of two traces as rows: recorded, mark, replayed; runs of identical steps folded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from rashomon import dialects, views
from rashomon.measures import shown_duration
from rashomon.model import Kind, Step
from rashomon.replay.alignment import Alignment, Mark, Pair, fold
from rashomon.tui.glyphs import Glyphs
from rashomon.tui.spans import Line, Span, fit, plural
from rashomon.tui.steps import kind_style, tokens_of, trouble

CONTEXT = 2
"""So many identical steps stay in view on either side of a change."""


class AlignedRow(NamedTuple):
    """A row: the pair at index `pair`, or `folded` identical pairs from there on."""

    pair: int
    folded: int = 0


def differs(pair: Pair) -> bool:
    """True when there is something to see: another content, a missing step, or a change of the user's."""
    return pair.mark is not Mark.SAME or pair.yours


def same_action(left: Step, right: Step) -> bool:
    """True when both steps led the program the same way: same sort of answer, same tools called."""
    return left.kind == right.kind and left.name == right.name and _action(left) == _action(right)


def _action(step: Step) -> tuple[object, ...]:
    failure = step.response.failure
    if failure is not None or trouble(step):
        return (trouble(step), failure.type if failure else None)
    if step.kind != Kind.LLM:
        return ()
    return tuple(call.name for call in dialects.read_answer(views.response_view(step)).tool_calls)


def _inside_yours(alignment: Alignment) -> frozenset[str]:
    """The recorded steps that happened within a step that you changed."""
    found = {pair.left.id for pair in alignment.pairs if pair.yours and pair.left is not None}
    for pair in alignment.pairs:
        if pair.left is not None and pair.left.within in found:
            found.add(pair.left.id)
    return frozenset(found)


class AlignedRows:
    """Two aligned traces. `unfold` opens one fold, `unfold_all` all of them or none."""

    def __init__(self, alignment: Alignment, glyphs: Glyphs) -> None:
        self.alignment = alignment
        self._pairs = alignment.pairs
        self._glyphs = glyphs
        self._open: set[int] = set()
        self._all_open = False
        self._folds = [AlignedRow(row.pair, row.folded) for row in fold(alignment, CONTEXT)]
        self._digits = max(2, len(str(max([len(self._pairs), 1]))))
        self._sign = lru_cache(maxsize=4096)(self._find_sign)
        self._title = lru_cache(maxsize=4096)(self._find_title)
        self._inside = _inside_yours(alignment)
        self._arrange()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def groups(self) -> int:
        """How many runs of differing pairs there are."""
        return len(self.stops)

    @property
    def first(self) -> int | None:
        """The row of the first divergence: the first difference that nobody asked for."""
        theirs = (n for n, pair in enumerate(self._pairs) if differs(pair) and not self.asked_for(pair))
        found = next(theirs, self.alignment.first)
        return None if found is None else self.row_of(found)

    def pair(self, row: int) -> Pair | None:
        """The pair that a row shows; None for a fold."""
        found = self._rows[row]
        return None if found.folded else self._pairs[found.pair]

    def row_of(self, pair: int) -> int:
        """The row that shows a pair, or the fold that hides it."""
        return next((n for n, row in enumerate(self._rows) if row.pair <= pair < row.pair + max(1, row.folded)), 0)

    def asked_for(self, pair: Pair) -> bool:
        """True for what you changed, and for calls that a changed tool did not make again."""
        return pair.yours or (pair.right is None and pair.left is not None and pair.left.id in self._inside)

    def is_fold(self, row: int) -> bool:
        """True when a row stands for several."""
        return bool(self._rows[row].folded)

    def toggle(self, row: int) -> int:
        """Open the fold at a row, or close the one that the row came out of; gives the row to stand on."""
        pair = self._rows[row].pair
        home = next((f for f in self._folds if f.folded and f.pair <= pair < f.pair + f.folded), None)
        if home is None:
            return row
        opened = self._all_open or home.pair in self._open
        if self._all_open:
            self._open, self._all_open = {f.pair for f in self._folds if f.folded}, False
        (self._open.discard if opened else self._open.add)(home.pair)
        self._arrange()
        return self.row_of(home.pair)

    def toggle_all(self, row: int) -> int:
        """Open every fold, or close all; gives the row to stand on."""
        pair = self._rows[row].pair if self._rows else 0
        self._all_open = not self._all_open
        self._open.clear()
        self._arrange()
        return self.row_of(pair)

    def _arrange(self) -> None:
        rows: list[AlignedRow] = []
        for row in self._folds:
            if row.folded and (self._all_open or row.pair in self._open):
                rows += [AlignedRow(row.pair + offset) for offset in range(row.folded)]
            else:
                rows.append(row)
        self._rows = rows
        stops, before = [], ""
        for number, row in enumerate(rows):
            now = "" if row.folded else self._group(self._pairs[row.pair])
            if now and now != before:
                stops.append(number)
            before = now
        self.stops: Sequence[int] = stops

    def _group(self, pair: Pair) -> str:
        """What a pair shares with its neighbours in a group; empty when both sides are the same."""
        return "" if not differs(pair) else "asked for" if self.asked_for(pair) else "diverged"

    # ------------------------------------------------------------------------------------------ lines

    def head(self, width: int) -> Line:
        """Which side is which."""
        side = (width - 3) // 2
        replay = self.alignment.right.parent == self.alignment.left.id
        left, right = ("recorded", "replayed") if replay else ("left", "right")
        lead = " " * (self._digits + 1)
        return (Span(fit(lead + left, side), "removed"), Span("   "), Span(fit(lead + right, side), "added"))

    def line(self, index: int, width: int) -> Line:
        """A pair as two cells and a mark between them, or a fold as one counted line."""
        row = self._rows[index]
        if row.folded:
            return self._fold_line(row, width)
        pair = self._pairs[row.pair]
        side = (width - 3) // 2
        sign, style = self._sign(row.pair)
        left = self._side(row.pair, pair.left, side, style if pair.mark is Mark.MISSING else "")
        right = self._side(row.pair, pair.right, side, style if pair.mark is Mark.EXTRA else "")
        return (*left, Span(f" {sign} ", style), *right)

    def _fold_line(self, row: AlignedRow, width: int) -> Line:
        rule = self._glyphs.rule * 4
        return (Span(f"{rule} {plural(row.folded, 'identical step')} {rule}".center(width), "fold"),)

    def _side(self, pair: int, step: Step | None, width: int, style: str) -> list[Span]:
        if step is None:
            return [Span(self._glyphs.absent * width, "absent")]
        dim = style or ("dim" if not differs(self._pairs[pair]) else "")
        wide = width >= 46
        title, tokens = self._title(pair, step is self._pairs[pair].left)
        error = f" {self._glyphs.error}" if trouble(step) else ""
        room = width - self._digits - 4 - len(error) - (7 if wide else 0) - (10 if width >= 66 else 0)
        spans = [
            Span(f"{fit(str(step.index), self._digits, right=True)} ", "dim"),
            Span(f"{self._glyphs.kinds.get(step.kind, '?')} ", dim or kind_style(step)),
            Span(fit(title, max(1, room), middle=True), dim),
            Span(error, "bad"),
            Span(f" {fit(shown_duration(step.response.duration_us), 6, right=True)}" if wide else "", "dim"),
            Span(f" {fit(tokens, 9, right=True)}" if width >= 66 else "", "dim"),
        ]
        return [*spans, Span(" ")]

    def _find_title(self, pair: int, left: bool) -> tuple[str, str]:
        step = self._pairs[pair].left if left else self._pairs[pair].right
        if step is None:
            return "", ""
        said = views.summary(step)
        return said.title, tokens_of(said)

    def sign(self, pair: int) -> tuple[str, str]:
        """The mark of a pair and its style."""
        return self._sign(pair)

    def _find_sign(self, index: int) -> tuple[str, str]:
        pair, glyphs = self._pairs[index], self._glyphs
        if pair.yours:
            return glyphs.yours, "yours"
        if pair.left is None:
            return glyphs.right, "added"
        if pair.right is None:
            return glyphs.left, "removed"
        if pair.mark is Mark.SAME:
            return glyphs.same, "dim"
        if pair.mark is Mark.MOVED:
            return glyphs.moved, "content"
        if same_action(pair.left, pair.right):
            return glyphs.content, "content"
        return glyphs.action, "action"
