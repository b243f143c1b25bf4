"""Messages in the parts of OpenTelemetry's GenAI conventions, as messages of OpenAI's chat completions, and back.

Source: the JSON schemas of `gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions` and
`gen_ai.tool.definitions` in open-telemetry/semantic-conventions-genai, and what their predecessors allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rashomon.dialects import Message, Tool
from rashomon.interchange.nested import items, plain, text
from rashomon.model import Json

# ------------------------------------------------------------------------------------------ from parts to chat


def chat_messages(messages: Json) -> list[dict[str, Any]]:
    """Messages with parts (or already with a content) as chat messages. A tool's result becomes one of its own."""
    found: list[dict[str, Any]] = []
    for message in items(messages):
        parts = plain(message.get("parts"))
        if isinstance(parts, list):
            found.extend(_runs(text(message.get("role")) or "user", parts, text(message.get("name"))))
        else:
            found.extend(without_blocks(message) or [loose_message(message)])
    return found


def without_blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message whose content has calls of tools or their results among its blocks, as Anthropic's have, as chat has
    them: calls beside the content, each result a message of its own. Empty for a message without such blocks.

    Source: the content blocks of Anthropic's Messages API.
    """
    content = message.get("content")
    blocks = plain(content) if _has_parts(content) else None
    if not isinstance(blocks, list) or not any(block.get("type") in ("tool_use", "tool_result") for block in blocks):
        return []
    found = _runs(text(message.get("role")) or "user", blocks, text(message.get("name")))
    own = {name: value for name, value in message.items() if name not in ("content", "role", "name")}
    return [one if one["role"] == "tool" else {**own, **one} for one in found]


def _runs(role: str, parts: list[Any], name: str) -> list[dict[str, Any]]:
    """A message's parts in their order, results of tools apart from all others."""
    found: list[dict[str, Any]] = []
    own: list[dict[str, Any]] = []
    for part in parts:
        part = {"type": "text", "content": part} if isinstance(part, str) else part
        if not isinstance(part, dict):
            continue
        if part.get("type") in ("tool_call_response", "tool_result"):
            if own:
                found.append(message_of(role, own, name))
                own = []
            result = next((part[key] for key in ("response", "result", "content") if part.get(key) is not None), "")
            call = text(part.get("id")) or text(part.get("tool_use_id"))
            answer: dict[str, Any] = {"role": "tool", "tool_call_id": call, "content": _result_text(result)}
            if text(part.get("name")):
                answer["name"] = part["name"]
            found.append(answer)
        else:
            own.append(part)
    if own or not found:
        found.append(message_of(role, own, name))
    return found


def _result_text(result: Json) -> str:
    """A tool's result as one text; blocks of text are joined."""
    blocks = result if isinstance(result, list) else []
    texts = [block["text"] for block in blocks if isinstance(block, dict) and block.get("type") == "text"
             and isinstance(block.get("text"), str)]  # fmt: skip
    return "\n".join(texts) if blocks and len(texts) == len(blocks) else as_text(result)


def message_of(role: str, parts: list[dict[str, Any]], name: str = "") -> dict[str, Any]:
    """Parts that are no results of tools as one chat message."""
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    reasoning: list[str] = []
    for part in parts:
        kind = part.get("type")
        if kind == "text":
            content.append({"type": "text", "text": as_text(part.get("content", part.get("text")))})
        elif kind in ("tool_call", "tool_use"):
            arguments = part.get("arguments", part.get("input"))
            calls.append(tool_call(text(part.get("id")), text(part.get("name")), arguments))
        elif kind in ("reasoning", "thinking"):
            reasoning.append(as_text(part.get("content", part.get("thinking"))))
        else:
            content.append(_media(part))
    texts = all(part["type"] == "text" for part in content)
    message: dict[str, Any] = {"role": role}
    if name:
        message["name"] = name
    if reasoning:
        message["reasoning_content"] = "".join(reasoning)
    if not content:
        message["content"] = None if calls else ""
    else:
        message["content"] = content[0]["text"] if texts and len(content) == 1 else content
    if calls:
        message["tool_calls"] = calls
    return message


def _media(part: dict[str, Any]) -> dict[str, Any]:
    """Images as chat has them; whatever else as it is, under its own type."""
    modality, kind = part.get("modality"), part.get("type")
    if modality == "image" and kind == "uri" and isinstance(part.get("uri"), str):
        return {"type": "image_url", "image_url": {"url": part["uri"]}}
    if modality == "image" and kind == "blob" and isinstance(part.get("content"), str):
        url = f"data:{part.get('mime_type') or 'image/png'};base64,{part['content']}"
        return {"type": "image_url", "image_url": {"url": url}}
    return {**part, "type": text(kind) or "unknown"}


def tool_call(call: str, name: str, arguments: Json) -> dict[str, Any]:
    """A call that a model asks for; its arguments as the JSON text that chat has them in."""
    return {"id": call, "type": "function", "function": {"name": name, "arguments": as_text(arguments, "{}")}}


def as_text(value: Json, empty: str = "") -> str:
    """A text as it is, nothing as `empty`, anything else as JSON."""
    if isinstance(value, str):
        return value
    return empty if value is None else json.dumps(value, ensure_ascii=False)


def loose_message(message: dict[str, Any]) -> dict[str, Any]:
    """A message that is in the chat form, or nearly: calls of tools without their inner object, contents as JSON."""
    found: dict[str, Any] = {"role": text(message.get("role")) or "user"}
    content = plain(message.get("content")) if _has_parts(message.get("content")) else message.get("content")
    calls = [_loose_call(call) for call in items(message.get("tool_calls"))]
    if isinstance(content, list):
        return {**_merged(found["role"], content), **_extras(message), **({"tool_calls": calls} if calls else {})}
    found["content"] = as_text(content) if content is not None or not calls else None
    found |= _extras(message)
    if calls:
        found["tool_calls"] = calls
    return found


def _extras(message: dict[str, Any]) -> dict[str, Any]:
    kept = ("name", "tool_call_id", "refusal", "reasoning_content")
    return {name: message[name] for name in kept if isinstance(message.get(name), str) and message[name]}


def _has_parts(content: Json) -> bool:
    """Whether a content is the JSON text of a list of parts; any other text that begins so is a text."""
    value = plain(content)
    return isinstance(value, list) and all(isinstance(part, dict) and "type" in part for part in value) and bool(value)


def _merged(role: str, content: list[Any]) -> dict[str, Any]:
    parts = [part for part in content if isinstance(part, dict)]
    if all(part.get("type") == "text" for part in parts) and len(parts) == 1:
        return {"role": role, "content": as_text(parts[0].get("text", parts[0].get("content")))}
    return {"role": role, "content": parts}


def _loose_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") if isinstance(call.get("function"), dict) else call
    arguments = function.get("arguments", function.get("input", function.get("args")))  # type: ignore[union-attr]
    return tool_call(text(call.get("id")), text(function.get("name")), arguments)  # type: ignore[union-attr]


def chat_tools(definitions: Json) -> list[dict[str, Any]]:
    """Definitions of tools, flat or in the chat form, in the chat form."""
    found = []
    for tool in items(definitions):
        if isinstance(tool.get("function"), dict) or "name" not in tool:
            found.append(tool)
            continue
        schema = next((tool[key] for key in ("parameters", "input_schema", "schema") if key in tool), None)
        function = {key: value for key, value in (
            ("name", tool["name"]), ("description", tool.get("description")), ("parameters", plain(schema))
        ) if value is not None}  # fmt: skip
        found.append({"type": "function", "function": function})
    return found


# ------------------------------------------------------------------------------------------ from chat to parts


def parts_of(message: Message) -> dict[str, Json]:
    """A message, read whatever its dialect, with parts. Contents that are no text are named, and not carried."""
    parts: list[Json] = []
    if message.reasoning:
        parts.append({"type": "reasoning", "content": message.reasoning})
    if message.text:
        parts.append({"type": "text", "content": message.text})
    parts.extend({"type": kind or "unknown"} for kind in message.other)
    for call in message.tool_calls:
        parts.append(call_part(call.id, call.name, call.arguments))
    for result in message.tool_results:
        part: dict[str, Json] = {"type": "tool_call_response", "id": result.id, "response": result.content}
        parts.append({**part, "name": result.name} if result.name else part)
    return {"role": message.role, "parts": parts}


def call_part(call: str, name: str, arguments: Json) -> dict[str, Json]:
    """A call that a model asks for, as a part."""
    return {"type": "tool_call", "id": call or None, "name": name, "arguments": arguments}


def definitions_of(tools: Iterable[Tool]) -> list[Json]:
    """Tools that a model was offered, as the conventions define them."""
    return [
        {"type": tool.kind, "name": tool.name}
        | ({"description": tool.description} if tool.description else {})
        | ({} if tool.schema is None else {"parameters": tool.schema})
        for tool in tools
    ]
