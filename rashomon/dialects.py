"""What language models say, whatever the dialect: text, tool calls, usage, the reason for the end.

OpenAI chat completions, responses, embeddings and legacy completions, and Anthropic messages; compatible
servers speak them too. A dialect is recognised by the shape of the answer, not by the address. Nothing
here fails on a shape that it does not know: it reads what it finds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rashomon.model import Json
from rashomon.streams import parsed_or_text


class ToolCall(NamedTuple):
    """A call that the model asked for. `arguments` is parsed where the model sent valid JSON."""

    id: str
    name: str
    arguments: Json


class Reading(NamedTuple):
    """What an answer of a model says, whatever the dialect.

    Token counts are the provider's own; `input_tokens` includes what came from or went into a cache.
    `finish` is the provider's word (`stop`, `tool_calls`, `end_turn`, `completed`, ...). `note` is said
    in place of a text where there is none: an error's message, the shape of embeddings.
    """

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish: str | None = None
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    note: str = ""


def read_answer(answer: Json) -> Reading:
    """What an answer says: a response body as JSON, or an assembled stream."""
    if not isinstance(answer, dict):
        return Reading()
    if isinstance(answer.get("choices"), list):
        reading = _read_choices(answer)
    elif isinstance(answer.get("output"), list):
        reading = _read_responses(answer)
    elif isinstance(answer.get("content"), list) and ("role" in answer or answer.get("type") == "message"):
        reading = _read_message(answer)
    elif isinstance(answer.get("data"), list):
        reading = _read_embeddings(answer)
    else:
        reading = Reading()
    usage = answer.get("usage")
    return reading._replace(
        model=_text(answer.get("model")) or None,
        input_tokens=_input_tokens(usage),
        output_tokens=_count(usage, "completion_tokens", "output_tokens"),
        note=_error_text(answer) or reading.note,
    )


def _read_choices(answer: dict[str, Any]) -> Reading:
    choice = answer["choices"][0] if answer["choices"] else None
    if not isinstance(choice, dict):
        return Reading()
    message = choice.get("message")
    finish = _text(choice.get("finish_reason")) or None
    if not isinstance(message, dict):
        return Reading(finish=finish, text=_text(choice.get("text")))
    calls = message.get("tool_calls")
    listed = [_chat_call(call) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if isinstance(message.get("function_call"), dict):
        listed.append(_chat_call({"function": message["function_call"]}))
    text = _joined(message.get("content")) or _text(message.get("refusal"))
    return Reading(finish=finish, text=text, tool_calls=tuple(listed))


def _chat_call(call: dict[str, Any]) -> ToolCall:
    function = call.get("function") or call.get("custom")
    if not isinstance(function, dict):
        return ToolCall(_text(call.get("id")), _text(call.get("type")), None)
    arguments = function.get("arguments", function.get("input"))
    return ToolCall(_text(call.get("id")), _text(function.get("name")), _argument(arguments))


def _read_responses(answer: dict[str, Any]) -> Reading:
    texts: list[str] = []
    calls: list[ToolCall] = []
    for item in answer["output"]:
        if not isinstance(item, dict):
            continue
        kind = _text(item.get("type"))
        if kind == "message":
            texts.append(_joined(item.get("content")))
        elif kind in ("function_call", "custom_tool_call"):
            arguments = item.get("arguments", item.get("input"))
            calls.append(ToolCall(_text(item.get("call_id")), _text(item.get("name")), _argument(arguments)))
    details = answer.get("incomplete_details")
    reason = _text(details.get("reason")) if isinstance(details, dict) else ""
    finish = reason or _text(answer.get("status")) or None
    return Reading(finish=finish, text="\n".join(filter(None, texts)), tool_calls=tuple(calls))


def _read_message(answer: dict[str, Any]) -> Reading:
    blocks = [block for block in answer["content"] if isinstance(block, dict)]
    calls = tuple(
        ToolCall(_text(block.get("id")), _text(block.get("name")), block.get("input"))
        for block in blocks
        if block.get("type") == "tool_use"
    )
    return Reading(finish=_text(answer.get("stop_reason")) or None, text=_joined(blocks), tool_calls=calls)


def _read_embeddings(answer: dict[str, Any]) -> Reading:
    vectors = [item["embedding"] for item in answer["data"] if isinstance(item, dict) and "embedding" in item]
    if not vectors:
        return Reading()
    first = vectors[0]
    # base64 of 32-bit floats is the SDK's default wire form
    size = len(first) if isinstance(first, list) else len(first.rstrip("=")) * 3 // 16 if isinstance(first, str) else 0
    return Reading(note=f"{len(vectors)} vector{'s' * (len(vectors) != 1)} of {size}")


def _joined(content: Json) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if not isinstance(content, list):
        return _text(content)
    parts = [part for part in content if isinstance(part, dict)]
    return "".join(_text(part.get("text")) or _text(part.get("refusal")) for part in parts)


def _error_text(answer: dict[str, Any]) -> str:
    error = answer.get("error")
    if isinstance(error, dict):
        return _text(error.get("message")) or _text(error.get("type")) or "error"
    return _text(error)


def _input_tokens(usage: Json) -> int | None:
    count = _count(usage, "prompt_tokens", "input_tokens")
    if count is None or not isinstance(usage, dict) or "prompt_tokens" in usage:
        return count
    # Anthropic counts cached tokens beside input_tokens, OpenAI inside them
    cached = [_count(usage, name) for name in ("cache_creation_input_tokens", "cache_read_input_tokens")]
    return count + sum(number or 0 for number in cached)


def _count(usage: Json, *names: str) -> int | None:
    for name in names:
        value = usage.get(name) if isinstance(usage, dict) else None
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _argument(value: Json) -> Json:
    return parsed_or_text(value) if isinstance(value, str) else value
