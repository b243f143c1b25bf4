"""A span that follows the OpenInference conventions (Arize Phoenix and others), as a call.

Names from `openinference-semantic-conventions` 0.1 and the specification's pages on spans and messages. Attributes are
flat (`llm.input_messages.0.message.role`), nested, or lists of objects with flat names; the tree of them is the same.
"""

from __future__ import annotations

import json
from typing import Any

from rashomon.interchange import chat, genai
from rashomon.interchange.exchanges import Choice, Exchange, Usage
from rashomon.interchange.nested import at, count, items, plain, text, tree
from rashomon.interchange.spans import Span
from rashomon.model import Json

KIND = "openinference.span.kind"
_ROLES = {"LLM": "llm", "EMBEDDING": "llm", "TOOL": "tool", "RETRIEVER": "tool", "RERANKER": "tool"}
_NO_SETTINGS = ("model", "messages", "input", "prompt", "tools", "functions")
_PROVIDERS = {"google": "gcp.gemini", "azure": "azure.ai.openai", "aws": "aws.bedrock", "mistralai": "mistral_ai"}
"""OpenInference's names of providers that OpenTelemetry calls otherwise."""


def is_openinference(span: Span) -> bool:
    """Whether a span says of itself what kind it is, in OpenInference's way."""
    return isinstance(span.attributes.get(KIND), str) or "llm.input_messages.0.message.role" in span.attributes


def role_of(span: Span) -> str:
    """What a span is: `llm`, `tool`, or nothing that crossed a boundary."""
    kind = text(span.attributes.get(KIND)).upper()
    return _ROLES.get(kind, "") if kind else "llm"


def exchange_of(span: Span) -> Exchange:
    """The call of a model that a span tells of. Never raises: what is not told is empty.

    Some tell their kind in these words, and all else in OpenTelemetry's.
    """
    if "gen_ai.request.model" in span.attributes and not any(name.startswith("llm.") for name in span.attributes):
        return genai.exchange_of(span)
    grown = tree(span.attributes)
    llm = grown.get("llm")
    llm = llm if isinstance(llm, dict) else {}
    if text(span.attributes.get(KIND)).upper() == "EMBEDDING":
        return _embedding(grown, llm)
    settings = _settings(at(llm, "invocation_parameters"))
    asked_for = text(at(plain(at(llm, "invocation_parameters")), "model"))
    messages = [message_of(one) for one in items(at(llm, "input_messages"))]
    answers = [message_of(one) for one in items(at(llm, "output_messages"))]
    if not messages:
        messages = _prompts(llm, grown)
    if not answers:
        answers = _completions(llm, grown)
    finish = text(llm.get("finish_reason")) or None
    model = text(llm.get("model_name")) or text(at(llm, "request", "model_name"))
    return Exchange(
        "chat",
        _provider(llm),
        "",
        text(at(llm, "request", "model_name")) or asked_for or model or text(at(llm, "response", "model_name")),
        tuple(messages),
        None,
        tuple(_tools(llm)),
        settings,
        tuple(Choice({**answer, "role": answer["role"] or "assistant"}, finish) for answer in answers),
        _usage(llm),
        "",
        text(at(llm, "response", "model_name")) or model,
    )


def tool_of(span: Span) -> tuple[str, Json, Json, bool, str]:
    """Name, arguments, result, whether there is a result, and the id of the call, of a span of a tool."""
    grown = tree(span.attributes)
    name = text(at(grown, "tool", "name")) or span.name
    arguments = plain(at(grown, "input", "value"))
    if arguments is None:
        arguments = plain(at(grown, "tool", "parameters"))
    result = plain(at(grown, "output", "value"))
    if result is None:
        documents = at(grown, "retrieval", "documents") or at(grown, "reranker", "output_documents")
        result = [one.get("document", one) for one in items(documents)] if documents else None
    if not isinstance(arguments, dict):
        arguments = {} if arguments is None else {"input": arguments}
    return (
        name,
        arguments,
        result,
        result is not None,
        text(at(grown, "tool_call", "id")) or text(at(grown, "tool", "id")),
    )


def message_of(item: dict[str, Any]) -> dict[str, Any]:
    """An entry of `llm.input_messages` as a chat message."""
    message = item.get("message")
    message = message if isinstance(message, dict) else item
    content: Any = message.get("content")
    contents = [_content(one.get("message_content", one)) for one in items(message.get("contents"))]
    reasoning = "".join(one["text"] for one in contents if one["type"] == "reasoning")
    shown = [one for one in contents if one["type"] != "reasoning"]
    if shown:
        alone = len(shown) == 1 and shown[0]["type"] == "text"
        content = shown[0]["text"] if alone else shown
    calls = [_call(one.get("tool_call", one)) for one in items(message.get("tool_calls"))]
    if not calls and text(message.get("function_call_name")):
        arguments = message.get("function_call_arguments_json")
        calls = [chat.tool_call("", message["function_call_name"], arguments)]
    found: dict[str, Any] = {"role": text(message.get("role"))}
    found["content"] = (
        content if isinstance(content, list) else None if content is None and calls else chat.as_text(content)
    )
    for name in ("name", "tool_call_id"):
        if text(message.get(name)):
            found[name] = message[name]
    if reasoning:
        found["reasoning_content"] = reasoning
    return {**found, "tool_calls": calls} if calls else found


def _content(content: Any) -> dict[str, Any]:
    """An entry of `message.contents` as chat has it."""
    content = content if isinstance(content, dict) else {}
    kind = text(content.get("type")) or "text"
    if kind in ("text", "reasoning"):
        return {"type": kind, "text": chat.as_text(content.get("text"))}
    url = at(content, "image", "image", "url") or at(content, "image", "url")
    if kind in ("image", "image_url") and isinstance(url, str):
        return {"type": "image_url", "image_url": {"url": url}}
    return {**content, "type": kind}


def _call(call: Any) -> dict[str, Any]:
    return chat.tool_call(text(at(call, "id")), text(at(call, "function", "name")), at(call, "function", "arguments"))


def _prompts(llm: dict[str, Any], grown: dict[str, Any]) -> list[dict[str, Any]]:
    """What was asked, where no messages are told: prompts, or the request or the text that the span had as input."""
    prompts = [text(at(one, "prompt", "text")) for one in items(llm.get("prompts"))]
    if any(prompts):
        return [{"role": "user", "content": one} for one in prompts if one]
    value = plain(at(grown, "input", "value"))
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        return [chat.loose_message(one) for one in items(value["messages"])]
    return [] if value in (None, "") else [{"role": "user", "content": chat.as_text(value)}]


def _completions(llm: dict[str, Any], grown: dict[str, Any]) -> list[dict[str, Any]]:
    choices = [text(at(one, "completion", "text")) for one in items(llm.get("choices"))]
    if any(choices):
        return [{"role": "assistant", "content": one} for one in choices if one]
    value = plain(at(grown, "output", "value"))
    if isinstance(value, dict):
        inner = [one.get("message") for one in items(value.get("choices"))]
        told = [chat.loose_message({"role": "assistant", **one}) for one in inner if isinstance(one, dict)]
        if told:
            return told
    return [] if value in (None, "") else [{"role": "assistant", "content": chat.as_text(value)}]


def _settings(parameters: Any) -> dict[str, Json]:
    value = plain(parameters)
    if not isinstance(value, dict):
        return {}
    return {name: item for name, item in value.items() if name not in _NO_SETTINGS}


def _tools(llm: dict[str, Any]) -> list[Any]:
    schemas = []
    for item in items(llm.get("tools")):
        schema = plain(at(item, "tool", "json_schema") or item.get("json_schema"))
        if isinstance(schema, str):
            try:
                schema = json.loads(schema)
            except ValueError:
                continue
        if isinstance(schema, dict):
            schemas.append(schema)
    return chat.chat_tools(schemas)


def _provider(llm: dict[str, Any]) -> str:
    told = text(llm.get("provider")) or text(llm.get("system"))
    return _PROVIDERS.get(told.lower(), told.lower())


def _usage(llm: dict[str, Any]) -> Usage:
    used = llm.get("token_count")
    prompt, completion = at(used, "prompt"), at(used, "completion")
    before, after = at(used, "prompt_details"), at(used, "completion_details")
    return Usage(
        count(prompt.get("") if isinstance(prompt, dict) else prompt),
        count(completion.get("") if isinstance(completion, dict) else completion),
        count(at(before, "cache_read")),
        count(at(before, "cache_write")),
        count(at(after, "reasoning")),
    )


def _embedding(grown: dict[str, Any], llm: dict[str, Any]) -> Exchange:
    told = items(at(grown, "embedding", "embeddings"))
    texts = [text(at(one, "embedding", "text")) for one in told]
    if not texts and text(at(grown, "input", "value")):
        texts = [grown["input"]["value"]]
    model = text(at(grown, "embedding", "model_name")) or text(llm.get("model_name"))
    settings = _settings(at(grown, "embedding", "invocation_parameters"))
    usage = _usage(llm)
    return Exchange("embeddings", _provider(llm), "", model, (), texts, (), settings, (), usage, "", model, len(told))
