"""What is read of a language model's call, whatever the dialect, and how its members are taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rashomon.model import Json
from rashomon.streams import parse_json

MAX_UNKNOWN = 16
"""How many unknown names are told of one answer; a foreign body may hold thousands."""

_NAME_WIDTH = 80
_MANY = 2**53


class ToolCall(NamedTuple):
    """A call that the model asked for. `arguments` is parsed where the model sent valid JSON."""

    id: str
    name: str
    arguments: Json


class ToolResult(NamedTuple):
    """What a tool gave: the id of the call that it answers, its name where that is told, and the content."""

    id: str
    name: str
    content: Json
    failed: bool = False


class Tool(NamedTuple):
    """A tool that the model was offered. `schema` is the JSON schema of its arguments; `kind` the provider's word."""

    name: str
    description: str
    schema: Json
    kind: str = "function"


class Message(NamedTuple):
    """A message of a conversation. `other` names contents that are neither text nor tools: `image_url`, `file`, ..."""

    role: str
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    reasoning: str = ""
    other: tuple[str, ...] = ()


class Asked(NamedTuple):
    """What a request asks. `system` is the system prompt; `messages` are all others, in their order.

    `settings` are the request's further members (`temperature`, `max_tokens`, ...) as they are.
    """

    dialect: str | None = None
    model: str | None = None
    system: str | None = None
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    settings: Mapping[str, Json] = {}


class Reading(NamedTuple):
    """What an answer of a model says, whatever the dialect.

    Token counts are the provider's own; `input_tokens` includes what came from or went into a cache, `output_tokens`
    includes reasoning. `finish` is the provider's word (`stop`, `tool_calls`, `end_turn`, `completed`, ...). `note` is
    said in place of a text where there is none: an error's message, the shape of embeddings. Of several choices,
    `text`, `tool_calls` and `finish` are the first one's; `choices` counts them. `server_calls` and `tool_results` are
    of tools that the provider ran itself. `tier` is the service tier that served the call, `long_cache_tokens` those of
    `cache_write_tokens` that stay for an hour, `searches` the web searches that are charged for.

    `dialect` is None where the answer is of no known one. `unknown` names its fields that the dialect does not have:
    `usage.shiny`, `choices[].message.shiny`, `content[shiny]` (a block of that type).
    """

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish: str | None = None
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    note: str = ""
    dialect: str | None = None
    unknown: tuple[str, ...] = ()
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    reasoning: str = ""
    refusal: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    choices: int = 1
    server_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    tier: str | None = None
    long_cache_tokens: int | None = None
    searches: int | None = None


class Tokens(NamedTuple):
    """Token counts in one meaning: `input` includes both cache counts, `output` includes `reasoning`."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


def words(text: str) -> frozenset[str]:
    """The names in a text."""
    return frozenset(text.split())


def text_of(value: Json) -> str:
    """The text, or none where the value is no text."""
    return value if isinstance(value, str) else ""


def count_of(value: Any, name: str) -> int | None:
    """A count in an object; None where there is none, or one that cannot be."""
    found = value.get(name) if isinstance(value, dict) else None
    if found is None:
        return None
    if type(found) is int:
        return found if 0 <= found < _MANY else None
    if type(found) is float and 0 <= found < _MANY and found == int(found):  # as some compatible servers count
        return int(found)
    return None


def total(*counts: int | None) -> int | None:
    """The sum of counts; None where none of them is known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def dicts(value: Json) -> list[dict[str, Any]]:
    """The objects in a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def strange(into: list[str], where: str, value: Mapping[str, Any], known: frozenset[str]) -> None:
    """Note the members of an object that nobody knows."""
    if not value.keys() <= known:
        into.extend([f"{where}{key}" for key in value if key not in known])


def named(unknown: Iterable[str]) -> tuple[str, ...]:
    """Unknown names as they are told: each once, sorted, short, and safe to print. `$...` is what a view added."""
    told = {name if name.isprintable() else ascii(name)[1:-1] for name in unknown if name[:1] != "$"}
    found = sorted(told)
    return tuple(name if len(name) <= _NAME_WIDTH else name[: _NAME_WIDTH - 1] + "…" for name in found[:MAX_UNKNOWN])


def note_stray(unknown: set[str], data: Json) -> None:
    """Note an event whose data is no object, as where the stream was cut; none that only marks the end."""
    if not isinstance(data, str) or data.strip() not in ("[DONE]", ""):
        unknown.add("event:$cut")


def argument(value: Json) -> Json:
    """The arguments of a tool call: what their JSON text holds, or the text where it is none (cut, or free text)."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError:
        return value


def joined(content: Json) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if not isinstance(content, list):
        return text_of(content)
    return "".join([text_of(part.get("text")) if isinstance(part, dict) else text_of(part) for part in content])
