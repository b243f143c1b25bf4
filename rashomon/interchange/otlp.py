"""Traces as OpenTelemetry spans: OTLP/JSON by the GenAI conventions. `docs/formats/otlp.md` has the mapping.

A trace is one OTLP trace: a span around all of it, and one for each step. Ids and times come from the trace, so that
the same trace always gives the same bytes. Messages are JSON text, which the conventions allow and every backend takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from rashomon import dialects, views
from rashomon.canonical import digest
from rashomon.interchange import chat
from rashomon.interchange.nested import plain, text
from rashomon.interchange.traces import NOTE, exported_id
from rashomon.model import End, Json, Kind, Step, Tape, Trace
from rashomon.version import __version__
from rashomon.views import Summary

MAPPING = "rashomon.otlp/1"
"""Version of the mapping; every exported trace names it."""

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
"""The semantic conventions whose names are used (`gen_ai.*`, `http.*`, `error.type`, `server.*`)."""

_OPERATIONS = {
    "openai.embeddings": "embeddings",
    "openai.completions": "text_completion",
    "google.generate": "generate_content",
    "google.embeddings": "embeddings",
}
_HOSTS = (
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("models.inference.ai.azure.com", "azure.ai.inference"),
    ("openai.com", "openai"),
    ("anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("amazonaws.com", "aws.bedrock"),
    ("mistral.ai", "mistral_ai"),
    ("groq.com", "groq"),
    ("deepseek.com", "deepseek"),
    ("x.ai", "x_ai"),
    ("cohere.com", "cohere"),
    ("cohere.ai", "cohere"),
    ("perplexity.ai", "perplexity"),
)
"""Whose host it is, in the conventions' words for `gen_ai.provider.name`."""

_BY_DIALECT = {"openai": "openai", "anthropic": "anthropic", "google": "gcp.gen_ai", "bedrock": "aws.bedrock"}
_SETTINGS = (
    (("temperature",), "temperature", "doubleValue"),
    (("top_p", "topP"), "top_p", "doubleValue"),
    (("top_k", "topK"), "top_k", "doubleValue"),
    (("frequency_penalty",), "frequency_penalty", "doubleValue"),
    (("presence_penalty",), "presence_penalty", "doubleValue"),
    (
        ("max_completion_tokens", "max_output_tokens", "max_tokens", "maxTokens", "maxOutputTokens"),
        "max_tokens",
        "intValue",
    ),
    (("seed",), "seed", "intValue"),
    (("n",), "choice.count", "intValue"),
)
_INTERNAL, _CLIENT = 1, 3


def write(tapes: Iterable[Tape], file: BinaryIO) -> int:
    """Write traces as one OTLP/JSON document, trace by trace; how many spans there were. Raises OSError."""
    file.write(b'{"resourceSpans":[')
    spans = 0
    for number, tape in enumerate(tapes):
        exported = resource_spans(tape)
        spans += len(exported["scopeSpans"][0]["spans"])
        file.write((b",\n" if number else b"\n") + json.dumps(exported, separators=(",", ":")).encode("ascii"))
    file.write(b"\n]}\n")
    return spans


def span_id_of(trace_id: str, step_id: str) -> str:
    """The OTLP id of a step's span, and with an empty step of the one around all: 16 hex digits."""
    return digest(f"{trace_id}/{step_id}".encode("utf-8", "surrogatepass"))[3:19]


def resource_spans(tape: Tape) -> dict[str, Any]:
    """One trace as an entry of `resourceSpans`."""
    trace = tape.trace
    resource: dict[str, Any] = {"service.name": trace.name or "rashomon"}
    for name, version in sorted(trace.versions.items()):
        if name == "python":
            resource |= {"process.runtime.name": "cpython", "process.runtime.version": version}
    git = trace.provenance.get("git")
    if isinstance(git, dict):
        resource["vcs.ref.head.revision"] = git.get("commit")
        resource["vcs.ref.head.name"] = git.get("branch")
    scope = {"name": "rashomon", "version": __version__, "attributes": attributes({"rashomon.mapping": MAPPING})}
    spans = [_root(tape), *_steps(tape)]
    return {
        "resource": {"attributes": attributes(resource)},
        "scopeSpans": [{"scope": scope, "schemaUrl": SCHEMA_URL, "spans": spans}],
        "schemaUrl": SCHEMA_URL,
    }


# ------------------------------------------------------------------------------------------------- values


class Typed(NamedTuple):
    """A number and the member of OTLP's `AnyValue` that it must stand in, whatever its own type."""

    member: str
    value: float


NULL = Typed("", 0)
"""Stands for a value that is there and is nothing: an `AnyValue` without a member."""


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP/JSON has them; those that are None are left out."""
    return [{"key": name, "value": _any_value(value)} for name, value in values.items() if value is not None]


def _any_value(value: Any) -> dict[str, Any]:
    if value is NULL:
        return {}
    if isinstance(value, Typed):
        return {value.member: str(int(value.value)) if value.member == "intValue" else value.value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)} if -(2**63) <= value < 2**63 else {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_any_value(item) for item in value]}}
    return {"stringValue": str(value)}


def as_json(value: Json) -> str:
    """A structured value as the text that stands for it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# -------------------------------------------------------------------------------------------------- spans


def _span(trace: Trace, step: str, name: str, kind: int, start_ns: int, end_ns: int) -> dict[str, Any]:
    return {
        "traceId": exported_id(trace.id),
        "spanId": span_id_of(trace.id, step),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(max(0, start_ns)),
        "endTimeUnixNano": str(max(0, end_ns)),
    }


def _root(tape: Tape) -> dict[str, Any]:
    """The span around a whole trace."""
    trace = tape.trace
    last = max((step.started_us + step.response.duration_us for step in tape.steps), default=0)
    ended_ns = trace.started_ns + last * 1000 if trace.ended_ns is None else trace.ended_ns
    imported = trace.provenance.get("imported")
    values: dict[str, Any] = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": trace.name or None,
        "rashomon.trace.id": trace.id,
        "rashomon.trace.name": trace.name,
        "rashomon.outcome": trace.outcome,
        "rashomon.exit_code": trace.exit_code,
        "rashomon.parent": trace.parent,
        "rashomon.within": trace.within,
        "rashomon.imported.format": imported.get("format") if isinstance(imported, dict) else None,
        **{f"rashomon.tag.{name}": value for name, value in sorted(trace.tags.items())},
    }
    span = _span(trace, "", trace.name or "trace", _INTERNAL, trace.started_ns, ended_ns)
    span["attributes"] = attributes(values)
    events = [_note(trace, step) for step in tape.steps if step.kind is Kind.NOTE and not step.within]
    if events:
        span["events"] = events
    failed = trace.outcome in ("error", "killed")
    span["status"] = {"code": 2, "message": trace.error or ""} if failed else {"code": int(trace.outcome == "ok")}
    return span


def _note(trace: Trace, step: Step) -> dict[str, Any]:
    """A note of the program, as an event."""
    said = step.request.head.get("note")
    said = said if isinstance(said, dict) else {}
    labels, data = said.get("labels"), said.get("data")
    values = {
        "text": text(said.get("text")),
        "labels": [str(label) for label in labels] if isinstance(labels, list) and labels else None,
        "data": as_json(data) if data else None,
        "rashomon.index": step.index,
    }
    at_ns = trace.started_ns + step.started_us * 1000
    return {"timeUnixNano": str(max(0, at_ns)), "name": NOTE, "attributes": attributes(values)}


def _steps(tape: Tape) -> Iterator[dict[str, Any]]:
    trace = tape.trace
    tools = {step.id for step in tape.steps if step.kind is not Kind.NOTE}
    calls: dict[tuple[str, str], list[str]] = {}
    notes: dict[str, list[dict[str, Any]]] = {}
    for step in tape.steps:
        if step.kind is Kind.NOTE and step.within:
            notes.setdefault(step.within, []).append(_note(trace, step))
    for step in tape.steps:
        if step.kind is Kind.NOTE:
            continue
        name, kind, values = _told(step, calls)
        start_ns = trace.started_ns + step.started_us * 1000
        span = _span(trace, step.id, name, kind, start_ns, start_ns + step.response.duration_us * 1000)
        span["parentSpanId"] = span_id_of(trace.id, step.within if step.within in tools else "")
        end = step.response.end
        match = step.match
        values |= {
            "rashomon.step.id": step.id,
            "rashomon.index": step.index,
            "rashomon.kind": step.kind.value,
            "rashomon.lane": ".".join(map(str, step.lane)) or None,
            "rashomon.end": None if end in (End.COMPLETE, End.ERROR) else end.value,
            "rashomon.grade": None if match is None else match.grade.value,
        }
        span["attributes"] = attributes(values)
        events = notes.get(step.id, []) + _exceptions(step, start_ns)
        if events:
            span["events"] = events
        error = values.get("error.type")
        span["status"] = {"code": 2, "message": _message(step, values)} if error else {}
        yield span


def _message(step: Step, values: dict[str, Any]) -> str:
    failure = step.response.failure
    return failure.message if failure is not None else str(values.pop("", "") or "")


def _exceptions(step: Step, start_ns: int) -> list[dict[str, Any]]:
    failure = step.response.failure
    if failure is None:
        return []
    values = {"exception.type": failure.type, "exception.message": failure.message}
    at_ns = start_ns + step.response.duration_us * 1000
    return [{"timeUnixNano": str(at_ns), "name": "exception", "attributes": attributes(values)}]


def _told(step: Step, calls: dict[tuple[str, str], list[str]]) -> tuple[str, int, dict[str, Any]]:
    """Name, kind and attributes of a step's span. `calls` are the tool calls that models asked for so far."""
    failure = step.response.failure
    if step.kind is Kind.LLM:
        name, values = _llm(step, calls)
        kind = _CLIENT
    elif step.kind in (Kind.TOOL, Kind.MCP):
        name, values = _tool(step, calls)
        kind = _INTERNAL
    elif "url" in step.request.head:
        name, values = _http(step)
        kind = _CLIENT
    else:
        name, kind, values = step.name, _INTERNAL, {}
    if failure is not None:
        values["error.type"] = failure.type
    return name, kind, values


def _llm(step: Step, calls: dict[tuple[str, str], list[str]]) -> tuple[str, dict[str, Any]]:
    request, head = views.request_view(step), step.request.head
    url = str(head.get("url", ""))
    asked = dialects.read_request(request, url)
    summary = views.summary(step)
    answer = views.response_view(step)
    operation = _OPERATIONS.get(summary.dialect or asked.dialect or "", "chat")
    model = summary.model or asked.model
    for call in summary.calls:
        calls.setdefault((call.name, _key(call.arguments)), []).append(call.id)
    values: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": text(head.get("provider")) or provider_of(url, summary.dialect or asked.dialect or ""),
        "gen_ai.request.model": model,
        "openai.request.service_tier": text(request.get("service_tier")) or None if isinstance(request, dict) else None,
        **_settings(request),
        **_conversation(asked, request, operation),
        **_answered(summary, answer),
        **_where(url),
    }
    if isinstance(request, dict) and request.get("stream") is True:
        values["gen_ai.request.stream"] = True
        if step.response.pieces:
            values["gen_ai.response.time_to_first_chunk"] = step.response.pieces[0].offset_us / 1e6
    return f"{operation} {model}" if model else operation, values


def _conversation(asked: dialects.Asked, request: Json, operation: str) -> dict[str, Any]:
    """What the model was given."""
    values: dict[str, Any] = {}
    if asked.system:
        values["gen_ai.system_instructions"] = as_json([{"type": "text", "content": asked.system}])
    messages = [chat.parts_of(message) for message in asked.messages]
    if messages:
        values["gen_ai.input.messages"] = as_json(messages)
    elif isinstance(request, dict) and operation == "embeddings" and request.get("input") is not None:
        values["rashomon.embeddings.input"] = as_json(request["input"])
    if asked.tools:
        values["gen_ai.tool.definitions"] = as_json(chat.definitions_of(asked.tools))
    return values


def _answered(summary: Summary, answer: Json) -> dict[str, Any]:
    """What the model gave."""
    message = dialects.Message("assistant", summary.text or summary.refusal or "", summary.calls, (), summary.reasoning)
    values: dict[str, Any] = {}
    failed = summary.status is not None and summary.status >= 400
    if (message.text or message.tool_calls or message.reasoning or summary.finish) and not failed:
        told = chat.parts_of(message)
        values["gen_ai.output.messages"] = as_json(
            [{**told, "finish_reason": summary.finish} if summary.finish else told]
        )
    if summary.finish:
        values["gen_ai.response.finish_reasons"] = [summary.finish]
    if isinstance(answer, dict) and text(answer.get("id")):
        values["gen_ai.response.id"] = answer["id"]
    values |= {
        "gen_ai.response.model": summary.answered,
        "openai.response.service_tier": summary.tier,
        "gen_ai.usage.input_tokens": summary.input_tokens,
        "gen_ai.usage.output_tokens": summary.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": summary.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": summary.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": summary.reasoning_tokens,
        "http.response.status_code": summary.status,
    }
    if failed or summary.error_type or summary.error_message:  # also an error in an answer of status 200
        values["error.type"] = summary.error_type or (str(summary.status) if failed else "error")
        values[""] = summary.error_message
    return values


def _settings(request: Json) -> dict[str, Any]:
    if not isinstance(request, dict):
        return {}
    inner = [
        request,
        *(request[name] for name in ("generationConfig", "inferenceConfig") if isinstance(request.get(name), dict)),
    ]
    found: dict[str, Any] = {}
    for names, to, kind in _SETTINGS:
        value = next((where[name] for where in inner for name in names if where.get(name) is not None), None)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
            whole = kind == "doubleValue" or (isinstance(value, int) and -(2**63) <= value < 2**63)
            if whole and not (to == "choice.count" and value == 1):
                found[f"gen_ai.request.{to}"] = Typed(kind, value)
    stop = next(
        (where[name] for where in inner for name in ("stop", "stop_sequences", "stopSequences") if where.get(name)),
        None,
    )
    if stop:
        found["gen_ai.request.stop_sequences"] = [str(one) for one in (stop if isinstance(stop, list) else [stop])]
    return found


def provider_of(url: str, dialect: str) -> str:
    """The provider, in the conventions' words: by the host, else by the form that the call speaks."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # e.g. a broken IPv6 host
        host = ""
    for ending, name in _HOSTS:
        if host == ending or host.endswith("." + ending):
            return name
    return _BY_DIALECT.get(dialect.partition(".")[0], "unknown")


def _where(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return {}
    if not host or parts.scheme not in ("http", "https"):
        return {}
    return {"server.address": host, "server.port": port or (443 if parts.scheme == "https" else 80), "url.full": url}


def _tool(step: Step, calls: dict[tuple[str, str], list[str]]) -> tuple[str, dict[str, Any]]:
    arguments, result = views.request_view(step), views.response_view(step)
    asked = calls.get((step.name, _key(arguments)), [])
    call = text(step.request.head.get("call")) or (asked.pop(0) if asked else "")
    answered = bool(step.response.pieces)
    values: dict[str, Any] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": step.name,
        "gen_ai.tool.type": "function" if step.kind is Kind.TOOL else "extension",
        "gen_ai.tool.call.id": call or None,
        "gen_ai.tool.call.arguments": _simple(arguments),
        "gen_ai.tool.call.result": _simple(result) if answered else None,
        "rashomon.result.is_text": True if answered and isinstance(result, str) and plain(result) != result else None,
    }
    return f"execute_tool {step.name}", values


def _simple(value: Json) -> Any:
    """A value as an attribute: objects and lists as JSON text, all others as themselves."""
    if isinstance(value, (dict, list)):
        return as_json(value)
    return NULL if value is None else value


def _key(arguments: Json) -> str:
    return json.dumps(arguments, sort_keys=True)


def _http(step: Step) -> tuple[str, dict[str, Any]]:
    head = step.request.head
    status = (step.response.head or {}).get("status")
    method = str(head.get("method", "GET"))
    values: dict[str, Any] = {"http.request.method": method, **_where(str(head.get("url", "")))}
    values["http.response.status_code"] = status
    if isinstance(status, int) and status >= 400:
        values["error.type"] = str(status)
    return step.name or method, values
