"""A step's content as JSON for people: what went out, what came back, and one line that says both.

Bodies are decoded (gzip, deflate; brotli and zstandard where a module for them is installed), streams
of the known dialects are put together, values of tools are made plain. Nothing here raises, whatever
the bytes are, and nothing here is needed to replay: a view is for reading, searching and comparing.

Keys that Rashomon adds begin with `$`: `$status` (an LLM answer that is no 2xx), `$failure` (`type` and
`message` of the exception that reached the program), `$end` (an answer that did not end by itself), and
`$bytes` (hex of content that is no text, with `size`, and `digest` where the hex is cut).
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from rashomon import dialects, titles, values
from rashomon.canonical import digest, header
from rashomon.encodings import decoded as decoded
from rashomon.lines import TITLE_WIDTH as _TITLE_WIDTH
from rashomon.lines import encodable, quoted, word_of
from rashomon.lines import one_line as one_line
from rashomon.lines import text_of as text_of
from rashomon.model import End, Head, Json, Kind, Response, Step
from rashomon.streams import aws_events, cut_list, event_data, is_aws_stream, parse_json
from rashomon.streams import sse_events as sse_events
from rashomon.titles import asked_text, call_text, note_title, raised_text

# an enumeration looks them up for longer than a call takes
_LLM, _NOTE, _MCP, _COMPLETE = Kind.LLM, Kind.NOTE, Kind.MCP, End.COMPLETE
NO_JSON = "$no_json"
"""The type of error of an answer of an LLM call that is no JSON where nothing else was asked for."""

_NO_JSON = (NO_JSON,)
_HEX_SHOWN = 256
_TOLD_HEADERS = ("location", "retry-after", "link")
"""Response headers that a program acts on; the others are dates, ids and counters."""


class Summary(NamedTuple):
    """What a list shows of a step.

    `text` is what the model said, whole, and empty for other kinds; `title` is one line that is safe to
    print. `status` is the HTTP status; token counts and `finish` are the provider's own; `input_tokens` includes
    `cached_tokens` and `cache_write_tokens`, `output_tokens` includes `reasoning_tokens`.

    `dialect` is how an LLM call was read (`openai.chat`, `anthropic.messages`, ...), `decoded` how far: `whole`,
    `partly` (`unknown` names what was not known) or `raw`; None where no answer came. `calls` are the tool calls
    that the model asked for. `answered` is the model that the answer names (`model` is the one that was asked for),
    `tier` the service tier that served the call, `long_cache_tokens` those of `cache_write_tokens` that stay for an
    hour, `searches` the web searches that are charged for.
    """

    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    status: int | None
    finish: str | None
    text: str
    title: str
    dialect: str | None = None
    decoded: str | None = None
    unknown: tuple[str, ...] = ()
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    reasoning: str = ""
    refusal: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    calls: tuple[dialects.ToolCall, ...] = ()
    answered: str | None = None
    tier: str | None = None
    long_cache_tokens: int | None = None
    searches: int | None = None


def request_view(step: Step) -> Json:
    """What went out. LLM: the JSON body itself. Other HTTP: method, url, body. Tool: the arguments."""
    head, body = step.request
    if "url" not in head:
        return _value_view(step.kind, body)
    content = body_view(head, body)
    if step.kind == Kind.LLM and isinstance(content, dict) and "$bytes" not in content:
        return content
    return {"method": _plain(head.get("method", "")), "url": _plain(head["url"]), "body": content}


def response_view(step: Step) -> Json:
    """What came back. LLM: the JSON body or the assembled stream. HTTP: status, body. Tool: the result.

    A generator's result is the list of what it yielded.
    """
    response = step.response
    if "url" in step.request.head:
        return _http_answer(step.kind, response)
    yielded = [_value_view(step.kind, piece.data) for piece in response.pieces]
    many = "gen" in str(step.request.head.get("flavour", "")) or len(yielded) > 1
    ended = _ending(response)
    if not many and not yielded:
        return ended or None
    content = yielded if many else yielded[0]
    return {"value": content, **ended} if ended else content


def step_view(step: Step) -> dict[str, Json]:
    """Both sides of a step: `{"request": ..., "response": ...}`."""
    return {"request": request_view(step), "response": response_view(step)}


def _http_answer(kind: Kind, response: Response) -> Json:
    ended = _ending(response)
    if response.head is None:
        return ended or None
    status = _status(response)
    content = body_view(response.head, response.body)
    if kind == Kind.LLM:
        if status is None or not 200 <= status < 300:
            ended = {"$status": status, **ended}
        if not ended:
            return content
        return {**content, **ended} if isinstance(content, dict) else {"body": content, **ended}
    told = {name: found for name in _TOLD_HEADERS if (found := header(response.head, name))}
    return {"status": status, **({"headers": told} if told else {}), "body": content, **ended}


def _ending(response: Response) -> dict[str, Json]:
    """What there is to say about an answer that did not simply complete."""
    said: dict[str, Json] = {}
    if response.failure is not None:
        said["$failure"] = {"type": response.failure.type, "message": response.failure.message}
    if response.end not in (End.COMPLETE, End.ERROR) or (response.end == End.ERROR and not said):
        said["$end"] = str(response.end)
    return said


def _status(response: Response) -> int | None:
    status = (response.head or {}).get("status")
    return status if isinstance(status, int) else None


def _value_view(kind: Kind, body: bytes) -> Json:
    if not body:
        return None
    if kind == _MCP and body[:1] in (b"{", b"["):
        try:
            return parse_json(body)
        except ValueError:  # no JSON after all: an encoded value
            pass
    return values.to_json(body)


def _plain(value: Any) -> Json:
    return value if isinstance(value, str) else str(value)


# ------------------------------------------------------------------------------------------- bodies


def body_view(head: Head | None, body: bytes) -> Json:
    """A body as JSON: parsed, assembled, as text, or `{"$bytes": ...}`; None when it is empty."""
    return _body(head, body)[0]


def _body(head: Head | None, body: bytes) -> tuple[Json, tuple[str, ...]]:
    """The view of a body, and names of events in it that nobody knows: `_NO_JSON` of what is no JSON and no stream."""
    return _body_of(_content_headers(head), body) if body else (None, ())


def _body_of(said: tuple[str, str], body: bytes) -> tuple[Json, tuple[str, ...]]:
    """The same of a body of which is known what `_content_headers` gives."""
    encoding, content_type = said
    data = decoded(encoding, body) if encoding else body
    if "event-stream" in content_type or (data[:6] in (b"data: ", b"event:") and "json" not in content_type):
        return _sse_view(data)
    if data[:1] == b"\0" and is_aws_stream(data):
        return _events_view(aws_events(data))
    if data.lstrip()[:1] in (b"{", b"[") or "json" in content_type:
        try:
            value = parse_json(data)
            return _list_view(value) if isinstance(value, list) else (value, ())
        except ValueError:  # announced as JSON and is none: shown as what it is
            items = cut_list(data)
            whole, unknown = _list_view(items)
            if whole is not items:
                return whole, (*unknown, "event:$cut")
    return _text_view(data), _NO_JSON


def _text_view(data: bytes) -> Json:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        shown: dict[str, Json] = {"$bytes": data[:_HEX_SHOWN].hex(), "size": len(data)}
        if len(data) > _HEX_SHOWN:  # views are compared: what is not shown must still count
            shown["digest"] = digest(data)
        return shown


def _content_headers(head: Head | None) -> tuple[str, str]:
    """The first content-encoding and content-type, in lower case; there may be dozens of other headers."""
    encoding = content_type = ""
    for name, value in (head or {}).get("headers", ()):
        size = len(name)
        if size != 16 and size != 12:
            continue
        if size == 16 and not encoding and _lower(name) == "content-encoding":
            encoding = _lower(value)
        elif size == 12 and not content_type and _lower(name) == "content-type":
            content_type = _lower(value)
    return encoding, content_type


def _lower(raw: str | bytes) -> str:
    return (raw.decode("latin-1") if isinstance(raw, bytes) else raw).lower()


def _sse_view(data: bytes) -> tuple[Json, tuple[str, ...]]:
    events = sse_events(data)
    if not events:  # a stream may consist of comments
        return _text_view(data), () if data.lstrip()[:1] == b":" else _NO_JSON
    try:
        whole = dialects.assemble_texts(events)
    except RecursionError:  # nested to the edge of what Python parses: the events are still there
        whole = None
    return whole or (_listed([(name, event_data(text)) for name, text in events]), ())


def _events_view(events: list[tuple[str, Json]]) -> tuple[Json, tuple[str, ...]]:
    try:
        whole = dialects.assemble(events)
    except RecursionError:
        whole = None
    return whole or (_listed(events), ())


def _list_view(value: list[Any]) -> tuple[Json, tuple[str, ...]]:
    """A list: Google streams one, whose elements are chunks of an answer."""
    first = value[0] if value else None
    if not isinstance(first, dict) or not ("candidates" in first or "usageMetadata" in first):
        return value, ()
    return dialects.assemble([("", chunk) for chunk in value]) or (value, ())


def _listed(events: list[tuple[str, Json]]) -> Json:
    return [{"event": name, "data": content} if name else {"data": content} for name, content in events]


# ------------------------------------------------------------------------------------------ summaries


def summary(
    step: Step,
    request: Json = None,
    response: Json = None,
    body: bytes | None = None,
    content: tuple[str, str] | None = None,
) -> Summary:
    """What a list shows of a step. Never raises.

    `request` is the step's `request_view`, from who has it; of an LLM's request, what it says beside its lists will do.
    `response` is a tool's `response_view`, in the same way. `body` are the bytes of an answer, and `content` is the
    encoding and the type that its head tells, in lower case.
    """
    status = _status(step.response)
    kind = step.kind
    if kind == _LLM:
        asked = request_view(step) if request is None else request
        return _llm_summary(step, status, asked, step.response.body if body is None else body, content)
    if "url" in step.request.head:
        title = _http_title(step, status)
    elif kind == _NOTE:
        title = note_title(step.request.head.get("note"))
    else:
        asked = request_view(step) if request is None else request
        if kind == _MCP:
            return _mcp_summary(step, asked, response)
        title = f"{call_text(step.name, asked)}{_answer_text(step, response)}"
    return Summary(None, None, None, status, None, "", one_line(title, _TITLE_WIDTH))


def _mcp_summary(step: Step, asked: Json, response: Json) -> Summary:
    said, failed = titles.mcp_result(response_view(step) if response is None else response)
    told = f" failed: {text_of(said, _TITLE_WIDTH)}" if failed else _answer_text(step, said)
    summary = Summary(None, None, None, None, None, "", one_line(f"{call_text(step.name, asked)}{told}", _TITLE_WIDTH))
    message = said if isinstance(said, str) else text_of(said, _TITLE_WIDTH)
    return summary._replace(error_type=titles.TOOL_ERROR, error_message=encodable(message)) if failed else summary


def _llm_summary(
    step: Step, status: int | None, request: Json, body: bytes, content: tuple[str, str] | None
) -> Summary:
    head, answer = step.request.head, step.response.head
    url = text if isinstance(text := head.get("url"), str) else ""
    view: Json = None
    unknown: tuple[str, ...] = ()
    if answer is not None and body:
        view, unknown = _body_of(content or _content_headers(answer), body)
    reading = dialects.read_answer(view, status is not None and status >= 400)
    if unknown is _NO_JSON:
        reading = _no_json(step, status, request, url, view, reading)
    asked = request.get("model") if isinstance(request, dict) else None
    model = asked if isinstance(asked, str) and asked else dialects.model_in(url) or reading.model
    if unknown and reading.dialect is not None:
        reading = reading._replace(unknown=dialects.named((*reading.unknown, *unknown)))
    dialect, how_far = _how_far(reading, view, request, url)
    failed = reading.error_type is not None or reading.error_message is not None
    told = (
        word_of(model),
        reading.input_tokens,
        reading.output_tokens,
        status,
        word_of(reading.finish),
        encodable(reading.text),
        _llm_title(step, status, model, reading),
        dialect,
        how_far,
        reading.unknown,
        reading.cached_tokens,
        reading.cache_write_tokens,
        reading.reasoning_tokens,
        encodable(reading.reasoning),
        encodable(reading.refusal) if reading.refusal else None,
        word_of(_error_type(step, reading)) if failed else None,
        encodable(reading.error_message) if reading.error_message else None,
        reading.tool_calls,
        word_of(reading.model),
        word_of(reading.tier),
        reading.long_cache_tokens,
        reading.searches,
    )
    return tuple.__new__(Summary, told)  # in a third of the time that its own class takes


def _no_json(
    step: Step, status: int | None, request: Json, url: str, view: Json, reading: dialects.Reading
) -> dialects.Reading:
    """The reading of an answer that is a text: an error where an answer of the dialect came to its end."""
    if not isinstance(view, str) or step.response.end != _COMPLETE or (status is not None and status >= 400):
        return reading
    announced = "json" in _content_headers(step.response.head)[1]
    if not announced and dialects.dialect_of(request, url) is None:
        return reading
    told = f"The answer is no JSON: {quoted(view)}"
    return reading._replace(error_type=NO_JSON, error_message=told, note=told)


def _how_far(reading: dialects.Reading, content: Json, request: Json, url: str) -> tuple[str | None, str | None]:
    """The dialect of a call, and how far its answer was understood."""
    if reading.dialect is not None:
        return reading.dialect, "partly" if reading.unknown else "whole"
    asked = dialects.dialect_of(request, url)
    if content is None:
        return asked, None
    known = (reading.error_message or reading.error_type) and reading.error_type != NO_JSON
    return asked, "whole" if asked and known else "raw"


def _error_type(step: Step, reading: dialects.Reading) -> str | None:
    if reading.error_type is None and reading.error_message is not None:
        return header(step.response.head, "x-amzn-errortype").partition(":")[0] or None  # AWS has it beside the body
    return reading.error_type


def _llm_title(step: Step, status: int | None, model: str | None, reading: dialects.Reading) -> str:
    name = model or step.name or "llm"
    failed = status is not None and status >= 400
    said = f"{status} {reading.note}".strip() if failed else _said(reading)
    if said and not failed and reading.error_message and said != reading.note:  # a stream that broke off with an error
        said = f"{said}, then {reading.error_message}"
    failure = step.response.failure
    if failure is not None:
        said = raised_text(failure)
    elif not said and step.response.end != _COMPLETE:
        said = str(step.response.end)
    title = f"{name} → {said}" if said else _http_title(step, status) if model is None else name
    return one_line(title, _TITLE_WIDTH)


def request_title(step: Step) -> str:
    """One line that names what was asked: `gpt-4o (4 messages, the last by tool: "...")`."""
    request = request_view(step)
    if step.kind == Kind.LLM and isinstance(request, dict):
        address = step.request.head.get("url")
        named = request.get("model") or (dialects.model_in(address) if isinstance(address, str) else None)
        line = f"{named or step.name}{asked_text(request)}"
    elif "url" in step.request.head:
        line = f"{step.request.head.get('method', '')} {step.request.head['url']}".strip()
    else:
        line = call_text(step.name, request)
    return one_line(line, _TITLE_WIDTH)


def _said(reading: dialects.Reading) -> str:
    calls = reading.tool_calls
    if len(calls) > 1:
        return f"{len(calls)} tool calls"
    if calls:
        return call_text(calls[0].name, calls[0].arguments)
    return f'"{text_of(reading.text)}"' if reading.text else reading.note


def _answer_text(step: Step, response: Json) -> str:
    failure = step.response.failure
    if failure is not None:
        return f" {raised_text(failure)}"
    if step.response.end != _COMPLETE and not step.response.pieces:
        return f" → {step.response.end}"
    return f" → {quoted(response_view(step) if response is None else response)}"


def _http_title(step: Step, status: int | None) -> str:
    head = step.request.head
    url = str(head.get("url", ""))
    try:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    except ValueError:  # e.g. a broken IPv6 host
        path = url
    failure = step.response.failure
    told = raised_text(failure) if failure else status
    return f"{head.get('method', '')} {path} {step.response.end if told is None else told}".strip()
