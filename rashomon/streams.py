"""Streamed answers of language models, put together again.

OpenAI chat completions, legacy completions and responses, and Anthropic messages; compatible servers
speak them too. A dialect is recognised by the shape of what was said, not by the address. Nothing here
fails on a shape that it does not know: it reads what it finds.

Event shapes follow the providers' references: platform.openai.com/docs/api-reference (chat/streaming,
responses-streaming) and docs.anthropic.com/en/api/messages-streaming.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from rashomon.model import Json

Event = tuple[str, Json]
"""A server-sent event: its name (or the empty string) and its data as JSON (or text)."""


def parse_json(text: str | bytes) -> Json:
    """The JSON value, with NaN and infinities as their names; raises ValueError for anything else."""
    try:
        value: Json = json.loads(text, parse_constant=str)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def sse_events(body: bytes) -> list[tuple[str, str]]:
    """The server-sent events of a body: (event name or "", data), as the HTML standard §9.2 reads them.

    One liberty: an event that the end of the body cuts off is given too, since it was received.
    """
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    events: list[tuple[str, str]] = []
    name, data = "", list[str]()
    for line in _lines(text):
        if not line:
            if data:
                events.append((name, "\n".join(data)))
            name, data = "", []
        elif line.startswith("data:"):
            data.append(line[6:] if line[5:6] == " " else line[5:])
        elif line.startswith("event:"):
            name = line[7:] if line[6:7] == " " else line[6:]
    if data:
        events.append((name, "\n".join(data)))
    return events


def _lines(text: str) -> list[str]:
    # not str.splitlines: it also splits at form feeds and U+2028, which JSON strings may hold
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.split("\n")


def assemble(events: Iterable[Event]) -> dict[str, Any] | None:
    """The final message of a stream, in the shape of the same answer without streaming.

    None when the events are of no known dialect. A stream that was cut gives what had come.
    """
    listed = list(events)
    for _, data in listed:
        assembler = _assembler(data)
        if assembler is not None:
            return assembler(listed)
    return None


def _assembler(data: Json) -> Callable[[list[Event]], dict[str, Any]] | None:
    if not isinstance(data, dict):
        return None
    kind = data.get("type")
    if isinstance(data.get("choices"), list):
        return _assemble_choices
    if kind == "message_start":
        return _assemble_messages
    if isinstance(kind, str) and kind.startswith("response."):
        return _assemble_responses
    return None


def _own(value: Any) -> Any:
    """A copy that may grow without changing the event it came from."""
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    return [_own(item) for item in value] if isinstance(value, list) else value


# ---------------------------------------------------------------------- OpenAI chat and completions

_STATED = frozenset(
    (
        "role",
        "id",
        "type",
        "name",
        "index",
        "format",
        "status",
        "object",
        "model",
        "finish_reason",
        "stop_reason",
    )
)
"""Fields that a delta states again rather than continues."""


def _assemble_choices(events: list[Event]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    choices: dict[Any, dict[str, Any]] = {}
    for _, data in events:
        if not isinstance(data, dict):
            continue
        for key, value in data.items():
            if key == "choices" or key == "obfuscation" or (value is None and key in whole):
                continue
            whole[key] = value
        chunk = data.get("choices")
        for choice in chunk if isinstance(chunk, list) else ():
            if isinstance(choice, dict):
                number = choice.get("index", 0)
                _merge_choice(choices.setdefault(str(number), {"index": number}), choice)
    if whole.get("object") == "chat.completion.chunk":
        whole["object"] = "chat.completion"
    whole["choices"] = [_without_indexes(choice) for choice in choices.values()]
    return whole


def _merge_choice(into: dict[str, Any], choice: dict[str, Any]) -> None:
    for key, value in choice.items():
        if key == "delta":
            message = into.setdefault("message", {})
            if isinstance(value, dict):
                _merge(message, value)
        elif value is not None:
            _merge(into, {key: value})
        else:
            into.setdefault(key, None)


def _merge(into: dict[str, Any], delta: dict[str, Any]) -> None:
    """Continue `into` with a delta: strings grow, lists grow or merge by index, the rest is stated."""
    for key, value in delta.items():
        old = into.get(key)
        if value is None or old is None:
            if old is None:
                into[key] = _indexed([], value) if isinstance(value, list) else _own(value)
        elif isinstance(value, str) and isinstance(old, str):
            into[key] = (value or old) if key in _STATED else old + value
        elif isinstance(value, dict) and isinstance(old, dict):
            _merge(old, value)
        elif isinstance(value, list) and isinstance(old, list):
            _indexed(old, value)
        else:
            into[key] = value


def _indexed(into: list[Any], items: list[Any]) -> list[Any]:
    """Grow a list by a delta's items: those with an index (or a known id) continue an earlier one."""
    for item in items:
        found = None
        if isinstance(item, dict):
            key = "index" if "index" in item else "id"
            wanted = item.get(key)
            if wanted is not None:
                found = next((old for old in into if isinstance(old, dict) and old.get(key) == wanted), None)
        if found is None:
            into.append(_own(item))
        else:
            _merge(found, item)
    return into


def _without_indexes(choice: dict[str, Any]) -> dict[str, Any]:
    """Tool calls carry an index in a stream only; without it the two forms of an answer are one."""
    message = choice.get("message")
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict):
            call.pop("index", None)
    return choice


# ------------------------------------------------------------------------------------ OpenAI responses

_FINAL = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_GROWING = {
    "response.output_text": ("content", "content_index", "text", "output_text"),
    "response.refusal": ("content", "content_index", "refusal", "refusal"),
    "response.reasoning_text": ("content", "content_index", "text", "reasoning_text"),
    "response.reasoning_summary_text": ("summary", "summary_index", "text", "summary_text"),
}
"""Event -> where in its output item the text grows: list, index field, text field, part type."""

_GROWING_FIELDS = {
    "response.function_call_arguments": "arguments",
    "response.mcp_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.code_interpreter_call_code": "code",
}


def _assemble_responses(events: list[Event]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    items: dict[int, dict[str, Any]] = {}
    for _, data in events:
        if not isinstance(data, dict):
            continue
        kind = data.get("type")
        if not isinstance(kind, str):
            continue
        response = data.get("response")
        if isinstance(response, dict):
            whole = response
        elif kind == "error":
            whole = {**whole, "error": {key: value for key, value in data.items() if key != "type"}}
        elif kind.startswith("response."):
            _grow_item(items, kind, data)
        if kind in _FINAL and whole.get("output"):
            return whole
    return {**whole, "output": [items[number] for number in sorted(items)] or whole.get("output", [])}


def _grow_item(items: dict[int, dict[str, Any]], kind: str, data: dict[str, Any]) -> None:
    number = data.get("output_index", 0)
    if not isinstance(number, int):
        return
    if kind in ("response.output_item.added", "response.output_item.done"):
        if isinstance(data.get("item"), dict):
            items[number] = _own(data["item"])
        return
    stem, _, verb = kind.rpartition(".")
    if verb not in ("delta", "done"):
        return
    item = items.setdefault(number, {"type": "message"})
    if stem in _GROWING_FIELDS:
        _grow_text(item, _GROWING_FIELDS[stem], verb, data)
    elif stem in _GROWING:
        listing, index_name, field, part_type = _GROWING[stem]
        parts, position = item.setdefault(listing, []), data.get(index_name, 0)
        if not isinstance(parts, list) or not isinstance(position, int) or not 0 <= position <= len(parts) + 64:
            return
        while len(parts) <= position:
            parts.append({"type": part_type, field: ""})
        if isinstance(parts[position], dict):
            _grow_text(parts[position], field, verb, data)


def _grow_text(into: dict[str, Any], field: str, verb: str, data: dict[str, Any]) -> None:
    if verb == "done" and isinstance(data.get(field), str):
        into[field] = data[field]
    elif verb == "delta" and isinstance(data.get("delta"), str):
        into[field] = f"{into.get(field) or ''}{data['delta']}"


# ----------------------------------------------------------------------------------- Anthropic messages

_BLOCK_TEXT = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "compaction_delta": "content",
}


def _assemble_messages(events: list[Event]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    partial: dict[int, str] = {}
    for _, data in events:
        if not isinstance(data, dict):
            continue
        kind, number = data.get("type"), data.get("index", 0)
        if kind == "message_start" and isinstance(data.get("message"), dict):
            whole = dict(data["message"])
        elif kind == "content_block_start" and isinstance(data.get("content_block"), dict):
            blocks[_number(number)] = _own(data["content_block"])
        elif kind == "content_block_delta" and isinstance(data.get("delta"), dict):
            _grow_block(blocks.setdefault(_number(number), {}), partial, _number(number), data["delta"])
        elif kind == "message_delta":
            _end_message(whole, data)
        elif kind == "error":
            whole["error"] = data.get("error")
    for number, text in partial.items():
        if text:
            blocks[number]["input"] = parsed_or_text(text)
    whole["content"] = [blocks[number] for number in sorted(blocks)]
    return whole


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _grow_block(block: dict[str, Any], partial: dict[int, str], number: int, delta: dict[str, Any]) -> None:
    kind = str(delta.get("type"))
    if kind == "input_json_delta":
        partial[number] = partial.get(number, "") + str(delta.get("partial_json") or "")
    elif kind == "citations_delta":
        citations = block.get("citations")
        block["citations"] = [*(citations if isinstance(citations, list) else ()), delta.get("citation")]
    elif kind in _BLOCK_TEXT and isinstance(delta.get(_BLOCK_TEXT[kind]), str):
        field = _BLOCK_TEXT[kind]
        block[field] = f"{block.get(field) or ''}{delta[field]}"
    else:
        block.update({key: value for key, value in delta.items() if key != "type"})


def _end_message(whole: dict[str, Any], data: dict[str, Any]) -> None:
    if isinstance(data.get("delta"), dict):
        whole.update(data["delta"])
    usage, more = whole.get("usage"), data.get("usage")
    if isinstance(more, dict):
        stated = {key: value for key, value in more.items() if value is not None}
        whole["usage"] = {**(usage if isinstance(usage, dict) else {}), **stated}


def parsed_or_text(text: str) -> Json:
    """The JSON value that a text holds, or the text."""
    try:
        return parse_json(text)
    except ValueError:  # cut in the middle: the text is all there is
        return text
