"""Frames for steps that are in the store already: the rest of an answer whose beginning was read before."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from rashomon.canonical import digest
from rashomon.journal_parts import OpenStep, Reader, step_of
from rashomon.model import Kind, Step
from rashomon.store import columns, restored, step_rows, step_writing
from rashomon.store.step_rows import Asked

if TYPE_CHECKING:
    from rashomon.store.writing import Writing


def apply(writing: Writing) -> None:
    """Apply the late frames of a batch to its steps."""
    for portion, _ in writing.portions:
        frames: dict[int, list[tuple[int, list[Any]]]] = {}
        for mark, elements, _ in portion.late:
            frames.setdefault(elements[1], []).append((mark, elements))
        if frames:
            _apply(writing, portion.name, frames)


def _apply(writing: Writing, journal: str, frames: dict[int, list[tuple[int, list[Any]]]]) -> None:
    """Apply frames of one journal, by the number of the step that they are about."""
    writing.know(journal)
    traces = [trace for trace, members in writing.members.items()
              if journal in members and trace in writing.placements
              and (journal, trace) not in writing.skipped]  # fmt: skip
    wanted = [(trace, f"{writing.placements[trace].number(journal)}.{own}", own) for trace in traces for own in frames]
    numbers = {(trace, name): own for trace, name, own in wanted}
    for row in restored.rows_of_steps(writing.writer, list(numbers)):
        trace, name = row["trace"], row["id"]
        told = frames[numbers[trace, name]]
        writing.mark(trace, journal, sum(mark * mark for mark, _ in told))
        _change(writing, row, writing.placements[trace].shift_us(journal), [elements for _, elements in told])


def _change(writing: Writing, row: dict[str, Any], shift_us: int, frames: list[list[Any]]) -> None:
    """Write a step anew, with what these frames say of it."""
    parts, prompt = row["request_parts"], row["prompt_part"]
    holes = restored.holes_from(row["layout"])
    frame, inside = parts[0], array("i", parts[1:])
    told = row["request_size"], row["request_digest"], row["prompt"], row["conversation"]
    asked = Asked(tuple(holes), frame, inside, *told, prompt)
    old, trace = row["response_part"], row["trace"]
    (before,) = restored.steps_of(writing.writer, [row])
    step = _with(before, shift_us, frames)
    said = step_rows.summary(step, None)
    answer = step.response.body
    response = digest(answer) if step.response.pieces else None
    cost = writing.price(step, said, trace) if step.kind == Kind.LLM else None
    step_writing.delete_steps(writing, [(trace, step.index)])
    if old is not None:
        writing.loose.add(old)
    made = step_rows.step_row(step, asked, said, response, len(answer), cost)
    number = writing.part(answer) if response is not None else None
    table = columns.table_of("steps", [made])
    added = {
        "trace": columns.texts([trace]),
        "position": columns.integers([step.index], small=True),
        "id": columns.texts([step.id]),
        "started_us": columns.integers([step.started_us]),
        "within": columns.texts([step.within]),
        **columns.parts(array("i", parts), [len(parts)]),
        "response_part": columns.integers([number], small=True),
        "prompt_part": columns.integers([prompt], small=True),
    }
    for name, values in added.items():
        table = table.append_column(name, values)
    writing.insert("steps", table)
    place = (trace, step.index)
    step_writing.insert_beside(writing, "tool_requests", [(place, one) for one in step_rows.tool_request_rows(said)])
    if step.kind in (Kind.TOOL, Kind.MCP, Kind.NOTE):
        step_writing.insert_beside(writing, "step_values", [(place, step_rows.values_row(step))])


def _with(step: Step, shift_us: int, frames: list[list[Any]]) -> Step:
    """The step as it is when these frames have been read too."""
    own = frames[0][1]
    t_us = step.started_us - shift_us
    call = [2, own, 0, step.kind, step.name, step.lane, t_us, step.within, {}, b"", step.id]
    state = OpenStep(call, step.request, step.marks)
    state.head, state.pieces = step.response.head, list(step.response.pieces)
    state.end, state.failure, state.match = step.response.end, step.response.failure, step.match
    state.t_end = t_us + step.response.duration_us
    reader = Reader()
    reader.steps[own] = state
    for elements in frames:
        try:
            reader.frame(elements)
        except (IndexError, KeyError, TypeError, ValueError):  # was named as damage when it was read
            continue
    changed = step_of(state)
    return changed._replace(index=step.index, started_us=step.started_us, within=step.within)
