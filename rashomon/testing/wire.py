"""What the dialects share: ids, events, token counts, and text cut into the pieces that a stream sends."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .model import ModelRequest, Reply, Usage

BASE62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
HEX = "0123456789abcdef"
_PIECE = re.compile(r"\s*\S{1,8}|\s+\Z")
_TOKEN = re.compile(r"[A-Za-z]{1,6}|[0-9]{1,3}|[^\sA-Za-z0-9]")


class Ids:
    """Makes ids that look like the providers', from a seed: the same seed, the same ids in the same order."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def base62(self, prefix: str, length: int) -> str:
        """`prefix` and `length` letters and digits."""
        return prefix + "".join(self._rng.choices(BASE62, k=length))

    def hex(self, prefix: str, length: int) -> str:
        """`prefix` and `length` hexadecimal digits."""
        return prefix + "".join(self._rng.choices(HEX, k=length))


@dataclass(frozen=True, slots=True)
class Answering:
    """All that a dialect needs to write an answer: the request, the replies (one a choice), ids, time."""

    request: ModelRequest
    replies: tuple[Reply, ...]
    ids: Ids
    created: int

    @property
    def reply(self) -> Reply:
        """The first reply; only chat completions can ask for more."""
        return self.replies[0]


class ApiError(Exception):
    """A request that the provider would refuse: status, message, fields of the error object."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


def compact(value: Any) -> str:
    """JSON without spaces, as the providers send it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def sse(data: Any, event: str | None = None) -> bytes:
    """One server-sent event; `data` is encoded as JSON unless it is a text already."""
    text = data if isinstance(data, str) else compact(data)
    return (f"event: {event}\ndata: {text}\n\n" if event else f"data: {text}\n\n").encode()


def text_pieces(text: str) -> list[str]:
    """The text in pieces of about a token; joined, they are the text again."""
    return _PIECE.findall(text)


def argument_pieces(arguments: str, size: int = 6) -> Iterator[str]:
    """A call's arguments in pieces of a few characters, as they arrive from a provider."""
    return (arguments[start : start + size] for start in range(0, len(arguments), size))


def token_count(text: str) -> int:
    """About the number of tokens that a provider would count."""
    return sum(1 for _ in _TOKEN.finditer(text))


def reply_tokens(reply: Reply) -> int:
    """Output tokens of a reply, reasoning included."""
    calls = sum(token_count(call.name) + token_count(call.encoded_arguments()) + 5 for call in reply.tool_calls)
    return token_count(reply.text) + token_count(reply.reasoning) + calls + 1


def input_tokens(request: ModelRequest) -> int:
    """Input tokens of a request: system prompt, turns and tool definitions."""
    total = 3 + (token_count(request.system) + 4 if request.system else 0)
    for message in request.messages:
        total += 4 + token_count(message.text)
        total += sum(token_count(call.name + call.encoded_arguments()) + 4 for call in message.tool_calls)
        total += sum(token_count(result.content) + 4 for result in message.tool_results)
    for tool in request.tools:
        total += 8 + token_count(tool.name + " " + tool.description + " " + compact(dict(tool.parameters)))
    return total


def usage_of(request: ModelRequest, replies: tuple[Reply, ...]) -> Usage:
    """The replies' own usage where they carry it, else a count."""
    if replies[0].usage is not None:
        return replies[0].usage
    return Usage(
        input_tokens(request),
        sum(reply_tokens(reply) for reply in replies),
        reasoning_tokens=sum(token_count(reply.reasoning) for reply in replies),
    )


def text_of_parts(content: Any) -> str:
    """The text of a message's content: a text, a list of parts, or nothing. Images become "[image]"."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ApiError(400, "Invalid type for 'content': expected a string or an array of parts.", param="messages")
    texts = []
    for part in content:
        if not isinstance(part, dict):
            raise ApiError(400, "Invalid type for a content part: expected an object.", param="messages")
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part.get("refusal"), str):
            texts.append(part["refusal"])
        elif part.get("type") in ("image_url", "image", "input_image"):
            texts.append("[image]")
        elif part.get("type") in ("file", "input_file", "document", "input_audio"):
            texts.append("[file]")
    return "\n".join(texts)


def parsed_arguments(text: Any) -> dict[str, Any]:
    """A call's arguments as a mapping; what is no JSON object counts as none."""
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def number(raw: dict[str, Any], name: str, kind: type[int] | type[float] = float) -> Any:
    """A numeric field of a request, None when absent; ApiError 400 when it is something else."""
    value = raw.get(name)
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return kind(value) if value is not None else None
    raise ApiError(400, f"Invalid type for '{name}': expected a number, but got {type(value).__name__}.", param=name)


def cut_short(reply: Reply, request: ModelRequest) -> Reply:
    """The reply as `max_tokens` and the stop sequences of the request leave it."""
    text, finish, found = reply.text, reply.finish_reason, None
    for stop in request.stop:
        if stop and stop in text:
            text, finish, found = text[: text.index(stop)], "stop_sequence", stop
    if request.max_tokens is not None and token_count(text) > request.max_tokens:
        ends = [match.end() for match in _TOKEN.finditer(text)]
        text, finish, found = (
            text[: ends[request.max_tokens - 1] if request.max_tokens else 0],
            "length",
            None,
        )
    if text is reply.text:
        return reply
    return Reply(text, reply.tool_calls, reply.reasoning, finish, reply.usage, found)
