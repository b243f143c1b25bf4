"""How a request begins: its system prompt, and the first message that is none.

Both are taken from a request that has been split into its members already (`rashomon.store.bodies`), so that nothing
is parsed a second time that need not be: an element is read only where it can be a system prompt at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from rashomon.dialects.reading import joined, text_of
from rashomon.model import Json
from rashomon.streams import parse_json

_SYSTEM_VALUES = ("system", "instructions", "systemInstruction", "system_instruction", "preamble")
_SYSTEM_LISTS = ("system[", "instructions[")
_MESSAGES = ("messages[", "input[", "contents[", "prompt[", "chat_history[")
_TEXTS = ("input", "prompt", "message", "inputText", "contents")
SYSTEM_ROLES = frozenset(("system", "developer", "SYSTEM"))
"""Whose messages are a system prompt where they stand before all others."""

_SMALL = 64 * 1024
_DEPTH = 4  # a foreign body may be nested to the edge of what Python parses


class Opening(NamedTuple):
    """How a conversation begins: the system prompt as text, and the first message that is none.

    The message is its JSON bytes, without marks of caching (Anthropic's `cache_control`, Bedrock's `cachePoint`).
    """

    system: str | None = None
    first: bytes | None = None


def opening(values: dict[str, Any], elements: Iterable[tuple[str, bytes]], instructed: bool = True) -> Opening:
    """How a request's conversation begins, whatever the dialect; nothing is found where no conversation is.

    `values` are the request's members that are no lists, `elements` those of its lists by path (`messages[0]`) as JSON
    bytes, in their order. A system prompt is the member for it, or the messages by `system` or `developer` that stand
    before all others. Never raises, whatever the JSON. `instructed` is False where no list is a system prompt's: then
    nothing behind the first message is looked at.
    """
    said = [text for name in _SYSTEM_VALUES if name in values and (text := _instruction(values[name]))]
    alone = bool(said)  # no list will add to it
    first: bytes | None = None
    for path, content in elements:
        if path.startswith(_MESSAGES):
            if first is not None or (content[:1] == b'"' and path.startswith("input[")):  # texts to embed
                continue
            by_system = _system_text(content)
            if by_system is None:
                first = _unmarked(content)
                if alone or not instructed:
                    break
            else:
                said.append(by_system)
                alone = True
        elif path.startswith(_SYSTEM_LISTS):
            said.append(_block_text(content))
    if first is None and not _embeds(values):
        first = next((_encoded(values[name]) for name in _TEXTS if values.get(name)), None)
    return Opening("\n\n".join(filter(None, said)) or None, first)


def _system_text(content: bytes) -> str | None:
    """The text of a message by the system; None of any other, which need not be read for that."""
    if b"ystem" not in content and b"developer" not in content and b"SYSTEM" not in content:
        return None
    return (_cached_text if len(content) <= _SMALL else _text_by_system)(content)


def _text_by_system(content: bytes) -> str | None:
    message = _parsed(content)
    if not isinstance(message, dict) or text_of(message.get("role")) not in SYSTEM_ROLES:
        return None
    said: Json = message.get("content", message.get("message", message.get("parts")))
    return joined(said) if isinstance(said, list) else _instruction(said)


_cached_text = lru_cache(maxsize=128)(_text_by_system)  # a conversation sends its first message each time


def _unmarked(content: bytes) -> bytes:
    """A message without the marks of caching, which move from turn to turn: it stays the same conversation."""
    if b"cache_control" not in content and b"cachePoint" not in content:
        return content
    message = _parsed(content)
    blocks = message.get("content") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(blocks, list):
        return content
    plain: list[Any] = []
    for block in blocks:
        if not isinstance(block, dict):
            plain.append(block)
        elif "cachePoint" not in block:
            plain.append({key: value for key, value in block.items() if key != "cache_control"})
    only = plain[0] if len(plain) == 1 and isinstance(plain[0], dict) else {}
    # a text is made a block of its own only to be marked
    said = only["text"] if only.keys() == {"type", "text"} else plain
    return _encoded({**{key: value for key, value in message.items() if key != "cache_control"}, "content": said})


def _block_text(content: bytes) -> str:
    return _instruction(_parsed(content))


def _instruction(value: Json, depth: int = 0) -> str:
    """The text of a system prompt: a text, parts with texts, or an object with either."""
    if isinstance(value, str):
        return value
    if depth > _DEPTH:
        return ""
    if isinstance(value, list):
        return "\n\n".join(filter(None, [_instruction(item, depth + 1) for item in value]))
    if not isinstance(value, dict):
        return ""
    text = value.get("text")
    return text if isinstance(text, str) else _instruction(value.get("parts", value.get("content")), depth + 1)


def _embeds(values: dict[str, Any]) -> bool:
    """True of a request for embeddings, which is no conversation."""
    model = values.get("model")
    return "encoding_format" in values or (isinstance(model, str) and "embed" in model.lower())


def _parsed(content: bytes) -> Json:
    try:
        return parse_json(content)
    except (ValueError, RecursionError):
        return None


def _encoded(value: Json) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return b""
