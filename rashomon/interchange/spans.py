"""Spans, whoever wrote them down: OTLP/JSON, the SDKs' console exporters, Phoenix.

OTLP/JSON as the OpenTelemetry protocol specification has it (`opentelemetry-proto`, JSON encoding): camelCase names,
ids in hex, 64-bit numbers as text or as numbers. Encoders of protobuf's own JSON mapping write ids in base64, and
some keep the names of the `.proto` file; both are read.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rashomon.interchange.nested import count, plain, text

_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]{1,32})")


class Event(NamedTuple):
    """Something that happened within a span. Times are Unix nanoseconds."""

    name: str
    at_ns: int
    attributes: dict[str, Any]


class Span(NamedTuple):
    """One span. Ids are hex; `parent` is empty for a root; `failed` says that its status is an error, with `message`.

    `kind` is OTLP's word without its prefix (`CLIENT`), empty where it is not told. Times are Unix nanoseconds, 0
    where they are not told.
    """

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: tuple[Event, ...]
    failed: bool
    message: str
    resource: dict[str, Any]
    scope: str


def is_otlp(value: Any) -> bool:
    """Whether a JSON value is OTLP/JSON: an export request, or a part of one."""
    return isinstance(value, dict) and any(
        isinstance(_get(value, name), list) for name in ("resourceSpans", "scopeSpans", "instrumentationLibrarySpans")
    )


def is_dump(value: Any) -> bool:
    """Whether a JSON value is one span as SDKs and Phoenix dump it."""
    if not isinstance(value, dict):
        return False
    named = isinstance(value.get("context"), dict) or "context.span_id" in value
    alone = any(name in value for name in ("spanId", "span_id")) and any(
        name in value for name in ("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")
    )
    return (named and "name" in value) or alone


_SNAKE = re.compile(r"(?<!^)(?=[A-Z])")


def _get(value: Any, name: str) -> Any:
    """A member by its camelCase name, or by the one of the `.proto` file."""
    if not isinstance(value, dict):
        return None
    found = value.get(name)
    return value.get(_SNAKE.sub("_", name).lower()) if found is None else found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# ---------------------------------------------------------------------------------------------------- OTLP/JSON


def otlp_spans(value: Any) -> Iterator[Span]:
    """The spans of OTLP/JSON, in its order. What is no span is left out."""
    for resource in _list(_get(value, "resourceSpans")) or [value]:
        attributes = _attributes(_get(_get(resource, "resource"), "attributes"))
        scopes = _list(_get(resource, "scopeSpans")) or _list(_get(resource, "instrumentationLibrarySpans"))
        for scope in scopes:
            named = _get(scope, "scope") or _get(scope, "instrumentationLibrary")
            for span in _list(_get(scope, "spans")):
                if isinstance(span, dict):
                    yield otlp_span(span, attributes, text(_get(named, "name")))


def otlp_span(span: dict[str, Any], resource: dict[str, Any], scope: str) -> Span:
    """One span of OTLP/JSON."""
    status = _get(span, "status")
    code = _get(status, "code")
    return Span(
        _id(_get(span, "traceId"), 16),
        _id(_get(span, "spanId"), 8),
        _id(_get(span, "parentSpanId"), 8),
        text(span.get("name")),
        _kind(span.get("kind")),
        _nanoseconds(_get(span, "startTimeUnixNano")),
        _nanoseconds(_get(span, "endTimeUnixNano")),
        _attributes(span.get("attributes")),
        tuple(
            Event(
                text(event.get("name")), _nanoseconds(_get(event, "timeUnixNano")), _attributes(event.get("attributes"))
            )
            for event in _list(span.get("events"))
            if isinstance(event, dict)
        ),
        code in (2, "2", "STATUS_CODE_ERROR", "ERROR"),
        text(_get(status, "message")),
        resource,
        scope,
    )


_KINDS = ("", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")


def _kind(value: Any) -> str:
    if type(value) is int and 0 <= value < len(_KINDS):
        return _KINDS[value]
    return text(value).removeprefix("SPAN_KIND_").removeprefix("SpanKind.").upper().replace("UNSPECIFIED", "")


def _attributes(value: Any) -> dict[str, Any]:
    """A list of keys and values, or an object as it is."""
    if isinstance(value, dict):
        return value
    found = {}
    for item in _list(value):
        if isinstance(item, dict) and isinstance(item.get("key"), str):
            found[item["key"]] = _any_value(item.get("value"), 0)
    return found


def _any_value(value: Any, depth: int) -> Any:
    """OTLP's `AnyValue` as the value that it holds."""
    if not isinstance(value, dict) or depth > 60:
        return value
    for name in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
        found = _get(value, name)
        if found is not None:
            return found
    number = _get(value, "intValue")
    if number is not None:
        whole = count(number) if not isinstance(number, str) else _signed(number)
        return number if whole is None else whole
    listed = _get(value, "arrayValue")
    if listed is not None:
        return [_any_value(item, depth + 1) for item in _list(_get(listed, "values"))]
    mapped = _get(value, "kvlistValue")
    if mapped is not None:
        pairs = [item for item in _list(_get(mapped, "values")) if isinstance(item, dict)]
        return {text(item.get("key")): _any_value(item.get("value"), depth + 1) for item in pairs}
    return None


def _signed(number: str) -> int | None:
    return int(number) if re.fullmatch(r"-?\d{1,19}", number) else None


def _id(told: Any, size: int) -> str:
    """An id in hex, of `size` bytes; as it is where it is neither hex nor base64. All zeros are none."""
    value = text(told)
    found = _HEX.fullmatch(value)
    if found is None:
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return value
        if len(raw) != size:
            return value
        return raw.hex() if any(raw) else ""
    return found[1].lower() if found[1].strip("0") else ""


def _nanoseconds(value: Any) -> int:
    """Nanoseconds as OTLP has them, a number or the text of one. JavaScript writes them as floats."""
    found = _whole(value)
    return found if 0 <= found < 2**63 else 0


def _whole(value: Any) -> int:
    """A number as a whole one, also a float that is too large to be exact, or the text of such; 0 where it is none."""
    found = count(value)
    if found is None and isinstance(value, (str, float)):
        try:
            found = int(float(value))
        except (ValueError, OverflowError):  # no number, or none that has an end
            return 0
    return found or 0


def _time(value: Any) -> int:
    """Nanoseconds, from RFC 3339, or from a number of whatever unit: pandas writes milliseconds."""
    if isinstance(value, str) and not value.isdecimal():
        return _instant(value)
    found = _whole(value)
    while 0 < found < 10**17:  # before 1973 in nanoseconds: seconds, milliseconds or microseconds
        found *= 1000
    return found if 0 <= found < 2**63 else 0


def _instant(value: str) -> int:
    fraction = re.search(r"\.(\d+)", value)
    try:
        whole = datetime.fromisoformat(re.sub(r"\.\d+", "", value).replace("Z", "+00:00"))
        if whole.tzinfo is None:
            whole = whole.replace(tzinfo=UTC)
        return int(whole.timestamp()) * 10**9 + (int(fraction[1][:9].ljust(9, "0")) if fraction else 0)
    except (ValueError, OverflowError):
        return 0


# -------------------------------------------------------------------------------------------------------- dumps


def dumped_span(value: dict[str, Any]) -> Span:
    """One span as the Python and JavaScript SDKs print it, or as Phoenix exports it (its REST API's `Span`, a line
    of `get_spans_dataframe().to_json(orient="records")`)."""
    if any(name in value for name in ("startTimeUnixNano", "start_time_unix_nano")):
        return otlp_span(value, {}, "")
    context = plain(value.get("context"))
    context = context if isinstance(context, dict) else {}
    status = plain(value.get("status"))
    code = value.get("status_code") or (
        status.get("status_code", status.get("code")) if isinstance(status, dict) else status
    )
    message = value.get("status_message") or (
        status.get("description", status.get("message")) if isinstance(status, dict) else ""
    )
    resource = plain(value.get("resource"))
    attributes = _dumped_attributes(value)
    if isinstance(value.get("span_kind"), str):
        attributes.setdefault("openinference.span.kind", value["span_kind"])
    return Span(
        _id(
            context.get("trace_id") or value.get("context.trace_id") or value.get("trace_id") or value.get("traceId"),
            16,
        ),
        _id(context.get("span_id") or value.get("context.span_id") or value.get("span_id") or value.get("spanId"), 8),
        _id(value.get("parent_id") or value.get("parentId") or value.get("parentSpanId"), 8),
        text(value.get("name")),
        _kind(value.get("kind")),
        _time(value.get("start_time") or value.get("startTime")),
        _time(value.get("end_time") or value.get("endTime")),
        attributes,
        tuple(map(_dumped_event, (event for event in _list(plain(value.get("events"))) if isinstance(event, dict)))),
        text(code).upper().endswith("ERROR") or code == 2,
        text(message),
        _attributes(resource.get("attributes")) if isinstance(resource, dict) else {},
        "",
    )


def _dumped_attributes(value: dict[str, Any]) -> dict[str, Any]:
    found = plain(value.get("attributes"))
    attributes = dict(_attributes(found))
    for name, item in value.items():  # a row of a data frame: a column for each attribute, empty where there is none
        if name.startswith("attributes.") and item is not None and item == item:
            attributes[name.removeprefix("attributes.")] = item
    return attributes


def _dumped_event(event: dict[str, Any]) -> Event:
    at = event.get("timestamp") or event.get("time") or _get(event, "timeUnixNano")
    return Event(text(event.get("name")), _time(at), dict(_attributes(plain(event.get("attributes")))))
