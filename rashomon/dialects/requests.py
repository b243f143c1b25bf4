"""What a request asks a model, whatever the dialect: model, system prompt, messages, tools."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from rashomon.dialects import (
    anthropic_messages,
    bedrock_converse,
    google_generate,
    openai_chat,
    openai_responses,
)
from rashomon.dialects.opening import SYSTEM_ROLES
from rashomon.dialects.reading import Asked, Message, Tool, dicts, text_of, words
from rashomon.model import Json

_IN_ADDRESS = re.compile(
    r"/deployments/([^/?#]+)/|/models?/([^/?#:]+(?::(?!\w*(?:[gG]enerate|[eE]mbed|[pP]redict))[^/?#]*)?)"
)
_ENDINGS = {
    "/chat/completions": openai_chat.CHAT,
    "/completions": openai_chat.COMPLETIONS,
    "/responses": openai_responses.RESPONSES,
    "/embeddings": openai_chat.EMBEDDINGS,
    "/messages": anthropic_messages.MESSAGES,
    "/complete": anthropic_messages.COMPLETE,
    "/count_tokens": anthropic_messages.COUNT,
    "/moderations": openai_chat.MODERATIONS,
    "/converse": bedrock_converse.CONVERSE,
    "/converse-stream": bedrock_converse.CONVERSE,
    "/invoke": bedrock_converse.INVOKE,
    "/invoke-with-response-stream": bedrock_converse.INVOKE,
    ":generateContent": google_generate.GENERATE,
    ":streamGenerateContent": google_generate.GENERATE,
    ":embedContent": google_generate.EMBED,
    ":batchEmbedContents": google_generate.EMBED,
    ":rawPredict": google_generate.PREDICT,
    ":streamRawPredict": google_generate.PREDICT,
}
"""How an address ends, and the dialect that is asked there."""

_LAST = re.compile(r"(/chat)?[/:][\w-]+$")
_SAID = words(
    "model messages system input instructions prompt contents tools toolConfig functions systemInstruction "
    "system_instruction"
)
"""Members of a request that `Asked` has under a name of its own."""


def model_in(url: str) -> str | None:
    """The model that an address names: an Azure deployment, Google's and Bedrock's paths."""
    if "/model" not in url and "/deployments/" not in url:
        return None
    found = _IN_ADDRESS.search(url)
    name = unquote(found.group(1) or found.group(2)) if found else ""
    return name or None


def dialect_of(request: Json, url: str = "") -> str | None:
    """The dialect in which a request asks: by how its address ends, or by its shape where there is no address.

    None of an unknown one, and of a body that is no JSON object. With an address, `request` may be no more than the
    request's members that are no lists.
    """
    if not isinstance(request, dict):
        return None
    path = url.partition("?")[0].rstrip("/")
    if not path:
        return _by_shape(request)
    found = _LAST.search(path)
    dialect = _ENDINGS.get(found.group()) if found else None
    if dialect is None or "/threads/" in path:
        return None
    speaks_anthropic = dialect in (bedrock_converse.INVOKE, google_generate.PREDICT) and "anthropic_version" in request
    return anthropic_messages.MESSAGES if speaks_anthropic else dialect


def _by_shape(request: dict[str, Any]) -> str | None:
    if isinstance(request.get("contents"), list):
        return google_generate.GENERATE
    messages = request.get("messages")
    if isinstance(messages, list):
        if "toolConfig" in request or "inferenceConfig" in request:
            return bedrock_converse.CONVERSE
        return anthropic_messages.MESSAGES if _speaks_anthropic(request) else openai_chat.CHAT
    if "input" in request:
        return openai_chat.EMBEDDINGS if "encoding_format" in request else openai_responses.RESPONSES
    return openai_chat.COMPLETIONS if "prompt" in request else None


def _speaks_anthropic(request: dict[str, Any]) -> bool:
    if "system" in request or "anthropic_version" in request:
        return True
    if any("input_schema" in tool for tool in dicts(request.get("tools"))):
        return True
    blocks = [block for message in dicts(request["messages"]) for block in dicts(message.get("content"))]
    return any(block.get("type") in ("tool_use", "tool_result", "thinking") for block in blocks)


def read_request(request: Json, url: str = "") -> Asked:
    """What a request asks. Without an address its shape alone tells the dialect. Never raises, whatever the JSON."""
    if not isinstance(request, dict):
        return Asked(dialect_of(request, url), model_in(url))
    dialect = dialect_of(request, url) or _by_shape(request)
    messages, system, tools = _conversation(request, dialect)
    leading = next((n for n, message in enumerate(messages) if message.role not in SYSTEM_ROLES), len(messages))
    said = [system or "", *[message.text for message in messages[:leading]]]
    return Asked(
        dialect=dialect,
        model=text_of(request.get("model")) or model_in(url),
        system="\n\n".join(filter(None, said)) or None,
        messages=tuple(messages[leading:]),
        tools=tuple(tools),
        settings={key: value for key, value in request.items() if key not in _SAID},
    )


def _conversation(request: dict[str, Any], dialect: str | None) -> tuple[list[Message], str | None, list[Tool]]:
    """Messages, the system prompt that stands beside them, and tools."""
    messages = request.get("messages")
    if dialect == anthropic_messages.MESSAGES:
        system = anthropic_messages.read_system(request.get("system"))
        return anthropic_messages.read_messages(messages), system, anthropic_messages.read_tools(request)
    if dialect == bedrock_converse.CONVERSE or (dialect == bedrock_converse.INVOKE and isinstance(messages, list)):
        system = bedrock_converse.read_system(request.get("system"))
        return bedrock_converse.read_messages(messages), system, bedrock_converse.read_tools(request)
    if dialect == google_generate.GENERATE:
        system = google_generate.read_system(request)
        return google_generate.read_contents(request.get("contents")), system, google_generate.read_tools(request)
    if dialect == openai_responses.RESPONSES:
        system = text_of(request.get("instructions")) or None
        return openai_responses.read_input(request.get("input")), system, openai_responses.read_tools(request)
    if isinstance(messages, list):
        return openai_chat.read_messages(messages), None, openai_chat.read_tools(request)
    prompt = request.get("prompt", request.get("input", request.get("inputText")))
    texts = [prompt] if isinstance(prompt, str) else prompt if isinstance(prompt, list) else []
    return [Message("user", text) for text in texts if isinstance(text, str)], None, []
