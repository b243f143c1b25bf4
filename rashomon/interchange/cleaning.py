"""Traces of other tools without their secrets: nobody replaced them before they were written down."""

from __future__ import annotations

from typing import Any

from rashomon.model import Failure, Kind, Piece, Request, Response, Step, Tape
from rashomon.redaction import Redactor


def cleaned(tape: Tape, redactor: Redactor) -> Tape:
    """The trace with its secrets replaced by what stands for them in the home of this redactor."""
    trace = tape.trace
    text = redactor.text
    told = trace._replace(
        name=text(trace.name),
        error=None if trace.error is None else text(trace.error),
        tags={text(name): text(value) for name, value in redactor.deep(trace.tags).items()},
        provenance=redactor.deep(trace.provenance),
    )
    return tape._replace(trace=told, steps=tuple(_step(step, redactor) for step in tape.steps))


def _step(step: Step, redactor: Redactor) -> Step:
    encoded = step.kind in (Kind.TOOL, Kind.NOTE)
    body = redactor.encoded if encoded else redactor.content
    response = step.response
    failure = response.failure
    if failure is not None:
        failure = Failure(redactor.text(failure.type), redactor.text(failure.message), failure.values)
    return step._replace(
        name=redactor.name(step.name),
        request=Request(_head(step.request.head, redactor), body(step.request.body)),
        response=Response(
            response.head,
            tuple([Piece(piece.offset_us, body(piece.data)) for piece in response.pieces]),
            response.end,
            failure,
            response.duration_us,
        ),
    )


def _head(head: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    found = dict(head)
    if isinstance(head.get("url"), str):
        found["url"] = redactor.url(head["url"])
    if "note" in head:
        found["note"] = redactor.deep(head["note"])
    return found
