"""Where the application gets its traces: a small protocol, and the store behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rashomon.filters import Query, parse
from rashomon.model import Tape
from rashomon.tui.model import TraceItem, swap_words
from rashomon.tui.notes import NoteItem

if TYPE_CHECKING:
    from rashomon.store import TraceRow


class TraceSource(Protocol):
    """Traces to show. Each method may take its time and is called in a thread, one at a time or several."""

    @property
    def place(self) -> str:
        """Where the traces are, as a person would name it."""
        ...

    def traces(self) -> list[TraceItem]:
        """All traces, in any order. Raises `RashomonError` when they cannot be read."""
        ...

    def tape(self, trace_id: str) -> Tape:
        """A trace with its steps. Raises `RashomonError` when there is none."""
        ...

    def notes(self, trace_id: str) -> list[NoteItem]:
        """What people wrote on a trace, what is within it, and their steps, oldest first."""
        ...

    def matching(self, query: Query) -> frozenset[str]:
        """The ids of the traces that a filter means. Raises `FilterError`."""
        ...

    def chosen(self, tape: Tape, query: Query) -> frozenset[str]:
        """The ids of the steps of a tape that a filter means. Raises `FilterError`."""
        ...

    def failing(self, tape: Tape) -> frozenset[str]:
        """The ids of the steps of a tape that failed; also of those with an error in an answer of status 200."""
        ...

    def resolve(self, reference: str) -> str:
        """The id of the trace that a reference means. Raises `UsageError` for none, or for several."""
        ...


def trace_item(row: TraceRow, notes: int = 0) -> TraceItem:
    """A row of the store as the list shows it."""
    return TraceItem(
        row.id,
        row.name,
        row.started_ns,
        row.duration_us,
        row.outcome,
        row.exit_code,
        row.error,
        row.parent,
        row.within,
        tuple(sorted(row.tags.items())),
        swap_words(row.swaps),
        row.steps,
        row.llm_calls,
        row.tool_calls,
        row.input_tokens,
        row.output_tokens,
        row.divergences,
        row.coverage_missed,
        row.unseen,
        row.losses,
        row.lost,
        row.imported,
        notes,
        row.cost,
        row.unpriced,
    )


class StoreSource:
    """The store of a home. It is opened for each question and closed again: a recording may want to write."""

    def __init__(self, home: Path) -> None:
        self._home = home

    @property
    def place(self) -> str:
        """The home folder, `~` for the user's own."""
        try:
            return f"~/{self._home.relative_to(Path.home())}"
        except (ValueError, RuntimeError):  # elsewhere, or a user without a home folder
            return str(self._home)

    def traces(self) -> list[TraceItem]:
        """All traces, after taking in what was recorded since."""
        from rashomon.store import open_home
        from rashomon.store.annotations import noted

        with open_home(self._home) as store:
            notes = noted(store)
            return [trace_item(row, notes.get(row.id, 0)) for row in store.traces()]

    def tape(self, trace_id: str) -> Tape:
        """A trace with its steps."""
        from rashomon.store import open_home

        with open_home(self._home) as store:
            return store.tape(trace_id)

    def notes(self, trace_id: str) -> list[NoteItem]:
        """What people wrote on a trace, what is within it, and their steps, oldest first."""
        from rashomon.store import open_home
        from rashomon.store.annotations import notes_on

        with open_home(self._home) as store:
            return [
                NoteItem(one.step, one.note.text, one.note.labels, one.note.author, one.note.at_ns)
                for one in notes_on(store, trace_id)
            ]

    def matching(self, query: Query) -> frozenset[str]:
        """The ids of the traces that a filter means, of those that the store knows by now."""
        from rashomon.store import open_home

        with open_home(self._home) as store:
            return frozenset(row.id for row in store.traces(matching=query))

    def chosen(self, tape: Tape, query: Query) -> frozenset[str]:
        """The ids of the steps of a tape that a filter means."""
        from rashomon.store import open_home
        from rashomon.store.filter_steps import StepFilter, beside

        with open_home(self._home) as store:
            known = beside(store, tape.trace.id)
        return frozenset(step.id for step in StepFilter(query, tape.trace, tape.steps, known).chosen())

    def failing(self, tape: Tape) -> frozenset[str]:
        """The ids of the steps of a tape that failed."""
        return self.chosen(tape, parse("step.status:err"))

    def resolve(self, reference: str) -> str:
        """The id of the trace that a reference means."""
        from rashomon.store import open_home

        with open_home(self._home) as store:
            return store.resolve(reference)
