"""Spans as traces: those that crossed a boundary become steps, the others say how a trace is named and ended."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from rashomon.canonical import digest
from rashomon.interchange import exchanges, genai, openinference
from rashomon.interchange.exchanges import JSON_HEADERS, Times
from rashomon.interchange.nested import count, plain, text, tree
from rashomon.interchange.spans import Event, Span
from rashomon.model import End, Failure, Grade, Kind, Match, Piece, Request, Response, Step, Tape, Trace

OTLP, OPENINFERENCE = "otlp", "openinference"
NOTE = "rashomon.note"
"""Name of the span event that holds a note of the program."""

_GENERATED = 40
"""A trace's id is at most so long, so that it can be typed."""


class Source(NamedTuple):
    """Where spans are from: the file's name, how many of its lines could not be read, and when it changed, in Unix
    nanoseconds: that stands for times that nobody knows."""

    file: str
    unread: int = 0
    changed_ns: int = 0


def tapes_of(spans: Sequence[Span], source: Source) -> list[Tape]:
    """The traces of these spans, by their start. Spans without an id are told apart by their order."""
    by_trace: dict[str, list[Span]] = {}
    for span in spans:
        by_trace.setdefault(span.trace, []).append(span)
    tapes = [tape for trace, own in by_trace.items() if (tape := _tape(trace, own, source)) is not None]
    return sorted(tapes, key=lambda tape: (tape.trace.started_ns, tape.trace.id))


class _Reader(NamedTuple):
    """How one convention is read."""

    format: str
    role_of: Any
    exchange_of: Any
    tool_of: Any


_GENAI = _Reader(OTLP, genai.role_of, genai.exchange_of, genai.tool_of)
_OPEN = _Reader(OPENINFERENCE, openinference.role_of, openinference.exchange_of, openinference.tool_of)


def _reader(span: Span) -> _Reader:
    return _OPEN if openinference.is_openinference(span) else _GENAI


def _tape(trace_id: str, spans: list[Span], source: Source) -> Tape | None:
    """One trace; None when nothing of it crossed a boundary and nothing is told of it."""
    spans = _rooted(_once(spans))
    roles = {index: _role(span) for index, span in enumerate(spans)}
    by_id = {span.id: index for index, span in enumerate(spans) if span.id}
    chosen = [index for index, role in roles.items() if role and not _inside_llm(spans, roles, by_id, index)]
    known = [span.start_ns for span in spans if span.start_ns] or [span.end_ns for span in spans if span.end_ns]
    started_ns = min(known, default=source.changed_ns)
    steps: list[Step] = []
    placed: dict[int, str] = {}
    order = sorted(
        chosen, key=lambda index: (spans[index].start_ns or started_ns, _index(spans[index].attributes, index))
    )
    for number, index in enumerate(order):
        placed[index] = f"0.{number}"
    for index in order:
        above = _above(spans, by_id, index)
        within = next((placed[one] for one in above if roles[one] == "tool" and one in placed), None)
        steps.append(_step(spans[index], roles[index], len(steps), started_ns, within))
    told = {placed[index]: _index(spans[index].attributes, number) for number, index in enumerate(order)}
    steps = _with_notes(spans, roles, by_id, placed, steps, told, started_ns)
    if not steps and not any(text(span.attributes.get("rashomon.trace.id")) for span in spans):
        return None
    return Tape(_trace(trace_id, spans, steps, started_ns, _Told(source, roles, chosen)), exchanges.numbered(steps))


def _once(spans: list[Span]) -> list[Span]:
    """Without those that were exported twice: the last one of an id tells most."""
    found: dict[Any, Span] = {}
    for number, span in enumerate(spans):
        found[span.id or number] = span
    return list(found.values())


def _rooted(spans: list[Span]) -> list[Span]:
    """Spans of which each has a root: where parents lead around in a circle, who began first in it has none."""
    by_id = {span.id: index for index, span in enumerate(spans) if span.id}
    found, done = list(spans), set[int]()
    for start in range(len(spans)):
        path: dict[int, None] = {}
        at: int | None = start
        while at is not None and at not in done and at not in path:
            path[at] = None
            at = by_id.get(spans[at].parent)
        if at is not None and at in path:
            around = list(path)[list(path).index(at) :]
            first = min(around, key=lambda index: (spans[index].start_ns, index))
            found[first] = spans[first]._replace(parent="")
        done.update(path)
    return found


def _role(span: Span) -> str:
    role = str(_reader(span).role_of(span))
    given = span.attributes
    if role or openinference.KIND in given or span.kind not in ("CLIENT", ""):
        return role
    url = given.get("url.full") or given.get("http.url")
    return "http" if isinstance(url, str) and ("http.request.method" in given or "http.method" in given) else ""


def _above(spans: list[Span], by_id: dict[str, int], index: int) -> list[int]:
    """The spans around a span, the nearest first."""
    found: list[int] = []
    parent = by_id.get(spans[index].parent)
    while parent is not None and parent not in found and parent != index:
        found.append(parent)
        parent = by_id.get(spans[parent].parent)
    return found


def _inside_llm(spans: list[Span], roles: dict[int, str], by_id: dict[str, int], index: int) -> bool:
    """Whether a span lies in that of a model's call: its transport, or the same call told by another layer."""
    return any(roles[one] == "llm" for one in _above(spans, by_id, index))


# ------------------------------------------------------------------------------------------------ steps


def _step(span: Span, role: str, number: int, started_ns: int, within: str | None) -> Step:
    duration_us = max(0, (span.end_ns - span.start_ns) // 1000) if span.start_ns and span.end_ns else 0
    first = span.attributes.get("gen_ai.response.time_to_first_chunk")
    first_us = round(first * 1e6) if isinstance(first, (int, float)) and 0 <= first < 1e9 else None
    times = Times((span.start_ns - started_ns) // 1000 if span.start_ns else 0, duration_us, first_us)
    failure = _failure(span)
    reader = _reader(span)
    if role == "llm":
        made = _answered(exchanges.llm_step(number, reader.exchange_of(span), times, failure, within), span)
    elif role == "tool":
        name, arguments, result, answered, call = reader.tool_of(span)
        made = exchanges.tool_step(number, name, arguments, result, times, failure, within, answered, call)
    else:
        made = _http_step(span, number, times, failure, within)
    return _ended(made, span)


def _status_of(span: Span) -> int | None:
    given = span.attributes
    return count(given.get("http.response.status_code")) or count(given.get("http.status_code"))


def _answered(step: Step, span: Span) -> Step:
    """The step with the status and the error that the provider gave, where they are told and are none of success."""
    status, response = _status_of(span), step.response
    if status is None or (status == 200 and not _is_error_answer(span)):
        return step
    head = {**(response.head or {"headers": JSON_HEADERS}), "status": status}
    pieces = response.pieces
    if (status >= 400 or _is_error_answer(span)) and not pieces:
        error = {"type": text(span.attributes.get("error.type")) or str(status), "message": span.message}
        pieces = (Piece(response.duration_us, exchanges.body_of({"error": error})),)
    return step._replace(response=response._replace(head=head, pieces=pieces))


def _is_error_answer(span: Span) -> bool:
    """An error in the place of an answer, whatever its status: nothing was raised and nothing was said."""
    given = span.attributes
    told = _status_of(span) is not None and text(given.get("error.type"))
    return bool(told and "gen_ai.output.messages" not in given and not _raised(span))


def _raised(span: Span) -> list[Event]:
    return [event for event in span.events if event.name == "exception"]


def _ended(step: Step, span: Span) -> Step:
    """The step, ended and answered as we said that it was when we exported it."""
    grade = text(span.attributes.get("rashomon.grade"))
    if grade in set(Grade):  # a replay's: what the recording answered cost nothing
        step = step._replace(match=Match(Grade(grade)))
    end = text(span.attributes.get("rashomon.end"))
    if end not in (End.CLOSED, End.CANCELLED, End.LEAKED, End.OPEN):
        return step
    return step._replace(response=step.response._replace(end=End(end)))


def _failure(span: Span) -> Failure | None:
    """The exception that a span tells of. A status of 400 or more is an answer, and none."""
    exceptions = _raised(span)
    kind = text(span.attributes.get("error.type"))
    answered = (_status_of(span) or 0) >= 400 or _is_error_answer(span)
    if (not span.failed and not kind) or (not exceptions and answered):
        return None
    told = exceptions[-1].attributes if exceptions else {}
    message = text(told.get("exception.message")) or span.message or text(span.attributes.get("exception.message"))
    return exchanges.failure_of(text(told.get("exception.type")) or kind, message)


def _http_step(span: Span, number: int, times: Times, failure: Failure | None, within: str | None) -> Step:
    given = span.attributes
    method = text(given.get("http.request.method")) or text(given.get("http.method")) or "GET"
    url = text(given.get("url.full")) or text(given.get("http.url"))
    status = _status_of(span)
    path = "/" + url.split("?", 1)[0].split("://", 1)[-1].partition("/")[2]
    head = None if status is None else {"status": status, "headers": []}
    ended = status is not None or span.end_ns > 0
    end = End.ERROR if failure is not None else End.COMPLETE if ended else End.OPEN
    request = Request({"method": method, "url": url, "headers": []}, b"")
    response = Response(head, (), end, failure, times.duration_us)
    name = f"{method} {path}"
    return Step(f"0.{number}", number, Kind.HTTP, name, (), times.started_us, request, response, None, within)


def _with_notes(
    spans: list[Span],
    roles: dict[int, str],
    by_id: dict[str, int],
    placed: dict[int, str],
    steps: list[Step],
    told: dict[str, int],
    started_ns: int,
) -> list[Step]:
    """The steps with those of the program's notes, which are events of spans. `told` is where steps say they stand."""
    notes: list[Step] = []
    for index, span in enumerate(spans):
        around = [index, *_above(spans, by_id, index)]
        within = next((placed[one] for one in around if roles[one] == "tool" and one in placed), None)
        for event in span.events:
            if event.name == NOTE:
                said = {name: plain(event.attributes.get(name)) for name in ("labels", "data")}
                said["text"] = text(event.attributes.get("text"))
                number, at_us = len(steps) + len(notes), (event.at_ns - started_ns) // 1000 if event.at_ns else 0
                notes.append(exchanges.note_step(number, said, at_us, (), within))
                told[notes[-1].id] = _index(event.attributes, number)
    return sorted([*steps, *notes], key=lambda step: (step.started_us, told[step.id]))


def _index(attributes: dict[str, Any], otherwise: int) -> int:
    """Where a step of ours stood in its trace: what began in the same microsecond has an order too."""
    found = count(attributes.get("rashomon.index"))
    return otherwise if found is None else found


# ------------------------------------------------------------------------------------------------ traces


class _Told(NamedTuple):
    """What a trace says of its import."""

    source: Source
    roles: dict[int, str]
    chosen: list[int]


def _trace(trace_id: str, spans: list[Span], steps: list[Step], started_ns: int, told: _Told) -> Trace:
    ids = {span.id for span in spans if span.id}
    roots = sorted((span for span in spans if span.parent not in ids), key=lambda span: span.start_ns)
    root = roots[0]
    ended_ns = max((span.end_ns for span in spans), default=0)
    failed = any(span.failed for span in roots)
    outcome = text(root.attributes.get("rashomon.outcome")) or ("error" if failed else "ok" if ended_ns else "open")
    name = text(root.attributes.get("rashomon.trace.name")) or root.name or text(root.resource.get("service.name"))
    return Trace(
        id=_trace_id(trace_id, spans),
        name=name or "trace",
        started_ns=started_ns,
        ended_ns=max(ended_ns, started_ns) if ended_ns else None,
        outcome=outcome,
        exit_code=count(root.attributes.get("rashomon.exit_code")),
        error=next((span.message for span in roots if span.failed and span.message), None),
        tags=_tags(spans, root),
        parent=_other(root, "rashomon.parent"),
        within=_other(root, "rashomon.within"),
        provenance={"imported": _imported(spans, steps, told)},
    )


def _other(root: Span, name: str) -> str | None:
    """Another trace of ours, under the id that it gets when it is exported."""
    told = text(root.attributes.get(name))
    return exported_id(told) if told else None


def exported_id(trace_id: str) -> str:
    """The OTLP id of a trace: 32 hex digits, always the same."""
    return digest(trace_id.encode("utf-8", "surrogatepass"))[3:]


def _trace_id(given: str, spans: list[Span]) -> str:
    """The trace's id as it was given, where it can be typed; else one made of its spans."""
    if given.isalnum() and given.isascii() and len(given) <= _GENERATED:
        return given
    names = json.dumps([[span.trace, span.id, span.name, span.start_ns] for span in spans])
    return digest(names.encode("utf-8", "surrogatepass"))[3:]


def _imported(spans: list[Span], steps: list[Step], told: _Told) -> dict[str, Any]:
    reader = Counter(_reader(spans[index]).format for index in told.chosen)
    lacks = list(exchanges.LACKS)
    if any(spans[index].start_ns == 0 for index in told.chosen) or all(span.start_ns == 0 for span in spans):
        lacks.append(exchanges.TIMES)
    lacks += _content_lacks([step for step in steps if step.kind is Kind.LLM])
    found: dict[str, Any] = {
        "format": reader.most_common(1)[0][0] if reader else OTLP,
        "file": told.source.file,
        "lacks": lacks,
        "spans": len(spans),
    }
    chosen = set(told.chosen)
    others = [span for index, span in enumerate(spans) if index not in chosen]
    passed = Counter(span.name for span in others if "rashomon.trace.id" not in span.attributes)
    if passed:
        found["structure"] = dict(sorted(passed.most_common(20)))
    if told.source.unread:
        found["unread_lines"] = told.source.unread
    return found


def _content_lacks(calls: list[Step]) -> list[str]:
    """What calls of models do not tell: instrumentations leave messages out unless they are asked for them."""
    asked = [call for call in calls if b'"messages":[]' not in call.request.body]
    lacks = [exchanges.MESSAGES] if len(asked) < len(calls) else []
    whole = [call.response for call in calls if call.response.end is End.COMPLETE]
    told = all(b'"usage":{' in one.body for one in whole if (one.head or {}).get("status") in (200, None))
    return lacks if told else [*lacks, exchanges.USAGE]


def _tags(spans: list[Span], root: Span) -> dict[str, str]:
    """Tags: ours, and who and which session it was, where somebody else tells it."""
    tags: dict[str, str] = {}
    service = text(root.resource.get("service.name"))
    if service and "rashomon.trace.id" not in root.attributes and not service.startswith("unknown_service"):
        tags["service"] = service
    for span in reversed(spans):
        for name, tag in (
            ("session.id", "session"),
            ("user.id", "user"),
            ("gen_ai.conversation.id", "conversation"),
            ("gen_ai.agent.name", "agent"),
            ("agent.name", "agent"),
        ):
            if text(span.attributes.get(name)):
                tags[tag] = span.attributes[name]
    grown = tree(root.attributes)
    metadata = plain(grown.get("metadata"))
    if isinstance(metadata, dict):
        tags |= {str(name): _tag(value) for name, value in metadata.items() if name}
    for label in _labels(root.attributes.get("tag.tags")):
        tags[label] = "true"
    prefix = "rashomon.tag."
    own = {name.removeprefix(prefix): _tag(value) for name, value in root.attributes.items() if name.startswith(prefix)}
    return tags | own


def _labels(value: Any) -> list[str]:
    value = plain(value)
    return [one for one in value if isinstance(one, str) and one] if isinstance(value, list) else []


def _tag(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
