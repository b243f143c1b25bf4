"""An alignment as text: unified in a pipe, side by side in a terminal, equal runs folded to one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from rashomon import views
from rashomon.commands import terminal
from rashomon.commands.terminal import plural
from rashomon.model import Json, Step, Trace
from rashomon.replay.alignment import Alignment, Mark, Pair
from rashomon.replay.differences import Difference, step_differences, word_diff

if TYPE_CHECKING:
    from rich.text import Text

_SIGNS = {
    Mark.SAME: " ",
    Mark.OUTPUT: "~",
    Mark.INPUT: "~",
    Mark.BOTH: "~",
    Mark.MISSING: "-",
    Mark.EXTRA: "+",
    Mark.MOVED: ">",
}
_STYLES = {
    Mark.SAME: "dim",
    Mark.OUTPUT: "yellow",
    Mark.INPUT: "yellow",
    Mark.BOTH: "yellow",
    Mark.MISSING: "red",
    Mark.EXTRA: "green",
    Mark.MOVED: "cyan",
}
_FOLD_FROM = 3
"""A shorter run of equal steps is shown: folding it would save nothing."""

_VALUE_WIDTH = 200
_SAME_WORDS_KEPT = 40


class Fold(NamedTuple):
    """A run of pairs that are the same."""

    pairs: tuple[Pair, ...]


def folds(alignment: Alignment, folded: bool = True) -> Iterator[tuple[int, Pair] | Fold]:
    """The pairs with their index, runs of equal ones folded."""
    run: list[tuple[int, Pair]] = []
    for item in [*enumerate(alignment.pairs), None]:
        if item is not None and item[1].mark is Mark.SAME:
            run.append(item)
            continue
        if folded and len(run) >= _FOLD_FROM:
            yield Fold(tuple(pair for _, pair in run))
        else:
            yield from run
        run = []
        if item is not None:
            yield item


def note(pair: Pair, pairs: tuple[Pair, ...]) -> str:
    """What is known of a pair beyond its mark: who changed it, or what it follows from."""
    if pair.yours:
        return "changed by you"
    if pair.cause is not None:
        cause = pairs[pair.cause]
        step = cause.right or cause.left
        return "" if step is None else f"follows from step {step.index}"
    return ""


def changes(pair: Pair) -> list[Difference]:
    """What differs in a pair that has both sides."""
    if pair.left is None or pair.right is None or pair.mark is Mark.SAME:
        return []
    return step_differences(pair.left, pair.right)


def change_lines(change: Difference) -> list[str]:
    """One difference as `path: left → right`; long text by word, equal stretches shortened."""
    if change.op == "added":
        return [f"{change.path}: added {_short(change.right)}"]
    if change.op == "removed":
        return [f"{change.path}: removed {_short(change.left)}"]
    if change.op == "text" and isinstance(change.left, str) and isinstance(change.right, str):
        return [f"{change.path}: {words(change.left, change.right)}"]
    return [f"{change.path}: {_short(change.left)} → {_short(change.right)}"]


def words(left: str, right: str) -> str:
    """A difference of texts by word: `[-removed-]`, `{+added+}`."""
    shown = []
    parts = word_diff(left, right)
    for at, (kind, text) in enumerate(parts):
        text = text.replace("\n", "\\n")
        if kind == "removed":
            shown.append(f"[-{text}-]")
        elif kind == "added":
            shown.append(f"{{+{text}+}}")
        else:
            shown.append(_elided(text, first=at == 0, last=at == len(parts) - 1))
    return "".join(shown)


def _elided(text: str, first: bool, last: bool) -> str:
    if len(text) <= 2 * _SAME_WORDS_KEPT + 3:
        return text
    head = "" if first else text[:_SAME_WORDS_KEPT]
    tail = "" if last else text[-_SAME_WORDS_KEPT:]
    return f"{head}…{tail}"


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= _VALUE_WIDTH or not terminal.in_terminal():
        return text
    return f"{text[:_VALUE_WIDTH]}… ({len(text):,} characters)"


def trace_line(trace: Trace) -> str:
    """A trace in one line."""
    kind = f", replay of {trace.parent}" if trace.parent else ""
    return f"{trace.id}  {trace.name}  ({terminal.local_time(trace.started_ns)}{kind})"


def mark_words(mark: Mark) -> str:
    """What a mark says of a pair; `both` alone would not say what."""
    return "input and output changed" if mark is Mark.BOTH else mark.value


def verdict(alignment: Alignment) -> str:
    """The comparison in one line."""
    if alignment.first is None:
        steps = plural(len(alignment.pairs), "step")
        if alignment.same:
            return f"The same: {steps}."
        return f"Different: {', '.join(end.kind for end in alignment.ends if not end.passing)}. {steps} the same."
    counts: dict[str, int] = {}
    for pair in alignment.pairs:
        counts[pair.mark.value] = counts.get(pair.mark.value, 0) + 1
    told = ", ".join(f"{counts[mark.value]} {mark_words(mark)}" for mark in Mark if mark.value in counts)
    first = alignment.pairs[alignment.first]
    step = first.right or first.left
    where = "" if step is None else f" First difference at step {step.index}: {mark_words(first.mark)}."
    return f"Different: {told}.{where}"


def end_lines(alignment: Alignment) -> list[str]:
    """What differs beside the steps."""
    lines = []
    for end in alignment.ends:
        lines.append(f"{' ' if end.passing else '~'} {end.kind}  {end.summary}")
        lines.extend(f"      {detail}" for detail in end.detail)
    return lines


def numbers(pair: Pair) -> str:
    """`3/4`: the step's number on either side; `-` where it has none."""
    left, right = (str(step.index) if step else "-" for step in (pair.left, pair.right))
    return left if left == right else f"{left}/{right}"


def fold_line(fold: Fold) -> str:
    """A folded run as one line."""
    first, last = fold.pairs[0], fold.pairs[-1]
    return f"... {plural(len(fold.pairs), 'step')} the same: {numbers(first)} to {numbers(last)} ..."


def print_diff(alignment: Alignment, folded: bool = True) -> None:
    """Print an alignment for whoever reads stdout."""
    if terminal.in_terminal():
        _print_rich(alignment, folded)
    else:
        terminal.print_text("\n".join(unified(alignment, folded)))


def unified(alignment: Alignment, folded: bool = True) -> list[str]:
    """The alignment as lines: `-` left only, `+` right only, `~` changed, `>` moved."""
    lines = [f"--- {trace_line(alignment.left)}", f"+++ {trace_line(alignment.right)}"]
    for item in folds(alignment, folded):
        if isinstance(item, Fold):
            lines.append(f"  {fold_line(item)}")
            continue
        _, pair = item
        lines.extend(_unified_pair(pair, alignment.pairs))
    return [*lines, *end_lines(alignment), verdict(alignment)]


def _unified_pair(pair: Pair, pairs: tuple[Pair, ...]) -> list[str]:
    step = pair.right or pair.left
    if step is None:
        return []
    told = note(pair, pairs)
    label = "" if pair.mark is Mark.SAME else f"  [{mark_words(pair.mark)}{', ' + told if told else ''}]"
    sides = [step]
    if pair.left is not None and pair.right is not None and _title(pair.left) != _title(pair.right):
        sides = [pair.left, pair.right]
    if len(sides) == 1:
        lines = [f"{_SIGNS[pair.mark]} {numbers(pair)}  {step.kind.value}  {_title(step)}{label}"]
    else:
        lines = [f"{_SIGNS[pair.mark]} {numbers(pair)}  {step.kind.value}  {step.name}{label}"]
        lines += [f"    {sign} {_title(side)}" for sign, side in zip("-+", sides, strict=True)]
    lines.extend(f"      {line}" for change in changes(pair) for line in change_lines(change))
    return lines


def _title(step: Step) -> str:
    return views.summary(step).title


def _print_rich(alignment: Alignment, folded: bool) -> None:
    from rich.table import Table

    out = terminal.console()
    table = Table(box=None, padding=(0, 1), expand=True, header_style="dim")
    table.add_column("", no_wrap=True, style="dim", justify="right")
    table.add_column(terminal.styled(trace_line(alignment.left)), ratio=1)
    table.add_column("", no_wrap=True)
    table.add_column(terminal.styled(trace_line(alignment.right)), ratio=1)
    out.print(table)
    for item in folds(alignment, folded):
        if isinstance(item, Fold):
            out.print(terminal.styled(f"    {fold_line(item)}", "dim"))
        else:
            _print_pair(item[1], alignment)
    for line in end_lines(alignment):
        out.print(terminal.styled(line, "yellow" if line.startswith("~") else "dim"))
    out.print()
    out.print(terminal.styled(verdict(alignment), "green" if alignment.same else "bold yellow"))


def _print_pair(pair: Pair, alignment: Alignment) -> None:
    from rich.table import Table

    out = terminal.console()
    style = _STYLES[pair.mark]
    width = max(4, len(str(len(alignment.pairs))) * 2 + 1)
    table = Table(box=None, padding=(0, 1), expand=True, show_header=False)
    table.add_column(no_wrap=True, style="dim", justify="right", width=width)
    table.add_column(ratio=1)
    table.add_column(no_wrap=True, width=1)
    table.add_column(ratio=1)
    sign = "=" if pair.mark is Mark.SAME else _SIGNS[pair.mark]
    table.add_row(numbers(pair), _cell(pair.left, style), terminal.styled(sign, style), _cell(pair.right, style))
    out.print(table)
    if pair.mark is Mark.SAME:
        return
    told = note(pair, alignment.pairs)
    out.print(terminal.styled(f"{' ' * width}   {mark_words(pair.mark)}{', ' + told if told else ''}", style))
    for change in changes(pair):
        for line in change_lines(change):
            out.print(terminal.styled(f"{' ' * width}     {line}"))


def _cell(step: Step | None, style: str) -> Text:
    if step is None:
        return terminal.styled("")
    return terminal.styled(f"{terminal.GLYPHS[step.kind.value]} {_title(step)}", style)
