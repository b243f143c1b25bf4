"""A span that follows OpenTelemetry's GenAI conventions, today's or an earlier form of them, as a call.

Forms that are read, newest first: `gen_ai.input.messages` and its like as attributes, structured or as JSON text;
the same on an event `gen_ai.client.inference.operation.details`; span events for each message
(`gen_ai.user.message`, `gen_ai.choice`; conventions 1.28 to 1.36); `gen_ai.content.prompt` and `.completion` (1.27);
and what OpenLLMetry (`gen_ai.prompt.0.role`, `traceloop.*`), Logfire (`events`, `request_data`) and Vercel's AI SDK
(`ai.prompt.messages`, `ai.toolCall.*`) made of them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from rashomon.interchange import chat
from rashomon.interchange.exchanges import Choice, Exchange, Usage
from rashomon.interchange.nested import at, count, items, plain, text, tree
from rashomon.interchange.spans import Span
from rashomon.model import Json

_LLM = ("chat", "generate_content", "text_completion", "completion", "embeddings")
_TOOLS = ("execute_tool", "retrieval", "search_memory")
_STRUCTURE = ("invoke_agent", "create_agent", "invoke_workflow", "plan")

_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "max_tokens",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "stop_sequences": "stop",
    "seed": "seed",
    "stream": "stream",
    "choice.count": "n",
}
"""`gen_ai.request.*` and the chat request's own names."""

_VERCEL = (".doGenerate", ".doStream", ".doEmbed")

_MESSAGE_EVENTS = ("gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message", "gen_ai.tool.message")


def role_of(span: Span) -> str:
    """What a span is: `llm`, `tool`, or nothing that crossed a boundary."""
    given = span.attributes
    operation = text(given.get("gen_ai.operation.name")).lower()
    vercel = text(given.get("ai.operationId"))
    if vercel:  # its spans around those of calls carry the same names
        return "tool" if vercel == "ai.toolCall" else "llm" if vercel.endswith(_VERCEL) else ""
    if operation in _TOOLS:
        return "tool"
    if operation in _STRUCTURE:
        return ""
    if operation in _LLM:
        return "llm"
    loop = text(given.get("traceloop.span.kind"))
    if loop:
        return "tool" if loop == "tool" else ""
    if text(given.get("gen_ai.tool.name")):
        return "tool"
    named = any(name in given for name in ("gen_ai.request.model", "gen_ai.response.model", "llm.request.type"))
    return "llm" if named and not text(given.get("gen_ai.agent.name")) else ""


def exchange_of(span: Span) -> Exchange:
    """The call of a model that a span tells of. Never raises: what is not told is empty."""
    given = span.attributes
    grown = tree(given)
    gen_ai = grown.get("gen_ai")
    gen_ai = gen_ai if isinstance(gen_ai, dict) else {}
    details = _details(span)
    asked, answered = _messages(span, gen_ai, details)
    # why it ended is told also where what was said is left out
    answered = answered or [Choice({"role": "assistant", "content": None}, one or None) for one in _finish(gen_ai)]
    system = _first(details, gen_ai, "system_instructions")
    instructions = [{"role": "system", "parts": plain(system)}] if isinstance(plain(system), list) else []
    if not instructions and text(system):
        instructions = [{"role": "system", "parts": [system]}]
    operation = _operation(span, gen_ai)
    messages = (*chat.chat_messages(instructions), *asked)
    tools = _first(details, gen_ai, "tool", "definitions")
    tools = _functions(grown) if tools is None else chat.chat_tools(tools)
    inputs = at(gen_ai, "embeddings", "input") if operation == "embeddings" else None
    return Exchange(
        operation,
        _provider(gen_ai),
        _address(given, operation),
        text(at(gen_ai, "request", "model")) or text(at(gen_ai, "response", "model")),
        tuple(messages),
        ([] if inputs is None else plain(inputs)) if operation == "embeddings" and not messages else None,
        tuple(tools),
        _settings(gen_ai, given),
        tuple(answered),
        _usage(gen_ai, grown),
        text(at(gen_ai, "response", "id")),
        text(at(gen_ai, "response", "model")),
        count(at(gen_ai, "embeddings", "count")),
        _tier(given, "response"),
    )


def tool_of(span: Span) -> tuple[str, Json, Json, bool, str]:
    """Name, arguments, result, whether there is a result, and the id of the call, of a span of a tool."""
    given = span.attributes
    name = text(given.get("gen_ai.tool.name")) or text(given.get("traceloop.entity.name"))
    name = name or text(given.get("ai.toolCall.name")) or span.name
    name = name.removeprefix("execute_tool ").removesuffix(".tool")
    arguments = _one(given, "gen_ai.tool.call.arguments", "gen_ai.tool.arguments", "tool_arguments", "ai.toolCall.args")
    results = ("gen_ai.tool.call.result", "gen_ai.tool.result", "gen_ai.tool.output", "tool_response")
    result = _one(given, *results, "ai.toolCall.result")
    if arguments is None:
        arguments = _entity(given.get("traceloop.entity.input"), "inputs", "input", "kwargs")
    if result is None:
        result = _entity(given.get("traceloop.entity.output"), "outputs", "output", "result")
    if arguments is None and result is None and text(given.get("gen_ai.retrieval.query.text")):
        arguments = {"query": given["gen_ai.retrieval.query.text"]}
        result = plain(given.get("gen_ai.retrieval.documents"))
    answered = result is not None or "gen_ai.tool.call.result" in given
    if given.get("rashomon.result.is_text") is True:
        result = given.get("gen_ai.tool.call.result")
    call = text(given.get("gen_ai.tool.call.id")) or text(given.get("ai.toolCall.id"))
    return name, arguments, result, answered, call


def _one(given: dict[str, Any], *names: str) -> Json:
    return next((plain(given[name]) for name in names if given.get(name) is not None), None)


def _entity(value: Any, *names: str) -> Json:
    """What OpenLLMetry writes of a decorated function: an object around its arguments or its result."""
    value = plain(value)
    if isinstance(value, dict):
        for name in names:
            if value.get(name) not in (None, {}, []):
                return value[name]  # type: ignore[no-any-return]
    return value  # type: ignore[no-any-return]


# --------------------------------------------------------------------------------------------- messages


def _details(span: Span) -> dict[str, Any]:
    for event in span.events:
        if event.name == "gen_ai.client.inference.operation.details":
            found = tree(event.attributes).get("gen_ai")
            return found if isinstance(found, dict) else {}
    return {}


def _first(details: dict[str, Any], gen_ai: dict[str, Any], *words: str) -> Any:
    found = at(gen_ai, *words)
    return at(details, *words) if found is None else found


def _messages(span: Span, gen_ai: dict[str, Any], details: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Choice]]:
    """What was asked and what was answered, from the newest form in which the span tells it."""
    asked, answered = _first(details, gen_ai, "input", "messages"), _first(details, gen_ai, "output", "messages")
    if asked is not None or answered is not None:
        return chat.chat_messages(asked), choices_of(answered, _finish(gen_ai))
    for tell in (_from_events, _from_content, _from_logfire, _from_vercel):
        found = tell(span, gen_ai)
        if found[0] or found[1]:
            return found
    asked = [chat.loose_message(one) for one in items(gen_ai.get("prompt"))] if gen_ai.get("prompt") else []
    if not asked and text(gen_ai.get("prompt")):
        asked = [{"role": "user", "content": gen_ai["prompt"]}]
    finish = _finish(gen_ai)
    answered = [
        Choice(_answer(one), text(one.get("finish_reason")) or _at(finish, number))
        for number, one in enumerate(items(gen_ai.get("completion")))
    ]
    if not answered and text(gen_ai.get("completion")):
        answered = [Choice({"role": "assistant", "content": gen_ai["completion"]}, _at(finish, 0))]
    return asked, answered


def choices_of(messages: Json, finish: list[str]) -> list[Choice]:
    """Output messages as choices."""
    found = []
    for number, message in enumerate(items(messages)):
        whole = chat.chat_messages([{"role": "assistant", **message}])
        own = next((one for one in whole if one["role"] != "tool"), {"role": "assistant", "content": ""})
        found.append(Choice(own, text(message.get("finish_reason")) or _at(finish, number)))
    return found


def _finish(gen_ai: dict[str, Any]) -> list[str]:
    value = plain(at(gen_ai, "response", "finish_reasons"))
    if isinstance(value, str):
        return [value]
    return [text(one) for one in value] if isinstance(value, list) else []


def _at(finish: list[str], number: int) -> str | None:
    return finish[number] or None if number < len(finish) else None


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    return {**chat.loose_message(message), "role": text(message.get("role")) or "assistant"}


def _from_events(span: Span, gen_ai: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Choice]]:
    """One span event for each message."""
    told = [(event.name, event.attributes) for event in span.events]
    return _of_message_events(told, _finish(gen_ai))


def _of_message_events(told: list[tuple[str, dict[str, Any]]], finish: list[str]) -> tuple[list[Any], list[Choice]]:
    asked: list[dict[str, Any]] = []
    answered: list[Choice] = []
    for name, attributes in told:
        body = plain(attributes.get("gen_ai.event.content"))  # Azure's SDKs put all of it into one text
        said = {**attributes, **body} if isinstance(body, dict) else attributes
        if name in _MESSAGE_EVENTS:
            role = name.split(".")[1]
            message = chat.loose_message({"role": role, **said})
            if role == "tool" and text(said.get("id")):
                message["tool_call_id"] = said["id"]
            asked.append(message)
        elif name == "gen_ai.choice":
            inner = plain(said.get("message"))
            inner = inner if isinstance(inner, dict) else {"content": inner, "tool_calls": said.get("tool_calls")}
            answered.append(Choice(_answer(inner), text(said.get("finish_reason")) or _at(finish, len(answered))))
    return asked, answered


def _from_content(span: Span, gen_ai: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Choice]]:
    """One event for all that was asked, and one for all that was answered."""
    asked: list[dict[str, Any]] = []
    answered: list[Choice] = []
    for event in span.events:
        if event.name == "gen_ai.content.prompt":
            asked += [chat.loose_message(one) for one in items(event.attributes.get("gen_ai.prompt"))]
        elif event.name == "gen_ai.content.completion":
            for one in items(event.attributes.get("gen_ai.completion")):
                answered.append(Choice(_answer(one), _at(_finish(gen_ai), len(answered))))
    return asked, answered


def _from_logfire(span: Span, gen_ai: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Choice]]:
    """The message events in one attribute; or the request and the answer themselves."""
    listed = items(span.attributes.get("events"))
    if listed:
        return _of_message_events([(text(one.get("event.name")), one) for one in listed], _finish(gen_ai))
    request, answer = plain(span.attributes.get("request_data")), plain(span.attributes.get("response_data"))
    asked = [chat.loose_message(one) for one in items(at(request, "messages"))]
    message = at(answer, "message")
    return asked, [Choice(_answer(message), _at(_finish(gen_ai), 0))] if isinstance(message, dict) else []


def _from_vercel(span: Span, gen_ai: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Choice]]:
    """Messages whose contents are lists of typed parts, the answer as text and calls."""
    given = span.attributes
    asked = [
        {"role": text(one.get("role")) or "user", "parts": [_vercel_part(part) for part in _parts(one.get("content"))]}
        for one in items(given.get("ai.prompt.messages"))
    ]
    calls = [_vercel_part({**one, "type": "tool-call"}) for one in items(given.get("ai.response.toolCalls"))]
    said = text(given.get("ai.response.text")) or text(given.get("ai.response.object"))
    parts = [*([{"type": "text", "content": said}] if said else []), *calls]
    answer = [{"role": "assistant", "parts": parts}] if parts else []
    finish = _finish(gen_ai) or [text(given.get("ai.response.finishReason"))]
    return chat.chat_messages(asked), choices_of(answer, finish)


def _parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else items(content)


def _vercel_part(part: dict[str, Any]) -> dict[str, Any]:
    kind, call = part.get("type"), part.get("toolCallId")
    if kind == "tool-call":
        arguments = plain(part.get("args", part.get("input")))
        return {"type": "tool_call", "id": call, "name": part.get("toolName"), "arguments": arguments}
    if kind == "tool-result":
        output = part.get("result", part.get("output"))
        inner = output.get("value") if isinstance(output, dict) and set(output) == {"type", "value"} else output
        return {"type": "tool_call_response", "id": call, "response": inner, "name": part.get("toolName")}
    return {**part, "type": "reasoning", "content": part.get("text")} if kind == "reasoning" else part


# ------------------------------------------------------------------------------------------------ facts


def _operation(span: Span, gen_ai: dict[str, Any]) -> str:
    told = text(at(gen_ai, "operation", "name")).lower() or text(span.attributes.get("llm.request.type")).lower()
    return {"completion": "text_completion", "embedding": "embeddings", "": "chat"}.get(told, told)


def _provider(gen_ai: dict[str, Any]) -> str:
    system = gen_ai.get("system")
    system = system.get("", "") if isinstance(system, dict) else system
    return text(at(gen_ai, "provider", "name")) or text(system).lower()


_PATHS = {"embeddings": "embeddings", "text_completion": "completions"}


def _address(given: dict[str, Any], operation: str) -> str:
    """Where a call went, as far as it is told. The path is the one of the form that the call gets here."""
    path = _PATHS.get(operation, "chat/completions")
    url = text(given.get("url.full"))
    if url.split("?")[0].endswith(f"/{path}"):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:  # e.g. a broken IPv6 host
        parts = urlsplit("")
    host, port = text(given.get("server.address")), count(given.get("server.port"))
    if not parts.netloc and host and "/" not in host:
        host = f"{host}{'' if port in (None, 443) else f':{port}'}"
    else:
        host = parts.netloc
    return f"{parts.scheme or 'https'}://{host}/{path}" if host else ""


def _tier(given: dict[str, Any], of: str) -> str:
    """The service tier that was asked for (`request`), or that served (`response`); under its earlier name too."""
    return text(given.get(f"openai.{of}.service_tier")) or text(given.get(f"gen_ai.openai.{of}.service_tier"))


def _settings(gen_ai: dict[str, Any], given: dict[str, Any]) -> dict[str, Json]:
    tier = _tier(given, "request")
    found: dict[str, Json] = {"service_tier": tier} if tier else {}
    for name, chat_name in _SETTINGS.items():
        value = at(gen_ai, "request", *name.split("."))
        if value is not None and not isinstance(value, dict):
            found[chat_name] = value
    if found.get("stream") is False:
        del found["stream"]
    dimensions = count(at(gen_ai, "embeddings", "dimension", "count"))
    if dimensions is not None:
        found["dimensions"] = dimensions
    if isinstance(given.get("llm.is_streaming"), bool) and given["llm.is_streaming"]:
        found["stream"] = True
    return found


def _functions(grown: dict[str, Any]) -> list[Any]:
    """OpenLLMetry's tools."""
    return chat.chat_tools(at(grown, "llm", "request", "functions"))


def _usage(gen_ai: dict[str, Any], grown: dict[str, Any]) -> Usage:
    used = gen_ai.get("usage")
    used = used if isinstance(used, dict) else {}

    def number(*paths: tuple[str, ...]) -> int | None:
        return next((found for path in paths if (found := count(at(used, *path))) is not None), None)

    return Usage(
        number(("input_tokens",), ("prompt_tokens",)),
        number(("output_tokens",), ("completion_tokens",)),
        number(("cache_read", "input_tokens"), ("cache_read_input_tokens",), ("details", "cache_read_tokens")),
        number(("cache_creation", "input_tokens"), ("cache_creation_input_tokens",)),
        number(("reasoning", "output_tokens"), ("reasoning_tokens",), ("details", "reasoning_tokens")),
    )
