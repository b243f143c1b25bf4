"""How two runs of one program end: what they wrote to stdout, and their exit codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from rashomon import views
from rashomon.commands.doctor_findings import Control, Finding, Run, told_origin
from rashomon.model import Step
from rashomon.replay.differences import Difference, step_differences
from rashomon.replay.flow import Sources, Substitution
from rashomon.replay.origins import Origin

_WIDTH = 160
_LINES = 500
"""Of so many differing lines of output, the first ones, the origins are sought."""
UNFOLLOWED = "Nothing that is recorded explains it: read it in a function marked @rashomon.tool."
REORDERED = "the same lines in another order"


class OutputDifference(NamedTuple):
    """The first line of stdout that two runs wrote differently; None where one had ended."""

    line: int
    first: str | None
    second: str | None


def of_ending(first: Run, second: Run, sources: Sources) -> list[Finding]:
    """How the outputs and exit codes of two runs differ; `sources` is where that may come from."""
    found = []
    if first.exit_code != second.exit_code:
        what = f"{first.exit_code} when {first.role}, {second.exit_code} when {second.role}"
        found.append(
            Finding(
                "exit",
                f"exit code {what}",
                Control.UNCONTROLLED,
                changes=True,
                advice="Run it with --show to see what the program says.",
            )
        )
    return found + _of_outputs(first, second, sources)


def output_differences(first: Path, second: Path) -> Iterator[OutputDifference]:
    """The lines in which two outputs differ, the first one first."""
    with first.open("rb") as a, second.open("rb") as b:
        for number, (left, right) in enumerate(zip_longest(a, b), 1):
            if left != right:
                yield OutputDifference(number, _line(left), _line(right))


def _line(line: bytes | None) -> str | None:
    return None if line is None else line.decode("utf-8", "backslashreplace").rstrip("\r\n")


def _of_outputs(first: Run, second: Run, sources: Sources) -> list[Finding]:
    """The first line that differs; between live runs, the first one that does so for no reason that is known."""
    differing = list(islice(output_differences(first.output, second.output), _LINES))
    if not differing:
        return []
    if is_reordered(differing):
        return [_of_output(differing[0], REORDERED, Control.UNCONTROLLED)]
    told = [_origin_of_line(one, sources) for one in differing]
    at = next((n for n, origin in enumerate(told) if not origin.whole), None)
    if first.role != "live":
        return [_of_output(differing[0], told[0].sentence, Control.UNCONTROLLED)]
    if at is None:
        return [_of_output(differing[0], told[0].sentence, Control.CONTROLLED)._replace(varies=True)]
    return [_of_output(differing[at], told[at].sentence, Control.UNCONTROLLED)._replace(varies=True)]


def is_reordered(differing: Sequence[OutputDifference]) -> bool:
    """True if two outputs have the same lines in another order."""
    left, right = ([one[side] for one in differing if one[side] is not None] for side in (1, 2))
    return len(differing) < _LINES and sorted(map(str, left)) == sorted(map(str, right))


def _origin_of_line(one: OutputDifference, sources: Sources) -> Origin:
    if one.first is None or one.second is None:
        return Origin("", False)
    found = told_origin(Difference(f"line {one.line}", "text", one.first, one.second), sources)
    return found if found.whole else _of_answers(one.first, one.second, sources.substitutions) or found


def _of_answers(first: str, second: str, others: Sequence[Substitution]) -> Origin | None:
    """Two texts that are the same but for what was answered otherwise."""
    names = []
    for other in others:
        kind, name, request = other.call
        if other.recorded is None:
            continue
        told = Step("", 0, kind, name, (), 0, request, other.response)
        for change in step_differences(other.recorded, told):
            if isinstance(change.left, str) and isinstance(change.right, str) and change.left in first:
                first, second = first.replace(change.left, "\0"), second.replace(change.right, "\0")
                names.append(f"{name} ({other.recorded.id})")
    if first != second:
        return None
    return Origin("which follows from the other answer of " + ", ".join(dict.fromkeys(names)), True)


def _of_output(one: OutputDifference, origin: str, control: Control) -> Finding:
    lines = [f"{sign} {around(text, other)}" if text is not None else f"{sign} (nothing more)"
             for sign, text, other in (("-", one.first, one.second), ("+", one.second, one.first))]  # fmt: skip
    if control is Control.CONTROLLED:
        advice = ""
    elif origin == REORDERED:
        advice = (
            "Let threads hand over what they found, and print it in a fixed order: who comes first is not recorded."
        )
    elif one.first is None or one.second is None:
        advice = "One run wrote more than the other: compare their traces with rashomon diff."
    elif origin.startswith("read from"):
        advice = "Pass the value in, or keep it out of the output."
    else:
        advice = UNFOLLOWED
    return Finding("output", f"line {one.line} of stdout", control, changes=True,
                   detail=(*lines, origin) if origin else tuple(lines), advice=advice)  # fmt: skip


def around(text: str, other: str | None, width: int = _WIDTH) -> str:
    """A text on one line, or what of a long one stands around the place where it differs from the other."""
    if len(text) <= width or other is None:
        return views.one_line(text, width)
    at = next((n for n, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    start = max(0, at - width // 3)
    return ("…" if start else "") + views.one_line(text[start:], width - 1)
