"""Google generateContent, as the Gemini API and Vertex AI speak it, in either spelling of its members.

Shapes: ai.google.dev/api/generate-content and cloud.google.com/vertex-ai/generative-ai/docs/reference/rest. The wire
form is camelCase; gateways and SDKs that dump their own objects send snake_case.
"""

from __future__ import annotations

import re
from typing import Any

from rashomon.dialects.reading import (
    Message,
    Reading,
    Tokens,
    Tool,
    ToolCall,
    ToolResult,
    count_of,
    dicts,
    named,
    note_stray,
    strange,
    text_of,
    total,
    words,
)
from rashomon.model import Json
from rashomon.streams import Event

GENERATE, EMBED, PREDICT = "google.generate", "google.embeddings", "google.predict"


def _both(names: str) -> frozenset[str]:
    """Names in camelCase, and the same in snake_case."""
    listed = names.split()
    return frozenset(listed + [_SNAKE.sub(r"_\1", name).lower() for name in listed])


_SNAKE = re.compile("([A-Z])")
_TOP = _both("candidates promptFeedback usageMetadata modelVersion responseId createTime modelStatus error")
_CANDIDATE = _both(
    "content finishReason finishMessage index safetyRatings citationMetadata tokenCount groundingAttributions "
    "groundingMetadata avgLogprobs logprobsResult urlContextMetadata urlRetrievalMetadata score"
)
_CONTENT = frozenset(("parts", "role"))
_PART = _both(
    "text thought thoughtSignature functionCall functionResponse inlineData fileData executableCode "
    "codeExecutionResult videoMetadata partMetadata mediaResolution toolCall toolResponse"
)
_FEEDBACK = _both("blockReason safetyRatings blockReasonMessage")
_USAGE = _both(
    "promptTokenCount candidatesTokenCount totalTokenCount cachedContentTokenCount thoughtsTokenCount "
    "toolUsePromptTokenCount promptTokensDetails candidatesTokensDetails cacheTokensDetails "
    "toolUsePromptTokensDetails trafficType serviceTier billablePromptUsage responseTokenCount"
)
_REFUSALS = words(
    "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII LANGUAGE IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT "
    "IMAGE_RECITATION MODEL_ARMOR"
)


def is_answer(answer: dict[str, Any]) -> bool:
    """True of an answer in this shape."""
    return isinstance(answer.get("candidates"), list) or any(
        isinstance(answer.get(name), dict)
        for name in ("usageMetadata", "promptFeedback", "usage_metadata", "prompt_feedback")
    )


def _get(value: dict[str, Any], camel: str, snake: str) -> Any:
    found = value.get(camel)
    return value.get(snake) if found is None else found


def read_generated(answer: dict[str, Any]) -> Reading:
    """What a generated answer says: the first candidate's content."""
    unknown: list[str] = []
    strange(unknown, "", answer, _TOP)
    candidates = dicts(answer.get("candidates"))
    said, finish, explained = Message("model"), "", ""
    for place, candidate in enumerate(candidates):
        strange(unknown, "candidates[].", candidate, _CANDIDATE)
        content = candidate.get("content")
        if isinstance(content, dict):
            strange(unknown, "candidates[].content.", content, _CONTENT)
            message = _read_parts(content, unknown)
            said = message if place == 0 else said
        if place == 0:
            reason = _get(candidate, "finishReason", "finish_reason")
            finish = str(reason) if type(reason) is int else text_of(reason)  # a number where an enum was dumped
            explained = text_of(_get(candidate, "finishMessage", "finish_message"))
    feedback = _get(answer, "promptFeedback", "prompt_feedback")
    refusal = _refusal(feedback, unknown) or ((explained or finish) if finish in _REFUSALS else None)
    usage = _get(answer, "usageMetadata", "usage_metadata")
    tokens = _tokens(usage, unknown)
    return Reading(
        model=text_of(_get(answer, "modelVersion", "model_version")) or None,
        input_tokens=tokens.input,
        output_tokens=tokens.output if finish or not candidates else None,  # a cut stream counts what had come
        finish=finish or None,
        text=said.text or refusal or "",
        tool_calls=said.tool_calls,
        dialect=GENERATE,
        unknown=named(unknown) if unknown else (),
        cached_tokens=tokens.cached,
        reasoning_tokens=tokens.reasoning,
        reasoning=said.reasoning,
        refusal=refusal,
        choices=len(candidates),
        tool_results=said.tool_results,
        tier=text_of(_get(usage, "trafficType", "traffic_type")) or None if isinstance(usage, dict) else None,
    )


def _read_parts(content: dict[str, Any], unknown: list[str]) -> Message:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    results: list[ToolResult] = []
    other: list[str] = []
    for part in dicts(content.get("parts")):
        strange(unknown, "candidates[].content.parts[].", part, _PART)
        text = part.get("text")
        if isinstance(text, str):
            (thoughts if part.get("thought") is True else texts).append(text)
            continue
        call, result = _get(part, "functionCall", "function_call"), _get(part, "functionResponse", "function_response")
        if isinstance(call, dict):
            calls.append(ToolCall(text_of(call.get("id")), text_of(call.get("name")), call.get("args")))
        elif isinstance(result, dict):
            given = ToolResult(text_of(result.get("id")), text_of(result.get("name")), result.get("response"))
            results.append(given)
        else:
            _read_code(part, results, other)
    role = text_of(content.get("role"))
    return Message(role, "".join(texts), tuple(calls), tuple(results), "".join(thoughts), tuple(other))


def _read_code(part: dict[str, Any], results: list[ToolResult], other: list[str]) -> None:
    ran = _get(part, "codeExecutionResult", "code_execution_result")
    if isinstance(ran, dict):
        failed = text_of(ran.get("outcome")) not in ("OUTCOME_OK", "")
        results.append(ToolResult(text_of(ran.get("id")), "code_execution", ran.get("output"), failed))
    else:
        other.extend([key for key in part if key not in ("thoughtSignature", "thought_signature", "thought")][:1])


def _refusal(feedback: Json, unknown: list[str]) -> str | None:
    if not isinstance(feedback, dict):
        return None
    strange(unknown, "promptFeedback.", feedback, _FEEDBACK)
    message = text_of(_get(feedback, "blockReasonMessage", "block_reason_message"))
    return message or text_of(_get(feedback, "blockReason", "block_reason")) or None


def _tokens(usage: Json, unknown: list[str]) -> Tokens:
    if not isinstance(usage, dict):
        return Tokens()
    strange(unknown, "usageMetadata.", usage, _USAGE)
    if any("_" in key for key in usage):
        usage = {_camel(key): value for key, value in usage.items()}
    thoughts = count_of(usage, "thoughtsTokenCount")
    said = count_of(usage, "candidatesTokenCount")
    # thoughts and the provider's own tools are counted beside the answer and the prompt
    return Tokens(
        total(count_of(usage, "promptTokenCount"), count_of(usage, "toolUsePromptTokenCount")),
        total(count_of(usage, "responseTokenCount") if said is None else said, thoughts),
        count_of(usage, "cachedContentTokenCount"),
        None,
        thoughts,
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


_EMBED_TOP = words("embedding embeddings metadata usageMetadata predictions deployedModelId model")


def is_embedding(answer: dict[str, Any]) -> bool:
    """True of an answer of embedContent or batchEmbedContents."""
    one, many = answer.get("embedding"), answer.get("embeddings")
    return (isinstance(one, dict) and isinstance(one.get("values"), list)) or (
        isinstance(many, list) and bool(many) and all(isinstance(item, dict) and "values" in item for item in many)
    )


def read_embeddings(answer: dict[str, Any]) -> Reading:
    """How many vectors came, and how long they are."""
    unknown: list[str] = []
    strange(unknown, "", answer, _EMBED_TOP)
    one = answer.get("embedding")
    items = [one] if isinstance(one, dict) else dicts(answer.get("embeddings"))
    values = items[0].get("values") if items else None
    size = len(values) if isinstance(values, list) else 0
    return Reading(
        input_tokens=count_of(answer.get("usageMetadata"), "promptTokenCount"),
        note=f"{len(items)} vector{'s' * (len(items) != 1)} of {size}",
        dialect=EMBED,
        unknown=named(unknown) if unknown else (),
    )


# ---------------------------------------------------------------------------------------- requests


def read_contents(listed: Json) -> list[Message]:
    """The messages of a request."""
    if isinstance(listed, dict):
        listed = [listed]
    return [_read_parts(content, [])._replace(role=text_of(content.get("role")) or "user") for content in dicts(listed)]


def read_system(request: dict[str, Any]) -> str | None:
    """The system instruction."""
    found = _get(request, "systemInstruction", "system_instruction")
    if isinstance(found, dict):
        return "\n\n".join(filter(None, [text_of(part.get("text")) for part in dicts(found.get("parts"))])) or None
    return text_of(found) or None


def read_tools(request: dict[str, Any]) -> list[Tool]:
    """The tools that a request offers; the provider's own go by their member's name."""
    found: list[Tool] = []
    for tool in dicts([request["tools"]] if isinstance(request.get("tools"), dict) else request.get("tools")):
        declared = _get(tool, "functionDeclarations", "function_declarations")
        for function in dicts(declared):
            schema = function.get("parameters", function.get("parametersJsonSchema"))
            found.append(Tool(text_of(function.get("name")), text_of(function.get("description")), schema))
        own = [key for key in tool if key not in ("functionDeclarations", "function_declarations")]
        found.extend([Tool(key, "", None, key) for key in own])
    return found


# ----------------------------------------------------------------------------------------- streams


def assemble(events: list[Event], unknown: set[str]) -> dict[str, Any]:
    """The answer that a stream's chunks make up: texts joined, everything else as it was said last.

    Names of events that are no chunk are added to `unknown`.
    """
    whole: dict[str, Any] = {}
    candidates: dict[str, dict[str, Any]] = {}
    contents: dict[str, _Parts] = {}
    for _, data in events:
        if not isinstance(data, dict):
            note_stray(unknown, data)
            continue
        for key, value in data.items():
            if key != "candidates" and value is not None:
                whole[key] = value
        for candidate in dicts(data.get("candidates")):
            number = str(candidate.get("index", 0))
            into = candidates.setdefault(number, {})
            for key, value in candidate.items():
                if key != "content" or not isinstance(value, dict):
                    into[key] = value
                    continue
                parts = contents.setdefault(number, _Parts())
                parts.grow(dicts(value.get("parts")))
                into["content"] = {**value, "parts": parts.whole}
    for parts in contents.values():
        parts.join()
    # usage and ids come last, the content is what one looks for first
    return {"candidates": list(candidates.values()), **whole}


class _Parts:
    """The parts of a candidate while they grow. Text of the same sort is one part, joined at the end."""

    def __init__(self) -> None:
        self.whole: list[dict[str, Any]] = []
        self._texts: list[tuple[dict[str, Any], list[str]]] = []

    def grow(self, parts: list[dict[str, Any]]) -> None:
        """Continue with the parts of a chunk."""
        for part in parts:
            text = part.get("text")
            if not isinstance(text, str):
                self.whole.append(part)
                continue
            last = self.whole[-1] if self.whole else None
            grown, texts = self._texts[-1] if self._texts else (None, [])
            if grown is not None and grown is last and grown.get("thought") == part.get("thought"):
                grown.update(part)
                texts.append(text)
            else:
                self.whole.append(dict(part))
                self._texts.append((self.whole[-1], [text]))

    def join(self) -> None:
        """Put the texts together."""
        for part, texts in self._texts:
            part["text"] = "".join(texts)
