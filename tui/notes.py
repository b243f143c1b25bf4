"""What people wrote on a trace and its steps, as values and as lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rashomon.model import Kind
from rashomon.tui.glyphs import Glyphs
from rashomon.tui.model import moment
from rashomon.tui.spans import Line, Span


class NoteItem(NamedTuple):
    """A note. `step` is the id of the step that it is on, as the whole tape has it; None for the trace as a whole.

    `at_ns` in Unix nanoseconds.
    """

    step: str | None
    text: str
    labels: tuple[str, ...] = ()
    author: str | None = None
    at_ns: int = 0


def note_lines(notes: Iterable[NoteItem], glyphs: Glyphs) -> list[Line]:
    """A line for each note: its text, its labels in brackets, who wrote it and when."""
    return [
        (
            Span(f"{glyphs.kinds[Kind.NOTE]} ", "yours"),
            Span(" ".join(note.text.split())),
            Span("".join(f" [{label}]" for label in note.labels), "key"),
            Span(f"  {note.author or 'somebody'}, {moment(note.at_ns, '%m-%d %H:%M')}", "dim"),
        )
        for note in notes
    ]
