"""What a list tells of a step, of a whole step or of a row of the store alike: a list needs no bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from rashomon.model import Kind, Step, Tape, Trace

if TYPE_CHECKING:
    from rashomon.store import Outline, StepRow
    from rashomon.store.lists import Shown, ShownLine, StepLine


@overload
def told(step: ShownLine) -> ShownLine: ...


@overload
def told(step: Step | StepRow | StepLine) -> StepRow | StepLine: ...


def told(step: Step | StepRow | StepLine | ShownLine) -> StepRow | StepLine | ShownLine:
    """What a list tells of a step; of what is only shown, what is shown of it."""
    if not isinstance(step, Step):
        return step
    from rashomon import views
    from rashomon.store.lists import StepLine

    said, answer, match = views.summary(step), step.response, step.match
    failure = answer.failure
    return StepLine(
        step.id,
        step.index,
        step.kind,
        step.name,
        step.lane,
        step.started_us,
        answer.duration_us,
        answer.end,
        failure.type if failure else None,
        failure.message if failure else None,
        match.grade if match else None,
        match.recorded if match else None,
        step.within,
        step.marks,
        said.model,
        said.input_tokens,
        said.output_tokens,
        said.status,
        said.finish,
        said.title,
        match.detail if match else "",
    )


_CALLS = frozenset((Kind.LLM, Kind.HTTP, Kind.MCP))
"""What goes over a connection: where some of these were recorded, the program's client is known."""


def warnings(tape: Tape | Outline | Shown | None) -> list[str]:
    """What the user must not miss: a recorder that did not start, and what slipped past it."""
    if tape is None or not tape.trace.processes:
        return ["the recorder did not start in this program, so nothing is recorded. Is it Python 3.11 or newer, and "
                "run without -I, -E or -S?"]  # fmt: skip
    found = []
    programs = [one for one in tape.trace.coverage.missed if " " in one]  # a command; an address has no spaces
    missed = [one for one in tape.trace.coverage.missed if " " not in one]
    opened = tape.trace.coverage.connections - len(programs)
    peers = ", ".join(dict.fromkeys(missed))
    if opened and not any(step.kind in _CALLS for step in tape.steps):
        found.append(f"the program opened {opened} connection(s){f' ({peers})' if peers else ''} and NO LLM CALL WAS "
                     "RECORDED. Its client may be one that this version has no shim for.")  # fmt: skip
    elif missed:
        found.append(f"{len(missed)} connection(s) slipped past the recorder: {peers}.")
    if programs:
        found.append(f"{len(programs)} Python program(s) ran past the recorder, which -E, -I and -S keep out: "
                     f"{', '.join(dict.fromkeys(programs))}.")  # fmt: skip
    for loss in tape.trace.losses:
        lost = f"{loss.steps} step(s) lost" if loss.steps else "of what, is not known"
        found.append(f"not everything was recorded, or is there still: {loss.reason} ({lost}).")
    return found


def duration_us(trace: Trace) -> int | None:
    """How long a trace took; None while it is open, or when it was killed."""
    return None if trace.ended_ns is None else (trace.ended_ns - trace.started_ns) // 1000
