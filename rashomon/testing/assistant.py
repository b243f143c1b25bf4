"""The bundled model: a small rule-based assistant that reads the conversation and the tools' results.

It knows one trade, refunds (`support`), and otherwise calls the tools that a message speaks of, tells what
they returned, and answers plain messages. Its wording is sampled from the request's `sampling_seed`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .arguments import facts, fill, words
from .model import ModelRequest, Reply, Tool, ToolCall
from .structured import Filler
from .support import support_turn

NAME_WEIGHT, OTHER_WEIGHT, NEEDED = 3, 1, 3  # a word of the name is enough, of the description it takes three
MOST_CALLS = 4  # tool calls in one turn
_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"
NUMBER_WORDS = {word: value for value, word in enumerate(_NUMBERS.split())}
_SUM = re.compile(r"(-?[\d.]+|[a-z]+)\s*(\+|-|\*|/|x|plus|minus|times|divided by)\s*(-?[\d.]+|[a-z]+)")
_VERBATIM = re.compile(r"\b(?:reply|respond|answer|say)(?: with)? (?:exactly|just|only):?\s*(.+)", re.I | re.S)
_LENGTH = re.compile(r"\b(\d{1,6}) (?:words|tokens|chunks)\b", re.IGNORECASE)
_FILLER_TEXT = "the order was sent in good time and the price is as shown on your bill"
_FILLER = _FILLER_TEXT.split()


def support_assistant(request: ModelRequest) -> Reply:
    """Answer a request: the next step of a refund case, a call of a tool, or a text."""
    reply = _forced(request) or support_turn(request) or _tool_turn(request)
    if reply is None:
        reply = Reply(text=_told(request) if request.new_tool_results else _plain_answer(request))
    if reply.tool_calls:
        return reply
    if request.thinking and not reply.reasoning:
        reply = replace(reply, reasoning=_reasoning(request))
    return _shaped(request, reply) if request.response_schema is not None else reply


def _forced(request: ModelRequest) -> Reply | None:
    """The call that `tool_choice` demands, whatever the message says."""
    if request.tool_choice in ("auto", "none") or not request.tools:
        return None
    if request.tool_choice == "required":
        ranked = sorted(request.tools, key=lambda tool: -_score(tool, words(request.last_user_text)))
        return None if _calls(request) else Reply(tool_calls=(_certain_call(ranked[0], request),))
    tool = request.tool(request.tool_choice)
    return Reply(tool_calls=(_certain_call(tool, request),)) if tool else None


def _certain_call(tool: Tool, request: ModelRequest) -> ToolCall:
    arguments = fill(tool, _known(request), request.last_user_text)
    if arguments is None:
        arguments = Filler(tool.parameters, request.last_user_text, _known(request), request.last_user_text,
                           request.rng()).value(tool.parameters)  # fmt: skip
    return ToolCall(tool.name, arguments)


def _known(request: ModelRequest) -> dict[str, Any]:
    """Facts of the newest tool results by their last name, for the arguments of the next call."""
    known: dict[str, Any] = {}
    for result in request.new_tool_results:
        for path, value in facts(result.json()):
            known[path.rpartition(".")[2]] = value
    known.pop("", None)
    return known


def _score(tool: Tool, asked: set[str]) -> int:
    stems = {word[:5] for word in asked}
    name = {word[:5] for word in words(tool.name)}
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    other = {word[:5] for word in words(tool.description + " " + " ".join(properties))} - name
    return NAME_WEIGHT * len(stems & name) + OTHER_WEIGHT * len(stems & other)


def _calls(request: ModelRequest) -> tuple[ToolCall, ...]:
    """The calls that the newest message of the user asks for and that were not made yet."""
    asked = words(request.last_user_text)
    made = [(result.name, dict(result.arguments)) for result in request.new_tool_results]
    ranked = sorted(((_score(tool, asked), tool) for tool in request.tools), key=lambda entry: -entry[0])
    calls = []
    for score, tool in ranked:
        if score < max(NEEDED, ranked[0][0] // 2) or any(name == tool.name for name, _ in made):
            continue
        arguments = fill(tool, _known(request), request.last_user_text)
        if arguments is not None:
            calls.append(ToolCall(tool.name, arguments))
    return tuple(calls[: MOST_CALLS if request.parallel_tool_calls else 1])


def _tool_turn(request: ModelRequest) -> Reply | None:
    if request.tool_choice == "none" or not request.tools:
        return None
    calls = _calls(request)
    if not calls:
        return None
    names = " and ".join(call.name for call in calls)
    reasoning = f"The message speaks of what {names} can tell, so I call it." if request.thinking else ""
    return Reply(tool_calls=calls, reasoning=reasoning)


def _told(request: ModelRequest) -> str:
    """What the newest tool results say, in sentences that quote them."""
    rng = request.rng()
    opening = rng.choice(("Here is what I found.", "This is what came back.", "I looked it up."))
    sentences = [opening]
    for result in request.new_tool_results:
        value = result.json()
        given = ", ".join(f"{name} {argument}" for name, argument in result.arguments.items())
        about = f"{result.name} for {given}" if given else result.name
        if result.is_error:
            sentences.append(f"{about} failed: {result.content}.")
        elif isinstance(value, (dict, list)):
            told = ", ".join(f"{path} {leaf}" for path, leaf in facts(value)) or "nothing"
            sentences.append(f"{about} gives {told}.")
        else:
            sentences.append(f"{about} gives {result.content}.")
    return " ".join(sentences)


def _plain_answer(request: ModelRequest) -> str:
    text = request.last_user_text.strip()
    if not text:
        return "There is no question in this message. Please tell me what you need."
    if verbatim := _VERBATIM.search(text):
        return verbatim.group(1).strip().strip("\"'")
    if length := _LENGTH.search(text):
        return " ".join(_FILLER[index % len(_FILLER)] for index in range(int(length.group(1))))
    if (total := _arithmetic(text.lower())) is not None:
        return total
    rng = request.rng()
    turns = sum(1 for message in request.messages if message.role == "user" and message.text)
    quoted = text if len(text) <= 200 else text[:197] + "..."
    opening = rng.choice(("You asked", "Your message says", "I read", "You wrote"))
    middle = rng.choice((
        "I have no tool for it, so this is all I can say",
        "Without a tool I can only go by your words",
        "There is nothing to look up here",
    ))  # fmt: skip
    closing = rng.choice(("Ask me about an order.", "Tell me more.", "What should happen next?"))
    return f"{opening}: “{quoted}” {middle}; it is message {turns} of our talk. {closing}"


def _arithmetic(text: str) -> str | None:
    match = _SUM.search(text)
    if match is None:
        return None
    try:
        left, right = (float(NUMBER_WORDS.get(word, word)) for word in (match.group(1), match.group(3)))
    except ValueError:
        return None
    operations = {"+": left + right, "plus": left + right, "-": left - right, "minus": left - right}
    operations |= {"*": left * right, "x": left * right, "times": left * right}
    if right:
        operations |= {"/": left / right, "divided by": left / right}
    value = operations.get(match.group(2))
    return f"{left:g} {match.group(2)} {right:g} = {value:.12g}" if value is not None else "One cannot divide by zero."


def _reasoning(request: ModelRequest) -> str:
    results = len(request.new_tool_results)
    about = f"The user says: {request.last_user_text[:120]}"
    return f"{about}. I have {results} tool results to go by. I answer from these and add nothing."


def _shaped(request: ModelRequest, reply: Reply) -> Reply:
    """The answer as JSON in the shape that the request demands."""
    schema = request.response_schema
    if not schema:
        return replace(reply, text=json.dumps({"answer": reply.text}, ensure_ascii=False))
    known = [result.json() for result in request.tool_results]
    filler = Filler(schema, request.last_user_text, known, reply.text, request.rng())
    return replace(reply, text=json.dumps(filler.value(schema), ensure_ascii=False))
