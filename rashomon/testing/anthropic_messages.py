"""Anthropic's POST /v1/messages: request in, message or stream of events out.

Shapes follow Anthropic's API reference and recorded traffic of 2025 and 2026.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from hashlib import shake_256
from typing import Any

from .model import FinishReason, Message, ModelRequest, Tool, ToolCall, ToolResult
from .wire import (
    Answering,
    ApiError,
    argument_pieces,
    input_tokens,
    number,
    parsed_arguments,
    sse,
    text_of_parts,
    text_pieces,
    usage_of,
)

STOP_REASON: dict[FinishReason, str] = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
}
TOOL_CHOICE = {"any": "required", "auto": "auto", "none": "none"}


def parse(raw: dict[str, Any], headers: tuple[tuple[str, str], ...]) -> ModelRequest:
    """The request in neutral words. Raises ApiError for what Anthropic refuses with a 400."""
    for name in ("model", "messages", "max_tokens"):
        if name not in raw:
            raise ApiError(400, f"{name}: Field required")
    if not isinstance(raw["messages"], list) or not raw["messages"]:
        raise ApiError(400, "messages: at least one message is required")
    choice = raw.get("tool_choice") or {}
    kind = choice.get("type", "auto")
    max_tokens, thinking = number(raw, "max_tokens", int), raw.get("thinking") or {}
    if thinking.get("type") == "enabled" and int(thinking.get("budget_tokens", 0)) >= max_tokens:
        raise ApiError(400, "`max_tokens` must be greater than `thinking.budget_tokens`.")
    return ModelRequest(
        provider="anthropic",
        api="messages",
        model=str(raw["model"]),
        system=text_of_parts(raw.get("system")),
        messages=_messages(raw["messages"]),
        tools=tuple(_tool(entry) for entry in raw.get("tools") or ()),
        tool_choice=choice["name"] if kind == "tool" else TOOL_CHOICE.get(kind, "auto"),
        parallel_tool_calls=choice.get("disable_parallel_tool_use") is not True,
        temperature=number(raw, "temperature"),
        max_tokens=max_tokens,
        stop=tuple(raw.get("stop_sequences") or ()),
        stream=raw.get("stream") is True,
        thinking=thinking.get("type") in ("enabled", "adaptive"),
        response_schema=_schema(raw),
        raw=raw,
        headers=headers,
    )


def _schema(raw: dict[str, Any]) -> dict[str, Any] | None:
    wanted = (raw.get("output_config") or {}).get("format") or raw.get("output_format") or {}
    return (wanted.get("schema") or {}) if wanted.get("type") == "json_schema" else None


def _tool(entry: dict[str, Any]) -> Tool:
    return Tool(str(entry.get("name")), entry.get("description") or "", entry.get("input_schema") or {})


def _messages(entries: list[Any]) -> tuple[Message, ...]:
    messages: list[Message] = []
    called: dict[str, ToolCall] = {}
    for position, entry in enumerate(entries):
        role = entry.get("role") if isinstance(entry, dict) else None
        if role not in ("user", "assistant"):
            raise ApiError(400, f"messages.{position}.role: Input should be 'user' or 'assistant'")
        content = entry.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        texts = text_of_parts([block for block in blocks if block.get("type") != "tool_result"])
        if role == "assistant":
            calls = tuple(
                ToolCall(block["name"], parsed_arguments(block.get("input")), block["id"])
                for block in blocks
                if block.get("type") == "tool_use"
            )
            called = {call.id or "": call for call in calls}
            messages.append(Message("assistant", texts, calls))
            continue
        results = tuple(_result(block, called, position) for block in blocks if block.get("type") == "tool_result")
        missing = set(called) - {result.call_id for result in results}
        if missing:
            raise ApiError(
                400,
                f"messages.{position}: `tool_use` ids were found without `tool_result` blocks immediately "
                f"after: {', '.join(sorted(missing))}.",
            )
        called = {}
        if results:
            messages.append(Message("tool", tool_results=results))
        if texts or not results:
            messages.append(Message("user", texts))
    return tuple(messages)


def _result(block: dict[str, Any], called: dict[str, ToolCall], position: int) -> ToolResult:
    call = called.get(str(block.get("tool_use_id")))
    if call is None:
        raise ApiError(
            400,
            f"messages.{position}: unexpected `tool_use_id` found in `tool_result` blocks: "
            f"{block.get('tool_use_id')}. Each `tool_result` block must have a "
            "corresponding `tool_use` block in the previous message.",
        )
    text = text_of_parts(block.get("content"))
    return ToolResult(call.id or "", call.name, call.arguments, text, block.get("is_error") is True)


def count_tokens(raw: dict[str, Any], headers: tuple[tuple[str, str], ...]) -> dict[str, int]:
    """The answer of POST /v1/messages/count_tokens."""
    return {"input_tokens": input_tokens(parse({"max_tokens": 1 << 30} | raw, headers))}


def render(answering: Answering) -> dict[str, Any]:
    """The whole message as one object."""
    reply, ids = answering.reply, answering.ids
    usage = usage_of(answering.request, answering.replies)
    name = ids.base62("msg_01", 22)
    content: list[dict[str, Any]] = []
    if reply.reasoning:
        content.append({"type": "thinking", "thinking": reply.reasoning, "signature": signature(reply.reasoning)})
    if reply.text:
        content.append({"type": "text", "text": reply.text})
    for call in reply.tool_calls:
        block = {"type": "tool_use", "id": call.id or ids.base62("toolu_01", 22), "name": call.name}
        content.append(block | {"input": dict(call.arguments), "caller": {"type": "direct"}})
    return {
        "model": answering.request.model,
        "id": name,
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": STOP_REASON[reply.finish],
        "stop_sequence": reply.stop_sequence,
        "stop_details": None,
        "usage": {
            "input_tokens": usage.input_tokens - usage.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached_tokens,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
            "service_tier": "standard",
            "inference_geo": "not_available",
        },
    }


def signature(thinking: str) -> str:
    """The opaque signature of a thinking block: base64, the same for the same thoughts."""
    return base64.b64encode(shake_256(thinking.encode()).digest(216)).decode()


def _event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def stream(answering: Answering, whole: dict[str, Any]) -> Iterator[bytes]:
    """The message `whole` as events, with a ping after the first block has begun."""
    usage = {key: value for key, value in whole["usage"].items() if key != "output_tokens_details"}
    opening = whole | {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage | {"output_tokens": 1},
    }
    yield _event("message_start", message=opening)
    calls = iter(answering.reply.tool_calls)  # in the order of their blocks
    for index, block in enumerate(whole["content"]):
        yield _event("content_block_start", index=index, content_block=_empty(block))
        if not index:
            yield _event("ping")
        for delta in _deltas(block, next(calls) if block["type"] == "tool_use" else None):
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    delta = {name: whole[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    final = {name: whole["usage"][name] for name in (*names, "output_tokens_details")}
    yield _event("message_delta", delta=delta, usage=final)
    yield _event("message_stop")


def _empty(block: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {name: empty.get(name, value) for name, value in block.items()}


def _deltas(block: dict[str, Any], call: ToolCall | None) -> Iterator[dict[str, Any]]:
    if block["type"] == "text":
        for piece in text_pieces(block["text"]):
            yield {"type": "text_delta", "text": piece}
    elif block["type"] == "thinking":
        for piece in text_pieces(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif call is not None:
        yield {"type": "input_json_delta", "partial_json": ""}
        arguments = call.encoded_arguments() if call.arguments or call.arguments_text else ""
        for piece in argument_pieces(arguments, 11):
            yield {"type": "input_json_delta", "partial_json": piece}
