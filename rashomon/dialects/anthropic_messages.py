"""Anthropic messages, as Anthropic, Bedrock's invoke and Vertex's rawPredict speak them, and the older completions.

Shapes: docs.anthropic.com/en/api (messages, messages-streaming, complete).
"""

from __future__ import annotations

from typing import Any

from rashomon.dialects.openai_chat import own
from rashomon.dialects.reading import (
    Message,
    Reading,
    Tokens,
    Tool,
    ToolCall,
    ToolResult,
    argument,
    count_of,
    dicts,
    joined,
    named,
    note_stray,
    strange,
    text_of,
    total,
    words,
)
from rashomon.model import Json
from rashomon.streams import Event

MESSAGES, COMPLETE, COUNT = "anthropic.messages", "anthropic.complete", "anthropic.count_tokens"

_TOP = words(
    "id type role model content stop_reason stop_sequence stop_details usage container context_management error "
    "request_id diagnostics amazon-bedrock-invocationMetrics amazon-bedrock-guardrailAction amazon-bedrock-trace"
)
_BLOCKS = {
    "text": words("type text citations"),
    "thinking": words("type thinking signature"),
    "redacted_thinking": words("type data"),
    "tool_use": words("type id name input caller"),
    "server_tool_use": words("type id name input caller"),
    "mcp_tool_use": words("type id name input server_name"),
    "compaction": words("type content encrypted_content"),
    "container_upload": words("type file_id"),
}
_RESULT = words("type tool_use_id content is_error caller cache_control")
_USAGE = words(
    "input_tokens output_tokens cache_creation_input_tokens cache_read_input_tokens cache_creation server_tool_use "
    "service_tier inference_geo iterations speed output_tokens_details"
)
_EVENTS = words(
    "message_start content_block_start ping content_block_delta content_block_stop message_delta message_stop error"
)
_REFUSED = "refusal"


def read_message(answer: dict[str, Any]) -> Reading:
    """What a message says."""
    unknown: list[str] = []
    strange(unknown, "", answer, _TOP)
    said = read_blocks(answer["content"], unknown)
    finish = text_of(answer.get("stop_reason")) or None
    refusal = None
    if finish == _REFUSED:
        details = answer.get("stop_details")
        refusal = said.text or (text_of(details.get("explanation")) if isinstance(details, dict) else "") or finish
    usage = answer.get("usage")
    tokens = _tokens(usage, unknown)
    return Reading(
        model=text_of(answer.get("model")) or None,
        input_tokens=tokens.input,
        output_tokens=tokens.output if finish else None,  # of a cut stream, the count is that of its beginning
        finish=finish,
        text=said.text,
        tool_calls=said.tool_calls,
        dialect=MESSAGES,
        unknown=named(unknown) if unknown else (),
        cached_tokens=tokens.cached,
        cache_write_tokens=tokens.cache_write,
        reasoning_tokens=tokens.reasoning,
        reasoning=said.reasoning,
        refusal=refusal,
        server_calls=said.server_calls,
        tool_results=said.tool_results,
        tier=_tier(usage) if isinstance(usage, dict) else None,
        long_cache_tokens=count_of(_inside(usage, "cache_creation"), "ephemeral_1h_input_tokens"),
        searches=count_of(_inside(usage, "server_tool_use"), "web_search_requests"),
    )


def _tier(usage: dict[str, Any]) -> str | None:
    return "fast" if usage.get("speed") == "fast" else text_of(usage.get("service_tier")) or None


def _inside(value: Json, name: str) -> Json:
    return value.get(name) if isinstance(value, dict) else None


def read_blocks(content: Json, unknown: list[str]) -> Reading:
    """What the blocks of a message say: texts, thinking, calls of the program's tools and of the provider's own."""
    texts: list[str] = []
    thinking: list[str] = []
    calls: list[ToolCall] = []
    served: list[ToolCall] = []
    results: list[ToolResult] = []
    for block in dicts(content):
        kind = text_of(block.get("type"))
        known = _BLOCKS.get(kind)
        if known is not None:
            strange(unknown, f"content[{kind}].", block, known)
        elif not kind.endswith("tool_result"):
            unknown.append(f"content[{kind}]")
            continue
        if kind == "text":
            texts.append(text_of(block.get("text")))
        elif kind == "thinking":
            thinking.append(text_of(block.get("thinking")))
        elif kind.endswith("tool_use"):
            call = ToolCall(text_of(block.get("id")), text_of(block.get("name")), block.get("input"))
            (calls if kind == "tool_use" else served).append(call)
        elif known is None:
            strange(unknown, f"content[{kind}].", block, _RESULT)
            results.append(_result(block))
    reasoning = "\n\n".join(filter(None, thinking))
    return Reading(
        text="".join(texts),
        tool_calls=tuple(calls),
        reasoning=reasoning,
        server_calls=tuple(served),
        tool_results=tuple(results),
    )


def _result(block: dict[str, Any]) -> ToolResult:
    content = block.get("content")
    kind = text_of(block.get("type"))
    # `web_search_tool_result` and its like name the provider's tool
    name = kind.removesuffix("_tool_result") if kind not in ("tool_result", "mcp_tool_result") else ""
    failed = block.get("is_error") is True or (
        isinstance(content, dict) and text_of(content.get("type")).endswith("_error")
    )
    return ToolResult(text_of(block.get("tool_use_id")), name, content, failed)


def _tokens(usage: Json, unknown: list[str]) -> Tokens:
    if not isinstance(usage, dict):
        return Tokens()
    strange(unknown, "usage.", usage, _USAGE)
    fresh = count_of(usage, "input_tokens")
    written, read = count_of(usage, "cache_creation_input_tokens"), count_of(usage, "cache_read_input_tokens")
    # Anthropic counts cached tokens beside input_tokens, the others inside them
    whole = None if fresh is None else total(fresh, written, read)
    details = usage.get("output_tokens_details")
    thought = count_of(details, "thinking_tokens") if isinstance(details, dict) else None
    return Tokens(whole, count_of(usage, "output_tokens"), read, written, thought)


_COMPLETE_TOP = words("completion stop_reason model stop log_id id type truncated exception error")


def read_complete(answer: dict[str, Any]) -> Reading:
    """What an answer of the completions before messages says."""
    unknown: list[str] = []
    strange(unknown, "", answer, _COMPLETE_TOP)
    return Reading(
        model=text_of(answer.get("model")) or None,
        finish=text_of(answer.get("stop_reason")) or None,
        text=text_of(answer.get("completion")),
        dialect=COMPLETE,
        unknown=named(unknown) if unknown else (),
    )


def read_count(answer: dict[str, Any]) -> Reading:
    """How many tokens a prompt would have; none of them is used by counting."""
    return Reading(note=f"{answer['input_tokens']:,} tokens", dialect=COUNT)


# ---------------------------------------------------------------------------------------- requests


def read_messages(listed: Json) -> list[Message]:
    """The messages of a request."""
    return [_request_message(message) for message in dicts(listed)]


def _request_message(message: dict[str, Any]) -> Message:
    content = message.get("content")
    role = text_of(message.get("role"))
    if isinstance(content, str):
        return Message(role, content)
    said = read_blocks(content, [])
    spoken = ("text", "thinking", "redacted_thinking")
    kinds = [text_of(block.get("type")) for block in dicts(content)]
    other = [kind for kind in kinds if kind not in spoken and not kind.endswith(("tool_use", "tool_result"))]
    calls = said.tool_calls + said.server_calls
    return Message(role, said.text, calls, said.tool_results, said.reasoning, tuple(other))


def read_system(system: Json) -> str | None:
    """The system prompt: a text, or blocks of text."""
    if isinstance(system, list):
        return "\n\n".join(filter(None, [joined([block]) for block in system])) or None
    return text_of(system) or None


def read_tools(request: dict[str, Any]) -> list[Tool]:
    """The tools that a request offers; the provider's own go by their type."""
    found = []
    for tool in dicts(request.get("tools")):
        kind = text_of(tool.get("type")) or "custom"
        about = text_of(tool.get("description"))
        found.append(Tool(text_of(tool.get("name")) or kind, about, tool.get("input_schema"), kind))
    return found


# ----------------------------------------------------------------------------------------- streams

_BLOCK_TEXT = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "compaction_delta": "content",
}


def assemble(events: list[Event], unknown: set[str]) -> dict[str, Any]:
    """The message that a stream's events make up; names of unknown events are added to `unknown`."""
    whole: dict[str, Any] = {}
    blocks: dict[int, _Block] = {}
    for _, data in events:
        if not isinstance(data, dict):
            note_stray(unknown, data)
            continue
        kind, number = data.get("type"), data.get("index", 0)
        number = number if isinstance(number, int) else 0
        if kind == "content_block_delta":
            if isinstance(data.get("delta"), dict):
                found = blocks.get(number)
                if found is None:
                    found = blocks[number] = _Block({})
                found.grow(data["delta"], unknown)
        elif kind == "message_start" and isinstance(data.get("message"), dict):
            whole = dict(data["message"])
        elif kind == "content_block_start" and isinstance(data.get("content_block"), dict):
            blocks[number] = _Block(own(data["content_block"]))
        elif kind == "message_delta":
            _end_message(whole, data)
        elif kind == "message_stop":
            whole.update({key: value for key, value in data.items() if key.startswith("amazon-")})
        elif kind == "error":
            whole["error"] = data.get("error")
        elif text_of(kind) not in _EVENTS:
            unknown.add(f"event:{text_of(kind)}")
    whole["content"] = [blocks[number].whole() for number in sorted(blocks)]
    return whole


class _Block:
    """One block while it grows. Its texts come in many small pieces, which are joined at the end."""

    __slots__ = ("_input", "_texts", "_whole")

    def __init__(self, start: dict[str, Any]) -> None:
        self._whole = start
        self._texts: dict[str, list[str]] = {}
        self._input: list[str] = []

    def grow(self, delta: dict[str, Any], unknown: set[str]) -> None:
        """Continue with a delta; one of an unknown kind is stated as it is, and noted."""
        kind = delta.get("type")
        field = _BLOCK_TEXT.get(kind) if isinstance(kind, str) else None
        if field is not None and isinstance(delta.get(field), str):
            texts = self._texts.get(field)
            if texts is None:
                texts = self._texts[field] = [text_of(self._whole.get(field))]
            texts.append(delta[field])
        elif kind == "input_json_delta":
            self._input.append(text_of(delta.get("partial_json")))
        elif kind == "citations_delta":
            citations = self._whole.get("citations")
            self._whole["citations"] = [*(citations if isinstance(citations, list) else ()), delta.get("citation")]
        else:
            unknown.add(f"event:content_block_delta[{text_of(kind)}]")
            self._whole.update({key: value for key, value in delta.items() if key != "type"})

    def whole(self) -> dict[str, Any]:
        """The block as it is without streaming."""
        for field, texts in self._texts.items():
            self._whole[field] = "".join(texts)
        text = "".join(self._input)
        if text:
            self._whole["input"] = argument(text)
        return self._whole


def _end_message(whole: dict[str, Any], data: dict[str, Any]) -> None:
    if isinstance(data.get("delta"), dict):
        whole.update(data["delta"])
    usage, more = whole.get("usage"), data.get("usage")
    if isinstance(more, dict):
        stated = {key: value for key, value in more.items() if value is not None}
        whole["usage"] = {**(usage if isinstance(usage, dict) else {}), **stated}
    if "context_management" in data:
        whole["context_management"] = data["context_management"]


def assemble_complete(events: list[Event], unknown: set[str]) -> dict[str, Any]:
    """The completion that a stream of the older completions makes up."""
    whole: dict[str, Any] = {}
    texts: list[str] = []
    for _, data in events:
        if not isinstance(data, dict):
            note_stray(unknown, data)
        elif data.get("type") != "ping":
            texts.append(text_of(data.get("completion")))
            whole.update(data)
    whole["completion"] = "".join(texts)
    return whole
