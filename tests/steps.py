"""Steps and tapes made by hand, for tests of what is pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rashomon import values
from rashomon.model import End, Failure, Grade, Kind, Match, Piece, Request, Response, Step, Tape, Trace

CHAT_URL = "https://api.openai.com/v1/chat/completions"
_JSON = [["content-type", "application/json"]]


def http(
    kind: Kind,
    body: bytes,
    answer: bytes,
    *,
    status: int = 200,
    headers: list[list[str]] | None = None,
    url: str = CHAT_URL,
    end: End = End.COMPLETE,
    failure: Failure | None = None,
) -> Step:
    """One HTTP exchange."""
    response = Response({"status": status, "headers": headers or _JSON}, (Piece(0, answer),), end, failure)
    return Step("0.0", 0, kind, "chat", (), 0, Request({"method": "POST", "url": url, "headers": []}, body), response)


def llm(answer: Any, request: Any = None, **more: Any) -> Step:
    """One chat completion; `answer` is JSON or the bytes of the answer."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return http(Kind.LLM, json.dumps(request or {"model": "gpt-4o", "messages": []}).encode(), body, **more)


def tool(
    arguments: dict[str, Any],
    *results: Any,
    name: str = "get_order",
    flavour: str = "function",
    failure: Failure | None = None,
) -> Step:
    """One call of a tool."""
    pieces = tuple(Piece(0, values.encode(result)) for result in results)
    end = End.ERROR if failure else End.COMPLETE
    request = Request({"ref": f"shop:{name}", "flavour": flavour}, values.encode(arguments))
    return Step("0.0", 0, Kind.TOOL, name, (), 0, request, Response(None, pieces, end, failure))


def said(text: str | None = None, *calls: tuple[str, str, dict[str, Any]], number: int = 0) -> dict[str, Any]:
    """The body of a chat completion: a text, or tool calls (id, name, arguments)."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": key, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for key, name, arguments in calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return {"id": f"chatcmpl-{number:08}", "created": number, "model": "gpt-4o", "choices": [choice]}


def asked(*messages: dict[str, Any]) -> dict[str, Any]:
    """The body of a chat request."""
    return {"model": "gpt-4o", "messages": list(messages)}


def user(text: str) -> dict[str, Any]:
    """A user's message."""
    return {"role": "user", "content": text}


def result(key: str, value: Any) -> dict[str, Any]:
    """A tool's result as a message."""
    return {
        "role": "tool",
        "tool_call_id": key,
        "content": value if isinstance(value, str) else json.dumps(value),
    }


def tape(steps: Iterable[Step], id: str = "left", parent: str | None = None) -> Tape:  # noqa: A002
    """A trace of these steps, numbered in order; each keeps its lane and its match."""
    numbered = tuple(step._replace(id=f"0.{n}", index=n, started_us=n) for n, step in enumerate(steps))
    return Tape(Trace(id, id, 0, parent=parent), numbered)


def served(step: Step, recorded: str | None, grade: Grade = Grade.EXACT) -> Step:
    """The step as a replay has it."""
    return step._replace(match=Match(grade, recorded))
