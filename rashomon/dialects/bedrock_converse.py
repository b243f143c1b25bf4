"""Amazon Bedrock's converse, and Amazon's own models behind invoke, which answer in the same shape.

Shapes: docs.aws.amazon.com/bedrock/latest/APIReference (Converse, ConverseStream). Other makers' models behind invoke
answer in their own dialect.
"""

from __future__ import annotations

from typing import Any

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
    named,
    strange,
    text_of,
    total,
    words,
)
from rashomon.model import Json
from rashomon.streams import DAMAGED, Event

CONVERSE, INVOKE = "bedrock.converse", "bedrock.invoke"

_TOP = words(
    "output stopReason usage metrics trace performanceConfig additionalModelResponseFields serviceTier "
    "amazon-bedrock-invocationMetrics amazon-bedrock-guardrailAction amazon-bedrock-trace error"
)
_MESSAGE = frozenset(("role", "content"))
_BLOCKS = words(
    "text toolUse toolResult reasoningContent image document video audio guardContent cachePoint citationsContent "
    "searchResult"
)
_USAGE = words(
    "inputTokens outputTokens totalTokens cacheReadInputTokens cacheWriteInputTokens cacheReadInputTokenCount "
    "cacheWriteInputTokenCount serverToolUsage cacheDetails"
)
_EVENTS = words(
    "messageStart contentBlockStart contentBlockDelta contentBlockStop messageStop metadata initial-response"
)
_DELTAS = words("text toolUse reasoningContent citation toolResult image")
_REFUSALS = frozenset(("guardrail_intervened", "content_filtered"))


def is_answer(answer: dict[str, Any]) -> bool:
    """True of an answer in this shape."""
    output = answer.get("output")
    return isinstance(output, dict) and ("message" in output or "stopReason" in answer)


def read_converse(answer: dict[str, Any]) -> Reading:
    """What an answer says."""
    unknown: list[str] = []
    strange(unknown, "", answer, _TOP)
    message = answer["output"].get("message")
    said = Message("assistant")
    if isinstance(message, dict):
        strange(unknown, "output.message.", message, _MESSAGE)
        said = _read_blocks(message, unknown)
    usage, tier = answer.get("usage"), answer.get("serviceTier")
    tokens = _tokens(usage, unknown)
    finish = text_of(answer.get("stopReason")) or None
    return Reading(
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        finish=finish,
        text=said.text,
        tool_calls=said.tool_calls,
        dialect=CONVERSE,
        unknown=named(unknown) if unknown else (),
        cached_tokens=tokens.cached,
        cache_write_tokens=tokens.cache_write,
        reasoning=said.reasoning,
        refusal=(said.text or finish) if finish in _REFUSALS else None,
        tool_results=said.tool_results,
        tier=text_of(tier.get("type")) or None if isinstance(tier, dict) else None,
    )


def _read_blocks(message: dict[str, Any], unknown: list[str]) -> Message:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    results: list[ToolResult] = []
    other: list[str] = []
    content = message.get("content")
    if isinstance(content, str):
        texts.append(content)
    for block in dicts(content):
        strange(unknown, "output.message.content[].", block, _BLOCKS)
        text, use, result = block.get("text"), block.get("toolUse"), block.get("toolResult")
        reasoning, cited = block.get("reasoningContent"), block.get("citationsContent")
        if isinstance(text, str):
            texts.append(text)
        elif isinstance(use, dict):
            calls.append(ToolCall(text_of(use.get("toolUseId")), text_of(use.get("name")), use.get("input")))
        elif isinstance(result, dict):
            failed = result.get("status") == "error"
            results.append(ToolResult(text_of(result.get("toolUseId")), "", result.get("content"), failed))
        elif isinstance(reasoning, dict):
            inner = reasoning.get("reasoningText")
            thoughts.append(text_of(inner.get("text")) if isinstance(inner, dict) else "")
        elif isinstance(cited, dict):
            texts.extend([text_of(part.get("text")) for part in dicts(cited.get("content"))])
        else:
            other.extend(list(block)[:1])
    role = text_of(message.get("role"))
    reasoned = "\n\n".join(filter(None, thoughts))
    return Message(role, "".join(texts), tuple(calls), tuple(results), reasoned, tuple(other))


def _tokens(usage: Json, unknown: list[str]) -> Tokens:
    if not isinstance(usage, dict):
        return Tokens()
    strange(unknown, "usage.", usage, _USAGE)
    read, written = count_of(usage, "cacheReadInputTokens"), count_of(usage, "cacheWriteInputTokens")
    read = count_of(usage, "cacheReadInputTokenCount") if read is None else read
    written = count_of(usage, "cacheWriteInputTokenCount") if written is None else written
    fresh = count_of(usage, "inputTokens")
    # as with Anthropic, cached tokens are counted beside the others
    whole = None if fresh is None else total(fresh, read, written)
    return Tokens(whole, count_of(usage, "outputTokens"), read, written)


_TITAN_TOP = words("inputTextTokenCount results amazon-bedrock-invocationMetrics")
TITAN = "bedrock.titan"


def is_titan(answer: dict[str, Any]) -> bool:
    """True of an answer of Amazon's Titan text models."""
    return isinstance(answer.get("results"), list) and "inputTextTokenCount" in answer


def read_titan(answer: dict[str, Any]) -> Reading:
    """What an answer of a Titan text model says."""
    unknown: list[str] = []
    strange(unknown, "", answer, _TITAN_TOP)
    results = dicts(answer["results"])
    return Reading(
        input_tokens=count_of(answer, "inputTextTokenCount"),
        output_tokens=total(*[count_of(result, "tokenCount") for result in results]),
        finish=text_of(results[0].get("completionReason")) or None if results else None,
        text="".join([text_of(result.get("outputText")) for result in results]),
        dialect=TITAN,
        unknown=named(unknown) if unknown else (),
    )


# ---------------------------------------------------------------------------------------- requests


def read_messages(listed: Json) -> list[Message]:
    """The messages of a request."""
    return [_read_blocks(message, []) for message in dicts(listed)]


def read_system(system: Json) -> str | None:
    """The system prompt."""
    if isinstance(system, str):
        return system or None
    return "\n\n".join(filter(None, [text_of(block.get("text")) for block in dicts(system)])) or None


def read_tools(request: dict[str, Any]) -> list[Tool]:
    """The tools that a request offers."""
    config = request.get("toolConfig")
    found = []
    for tool in dicts(config.get("tools")) if isinstance(config, dict) else ():
        spec = tool.get("toolSpec")
        if isinstance(spec, dict):
            schema = spec.get("inputSchema")
            shape = schema.get("json") if isinstance(schema, dict) else schema
            found.append(Tool(text_of(spec.get("name")), text_of(spec.get("description")), shape))
        else:
            found.extend([Tool(kind, "", None, kind) for kind in list(tool)[:1]])
    return found


# ----------------------------------------------------------------------------------------- streams


def named_events(events: list[Event]) -> list[Event]:
    """The events with their names: behind invoke an event is an object with its name as the only member."""
    found: list[Event] = []
    for name, data in events:
        inner = next((key for key in data if key in _EVENTS), None) if isinstance(data, dict) else None
        if isinstance(data, dict) and inner is not None and isinstance(data[inner], dict):
            found.append((inner, data[inner]))
            more = {key: value for key, value in data.items() if key != inner}
            if more:
                found.append(("$more", more))
        else:
            found.append((name, data))
    return found


def assemble(events: list[Event], unknown: set[str]) -> dict[str, Any]:
    """The answer that a stream's events make up; names of unknown events are added to `unknown`."""
    whole: dict[str, Any] = {"output": {"message": {"role": "assistant", "content": []}}}
    blocks: dict[int, _Block] = {}
    for name, data in named_events(events):
        told = _stranger(name, data)
        if told is not None:
            unknown.add(told)
        if not isinstance(data, dict):
            continue
        if name in ("contentBlockStart", "contentBlockDelta"):
            number = data.get("contentBlockIndex", 0)
            block = blocks.setdefault(number if isinstance(number, int) else 0, _Block())
            grown = data.get("start", data.get("delta"))
            if isinstance(grown, dict):
                block.grow(grown)
        elif name == "messageStart":
            whole["output"]["message"]["role"] = data.get("role")
        elif name in ("messageStop", "metadata", "$more"):
            whole.update({key: value for key, value in data.items() if key != "p"})
        elif name.endswith("Exception"):
            whole["error"] = {"type": name, **data}
    whole["output"]["message"]["content"] = [blocks[number].whole() for number in sorted(blocks)]
    return whole


class _Block:
    """One block while it grows. Its texts come in many small pieces, which are joined at the end."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._input: list[str] = []
        self._thought: list[str] = []
        self._signed: dict[str, Any] = {}
        self._use: dict[str, Any] = {}
        self._more: dict[str, Any] = {}

    def grow(self, delta: dict[str, Any]) -> None:
        """Continue with a start or a delta."""
        for key, value in delta.items():
            if key == "text" and isinstance(value, str):
                self._text.append(value)
            elif key == "toolUse" and isinstance(value, dict):
                self._use.update({name: item for name, item in value.items() if name != "input"})
                self._input.append(text_of(value.get("input")))
            elif key == "reasoningContent" and isinstance(value, dict):
                self._thought.append(text_of(value.get("text")))
                self._signed.update({name: item for name, item in value.items() if name != "text"})
            elif key == "citation":
                self._more.setdefault("citations", []).append(value)
            else:
                self._more[key] = value

    def whole(self) -> dict[str, Any]:
        """The block as it is without streaming."""
        if self._use:
            text = "".join(self._input)
            return {"toolUse": {**self._use, "input": argument(text) if text else {}}, **self._more}
        if self._thought or self._signed:
            redacted = {name: item for name, item in self._signed.items() if name == "redactedContent"}
            signed = {name: item for name, item in self._signed.items() if name != "redactedContent"}
            thought = "".join(self._thought)
            inner = {"reasoningText": {"text": thought, **signed}} if thought or signed else {}
            return {"reasoningContent": {**inner, **redacted}, **self._more}
        citations = self._more.pop("citations", None)
        text = "".join(self._text)
        if citations is not None:
            return {"citationsContent": {"content": [{"text": text}], "citations": citations}, **self._more}
        return {"text": text, **self._more} if self._text or not self._more else self._more


def _stranger(name: str, data: Json) -> str | None:
    """The name of an event that this dialect does not have; None of a known one."""
    if name == "contentBlockDelta" and isinstance(data, dict) and isinstance(data.get("delta"), dict):
        strangers = [key for key in data["delta"] if key not in _DELTAS]
        return f"event:contentBlockDelta[{strangers[0]}]" if strangers else None
    return None if name in _EVENTS or name == "$more" or name.endswith("Exception") else f"event:{name}"


def assemble_titan(events: list[Event], unknown: set[str]) -> dict[str, Any]:
    """The answer that a stream of a Titan text model makes up."""
    whole: dict[str, Any] = {"inputTextTokenCount": None, "results": [{"outputText": ""}]}
    result, texts = whole["results"][0], list[str]()
    for name, data in events:
        if name == DAMAGED:
            unknown.add(f"event:{DAMAGED}")
        elif isinstance(data, dict):
            texts.append(text_of(data.get("outputText")))
            whole["inputTextTokenCount"] = data.get("inputTextTokenCount") or whole["inputTextTokenCount"]
            result["tokenCount"] = data.get("totalOutputTextTokenCount")
            result["completionReason"] = data.get("completionReason")
            whole.update({key: value for key, value in data.items() if key.startswith("amazon-")})
    result["outputText"] = "".join(texts)
    return whole
