"""OpenAI's POST /v1/responses: request in, response object or stream of events out.

Shapes and the order of events follow OpenAI's API reference and recorded traffic of 2026.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from .model import Message, ModelRequest, Tool, ToolCall, ToolResult
from .wire import (
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

KEPT_RESPONSES = 1000  # that `previous_response_id` can refer to; the oldest are forgotten first


class Stored:
    """The responses that a server remembers, for `previous_response_id` and GET /v1/responses/{id}."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[list[Any], dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def keep(self, raw: Any, whole: dict[str, Any]) -> None:
        """Remember a response, unless the request said `store: false`."""
        if raw.get("store") is False:
            return
        with self._lock:
            self._kept[whole["id"]] = ([*_items(raw.get("input")), *whole["output"]], whole)
            if len(self._kept) > KEPT_RESPONSES:
                del self._kept[next(iter(self._kept))]

    def whole(self, name: str) -> dict[str, Any]:
        """A response by its id. Raises ApiError 404."""
        with self._lock:
            if name not in self._kept:
                raise ApiError(404, f"Response with id '{name}' not found.", code="response_not_found")
            return self._kept[name][1]

    def resolved(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The request with the items of its `previous_response_id` before its own."""
        name = raw.get("previous_response_id")
        if not name:
            return raw
        with self._lock:
            if name not in self._kept:
                message = f"Previous response with id '{name}' not found."
                raise ApiError(400, message, param="previous_response_id", code="previous_response_not_found")
            return raw | {"input": [*self._kept[name][0], *_items(raw.get("input"))]}


def _items(value: Any) -> list[Any]:
    return [{"role": "user", "content": value}] if isinstance(value, str) else list(value or ())


def parse(raw: dict[str, Any], headers: tuple[tuple[str, str], ...]) -> ModelRequest:
    """The request in neutral words. Raises ApiError for what OpenAI refuses with a 400."""
    if not isinstance(raw.get("model"), str):
        raise ApiError(400, "Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
    if not isinstance(raw.get("input"), (str, list)) or not raw["input"]:
        raise ApiError(400, "Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    system, messages = _messages(_items(raw["input"]))
    choice = raw.get("tool_choice")
    wanted = (raw.get("text") or {}).get("format") or {}
    schema = (wanted.get("schema") or {}) if wanted.get("type") in ("json_schema", "json_object") else None
    return ModelRequest(
        provider="openai",
        api="responses",
        model=raw["model"],
        system="\n\n".join(filter(None, (raw.get("instructions"), system))),
        messages=messages,
        tools=tuple(
            Tool(entry["name"], entry.get("description") or "", entry.get("parameters") or {})
            for entry in raw.get("tools") or ()
            if entry.get("type") == "function"
        ),
        tool_choice=str(choice.get("name")) if isinstance(choice, dict) else choice or "auto",
        parallel_tool_calls=raw.get("parallel_tool_calls") is not False,
        temperature=number(raw, "temperature"),
        max_tokens=number(raw, "max_output_tokens", int),
        stream=raw.get("stream") is True,
        thinking=bool(raw.get("reasoning")),
        response_schema=schema,
        raw=raw,
        headers=headers,
    )


def _messages(items: list[Any]) -> tuple[str, tuple[Message, ...]]:
    system: list[str] = []
    messages: list[Message] = []
    called: dict[str, ToolCall] = {}
    for position, item in enumerate(items):
        kind = item.get("type", "message") if isinstance(item, dict) else None
        if kind == "message" and item.get("role") in ("system", "developer"):
            system.append(text_of_parts(item.get("content")))
        elif kind == "message" and item.get("role") in ("user", "assistant"):
            messages.append(Message(item["role"], text_of_parts(item.get("content"))))
        elif kind == "function_call":
            call = ToolCall(item["name"], parsed_arguments(item["arguments"]), item["call_id"], item["arguments"])
            called[item["call_id"]] = call
            messages.append(Message("assistant", tool_calls=(call,)))
        elif kind == "function_call_output":
            call_id = str(item.get("call_id"))
            if call_id not in called:
                raise ApiError(
                    400, f"No tool call found for function call output with call_id {call_id}.", param="input"
                )
            made = called[call_id]
            result = ToolResult(call_id, made.name, made.arguments, text_of_parts(item.get("output")))
            messages.append(Message("tool", tool_results=(result,)))
        elif kind != "reasoning":
            raise ApiError(400, f"Invalid value: '{kind}'.", param=f"input[{position}]", code="invalid_value")
    return "\n\n".join(system), tuple(messages)


def _output(answering: Answering) -> list[dict[str, Any]]:
    reply, ids = answering.reply, answering.ids
    output: list[dict[str, Any]] = []
    if answering.request.thinking:
        summary = [{"type": "summary_text", "text": reply.reasoning}] if reply.reasoning else []
        output.append({"id": ids.hex("rs_", 50), "type": "reasoning", "summary": summary})
        if "reasoning.encrypted_content" in (answering.request.raw.get("include") or ()):
            output[-1]["encrypted_content"] = ids.base62("gAAAAA", 120)
    if reply.text or not reply.tool_calls:
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": reply.text}
        status = "incomplete" if reply.finish == "length" else "completed"
        item = {"id": ids.hex("msg_", 50), "type": "message", "status": status, "content": [part]}
        output.append(item | {"role": "assistant"})
    for call in reply.tool_calls:
        item = {"id": ids.hex("fc_", 50), "type": "function_call", "status": "completed"}
        item |= {
            "arguments": call.encoded_arguments(),
            "call_id": call.id or ids.base62("call_", 24),
            "name": call.name,
        }
        output.append(item)
    return output


def render(answering: Answering) -> dict[str, Any]:
    """The whole response as one object; what the request set is repeated in it, as OpenAI does."""
    raw, finish = answering.request.raw, answering.reply.finish
    usage = usage_of(answering.request, answering.replies)
    short = {"length": "max_output_tokens", "refusal": "content_filter"}.get(finish)
    reasoning = raw.get("reasoning") or {}
    text = raw.get("text") or {}
    tools = [{"strict": True, **tool} for tool in raw.get("tools") or ()]
    return {
        "id": answering.ids.hex("resp_", 50),
        "object": "response",
        "created_at": answering.created,
        "status": "incomplete" if short else "completed",
        "background": False,
        "completed_at": None if short else answering.created,
        "error": None,
        "incomplete_details": {"reason": short} if short else None,
        "instructions": raw.get("instructions"),
        "max_output_tokens": raw.get("max_output_tokens"),
        "max_tool_calls": raw.get("max_tool_calls"),
        "model": answering.request.model,
        "output": _output(answering),
        "parallel_tool_calls": answering.request.parallel_tool_calls,
        "previous_response_id": raw.get("previous_response_id"),
        "prompt_cache_key": raw.get("prompt_cache_key"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "safety_identifier": raw.get("safety_identifier"),
        "service_tier": "default",
        "store": raw.get("store") is not False,
        "temperature": 1.0 if raw.get("temperature") is None else raw["temperature"],
        "text": {
            "format": text.get("format") or {"type": "text"},
            "verbosity": text.get("verbosity") or "medium",
        },
        "tool_choice": raw.get("tool_choice") or "auto",
        "tools": tools,
        "top_logprobs": 0,
        "top_p": 1.0 if raw.get("top_p") is None else raw["top_p"],
        "truncation": raw.get("truncation") or "disabled",
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": usage.cached_tokens},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
        "user": raw.get("user"),
        "metadata": raw.get("metadata") or {},
    }


def stream(answering: Answering, whole: dict[str, Any]) -> Iterator[bytes]:
    """The response `whole` as events with running sequence numbers."""
    begun = whole | {"status": "in_progress", "output": [], "usage": None, "completed_at": None}
    begun["incomplete_details"] = None
    events: list[Iterator[dict[str, Any]]] = [iter([
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ])]  # fmt: skip
    pads = (answering.request.raw.get("stream_options") or {}).get("include_obfuscation") is not False
    for index, item in enumerate(whole["output"]):
        events.append(_item_events(index, item))
    events.append(iter([{"type": f"response.{whole['status']}", "response": whole}]))
    sequence = 0
    for group in events:
        for event in group:
            if pads and event["type"].endswith(".delta"):
                event["obfuscation"] = answering.ids.base62("", 16 - len(event["delta"]) % 16)
            yield sse(event | {"sequence_number": sequence}, event["type"])
            sequence += 1


def _item_events(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    parts = {"message": _message_events, "function_call": _call_events, "reasoning": _reasoning_events}
    started: dict[str, dict[str, Any]] = {
        "message": {"status": "in_progress", "content": []},
        "reasoning": {"summary": []},
    }
    opening = item | started.get(item["type"], {"status": "in_progress", "arguments": ""})
    yield {"type": "response.output_item.added", "item": opening, "output_index": index}
    for event in parts[item["type"]](item):
        yield event | {"item_id": item["id"], "output_index": index}
    yield {"type": "response.output_item.done", "item": item, "output_index": index}


def _message_events(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for index, part in enumerate(item["content"]):
        place = {"content_index": index}
        yield {"type": "response.content_part.added", **place, "part": part | {"text": ""}}
        for piece in text_pieces(part["text"]):
            yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **place, "logprobs": [], "text": part["text"]}
        yield {"type": "response.content_part.done", **place, "part": part}


def _call_events(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for piece in argument_pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", "delta": piece}
    yield {
        "type": "response.function_call_arguments.done",
        "arguments": item["arguments"],
        "name": item["name"],
    }


def _reasoning_events(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for index, part in enumerate(item["summary"]):
        place = {"summary_index": index}
        yield {"type": "response.reasoning_summary_part.added", **place, "part": part | {"text": ""}}
        for piece in text_pieces(part["text"]):
            yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **place, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", **place, "part": part}
