"""One step as a row of `steps`, and as rows of the tables that say more of some steps.

What depends on the rest of the trace (its place, its id, the numbers of its parts) is not in these rows:
`rashomon.store.writing` adds it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rashomon import views
from rashomon.canonical import content_digest, digest, digest_of, header
from rashomon.model import Call, Kind, Request, Step
from rashomon.store import bodies
from rashomon.store.bodies import Apart
from rashomon.store.exact import Shown
from rashomon.views import Summary

Row = tuple[Any, ...]


class Asked(NamedTuple):
    """A request as the store keeps it: taken apart, with its size in bytes and its digest.

    `prompt` and `conversation` are digests of how it begins, `prompt_part` the prompt's number among the parts.
    """

    apart: Apart
    parts: list[int]
    size: int
    digest: str
    prompt: str | None = None
    conversation: str | None = None
    prompt_part: int | None = None


def request_digest(kind: Kind, name: str, request: Request, apart: Apart) -> str:
    """The digest of a request's content: equal for requests that are the same call (`rashomon.canonical`).

    Of a JSON object it is taken of its identity, so that a long conversation need not be read whole for it.
    """
    call = Call(kind, name, request)
    try:
        if header(request.head, "content-type").startswith("multipart/"):
            return content_digest(call)
        if apart.identity is not None:
            return digest_of(call, apart.identity)
        try:
            value = bodies.json_object(request.body)
        except (ValueError, RecursionError):
            return content_digest(call)
        return digest_of(call, bodies.identity(value))
    except Exception:  # a head that is not what it should be: equal bytes are still equal
        return digest(request.body)


def asked_values(request: Request, apart: Apart) -> dict[str, Any] | None:
    """What a request says beside its lists, where it is certain that its view would say the same."""
    head, values = request.head, apart.values
    if values is None or "url" not in head or "$bytes" in apart.keys:
        return None
    return None if header(head, "content-encoding") or "event-stream" in header(head, "content-type") else values


def summary(step: Step, asked: dict[str, Any] | None) -> Summary:
    """What is decoded of a step."""
    try:
        return views.summary(step, asked)
    except Exception:  # a step that cannot be summed up is kept all the same
        return Summary(None, None, None, None, None, "", f"{step.kind} {step.name}")


def step_row(step: Step, asked: Asked, said: Summary, response: str | None, size: int, cost: float | None) -> Row:
    """The columns of `columns.COLUMNS["steps"]`; `response` is the digest of the answer's bytes, `size` how many."""
    shown, answer, match, failure = Shown(), step.response, step.match, step.response.failure
    holes = asked.apart.holes
    return (
        step.kind.value,
        shown.text("name", step.name),
        shown.lane("lane", step.lane),
        len(step.lane),
        shown.integer("duration_us", answer.duration_us),
        answer.end.value,
        shown.text("failure_type", failure.type) if failure else None,
        shown.optional("failure_message", failure.message if failure else None),
        shown.blob("failure_values", failure.values if failure else None),
        match.grade.value if match else None,
        shown.optional("recorded", match.recorded if match else None),
        shown.optional("match_detail", match.detail if match else None),
        shown.texts("marks", step.marks),
        *_summary_columns(said),
        asked.digest,
        response,
        shown.json("request_head", step.request.head),
        None if answer.head is None else shown.json("response_head", answer.head),
        asked.size,
        size,
        [hole.at for hole in holes],
        [_run(hole) for hole in holes],
        shown.integers("piece_offsets_us", [piece.offset_us for piece in answer.pieces]),
        [len(piece.data) for piece in answer.pieces],
        shown.exact(),
        *_decoded_columns(said, cost),
        asked.prompt,
        asked.conversation,
    )


def _run(hole: bodies.Hole) -> dict[str, Any]:
    _, path, first, start, count, separator = hole
    return {"path": path, "first": first, "start": start, "count": count, "separator": separator}


def _summary_columns(said: Summary) -> Row:
    """The decoded columns. They are made again from the bytes at will, so nothing of them is kept exactly."""
    shown = Shown()
    return (
        shown.optional("", said.model),
        shown.count("", said.input_tokens),
        shown.count("", said.output_tokens),
        shown.count("", said.status),
        shown.optional("", said.finish),
        shown.text("", said.title),
        shown.text("", said.text) or None,
    )


def _decoded_columns(said: Summary, cost: float | None) -> Row:
    """The decoded columns that the third schema added."""
    shown = Shown()
    return (
        said.dialect,
        said.decoded,
        shown.texts("", said.unknown),
        shown.count("", said.cached_tokens),
        shown.count("", said.cache_write_tokens),
        shown.count("", said.reasoning_tokens),
        cost,
        shown.text("", said.reasoning) or None,
        shown.optional("", said.refusal),
        shown.optional("", said.error_type),
        shown.optional("", said.error_message),
    )


def tool_request_rows(said: Summary) -> list[Row]:
    """What a model asked for, as rows of `tool_requests`."""
    rows: list[Row] = []
    for place, call in enumerate(said.calls):
        shown = Shown()
        rows.append((place, shown.text("", call.id), shown.text("", call.name), shown.json("", call.arguments)))
    return rows


def values_row(step: Step) -> Row:
    """What a tool was given and gave as JSON, as a row of `step_values`."""
    found: list[str | None] = []
    for view in (views.request_view, views.response_view):
        try:
            value = view(step)
        except Exception:  # a step that cannot be shown is kept all the same
            value = None
        found.append(None if value is None else Shown().json("", value))
    return tuple(found)
