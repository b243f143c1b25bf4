"""What a scriptable model is given and what it answers, in words that no provider owns.

A model is a plain function: it receives a `ModelRequest` and returns a `Reply` (or a `Fault`). The dialects
(`openai_chat`, `openai_responses`, `anthropic_messages`) translate between these values and the wire.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, TypeAlias, Union

from .faults import Fault

Role: TypeAlias = Literal["user", "assistant", "tool"]
FinishReason: TypeAlias = Literal["stop", "tool_calls", "length", "stop_sequence", "refusal"]
Answer: TypeAlias = Union["Reply", Fault]
Model: TypeAlias = Callable[["ModelRequest"], Answer | Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the model asks for. `arguments_text`, when given, goes out as it is, JSON or not."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    arguments_text: str | None = None

    def encoded_arguments(self) -> str:
        """The arguments as the JSON text that goes over the wire."""
        if self.arguments_text is not None:
            return self.arguments_text
        return json.dumps(dict(self.arguments), ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered, as text; `name` and `arguments` are those of the call that it answers."""

    call_id: str
    name: str
    arguments: Mapping[str, Any]
    content: str
    is_error: bool = False

    def json(self) -> Any:
        """The content parsed as JSON, or the text itself when it is none."""
        try:
            return json.loads(self.content)
        except ValueError:
            return self.content


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation: text, the tool calls made in it, the tool results given in it."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the request offers; `parameters` is its JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer. `cached_tokens` are part of the input, `reasoning_tokens` of the output."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request as the model sees it, whichever provider's API it came through.

    `tool_choice` is "auto", "none", "required" or the name of one tool. `response_schema` is the JSON schema
    of a structured output, an empty one for "any JSON object", None for plain text. `sampling_seed` is equal
    for equal requests when the answer has to be reproducible (see `ProviderServer`).
    """

    provider: Literal["openai", "anthropic"]
    api: Literal["chat.completions", "responses", "messages"]
    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    stream: bool = False
    thinking: bool = False
    response_schema: Mapping[str, Any] | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    sampling_seed: int = 0

    @property
    def last_user_text(self) -> str:
        """The text of the newest message of the user, "" when there is none."""
        return next((m.text for m in reversed(self.messages) if m.role == "user" and m.text), "")

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """Every tool result of the conversation, oldest first."""
        return tuple(result for message in self.messages for result in message.tool_results)

    @property
    def new_tool_results(self) -> tuple[ToolResult, ...]:
        """The tool results that came after the newest message of the user."""
        newest: list[ToolResult] = []
        for message in self.messages:
            if message.role == "user" and message.text:
                newest.clear()
            newest.extend(message.tool_results)
        return tuple(newest)

    def tool(self, name: str) -> Tool | None:
        """The offered tool of that name, None when it is not offered."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def rng(self) -> random.Random:
        """A fresh generator for this request; equal sampling seeds give equal draws."""
        return random.Random(self.sampling_seed)

    def digest(self) -> bytes:
        """16 bytes that name all that should move the answer; ids that a server made up are left out."""
        turns = [
            (
                message.role,
                message.text,
                [(call.name, call.encoded_arguments()) for call in message.tool_calls],
                [(result.name, result.content, result.is_error) for result in message.tool_results],
            )
            for message in self.messages
        ]
        tools = [(tool.name, tool.description, tool.parameters) for tool in self.tools]
        whole = (
            self.api,
            self.model,
            self.system,
            turns,
            tools,
            self.temperature,
            self.seed,
            self.response_schema,
        )
        text = json.dumps(whole, sort_keys=True, ensure_ascii=True, default=str)
        return blake2b(text.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's answer. `finish_reason` None follows from the tool calls, `usage` None is counted."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    stop_sequence: str | None = None

    @property
    def finish(self) -> FinishReason:
        """Why the model stopped."""
        if self.finish_reason is not None:
            return self.finish_reason
        return "tool_calls" if self.tool_calls else "stop"


class Script:
    """A model that gives prepared replies in order, whatever it is asked.

    The last one is repeated once the list is used up, so that a retry does not need its own entry.
    Raises ValueError for an empty list.
    """

    def __init__(self, replies: Iterable[Reply | Fault | str]) -> None:
        self._replies = [Reply(text=entry) if isinstance(entry, str) else entry for entry in replies]
        if not self._replies:
            raise ValueError("Script got no replies. Give at least one Reply, Fault or text.")
        self._next = 0
        self._lock = threading.Lock()

    def __call__(self, request: ModelRequest) -> Reply | Fault:
        with self._lock:
            reply = self._replies[min(self._next, len(self._replies) - 1)]
            self._next += 1
        return reply


def echo(request: ModelRequest) -> Reply:
    """A model that answers with the text of the user's newest message."""
    return Reply(text=request.last_user_text)
