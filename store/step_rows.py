"""One step as a row of `steps`, and as rows of the tables that say more of some steps.

What depends on the rest of the trace (its place, its id, the numbers of its parts) is not in these rows:
`rashomon.store.writing` adds it.
"""

from __future__ import annotations

import functools
import json
from array import array
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgpack

from rashomon import views
from rashomon.canonical import address_of, content_digest, digest
from rashomon.model import Call, End, Failure, Head, Json, Kind, Match, Request, Response, Step
from rashomon.store import bodies
from rashomon.store.bodies import Apart, Hole
from rashomon.store.exact import Shown
from rashomon.store.spelling import exact_json
from rashomon.views import Summary

Row = tuple[Any, ...]

_MCP, _COMPLETE = Kind.MCP, End.COMPLETE
_ADDRESSES = 1024
"""How many addresses are remembered as they stand in digests."""


class Asked(NamedTuple):
    """A request as the store keeps it: its holes, what fills them, its size in bytes and its digest.

    `frame` and `parts`, which go into its holes, are numbers of parts. `prompt` and `conversation` are digests of how
    it begins, `prompt_part` the prompt's number among the parts. `values` are what it says beside its lists, where that
    will do for what is to be known of it.
    """

    holes: tuple[Hole, ...]
    frame: int
    parts: array[int]
    size: int
    digest: str
    prompt: str | None = None
    conversation: str | None = None
    prompt_part: int | None = None
    values: dict[str, Any] | None = None


class Valued(NamedTuple):
    """What a tool was given and gave: as JSON (None where it is nothing, or not known yet), and as its columns."""

    request: Json
    response: Json
    row: Row


def content_headers(head: Head) -> tuple[str | None, str | None]:
    """The first content-type and the first content-encoding of a head, as they are; empty where there is none.

    None of what cannot be told, since the headers are not what they should be.
    """
    encoding = content_type = None
    try:
        for name, value in head.get("headers", ()):
            size = len(name)
            if size == 12 and content_type is None and _text(name).lower() == "content-type":
                content_type = _text(value)
            elif size == 16 and encoding is None and _text(name).lower() == "content-encoding":
                encoding = _text(value)
    except (AttributeError, TypeError, ValueError):
        return content_type, None
    return content_type or "", encoding or ""


def _text(raw: Any) -> str:
    if isinstance(raw, str):
        return raw
    return bytes.decode(raw, "latin-1")


_addresses: dict[tuple[str, str, str, str], bytes] = {}


def _address(kind: Kind, name: str, head: Head) -> bytes:
    """`address_of` a call, which is the same for most calls of a program."""
    method, url = head.get("method", ""), head.get("url", "")
    if not (type(name) is str and type(method) is str and type(url) is str):  # what is equal may be spelled otherwise
        return address_of(kind, name, head)
    key = (kind, name, method, url)
    found = _addresses.get(key)
    if found is None:
        if len(_addresses) >= _ADDRESSES:
            _addresses.clear()
        found = _addresses[key] = address_of(kind, name, head)
    return found


def request_digest(kind: Kind, name: str, request: Request, apart: Apart) -> str:
    """The digest of a request's content: equal for requests that are the same call (`rashomon.canonical`).

    Of a JSON object it is taken of its identity, so that a long conversation need not be read whole for it.
    """
    return digest_as(kind, name, request, apart, content_headers(request.head)[0])


def digest_as(kind: Kind, name: str, request: Request, apart: Apart, content_type: str | None) -> str:
    """`request_digest` of a request whose content-type is known."""
    body = request.body
    try:
        if content_type is None:  # equal bytes are still equal
            return digest(body)
        if content_type.startswith("multipart/"):
            return content_digest(Call(kind, name, request))
        if apart.identity is not None:
            return digest(_address(kind, name, request.head) + apart.identity)
        if body[:1] not in _BEGINNINGS:  # no JSON: equal byte for byte
            return digest(_address(kind, name, request.head) + body)
        try:
            value = bodies.json_object(body)
        except (ValueError, RecursionError):
            return content_digest(Call(kind, name, request))
        return digest(_address(kind, name, request.head) + bodies.identity(value))
    except Exception:  # a head that is not what it should be: equal bytes are still equal
        return digest(body)


_BEGINNINGS = frozenset([bytes([byte]) for byte in b'{["-0123456789tfn \t\r\n'])
"""How JSON may begin."""


def asked_values(head: Head, apart: Apart, content_type: str | None, encoding: str | None) -> dict[str, Any] | None:
    """What a request says beside its lists, where it is certain that its view would say the same."""
    if apart.values is None or "url" not in head or "$bytes" in apart.keys:
        return None
    return apart.values if encoding == "" and content_type is not None and "event-stream" not in content_type else None


def summary(
    step: Step,
    asked: Json,
    response: Json = None,
    body: bytes | None = None,
    content: tuple[str, str] | None = None,
) -> Summary:
    """What is decoded of a step. What is known of its views, its answer and its heads need not be made again."""
    try:
        return views.summary(step, asked, response, body, content)
    except Exception:  # a step that cannot be summed up is kept all the same
        return Summary(None, None, None, None, None, "", f"{step.kind} {step.name}")


def step_row(
    step: Step,
    asked: Asked,
    said: Summary,
    response: str | None,
    size: int,
    cost: float | None,
    heads: tuple[str | None, str | None] = (None, None),
) -> Row:
    """The columns of `columns.COLUMNS["steps"]`; `response` is the digest of the answer's bytes, `size` how many.

    `heads` are the JSON texts of both heads, where they are known.
    """
    shown = Shown()
    _, _, kind, name, lane, _, request, answer, match, _, marks = step
    said_head, _, end, failure, _ = answer
    asked_text, said_text = heads
    duration_us, offsets, sizes = _timing(shown, answer, size)
    return (
        kind._value_,
        name if name.__class__ is str and name.isascii() else shown.text("name", name),
        shown.lane("lane", lane) if lane else "",
        len(lane),
        duration_us,
        end._value_,
        *(_NOTHING if failure is None else _failure_columns(shown, failure)),
        *(_NOTHING if match is None else _match_columns(shown, match)),
        shown.texts("marks", marks) if marks else [],
        *_summary_columns(said),
        asked.digest,
        response,
        asked_text or shown.head("request_head", request.head),
        None if said_head is None else said_text or shown.head("response_head", said_head),
        asked.size,
        size,
        layout(asked.holes) if asked.holes else "[]",
        offsets,
        sizes,
        shown.exact() if shown.kept else None,
        *_decoded_columns(said, cost),
        asked.prompt,
        asked.conversation,
    )


def _timing(shown: Shown, answer: Response, size: int) -> tuple[int, list[int], list[int]]:
    """How long an answer of that size took, when its pieces came, and how large each of them is."""
    _, pieces, _, _, taken_us = answer
    duration_us = shown.integer("duration_us", taken_us)
    if len(pieces) != 1:
        offsets = shown.integers("piece_offsets_us", [piece.offset_us for piece in pieces])
        return duration_us, offsets, [len(piece.data) for piece in pieces]
    ((offset_us, data),) = pieces
    offsets = shown.integers("piece_offsets_us", [offset_us])
    if size > 0:  # then the piece's size is that of the answer
        return duration_us, [] if offsets == [duration_us] else offsets, []
    return duration_us, offsets, [len(data)]


def layout(holes: Iterable[Hole]) -> str:
    """Where the parts of a request go, as the column `layout` has it."""
    return f"[{','.join(map(_hole, holes))}]"


@functools.lru_cache(maxsize=1024)
def _hole(hole: Hole) -> str:
    first = "null" if hole.first is None else hole.first
    return (
        f'{{"at":{hole.at},"path":{_quoted(hole.path)},"first":{first},"start":{hole.start},"count":{hole.count},'
        f'"separator":{_quoted(hole.separator)}}}'
    )


@functools.lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_NOTHING: Row = (None, None, None)
_UNKEPT = Shown()
"""For columns of which nothing is kept exactly."""


def _failure_columns(shown: Shown, failure: Failure) -> Row:
    said = shown.text("failure_type", failure.type), shown.optional("failure_message", failure.message)
    return *said, shown.blob("failure_values", failure.values)


def _match_columns(shown: Shown, match: Match) -> Row:
    recorded = shown.optional("recorded", match.recorded)
    return match.grade.value, recorded, shown.optional("match_detail", match.detail)


def _summary_columns(said: Summary) -> Row:
    """The decoded columns. They are made again from the bytes at will, so nothing of them is kept exactly."""
    model, came, went, status, finish, text, title = said[:7]
    if said[:3] == _NOTHING and finish is None and not text:  # of a tool, nothing of the kind is said
        return (None, None, None, None if status is None else _integer(status), None, _text_in(title), None)
    return (
        None if model is None else _text_in(model),
        None if came is None else _integer(came),
        None if went is None else _integer(went),
        None if status is None else _integer(status),
        None if finish is None else _text_in(finish),
        _text_in(title),
        _text_in(text) if text else None,
    )


def _text_in(value: Any) -> str:
    return value if value.__class__ is str and value.isascii() else _UNKEPT.text("", value)


def _integer(value: Any) -> int:
    return value if value.__class__ is int and 0 <= value < _COUNTS else _UNKEPT.integer("", value)


_COUNTS = 1 << 53


def _decoded_columns(said: Summary, cost: float | None) -> Row:
    """The decoded columns that the third schema added."""
    dialect, decoded, unknown, cached, written, thought, reasoning, refusal, kind, message = said[7:17]
    if not (reasoning or unknown) and said[10:13] == said[14:17] == _NOTHING:
        return (dialect, decoded, [], None, None, None, cost, None, None, None, None)  # as most calls are
    shown = _UNKEPT
    return (
        dialect,
        decoded,
        shown.texts("", unknown) if unknown else [],
        None if cached is None else shown.integer("", cached),
        None if written is None else shown.integer("", written),
        None if thought is None else shown.integer("", thought),
        cost,
        shown.text("", reasoning) if reasoning else None,
        None if refusal is None else shown.text("", refusal),
        None if kind is None else shown.text("", kind),
        None if message is None else shown.text("", message),
    )


def tool_request_rows(said: Summary) -> list[Row]:
    """What a model asked for, as rows of `tool_requests`."""
    rows: list[Row] = []
    for place, call in enumerate(said.calls):
        arguments = _UNKEPT.json("", call.arguments)
        rows.append((place, _UNKEPT.text("", call.id), _UNKEPT.text("", call.name), arguments))
    return rows


def values_row(step: Step) -> Row:
    """What a tool was given and gave as JSON, as a row of `step_values`."""
    return valued(step).row


def valued(step: Step) -> Valued:
    """What a tool was given and gave."""
    head, answer = step.request.head, step.response
    apart = "url" not in head and step.kind != _MCP  # nothing but encoded values
    given = _plain(step.request.body) if apart else None
    sole = len(answer.pieces) == 1 and answer.end == _COMPLETE and answer.failure is None
    came = _plain(answer.pieces[0].data) if apart and sole and "gen" not in str(head.get("flavour", "")) else None
    request, asked = given or _viewed(views.request_view, step)
    response, told = came or _viewed(views.response_view, step)
    return Valued(request, response, (asked, told))


def _plain(data: bytes) -> tuple[Json, str | None] | None:
    """An encoded value as its view, and that as JSON text; None of one that is more than plain JSON."""
    try:
        value = msgpack.unpackb(data, ext_hook=_refuse)  # refuses keys that are no texts, and texts that are no UTF-8
        return value, None if value is None else exact_json(value)  # refuses bytes and NaN
    except Exception:  # it is to be seen otherwise
        return None


def _refuse(code: int, data: bytes) -> Any:
    raise ValueError("not plain")


def _viewed(view: Callable[[Step], Json], step: Step) -> tuple[Json, str | None]:
    try:
        value = view(step)
    except Exception:  # a step that cannot be shown is kept all the same
        value = None
    return value, None if value is None else Shown().json("", value)
