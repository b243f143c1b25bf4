"""OpenAI's POST /v1/chat/completions: request in, completion or stream of chunks out.

Shapes follow OpenAI's API reference and recorded traffic of 2025 and 2026.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .model import FinishReason, Message, ModelRequest, Reply, Tool, ToolCall, ToolResult, Usage
from .wire import (
    HEX,
    Answering,
    ApiError,
    argument_pieces,
    number,
    parsed_arguments,
    sse,
    text_of_parts,
    text_pieces,
    usage_of,
)

FINISH: dict[FinishReason, str] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "length": "length",
    "stop_sequence": "stop",
    "refusal": "content_filter",
}


def parse(raw: dict[str, Any], headers: tuple[tuple[str, str], ...]) -> ModelRequest:
    """The request in neutral words. Raises ApiError for what OpenAI refuses with a 400."""
    if not isinstance(raw.get("model"), str) or not raw["model"]:
        raise ApiError(400, "you must provide a model parameter")
    if not isinstance(raw.get("messages"), list):
        raise ApiError(
            400,
            "Missing required parameter: 'messages'.",
            param="messages",
            code="missing_required_parameter",
        )
    if not raw["messages"]:
        raise ApiError(
            400,
            "Invalid 'messages': empty array. Expected an array with minimum length 1.",
            param="messages",
            code="empty_array",
        )
    system, messages = _messages(raw["messages"])
    stop = raw.get("stop")
    return ModelRequest(
        provider="openai",
        api="chat.completions",
        model=raw["model"],
        system=system,
        messages=messages,
        tools=_tools(raw.get("tools")),
        tool_choice=_tool_choice(raw.get("tool_choice")),
        parallel_tool_calls=raw.get("parallel_tool_calls") is not False,
        temperature=number(raw, "temperature"),
        max_tokens=number(raw, "max_completion_tokens", int) or number(raw, "max_tokens", int),
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        seed=number(raw, "seed", int),
        stream=raw.get("stream") is True,
        response_schema=_response_schema(raw.get("response_format")),
        raw=raw,
        headers=headers,
    )


def _messages(entries: list[Any]) -> tuple[str, tuple[Message, ...]]:
    system: list[str] = []
    messages: list[Message] = []
    open_calls: dict[str, ToolCall] = {}
    for position, entry in enumerate(entries):
        role = entry.get("role") if isinstance(entry, dict) else None
        where = f"messages.[{position}]"
        if role == "tool":
            call = open_calls.pop(str(entry.get("tool_call_id")), None)
            if call is None:
                raise ApiError(
                    400,
                    f"Invalid parameter: '{where}' with role 'tool' must be a response to a preceding "
                    "message with 'tool_calls'.",
                    param=f"{where}.role",
                )
            result = ToolResult(call.id or "", call.name, call.arguments, text_of_parts(entry.get("content")))
            messages.append(Message("tool", tool_results=(result,)))
            continue
        if open_calls:
            missing = ", ".join(open_calls)
            raise ApiError(
                400,
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {missing}",
                param=where,
            )
        if role in ("system", "developer"):
            system.append(text_of_parts(entry.get("content")))
        elif role == "user":
            messages.append(Message("user", text_of_parts(entry.get("content"))))
        elif role == "assistant":
            calls = tuple(_call(call) for call in entry.get("tool_calls") or ())
            open_calls = {call.id or "": call for call in calls}
            messages.append(Message("assistant", text_of_parts(entry.get("content")), calls))
        else:
            raise ApiError(
                400,
                f"Invalid value: {role!r}. Supported values are: 'system', 'assistant', 'user', 'tool', "
                "and 'developer'.",
                param=f"{where}.role",
                code="invalid_value",
            )
    return "\n\n".join(system), tuple(messages)


def _call(entry: dict[str, Any]) -> ToolCall:
    function = entry.get("function") or {}
    text = function.get("arguments") or ""
    return ToolCall(str(function.get("name")), parsed_arguments(text), entry.get("id"), text)


def _tools(entries: Any) -> tuple[Tool, ...]:
    tools = []
    for position, entry in enumerate(entries or ()):
        function = entry.get("function") if isinstance(entry, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ApiError(
                400,
                f"Missing required parameter: 'tools[{position}].function'.",
                param=f"tools[{position}].function",
                code="missing_required_parameter",
            )
        tools.append(Tool(function["name"], function.get("description") or "", function.get("parameters") or {}))
    return tuple(tools)


def _tool_choice(value: Any) -> str:
    if isinstance(value, dict):
        return str((value.get("function") or value).get("name"))
    return value if isinstance(value, str) else "auto"


def _response_schema(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict) or value.get("type") not in ("json_schema", "json_object"):
        return None
    return (value.get("json_schema") or {}).get("schema") or {}


def usage_json(usage: Usage) -> dict[str, Any]:
    """The `usage` object of a completion."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _calls_json(reply: Reply, answering: Answering) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id or answering.ids.base62("call_", 24),
            "type": "function",
            "function": {"name": call.name, "arguments": call.encoded_arguments()},
        }
        for call in reply.tool_calls
    ]


def render(answering: Answering) -> dict[str, Any]:
    """The whole completion as one object."""
    choices = []
    for index, reply in enumerate(answering.replies):
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
        if reply.tool_calls:
            message["tool_calls"] = _calls_json(reply, answering)
        message |= {"refusal": None, "annotations": []}
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": FINISH[reply.finish]})
    return {
        "id": answering.ids.base62("chatcmpl-", 29),
        "object": "chat.completion",
        "created": answering.created,
        "model": answering.request.model,
        "choices": choices,
        "usage": usage_json(usage_of(answering.request, answering.replies)),
        "service_tier": "default",
        "system_fingerprint": fingerprint(answering.request.model),
    }


def fingerprint(model: str) -> str:
    """The `system_fingerprint`: the same for the same model, like a deployment's."""
    return "fp_" + "".join(HEX[(ord(char) * (place + 7)) % 16] for place, char in enumerate((model * 10)[:10]))


def stream(answering: Answering, whole: dict[str, Any]) -> Iterator[bytes]:
    """The completion `whole` as events: one for each delta, the usage if asked for, and `[DONE]`."""
    options = answering.request.raw.get("stream_options") or {}
    with_usage = options.get("include_usage") is True
    pads = options.get("include_obfuscation") is not False
    frame = {name: whole[name] for name in ("id", "object", "created", "model", "service_tier", "system_fingerprint")}
    frame["object"] = "chat.completion.chunk"

    def chunk(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        data = {**frame, "choices": choices}
        if with_usage:
            data["usage"] = usage
        if pads:
            data["obfuscation"] = answering.ids.base62("", 4 + len(choices))
        return sse(data)

    for choice in whole["choices"]:
        index = choice["index"]
        for delta in _deltas(choice["message"]):
            yield chunk([{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}])
        yield chunk([{"index": index, "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}])
    if with_usage:
        yield chunk([], whole["usage"])
    yield sse("[DONE]")


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    text, calls = message["content"] or "", message.get("tool_calls", [])
    start: dict[str, Any] = {
        "role": "assistant",
        "content": "" if text or not calls else None,
        "refusal": None,
    }
    if start["content"] is not None:
        yield start
        start = {}
    for piece in text_pieces(text):
        yield {"content": piece}
    for index, call in enumerate(calls):
        function = call["function"]
        opening = {"index": index, **call, "function": {"name": function["name"], "arguments": ""}}
        yield start | {"tool_calls": [opening]}
        start = {}
        for piece in argument_pieces(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
