"""OpenAI chat completions, legacy completions and embeddings, as OpenAI, Azure and many compatible servers speak them.

Shapes: platform.openai.com/docs/api-reference (chat, chat-streaming, completions, embeddings); Azure's additions:
learn.microsoft.com/azure/ai-foundry/openai (content filter results, data sources). Members that DeepSeek, Groq,
OpenRouter, Mistral, Perplexity and vLLM add are known too.
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
    joined,
    named,
    note_stray,
    strange,
    text_of,
    words,
)
from rashomon.model import Json
from rashomon.streams import Event

CHAT, COMPLETIONS, EMBEDDINGS = "openai.chat", "openai.completions", "openai.embeddings"
MODERATIONS = "openai.moderations"

_TOP = words(
    "id object created model choices usage system_fingerprint service_tier error metadata request_id input_user "
    "tools tool_choice seed temperature top_p presence_penalty frequency_penalty response_format moderation "
    "prompt_filter_results prompt_annotations "  # Azure
    "provider x_groq citations search_results images related_questions prompt_logprobs prompt_token_ids "
    "kv_transfer_params timings"
)
_CHOICE = words(
    "index message text finish_reason logprobs content_filter_results content_filter_result content_filter_offsets "
    "native_finish_reason stop_reason token_ids matched_stop seed delta error prompt_logprobs"
)
_MESSAGE = words(
    "role content refusal tool_calls function_call annotations audio name end_turn context prefix parsed "
    "reasoning reasoning_content reasoning_details images citations "
    "provider_specific_fields thinking_blocks"
)
_CALL = words("id type function custom index extra_content")
_FUNCTION = words("name arguments input parsed_arguments")
_USAGE = words(
    "prompt_tokens completion_tokens total_tokens prompt_tokens_details completion_tokens_details "
    "prompt_cache_hit_tokens prompt_cache_miss_tokens cached_tokens num_cached_tokens reasoning_tokens "
    "queue_time prompt_time completion_time total_time num_sources_used "  # Groq, xAI
    "cost cost_details is_byok cost_in_usd_ticks cost_in_nano_usd "  # OpenRouter, xAI
    "prompt_audio_seconds search_context_size citation_tokens num_search_queries server_tool_use "
    "latency_checkpoint latency "
    "cache_creation_input_tokens cache_read_input_tokens"
)
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens")
_PROMPT_DETAILS = words(
    "cached_tokens audio_tokens cache_write_tokens cache_creation_tokens text_tokens image_tokens video_tokens"
)
_COMPLETION_DETAILS = words(
    "reasoning_tokens audio_tokens accepted_prediction_tokens rejected_prediction_tokens text_tokens image_tokens "
    "video_tokens"
)


def read_chat(answer: dict[str, Any]) -> Reading:
    """What a chat completion or a legacy completion says."""
    unknown: list[str] = []
    strange(unknown, "", answer, _TOP)
    listed = answer["choices"]
    choices = dicts(listed)
    calls: list[ToolCall] = []
    text, reasoning, refusal, finish, dialect = "", "", None, None, CHAT
    for place, choice in enumerate(choices):
        strange(unknown, "choices[].", choice, _CHOICE)
        message = choice.get("message")
        if isinstance(message, dict):
            said = _read_message(message, unknown)
        else:
            said = Message("assistant", text_of(choice.get("text")))
            dialect = COMPLETIONS if "text" in choice else dialect
        if place == 0:
            text, reasoning, calls = said.text, said.reasoning, list(said.tool_calls)
            refusal = _refusal(message) if isinstance(message, dict) else None
            finish = text_of(choice.get("finish_reason")) or None
    if not choices and answer.get("object") == "text_completion":
        dialect = COMPLETIONS
    if refusal is None and finish == "content_filter" and not text:
        refusal = finish
    tokens = _tokens(answer.get("usage") or _groq_usage(answer), unknown)
    return Reading(
        model=text_of(answer.get("model")) or None,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        finish=finish,
        text=text or refusal or "",
        tool_calls=tuple(calls),
        dialect=dialect,
        unknown=named(unknown) if unknown else (),
        cached_tokens=tokens.cached,
        cache_write_tokens=tokens.cache_write,
        reasoning_tokens=tokens.reasoning,
        reasoning=reasoning,
        refusal=refusal,
        choices=len(choices),
        tier=text_of(answer.get("service_tier")) or None,
    )


def _read_message(message: dict[str, Any], unknown: list[str]) -> Message:
    strange(unknown, "choices[].message.", message, _MESSAGE)
    listed, old = message.get("tool_calls"), message.get("function_call")
    calls = [chat_call(call, unknown) for call in dicts(listed)] if listed else []
    if isinstance(old, dict):
        calls.append(chat_call({"function": old}, unknown))
    content = message.get("content")
    text = content if isinstance(content, str) else joined(content)
    audio = message.get("audio")
    if not text and isinstance(audio, dict):
        text = text_of(audio.get("transcript"))
    return Message(text_of(message.get("role")), text, tuple(calls), (), _reasoning(message, content))


def chat_call(call: dict[str, Any], unknown: list[str]) -> ToolCall:
    """One entry of `tool_calls`: a function with JSON arguments, or a custom tool with free text."""
    function = call.get("function")
    if not isinstance(function, dict):
        function = call.get("custom")
    if not isinstance(function, dict):
        unknown.append(f"tool_calls[{text_of(call.get('type'))}]")
        return ToolCall(text_of(call.get("id")), text_of(call.get("type")), None)
    strange(unknown, "tool_calls[].", call, _CALL)
    strange(unknown, "tool_calls[].function.", function, _FUNCTION)
    arguments = function.get("arguments", function.get("input"))
    return ToolCall(text_of(call.get("id")), text_of(function.get("name")), argument(arguments))


def _reasoning(message: dict[str, Any], content: Json) -> str:
    for name in ("reasoning_content", "reasoning"):
        value = message.get(name)
        if isinstance(value, str) and value:
            return value
    if isinstance(content, list):  # Mistral: a part of its own
        return "".join([joined(part.get("thinking")) for part in dicts(content) if part.get("type") == "thinking"])
    return ""


def _refusal(message: dict[str, Any]) -> str | None:
    said = message.get("refusal")
    if isinstance(said, str) and said:
        return said
    content = message.get("content")
    if not isinstance(content, list):
        return None
    return "".join([text_of(part.get("refusal")) for part in dicts(content)]) or None


def _groq_usage(answer: dict[str, Any]) -> Json:
    """Groq's streams have the usage in a member of its own."""
    aside = answer.get("x_groq")
    return aside.get("usage") if isinstance(aside, dict) else None


def _tokens(usage: Json, unknown: list[str]) -> Tokens:
    if not isinstance(usage, dict):
        return Tokens()
    strange(unknown, "usage.", usage, _USAGE)
    before, after = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached, written, reasoning = None, None, count_of(usage, "reasoning_tokens")
    if isinstance(before, dict):
        strange(unknown, "usage.prompt_tokens_details.", before, _PROMPT_DETAILS)
        cached, written = count_of(before, "cached_tokens"), count_of(before, "cache_write_tokens")
        written = count_of(before, "cache_creation_tokens") if written is None else written
    if isinstance(after, dict):
        strange(unknown, "usage.completion_tokens_details.", after, _COMPLETION_DETAILS)
        reasoning = count_of(after, "reasoning_tokens")
    if cached is None and not usage.keys().isdisjoint(_CACHED):
        for name in _CACHED:
            cached = count_of(usage, name) if cached is None else cached
    if written is None:
        written = count_of(usage, "cache_creation_input_tokens")
    return Tokens(count_of(usage, "prompt_tokens"), count_of(usage, "completion_tokens"), cached, written, reasoning)


_EMBEDDINGS_TOP = words("object data model usage id created service_tier error")
_EMBEDDING = words("object index embedding")


def read_embeddings(answer: dict[str, Any]) -> Reading:
    """How many vectors came, and how long they are."""
    unknown: list[str] = []
    strange(unknown, "", answer, _EMBEDDINGS_TOP)
    items = dicts(answer["data"])
    if items:
        strange(unknown, "data[].", items[0], _EMBEDDING)
    first = items[0].get("embedding") if items else None
    # base64 of 32-bit floats is the SDK's default wire form
    size = len(first) if isinstance(first, list) else len(first.rstrip("=")) * 3 // 16 if isinstance(first, str) else 0
    tokens = _tokens(answer.get("usage"), unknown)
    return Reading(
        model=text_of(answer.get("model")) or None,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        note=f"{len(items)} vector{'s' * (len(items) != 1)} of {size}",
        dialect=EMBEDDINGS,
        unknown=named(unknown) if unknown else (),
        cached_tokens=tokens.cached,
    )


def is_moderation(answer: dict[str, Any]) -> bool:
    """True of an answer of the moderations API."""
    results = answer.get("results")
    return isinstance(results, list) and bool(results) and isinstance(results[0], dict) and "flagged" in results[0]


def read_moderation(answer: dict[str, Any]) -> Reading:
    """How many of the inputs were flagged."""
    unknown: list[str] = []
    strange(unknown, "", answer, _MODERATION_TOP)
    results = dicts(answer["results"])
    flagged = sum(result.get("flagged") is True for result in results)
    return Reading(
        model=text_of(answer.get("model")) or None,
        note=f"{flagged} of {len(results)} flagged",
        dialect=MODERATIONS,
        unknown=named(unknown) if unknown else (),
    )


_MODERATION_TOP = words("id model results usage")

# ---------------------------------------------------------------------------------------- requests


def read_messages(listed: Json) -> list[Message]:
    """The messages of a chat request."""
    return [_request_message(message) for message in dicts(listed)]


def _request_message(message: dict[str, Any]) -> Message:
    role, content = text_of(message.get("role")), message.get("content")
    if role in ("tool", "function"):
        name = text_of(message.get("name"))
        return Message(role, tool_results=(ToolResult(text_of(message.get("tool_call_id")), name, content),))
    said = _read_message(message, [])
    parts = dicts(content)
    other = tuple(text_of(part.get("type")) for part in parts if "text" not in part and part.get("type") != "thinking")
    refusal = "" if said.text else _refusal(message) or ""
    return said._replace(other=other, text=said.text or refusal)


def read_tools(request: dict[str, Any]) -> list[Tool]:
    """The tools that a chat request offers; also in the form before `tools` was there."""
    found = []
    for tool in dicts(request.get("tools")):
        kind = text_of(tool.get("type")) or "function"
        inner = tool.get(kind)
        function = inner if isinstance(inner, dict) else tool
        name, about = text_of(function.get("name")) or kind, text_of(function.get("description"))
        found.append(Tool(name, about, function.get("parameters", function.get("format")), kind))
    for function in dicts(request.get("functions")):
        about = text_of(function.get("description"))
        found.append(Tool(text_of(function.get("name")), about, function.get("parameters")))
    return found


# ----------------------------------------------------------------------------------------- streams

_STATED = words("role id type name index format status object model finish_reason stop_reason")
"""Fields that a delta states again rather than continues."""


def assemble(events: list[Event], unknown: set[str]) -> dict[str, Any]:
    """The completion that a stream's chunks make up, in the form of an answer without streaming.

    Names of events that are no chunk are added to `unknown`.
    """
    whole: dict[str, Any] = {}
    choices: dict[Any, _Choice] = {}
    for _, data in events:
        if not isinstance(data, dict):
            note_stray(unknown, data)
            continue
        chunk = data.get("choices")
        for choice in chunk if isinstance(chunk, list) else ():
            if isinstance(choice, dict):
                number = choice.get("index", 0)
                key = number if isinstance(number, int) else str(number)
                found = choices.get(key)
                if found is None:
                    found = choices[key] = _Choice(number)
                found.grow(choice)
        if None in data.values():
            data = {name: value for name, value in data.items() if value is not None or name not in whole}
        whole.update(data)
    whole.pop("obfuscation", None)
    if whole.get("object") == "chat.completion.chunk":
        whole["object"] = "chat.completion"
    whole["choices"] = [choice.whole() for choice in choices.values()]
    return whole


_GROWING = ("text", "thinking")
_TEXTS = words("content reasoning_content reasoning refusal")


class _Choice:
    """One choice while it grows. Its text comes in many small pieces, which are joined at the end."""

    __slots__ = ("_texts", "_whole")

    def __init__(self, number: Any) -> None:
        self._whole: dict[str, Any] = {"index": number}
        self._texts: dict[str, list[str]] = {}

    def grow(self, choice: dict[str, Any]) -> None:
        """Continue with the choice of one chunk."""
        whole = self._whole
        for key, value in choice.items():
            if key == "delta" or (key == "message" and isinstance(value, dict)):
                self._say(value)
            elif value is None:
                whole.setdefault(key, None)
            elif key in ("logprobs", "text"):
                merge(whole, {key: value})
            elif isinstance(value, dict):  # of Azure's filters, each chunk may have some
                old = whole.get(key)
                whole[key] = {**old, **value} if isinstance(old, dict) else value
            elif key != "index":
                whole[key] = value

    def _say(self, delta: Any) -> None:
        message = self._whole.get("message")
        if not isinstance(message, dict):  # of a server that has something else there meanwhile
            message = self._whole["message"] = dict.fromkeys(self._texts, "")
        for key, value in delta.items() if isinstance(delta, dict) else ():
            texts = self._texts.get(key)
            if texts is not None and value.__class__ is message.get(key).__class__ is str:  # as most deltas are
                texts.append(value)
            elif isinstance(message.get(key), list) or (key == "content" and isinstance(value, list)):
                self._say_parts(message, key, value)
            elif key not in _TEXTS or not isinstance(value, str):
                if value is None:
                    message.setdefault(key, None)
                else:
                    merge(message, {key: value})
            elif key in self._texts:
                self._texts[key].append(value)
            elif isinstance(message.get(key), str | None):
                self._texts[key] = [message.get(key) or "", value]
                message[key] = value  # its place among the others
            else:
                message[key] = value

    def _say_parts(self, message: dict[str, Any], key: str, value: Any) -> None:
        """Continue a list; a content that comes in texts and in parts (Mistral's thinking) is one of parts."""
        if key != "content":
            merge(message, {key: value})
            return
        parts = message.get(key)
        if not isinstance(parts, list):
            text = "".join(self._texts.pop(key, []))
            parts = message[key] = [{"type": "text", "text": text}] if text else []
        for part in value if isinstance(value, list) else [{"type": "text", "text": value}] if value else []:
            last = parts[-1] if parts else None
            if isinstance(part, dict) and isinstance(last, dict) and last.get("type") == part.get("type") in _GROWING:
                merge(last, part)
            else:
                parts.append(own(part))

    def whole(self) -> dict[str, Any]:
        """The choice as it is without streaming."""
        message = self._whole.get("message")
        if message == {} and "text" in self._whole:  # a completion whose last chunk is made like a chat's
            del self._whole["message"]
        elif isinstance(message, dict):
            for key, texts in self._texts.items():
                if isinstance(message.get(key), str):
                    message[key] = "".join(texts)
            for call in dicts(message.get("tool_calls")):
                call.pop("index", None)  # they carry one in a stream only
        return self._whole


def merge(into: dict[str, Any], delta: dict[str, Any]) -> None:
    """Continue `into` with a delta: strings grow, lists grow or merge by index, the rest is stated."""
    for key, value in delta.items():
        old = into.get(key)
        if value is None or old is None:
            if old is None:
                into[key] = _indexed([], value) if isinstance(value, list) else own(value)
        elif isinstance(value, str) and isinstance(old, str):
            into[key] = (value or old) if key in _STATED else old + value
        elif isinstance(value, dict) and isinstance(old, dict):
            merge(old, value)
        elif isinstance(value, list) and isinstance(old, list):
            _indexed(old, value)
        else:
            into[key] = value


def _indexed(into: list[Any], items: list[Any]) -> list[Any]:
    """Grow a list by a delta's items: those with an index (or a known id) continue an earlier one."""
    for item in items:
        found = _earlier(into, item) if isinstance(item, dict) else None
        if found is None:
            into.append(own(item))
        else:
            merge(found, item)
    return into


def _earlier(into: list[Any], item: dict[str, Any]) -> dict[str, Any] | None:
    key = "index" if "index" in item else "id"
    wanted, name = item.get(key), item.get("id")
    if wanted is None:
        return None
    for old in reversed(into):
        if isinstance(old, dict) and old.get(key) == wanted:
            # some servers give every call the index 0, and an id of its own
            return None if name and old.get("id") and old["id"] != name else old
    return None


def own(value: Any) -> Any:
    """A copy that may grow without changing the event it came from."""
    if isinstance(value, dict):
        return {key: own(item) for key, item in value.items()}
    return [own(item) for item in value] if isinstance(value, list) else value
