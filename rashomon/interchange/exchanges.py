"""What other tools tell of a call, as the step that Rashomon would have recorded.

A call of a model becomes a chat completion in OpenAI's form, whatever the provider's own was: that is the form in which
others tell of it. The bytes are made here, so they are not the ones that went over the wire; `LACKS` says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rashomon import values
from rashomon.model import End, Failure, Json, Kind, Lane, Piece, Request, Response, Step

BYTES = "the exact bytes of requests and answers"
CHUNKS = "the chunks of streams"
AMBIENT = "what the program read of clock and chance"
ORDER = "the order in which answers reached the program"
COMMAND = "the program's command"
TIMES = "times"
USAGE = "tokens used"
TOOLS = "definitions of tools"
SETTINGS = "the requests' parameters"
MODEL = "the model's name"
MESSAGES = "what models were asked and what they answered"
LACKS = (COMMAND, BYTES, CHUNKS, AMBIENT, ORDER)
"""What no trace of another tool has, and a replay would need."""

_NAMES = {
    "chat": "chat.completions",
    "generate_content": "chat.completions",
    "text_completion": "completions",
    "embeddings": "embeddings",
}
JSON_HEADERS = [["content-type", "application/json"]]


class Usage(NamedTuple):
    """Tokens as the store counts them: input includes both cache counts, output includes reasoning."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


class Choice(NamedTuple):
    """One answer of a model: a chat message, and the provider's word for why it ended."""

    message: dict[str, Any]
    finish: str | None = None


class Exchange(NamedTuple):
    """A call of a model. `messages` and `tools` are in the form of OpenAI's chat completions; `given` is what an
    embedding or a legacy completion was given instead. `settings` are further members of the request, `tier` is the
    service tier that served the call."""

    operation: str = "chat"
    provider: str = ""
    url: str = ""
    model: str = ""
    messages: tuple[dict[str, Any], ...] = ()
    given: Json = None
    tools: tuple[Json, ...] = ()
    settings: Mapping[str, Json] = {}
    choices: tuple[Choice, ...] = ()
    usage: Usage = Usage()
    answer_id: str = ""
    answer_model: str = ""
    vectors: int | None = None
    tier: str = ""


class Times(NamedTuple):
    """When a call was made, in microseconds from the trace's start; how long it took; when its first piece came."""

    started_us: int
    duration_us: int
    first_us: int | None = None


def body_of(value: Json) -> bytes:
    """A JSON value as the bytes of a body; lone surrogates stay escaped, so that they are UTF-8 in any case."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def llm_step(number: int, exchange: Exchange, times: Times, failure: Failure | None, within: str | None = None) -> Step:
    """The step of a call of a model."""
    name = _NAMES.get(exchange.operation, exchange.operation or "chat.completions")
    url = exchange.url or f"genai://{exchange.provider or 'unknown'}/{name.replace('.', '/')}"
    head: dict[str, Any] = {"method": "POST", "url": url, "headers": JSON_HEADERS}
    if exchange.provider:
        head["provider"] = exchange.provider
    answer = _answer(exchange)
    response = _response(body_of(answer) if answer is not None else None, times, failure)
    request = Request(head, body_of(_asked(exchange)))
    return Step(f"0.{number}", number, Kind.LLM, name, (), times.started_us, request, response, None, within)


def _response(body: bytes | None, times: Times, failure: Failure | None) -> Response:
    at_us = times.duration_us if times.first_us is None else min(times.first_us, times.duration_us)
    pieces = () if body is None else (Piece(max(0, at_us), body),)
    head = None if body is None else {"status": 200, "headers": JSON_HEADERS}
    end = End.COMPLETE if failure is None else End.ERROR
    return Response(head, pieces, end, failure, times.duration_us)


def _asked(exchange: Exchange) -> dict[str, Json]:
    asked: dict[str, Json] = {"model": exchange.model} if exchange.model else {}
    if exchange.given is not None:
        asked["input" if exchange.operation == "embeddings" else "prompt"] = exchange.given
    if exchange.messages or exchange.given is None:
        asked["messages"] = list(exchange.messages)
    if exchange.tools:
        asked["tools"] = list(exchange.tools)
    return asked | {name: value for name, value in exchange.settings.items() if name not in asked}


def _answer(exchange: Exchange) -> dict[str, Json] | None:
    """The answer in the chat form; None where nothing is told of it."""
    usage = _usage(exchange.usage)
    told: dict[str, Json] = {"id": exchange.answer_id} if exchange.answer_id else {}
    if exchange.operation == "embeddings":
        if usage is None and not exchange.vectors and not exchange.answer_model:
            return None
        data: list[Json] = [{"object": "embedding", "index": at} for at in range(exchange.vectors or 0)]
        told |= {"object": "list", "data": data}
    else:
        if usage is None and not exchange.choices and not told and not exchange.answer_model:
            return None
        choices: list[Json] = [
            {"index": at, "message": choice.message, "finish_reason": choice.finish}
            for at, choice in enumerate(exchange.choices)
        ]
        told |= {"object": "chat.completion", "choices": choices}
    model = exchange.answer_model or exchange.model
    told |= {"service_tier": exchange.tier} if exchange.tier else {}
    return told | ({"model": model} if model else {}) | ({} if usage is None else {"usage": usage})


def _usage(usage: Usage) -> dict[str, Json] | None:
    if usage == Usage():
        return None
    told: dict[str, Json] = {}
    for name, number in (("prompt_tokens", usage.input), ("completion_tokens", usage.output)):
        if number is not None:
            told[name] = number
    before = {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write}
    details: dict[str, Json] = {name: number for name, number in before.items() if number is not None}
    if details:
        told["prompt_tokens_details"] = details
    if usage.reasoning is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    if usage.input is not None and usage.output is not None:
        told["total_tokens"] = usage.input + usage.output
    return told


def tool_step(
    number: int,
    name: str,
    arguments: Json,
    result: Json,
    times: Times,
    failure: Failure | None = None,
    within: str | None = None,
    answered: bool = True,
    call: str = "",
) -> Step:
    """The step of a tool's call. `call` is the id under which the model asked for it."""
    head = {"flavour": "imported", **({"call": call} if call else {})}
    pieces: tuple[Piece, ...] = ()
    if answered and failure is None:
        pieces = (Piece(times.duration_us, values.encode(result)),)
    end = End.COMPLETE if failure is None else End.ERROR
    response = Response(
        {} if pieces else None, pieces, end if pieces or failure else End.OPEN, failure, times.duration_us
    )
    request = Request(head, values.encode({} if arguments is None else arguments))
    return Step(f"0.{number}", number, Kind.TOOL, name, (), times.started_us, request, response, None, within)


def note_step(
    number: int, said: Mapping[str, Json], started_us: int, lane: Lane = (), within: str | None = None
) -> Step:
    """The step of what was said of an execution: `text`, `labels`, `data`, as `rashomon.note` writes it."""
    note = {"text": said.get("text") or "", "labels": said.get("labels") or [], "data": said.get("data") or {}}
    request = Request({"note": note}, values.encode(note))
    response = Response(None, (), End.COMPLETE)
    return Step(f"0.{number}", number, Kind.NOTE, "note", lane, started_us, request, response, None, within)


def failure_of(type_name: str, message: str) -> Failure:
    """What another tool tells of an error. It names types in its own way: they can be shown and not raised."""
    return Failure(type_name or "error", message)


def numbered(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps with indexes and ids in their order: what began at the same time keeps its place by its id."""
    ids = {step.id: f"0.{index}" for index, step in enumerate(steps)}
    return tuple(
        step._replace(id=ids[step.id], index=index, within=None if step.within is None else ids.get(step.within))
        for index, step in enumerate(steps)
    )
