"""A step's content as JSON for people: what went out, what came back, and one line that says both.

Bodies are decoded (gzip, deflate; brotli and zstandard where a module for them is installed), streams
of the known dialects are put together, values of tools are made plain. Nothing here raises, whatever
the bytes are, and nothing here is needed to replay: a view is for reading, searching and comparing.

Keys that Rashomon adds begin with `$`: `$status` (an LLM answer that is no 2xx), `$failure` (`type` and
`message` of the exception that reached the program), `$end` (an answer that did not end by itself), and
`$bytes` (hex of content that is no text, with `size`, and `digest` where the hex is cut).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from rashomon import dialects, values
from rashomon.canonical import digest, header
from rashomon.model import End, Head, Json, Kind, Response, Step
from rashomon.streams import assemble, parse_json
from rashomon.streams import sse_events as sse_events

MAX_DECODED = 64 * 1024 * 1024
"""A compressed body is shown up to this many bytes."""

_HEX_SHOWN = 256
_TITLE_WIDTH = 160
_TOLD_HEADERS = ("location", "retry-after", "link")
"""Response headers that a program acts on; the others are dates, ids and counters."""


class Summary(NamedTuple):
    """What a list shows of a step.

    `text` is what the model said, whole, and empty for other kinds; `title` is one line that is safe to
    print. `status` is the HTTP status; token counts and `finish` are the provider's own; `input_tokens` includes
    `cached_tokens` and `cache_write_tokens`, `output_tokens` includes `reasoning_tokens`.

    `dialect` is how an LLM call was read (`openai.chat`, `anthropic.messages`, ...), `decoded` how far: `whole`,
    `partly` (`unknown` names what was not known) or `raw`. `calls` are the tool calls that the model asked for.
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
    if kind == Kind.MCP and body[:1] in (b"{", b"["):
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
    if not body:
        return None
    data = decoded(header(head, "content-encoding"), body)
    content_type = header(head, "content-type").lower()
    if "event-stream" in content_type or (data[:6] in (b"data: ", b"event:") and "json" not in content_type):
        return _stream_view(data)
    if data.lstrip()[:1] in (b"{", b"[") or "json" in content_type:
        try:
            return parse_json(data)
        except ValueError:  # announced as JSON and is none: shown as what it is
            pass
    return _text_view(data)


def _text_view(data: bytes) -> Json:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        shown: dict[str, Json] = {"$bytes": data[:_HEX_SHOWN].hex(), "size": len(data)}
        if len(data) > _HEX_SHOWN:  # views are compared: what is not shown must still count
            shown["digest"] = digest(data)
        return shown


def _stream_view(data: bytes) -> Json:
    events = [(name, _data_view(text)) for name, text in sse_events(data)]
    if not events:
        return _text_view(data)
    try:
        whole = assemble(events)
    except RecursionError:  # nested to the edge of what Python parses: the events are still there
        whole = None
    if whole is not None:
        return whole
    return [{"event": name, "data": content} if name else {"data": content} for name, content in events]


def _data_view(text: str) -> Json:
    if text[:1] in ("{", "["):
        try:
            return parse_json(text)
        except ValueError:  # cut in the middle, or `[DONE]`
            pass
    return text


# ------------------------------------------------------------------------------------------ encodings


def decoded(encoding: str, body: bytes) -> bytes:
    """A body without its content encoding; the bytes as they are where that is unknown or untrue.

    A cut body gives what can be read of it, and no more than `MAX_DECODED` bytes.
    """
    for name in reversed([part.strip().lower() for part in encoding.split(",")]):
        decoder = _DECODERS.get(name)
        if decoder is not None:
            try:
                body = decoder(body)
            except Exception:  # zlib.error, brotli.error, ...: bytes that a client had decoded already
                return body
    return body


def _gunzip(body: bytes) -> bytes:
    if body[:2] != b"\x1f\x8b":
        return body
    out, rest, left = [], body, MAX_DECODED
    while rest[:2] == b"\x1f\x8b" and left > 0:  # a gzip file may have several members
        stream = zlib.decompressobj(31)
        out.append(stream.decompress(rest, left))
        left -= len(out[-1])
        rest = stream.unused_data
    return b"".join(out)


def _inflate(body: bytes) -> bytes:
    try:
        return zlib.decompressobj(15).decompress(body, MAX_DECODED)
    except zlib.error:  # RFC 9110 §8.4.1.2: some senders leave the zlib wrapper out
        return zlib.decompressobj(-15).decompress(body, MAX_DECODED)


def _unbrotli(body: bytes) -> bytes:
    import brotli  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return bytes(brotli.decompress(body))


def _unzstd(body: bytes) -> bytes:
    import zstandard  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(body))


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}


# ------------------------------------------------------------------------------------------ summaries


def summary(step: Step, request: Json = None) -> Summary:
    """What a list shows of a step. Never raises.

    `request` is the step's `request_view`, from who has it; of an LLM's request, what it says beside its lists will do.
    """
    status = _status(step.response)
    if step.kind == Kind.LLM:
        return _llm_summary(step, status, request_view(step) if request is None else request)
    if "url" in step.request.head:
        title = _http_title(step, status)
    else:
        title = f"{_call_text(step.name, request_view(step))}{_answer_text(step)}"
    return Summary(None, None, None, status, None, "", one_line(title, _TITLE_WIDTH))


def _llm_summary(step: Step, status: int | None, request: Json) -> Summary:
    reading = dialects.read_answer(response_view(step))
    asked = request.get("model") if isinstance(request, dict) else None
    model = asked if isinstance(asked, str) and asked else reading.model
    name = model or step.name or "llm"
    failed = status is not None and status >= 400
    said = f"{status} {reading.note}".strip() if failed else _said(reading)
    failure = step.response.failure
    if failure is not None:
        said = f"raised {_short_type(failure.type)}: {failure.message}"
    elif not said and step.response.end != End.COMPLETE:
        said = str(step.response.end)
    title = f"{name} → {said}" if said else _http_title(step, status) if model is None else name
    return Summary(
        _safe_or_none(model),
        reading.input_tokens,
        reading.output_tokens,
        status,
        _safe_or_none(reading.finish),
        _encodable(reading.text),
        one_line(title, _TITLE_WIDTH),
    )


def request_title(step: Step) -> str:
    """One line that names what was asked: `gpt-4o (4 messages, the last by tool: "...")`."""
    request = request_view(step)
    if step.kind == Kind.LLM and isinstance(request, dict):
        line = f"{request.get('model') or step.name}{_asked(request)}"
    elif "url" in step.request.head:
        line = f"{step.request.head.get('method', '')} {step.request.head['url']}".strip()
    else:
        line = _call_text(step.name, request)
    return one_line(line, _TITLE_WIDTH)


def _asked(request: dict[str, Any]) -> str:
    asked = request.get("messages", request.get("input", request.get("prompt")))
    if not isinstance(asked, list) or not asked:
        return f' ("{text_of(asked, 60)}")' if asked else ""
    last = asked[-1]
    count = f"{len(asked)} message{'s' * (len(asked) != 1)}"
    if not isinstance(last, dict):
        return f' ({len(asked)} texts, the last: "{text_of(last, 60)}")'
    author = last.get("role") or last.get("type") or "nobody"
    content = last.get("content", last.get("output"))
    return f" ({count}, the last by {text_of(author, 20)}: {text_of(_quoted(content), 60)})"


def _said(reading: dialects.Reading) -> str:
    calls = reading.tool_calls
    if len(calls) > 1:
        return f"{len(calls)} tool calls"
    if calls:
        return _call_text(calls[0].name, calls[0].arguments)
    return f'"{text_of(reading.text)}"' if reading.text else reading.note


def _call_text(name: str, arguments: Json) -> str:
    """`get_order(order_id="A-1042")`."""
    if isinstance(arguments, dict):
        inside = ", ".join(f"{key}={text_of(_quoted(value), 40)}" for key, value in list(arguments.items())[:8])
        return f"{name}({inside}{', …' if len(arguments) > 8 else ''})"
    return f"{name}({'' if arguments is None else text_of(_quoted(arguments), 60)})"


def _answer_text(step: Step) -> str:
    failure = step.response.failure
    if failure is not None:
        return f" raised {_short_type(failure.type)}: {failure.message}"
    if step.response.end != End.COMPLETE and not step.response.pieces:
        return f" → {step.response.end}"
    return f" → {text_of(_quoted(response_view(step)))}"


def _http_title(step: Step, status: int | None) -> str:
    head = step.request.head
    url = str(head.get("url", ""))
    try:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    except ValueError:  # e.g. a broken IPv6 host
        path = url
    failure = step.response.failure
    told = f"raised {_short_type(failure.type)}: {failure.message}" if failure else status
    return f"{head.get('method', '')} {path} {step.response.end if told is None else told}".strip()


def _short_type(name: str) -> str:
    return name.rpartition(":")[2].rpartition(".")[2] or name


def _safe_or_none(text: str | None) -> str | None:
    return one_line(text, _TITLE_WIDTH) if text else None


def _encodable(text: str) -> str:
    """The text without lone surrogates, which JSON can hold and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


# --------------------------------------------------------------------------------------- single lines

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(r"\s+")


class _Quoted(NamedTuple):
    value: Json


def _quoted(value: Json) -> Any:
    return _Quoted(value)


def text_of(value: Any, width: int = 80) -> str:
    """A value as one line of at most `width` characters that is safe to print.

    A string stands without quotes and is cut in the middle; anything else is JSON, cut at its end.
    """
    if isinstance(value, _Quoted):
        inner = value.value
        if not isinstance(inner, str):
            return text_of(inner, width)
        return f'"{one_line(inner, max(1, width - 2))}"'
    if isinstance(value, str):
        return one_line(value, width)
    written: list[str] = []
    size = 0
    for token in _tokens(value, 0):
        written.append(token)
        size += len(token)
        if size > 8 * width:  # white space may go; far beyond this nothing can be shown
            break
    line = _clean("".join(written))
    return line if len(line) <= width else line[: width - 1] + "…"


def one_line(text: str, width: int) -> str:
    """A text as one line: control characters and escape sequences gone, cut in the middle with `…`."""
    reach = 8 * width + 64
    if len(text) > 2 * reach:
        text = f"{text[:reach]} … {text[-reach:]}"
    line = _clean(text)
    if len(line) <= width:
        return line
    if width < 8:
        return line[: width - 1] + "…" if width > 0 else ""
    tail = (width - 1) // 3
    return f"{line[: width - 1 - tail]}…{line[-tail:]}"


def _clean(text: str) -> str:
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    text = _SPACES.sub(" ", _ESCAPES.sub("", text))
    return _SURROGATES.sub("\ufffd", _UNSAFE.sub("", text)).strip()


def _tokens(value: Any, depth: int) -> Iterable[str]:
    """JSON, piece by piece, so that the beginning of a large value costs no more than it shows."""
    if isinstance(value, dict):
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield f'{", " if number else ""}"{key}": '
            yield from _tokens(item, depth + 1) if depth < 20 else ("…",)
        yield "}"
    elif isinstance(value, (list, tuple)):
        yield "["
        for number, item in enumerate(value):
            if number:
                yield ", "
            yield from _tokens(item, depth + 1) if depth < 20 else ("…",)
        yield "]"
    elif isinstance(value, str):
        yield f'"{value[:2000]}"'
    else:
        yield "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
