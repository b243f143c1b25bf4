"""Which dialect an answer is in, and what it says.

A dialect is recognised by the shape of what came: compatible servers speak another's dialect under their own address.
Only where the shape tells nothing (an error, nothing at all) do the request's shape and the address decide, and only
together. Nothing here fails on a shape that it does not know: it reads what it finds, and says what it did not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rashomon.dialects import (
    anthropic_messages,
    bedrock_converse,
    google_generate,
    openai_chat,
    openai_responses,
)
from rashomon.dialects.reading import Reading, dicts, text_of
from rashomon.model import Json
from rashomon.streams import DAMAGED, Event, event_data


class Assembled(NamedTuple):
    """A stream put together: the answer as it is without streaming, and events that its dialect does not have."""

    answer: dict[str, Any]
    unknown: tuple[str, ...] = ()


def read_answer(answer: Json, failed: bool = False) -> Reading:
    """What an answer says: a response body as JSON, an assembled stream, or the view of either.

    `failed`: its HTTP status told of an error, so that a bare message is one. Never raises, whatever the JSON.
    """
    if isinstance(answer, list):  # an error that comes as a list: Google's streams, and its OpenAI endpoint
        answer = answer[0] if len(answer) == 1 else None
    if not isinstance(answer, dict):
        return Reading()
    reader = _reader(answer)
    reading = Reading() if reader is None else reader(answer)
    return _with_error(answer, reading, failed or "$status" in answer)


def _reader(answer: dict[str, Any]) -> Callable[[dict[str, Any]], Reading] | None:
    """Who can read an answer of this shape."""
    if isinstance(answer.get("choices"), list):
        return openai_chat.read_chat
    if isinstance(answer.get("output"), list) or answer.get("object") == "response":
        return openai_responses.read_response
    if isinstance(answer.get("content"), list) and (answer.get("type") == "message" or _is_message(answer)):
        return anthropic_messages.read_message
    listed = answer.get("data")
    if isinstance(listed, list) and _are_embeddings(answer, listed):
        return openai_chat.read_embeddings
    if google_generate.is_answer(answer):
        return google_generate.read_generated
    if bedrock_converse.is_answer(answer):
        return bedrock_converse.read_converse
    if isinstance(answer.get("completion"), str) and "stop_reason" in answer:
        return anthropic_messages.read_complete
    if google_generate.is_embedding(answer):
        return google_generate.read_embeddings
    if openai_chat.is_moderation(answer):
        return openai_chat.read_moderation
    if answer.keys() <= _COUNT and type(answer.get("input_tokens")) is int:
        return anthropic_messages.read_count
    return bedrock_converse.read_titan if bedrock_converse.is_titan(answer) else None


def _are_embeddings(answer: dict[str, Any], listed: list[Any]) -> bool:
    """True of vectors, also of an answer that another tool told without them."""
    if listed and isinstance(listed[0], dict) and "embedding" in listed[0]:
        return True
    usage = answer.get("usage")
    bare = not any(isinstance(one, dict) and one.keys() - {"object", "index"} for one in listed)
    return answer.get("object") == "list" and bare and isinstance(usage, dict) and "prompt_tokens" in usage


_COUNT = frozenset(("input_tokens", "context_management"))


def _is_message(answer: dict[str, Any]) -> bool:
    """True of a message that does not say so; a message of OpenAI's threads says that it is another thing."""
    return "role" in answer and "object" not in answer


# ------------------------------------------------------------------------------------------ errors


def _with_error(answer: dict[str, Any], reading: Reading, failed: bool) -> Reading:
    """The reading with the provider's error, where there is one."""
    error = answer.get("error")
    if error is None and (reading.dialect is not None or not failed):
        return reading
    kind, message = _error(answer, error)
    if kind is None and message is None:
        return reading
    return reading._replace(error_type=kind, error_message=message, note=message or kind or reading.note)


def _error(answer: dict[str, Any], error: Json) -> tuple[str | None, str | None]:
    """The provider's own type and message of an error.

    OpenAI and Azure: `error.type` or `error.code`; Anthropic: `error.type`; Google: `error.status`; Bedrock and many
    gateways: `message` (or `detail`) alone.
    """
    if isinstance(error, dict):
        kind = text_of(error.get("type")) or text_of(error.get("status")) or _word(error.get("code")) or None
        message = text_of(error.get("message"))
        if not kind and not message:
            kind = "error"
        return kind, message or None
    if error is not None:
        return None, text_of(error) or None
    for name in ("message", "Message", "detail", "error_message"):
        if isinstance(answer.get(name), str):
            return text_of(answer.get("__type") or answer.get("type")) or None, answer[name]
    if isinstance(answer.get("detail"), list):  # FastAPI, on a request that it cannot read
        return None, "; ".join([text_of(one.get("msg")) for one in dicts(answer["detail"])]) or None
    return None, None


def _word(value: Json) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text_of(value)


# ----------------------------------------------------------------------------------------- streams


def assemble_texts(events: list[tuple[str, str]]) -> Assembled | None:
    """`assemble` of events whose data is not parsed yet; of a response that came to its end, only that is parsed."""
    if events and events[0][0] == "response.created":
        last = event_data(events[-1][1])
        answer = last.get("response") if isinstance(last, dict) else None
        if isinstance(answer, dict) and answer.get("output"):
            unknown: set[str] = set()
            for name in {name for name, _ in events}:
                openai_responses.note_event(unknown, name)
            return Assembled(answer, tuple(unknown))
    return assemble([(name, event_data(text)) for name, text in events])


def assemble(events: list[Event]) -> Assembled | None:
    """The final answer of a stream, in the shape of the same answer without streaming.

    None when the events are of no known dialect. A stream that was cut gives what had come.
    """
    for name, data in events:
        assembler = _assembler(name, data)
        if assembler is not None:
            unknown: set[str] = set()
            answer = assembler(events, unknown)
            if events[-1][0] == DAMAGED:
                unknown.add(f"event:{DAMAGED}")
            return Assembled(answer, tuple(unknown))
    return _only_errors(events)


def _assembler(name: str, data: Json) -> Callable[[list[Event], set[str]], dict[str, Any]] | None:
    """Who can put the stream together that this event belongs to."""
    if not isinstance(data, dict):
        return None
    kind = data.get("type")
    if isinstance(data.get("choices"), list):
        return openai_chat.assemble
    if kind == "message_start":
        return anthropic_messages.assemble
    if isinstance(kind, str) and kind.startswith("response."):
        return openai_responses.assemble
    if google_generate.is_answer(data):
        return google_generate.assemble
    if name == "messageStart" or isinstance(data.get("messageStart"), dict):
        return bedrock_converse.assemble
    if isinstance(data.get("completion"), str) and "stop_reason" in data:
        return anthropic_messages.assemble_complete
    if "outputText" in data and "inputTextTokenCount" in data:
        return bedrock_converse.assemble_titan
    return None


def _only_errors(events: list[Event]) -> Assembled | None:
    """A stream that failed before it began."""
    found: dict[str, Any] | None = None
    for name, data in events:
        if isinstance(data, dict) and isinstance(data.get("error"), dict):
            found = data
        elif name.endswith("Exception") and isinstance(data, dict):
            found = {"error": {"type": name, **data}}
        elif isinstance(data, dict) and data.get("type") == "error" and "message" in data:  # OpenAI's responses
            found = {"error": {key: value for key, value in data.items() if key not in ("type", "sequence_number")}}
        elif not isinstance(data, str):
            return None
    return None if found is None else Assembled(found)
