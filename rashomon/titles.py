"""Parts of the one line that says what a step was."""

from __future__ import annotations

from typing import Any

from rashomon.lines import quoted, text_of
from rashomon.model import Failure, Json

TOOL_ERROR = "tool_error"
"""The type of error of a tool of an MCP server that tells in its result that it failed."""


def mcp_result(answer: Json) -> tuple[Json, bool]:
    """What the result of an MCP server's tool says, its text where it is nothing else, and whether the tool failed."""
    if not isinstance(answer, dict) or not isinstance(answer.get("content"), list):
        return answer, False
    blocks = [block for block in answer["content"] if isinstance(block, dict)]
    texts = [block["text"] for block in blocks if isinstance(block.get("text"), str)]
    return "\n".join(texts) if len(texts) == len(answer["content"]) else answer, answer.get("isError") is True


def note_title(note: Json) -> str:
    """What a program said about itself: `"refused" [policy] score=0.2`."""
    if not isinstance(note, dict):
        return "note"
    said, labels, data = note.get("text"), note.get("labels"), note.get("data")
    listed = [f"[{text_of(label, 40)}]" for label in labels] if isinstance(labels, list) else []
    named = [f"{key}={text_of(value, 40)}" for key, value in data.items()] if isinstance(data, dict) else []
    return " ".join([quoted(said), *listed, *named] if said else [*listed, *named]) or "note"


def asked_text(request: dict[str, Any]) -> str:
    """What a model is asked, in brackets: how many messages, and the last."""
    asked = next((request[name] for name in ("messages", "input", "prompt", "contents") if name in request), None)
    if not isinstance(asked, list) or not asked:
        return f' ("{text_of(asked, 60)}")' if asked else ""
    last = asked[-1]
    count = f"{len(asked)} message{'s' * (len(asked) != 1)}"
    if not isinstance(last, dict):
        return f' ({len(asked)} texts, the last: "{text_of(last, 60)}")'
    author = last.get("role") or last.get("type") or "nobody"
    content = last.get("content", last.get("output", last.get("parts")))
    return f" ({count}, the last by {text_of(author, 20)}: {quoted(content, 60)})"


def call_text(name: str, arguments: Json) -> str:
    """`get_order(order_id="A-1042")`."""
    if isinstance(arguments, dict):
        inside = ", ".join([f"{key}={quoted(value, 40)}" for key, value in list(arguments.items())[:8]])
        return f"{name}({inside}{', …' if len(arguments) > 8 else ''})"
    return f"{name}({'' if arguments is None else quoted(arguments, 60)})"


def short_type(name: str) -> str:
    """The class alone, of `module:Class.Inner`."""
    return name.rpartition(":")[2].rpartition(".")[2] or name


def raised_text(failure: Failure) -> str:
    """`raised TimeoutError: too late`."""
    name = short_type(failure.type)
    return f"raised {name}: {failure.message}" if failure.message else f"raised {name}"
