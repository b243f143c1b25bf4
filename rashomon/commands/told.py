"""What a list tells of a step, of a whole step or of a row of the store alike: a list needs no bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rashomon.model import End, Grade, Kind, Lane, Step, Tape, Trace

if TYPE_CHECKING:
    from rashomon.store import Outline, StepRow
    from rashomon.store.lists import StepLine


class Told(NamedTuple):
    """The fields of `rashomon.store.StepRow` that lists show, made from a step."""

    id: str
    index: int  # type: ignore[assignment]  # hides tuple.index
    kind: Kind
    name: str
    lane: Lane
    started_us: int
    duration_us: int
    end: End
    failure_type: str | None
    failure_message: str | None
    grade: Grade | None
    recorded: str | None
    match_detail: str
    within: str | None
    marks: tuple[str, ...]
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    status: int | None
    finish: str | None
    title: str


def told(step: Step | StepRow | StepLine) -> Told | StepRow | StepLine:
    """What a list tells of a step."""
    if not isinstance(step, Step):
        return step
    from rashomon import views

    said, answer, match = views.summary(step), step.response, step.match
    failure = answer.failure
    return Told(
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
        match.detail if match else "",
        step.within,
        step.marks,
        said.model,
        said.input_tokens,
        said.output_tokens,
        said.status,
        said.finish,
        said.title,
    )


def warnings(tape: Tape | Outline | None) -> list[str]:
    """What the user must not miss: a recorder that did not start, and what slipped past it."""
    if tape is None or not tape.trace.processes:
        return ["the recorder did not start in this program, so nothing is recorded. Is it Python 3.11 or newer, and "
                "run without -I, -E or -S?"]  # fmt: skip
    found = []
    programs = [one for one in tape.trace.coverage.missed if " " in one]  # a command; an address has no spaces
    missed = [one for one in tape.trace.coverage.missed if " " not in one]
    opened = tape.trace.coverage.connections - len(programs)
    peers = ", ".join(dict.fromkeys(missed))
    if opened and not any(step.kind is Kind.LLM for step in tape.steps):
        found.append(f"the program opened {opened} connection(s){f' ({peers})' if peers else ''} and NO LLM CALL WAS "
                     "RECORDED. Its client may be one that this version has no shim for.")  # fmt: skip
    elif missed:
        found.append(f"{len(missed)} connection(s) slipped past the recorder: {peers}.")
    if programs:
        found.append(f"{len(programs)} Python program(s) ran past the recorder, which -E, -I and -S keep out: "
                     f"{', '.join(dict.fromkeys(programs))}.")  # fmt: skip
    found.extend(
        f"not everything was recorded: {loss.reason} ({loss.steps} step(s) lost)." for loss in tape.trace.losses
    )
    return found


def duration_us(trace: Trace) -> int | None:
    """How long a trace took; None while it is open, or when it was killed."""
    return None if trace.ended_ns is None else (trace.ended_ns - trace.started_ns) // 1000
