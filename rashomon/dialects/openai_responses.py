"""OpenAI responses, as OpenAI and Azure speak them.

Shapes: platform.openai.com/docs/api-reference (responses, responses-streaming).
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
    words,
)
from rashomon.model import Json
from rashomon.streams import Event

RESPONSES = "openai.responses"

_TOP = words(
    "id object created_at completed_at status background billing error incomplete_details instructions "
    "max_output_tokens max_tool_calls model output output_text parallel_tool_calls previous_response_id prompt "
    "prompt_cache_key prompt_cache_retention reasoning safety_identifier service_tier store temperature text "
    "tool_choice tools top_logprobs top_p truncation usage user metadata conversation presence_penalty "
    "frequency_penalty moderation context_management content_filters"
)
_ITEM = words(
    "id type status role content phase name call_id arguments namespace input output summary encrypted_content "
    "action queries results result code container_id outputs error server_label tools approval_request_id "
    "pending_safety_checks acknowledged_safety_checks created_by operation environment max_output_length "
    "revised_prompt size quality background output_format approve reason execution"
)
_PART = words("type text annotations logprobs refusal parsed transcript")
_PARTS = frozenset(("output_text", "refusal", "reasoning_text", "text", "summary_text"))
_USAGE = words(
    "input_tokens input_tokens_details output_tokens output_tokens_details total_tokens cost cost_details "
    "num_sources_used num_server_side_tools_used cost_in_usd_ticks is_byok"
)
_INPUT_DETAILS = words("cached_tokens cache_write_tokens audio_tokens text_tokens image_tokens")
_OUTPUT_DETAILS = words("reasoning_tokens audio_tokens text_tokens image_tokens")

_ASKED = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "computer_call": "action",
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
}
"""Items by which the model asks the program to run a tool, and where the arguments are."""

_SERVED = {
    "web_search_call": ("action", "results"),
    "file_search_call": ("queries", "results"),
    "code_interpreter_call": ("code", "outputs"),
    "image_generation_call": ("revised_prompt", ""),
    "mcp_call": ("arguments", "output"),
    "tool_search_call": ("arguments", ""),
}
"""Items of tools that the provider ran itself: where the arguments and the result are."""

_OTHER = words(
    "message reasoning mcp_list_tools mcp_approval_request mcp_approval_response compaction tool_search_output "
    "function_call_output custom_tool_call_output computer_call_output local_shell_call_output shell_call_output "
    "apply_patch_call_output item_reference"
)


def read_response(answer: dict[str, Any]) -> Reading:
    """What a response says."""
    unknown: list[str] = []
    strange(unknown, "", answer, _TOP)
    texts: list[str] = []
    said = _Said()
    for item in dicts(answer.get("output")):
        kind = item.get("type")
        if kind == "message":
            strange(unknown, "output[].", item, _ITEM)
            text, refused = _content(item.get("content"), unknown)
            texts.append(text)
            said.refusals.append(refused)
        else:
            _read_item(item, text_of(kind), said, unknown)
    details = answer.get("incomplete_details")
    reason = text_of(details.get("reason")) if isinstance(details, dict) else ""
    tokens = _tokens(answer.get("usage"), unknown)
    refusal = "\n".join(filter(None, said.refusals)) or None
    return Reading(
        model=text_of(answer.get("model")) or None,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        finish=reason or text_of(answer.get("status")) or None,
        text="\n".join(filter(None, texts)) or refusal or "",
        tool_calls=tuple(said.calls),
        dialect=RESPONSES,
        unknown=named(unknown) if unknown else (),
        cached_tokens=tokens.cached,
        cache_write_tokens=tokens.cache_write,
        reasoning_tokens=tokens.reasoning,
        reasoning="\n\n".join(filter(None, said.reasoning)),
        refusal=refusal,
        server_calls=tuple(said.served),
        tool_results=tuple(said.results),
        tier=text_of(answer.get("service_tier")) or None,
    )


class _Said:
    """What has been read of a response so far."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []
        self.served: list[ToolCall] = []
        self.results: list[ToolResult] = []
        self.reasoning: list[str] = []
        self.refusals: list[str] = []


def _content(content: Json, unknown: list[str]) -> tuple[str, str]:
    """The text and the refusal of a message."""
    if not isinstance(content, list):
        return text_of(content), ""
    texts, refusals = [], []
    for part in dicts(content):
        if text_of(part.get("type")) not in _PARTS:
            unknown.append(f"output[].content[{text_of(part.get('type'))}]")
        strange(unknown, "output[].content[].", part, _PART)
        texts.append(text_of(part.get("text")))
        refusals.append(text_of(part.get("refusal")))
    return "".join(texts), "".join(refusals)


def _read_item(item: dict[str, Any], kind: str, said: _Said, unknown: list[str]) -> None:
    if kind in _ASKED:
        said.calls.append(_asked_call(item, kind))
    elif kind == "reasoning":
        said.reasoning.append(_reasoning(item))
    elif kind in _SERVED:
        asked, given = _SERVED[kind]
        name = text_of(item.get("name")) or kind.removesuffix("_call")
        said.served.append(ToolCall(text_of(item.get("id")), name, argument(item.get(asked))))
        result, error = item.get(given), item.get("error")
        if result is not None or error is not None:
            content = error if result is None else result
            said.results.append(ToolResult(text_of(item.get("id")), name, content, error is not None))
    elif kind not in _OTHER:
        unknown.append(f"output[{kind}]")
        return
    strange(unknown, f"output[{kind}].", item, _ITEM)


def _asked_call(item: dict[str, Any], kind: str) -> ToolCall:
    name = text_of(item.get("name")) or kind.removesuffix("_call")
    return ToolCall(text_of(item.get("call_id")) or text_of(item.get("id")), name, argument(item.get(_ASKED[kind])))


def _reasoning(item: dict[str, Any]) -> str:
    summary = "\n\n".join([text_of(part.get("text")) for part in dicts(item.get("summary"))])
    return joined(item.get("content")) or summary


def _tokens(usage: Json, unknown: list[str]) -> Tokens:
    if not isinstance(usage, dict):
        return Tokens()
    strange(unknown, "usage.", usage, _USAGE)
    before, after = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    if isinstance(before, dict):
        strange(unknown, "usage.input_tokens_details.", before, _INPUT_DETAILS)
    if isinstance(after, dict):
        strange(unknown, "usage.output_tokens_details.", after, _OUTPUT_DETAILS)
    return Tokens(
        count_of(usage, "input_tokens"),
        count_of(usage, "output_tokens"),
        count_of(before, "cached_tokens"),
        count_of(before, "cache_write_tokens"),
        count_of(after, "reasoning_tokens"),
    )


# ---------------------------------------------------------------------------------------- requests


def read_input(asked: Json) -> list[Message]:
    """The messages of a request: a text, or items, each a message of its own."""
    if isinstance(asked, str):
        return [Message("user", asked)]
    return [_input_item(item) for item in dicts(asked)]


def _input_item(item: dict[str, Any]) -> Message:
    kind = text_of(item.get("type"))
    if kind in _ASKED:
        return Message("assistant", tool_calls=(_asked_call(item, kind),))
    if kind.endswith("_output"):
        result = ToolResult(text_of(item.get("call_id")), text_of(item.get("name")), item.get("output"))
        return Message("tool", tool_results=(result,))
    if kind == "reasoning":
        return Message("assistant", reasoning=_reasoning(item))
    if kind not in ("", "message"):
        return Message(text_of(item.get("role")) or "assistant", other=(kind,))
    content = item.get("content")
    parts = dicts(content)
    refusal = "".join([text_of(part.get("refusal")) for part in parts])
    other = tuple(text_of(part.get("type")) for part in parts if "text" not in part and "refusal" not in part)
    return Message(text_of(item.get("role")), joined(content) or refusal, other=other)


def read_tools(request: dict[str, Any]) -> list[Tool]:
    """The tools that a request offers; the provider's own go by their type."""
    found = []
    for tool in dicts(request.get("tools")):
        kind = text_of(tool.get("type")) or "function"
        name = text_of(tool.get("name")) or text_of(tool.get("server_label")) or kind
        schema = tool.get("parameters", tool.get("format"))
        found.append(Tool(name, text_of(tool.get("description")), schema, kind))
    return found


# ----------------------------------------------------------------------------------------- streams

_FINAL = frozenset(("response.completed", "response.incomplete", "response.failed", "response.cancelled"))
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
_PARTS_OF_ITEM = {"response.content_part": "content", "response.reasoning_summary_part": "summary"}
_FAR = 64
"""How far beyond what is there an index may point: a damaged one must not make millions of empty parts."""


def assemble(events: list[Event], unknown: set[str]) -> dict[str, Any]:
    """The response that a stream's events make up; names of unknown events are added to `unknown`."""
    whole: dict[str, Any] = {}
    error: Json = None
    for _, data in events:
        if isinstance(data, dict):
            note_event(unknown, text_of(data.get("type")))
        else:
            note_stray(unknown, data)
    for _, data in reversed(events):  # what ends a stream has all of it
        if isinstance(data, dict) and text_of(data.get("type")) in _FINAL:
            response = data.get("response")
            if isinstance(response, dict) and response.get("output"):
                return response
            break
    items: dict[int, dict[str, Any]] = {}
    for _, data in events:
        kind = data.get("type") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(kind, str):
            continue
        response = data.get("response")
        if isinstance(response, dict):
            whole = response
        elif kind == "error":
            error = {key: value for key, value in data.items() if key not in ("type", "sequence_number")}
            inner = data.get("error")
            error = inner if isinstance(inner, dict) else error
        elif kind.startswith("response."):
            _grow_item(items, kind, data)
    whole = {**whole, "output": [items[number] for number in sorted(items)] or whole.get("output", [])}
    return whole if error is None else {**whole, "error": error}


def _grow_item(items: dict[int, dict[str, Any]], kind: str, data: dict[str, Any]) -> None:
    number = data.get("output_index", 0)
    if not isinstance(number, int):
        return
    if kind in ("response.output_item.added", "response.output_item.done"):
        if isinstance(data.get("item"), dict):
            items[number] = own(data["item"])
        return
    stem, _, verb = kind.rpartition(".")
    if stem in _GROWING_FIELDS and verb in ("delta", "done"):
        _grow_text(items.setdefault(number, {"type": "message"}), _GROWING_FIELDS[stem], verb, data)
    elif stem in _GROWING and verb in ("delta", "done"):
        listing, index_name, field, part_type = _GROWING[stem]
        part = _part(items.setdefault(number, {"type": "message"}), listing, data.get(index_name, 0), part_type, field)
        if part is not None:
            _grow_text(part, field, verb, data)
    elif kind == "response.output_text.annotation.added":
        part = _part(items.setdefault(number, {"type": "message"}), "content", data.get("content_index", 0), "", "")
        if part is not None and isinstance(part.setdefault("annotations", []), list):
            part["annotations"].append(data.get("annotation"))
    elif stem in _PARTS_OF_ITEM and verb == "done" and isinstance(data.get("part"), dict):
        listing = _PARTS_OF_ITEM[stem]
        index = data.get("content_index", data.get("summary_index", 0))
        part = _part(items.setdefault(number, {"type": "message"}), listing, index, "", "")
        if part is not None:
            part.update(own(data["part"]))


def _part(item: dict[str, Any], listing: str, position: Any, kind: str, field: str) -> dict[str, Any] | None:
    """The part of an item that an event is about; made where it has not been announced."""
    parts = item.setdefault(listing, [])
    if not isinstance(parts, list) or not isinstance(position, int) or not 0 <= position <= len(parts) + _FAR:
        return None
    while len(parts) <= position:
        parts.append({"type": kind, field: ""} if kind else {"type": "output_text", "text": ""})
    part = parts[position]
    return part if isinstance(part, dict) else None


def _grow_text(into: dict[str, Any], field: str, verb: str, data: dict[str, Any]) -> None:
    if verb == "done" and isinstance(data.get(field), str):
        into[field] = data[field]
    elif verb == "delta" and isinstance(data.get("delta"), str):
        into[field] = f"{into.get(field) or ''}{data['delta']}"


_KNOWN_EVENTS = words(
    "created in_progress queued completed incomplete failed cancelled output_item.added output_item.done "
    "content_part.added content_part.done output_text.delta output_text.done output_text.annotation.added "
    "refusal.delta refusal.done reasoning_text.delta reasoning_text.done reasoning_summary_part.added "
    "reasoning_summary_part.done reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary.delta "
    "reasoning_summary.done reasoning.delta reasoning.done function_call_arguments.delta function_call_arguments.done "
    "custom_tool_call_input.delta custom_tool_call_input.done mcp_call_arguments.delta mcp_call_arguments.done "
    "mcp_call.in_progress mcp_call.completed mcp_call.failed mcp_list_tools.in_progress mcp_list_tools.completed "
    "mcp_list_tools.failed web_search_call.in_progress web_search_call.searching web_search_call.completed "
    "file_search_call.in_progress file_search_call.searching file_search_call.completed "
    "code_interpreter_call.in_progress code_interpreter_call.interpreting code_interpreter_call.completed "
    "code_interpreter_call_code.delta code_interpreter_call_code.done image_generation_call.in_progress "
    "image_generation_call.generating image_generation_call.partial_image image_generation_call.completed "
    "audio.delta audio.done audio.transcript.delta audio.transcript.done"
)


def note_event(unknown: set[str], kind: str) -> None:
    """Note the type of an event, where this dialect does not have it."""
    if not (kind[:9] == "response." and kind[9:] in _KNOWN_EVENTS) and kind not in ("error", "keepalive"):
        unknown.add(f"event:{kind}")
