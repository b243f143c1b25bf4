"""The provider that the agents of this folder talk to: it asks for several tools at once, twice, then answers.

Ids, temperatures, delays and a refusal are random, so that no two recordings are alike: in what was said, and
in which order it came.
"""

from __future__ import annotations

import itertools
import random
import re

from rashomon.testing import Fault, ModelRequest, ProviderServer, Received, Reply, ToolCall, jitter

_CITIES = re.compile(r"Compare ((?:[A-Z]\w+(?:, )?)+)\.")
_ROUNDS = (("weather",), ("fare", "visa"))


def trip_desk(request: ModelRequest) -> Reply:
    """Which tools to call is read from how many turns there were; the answer is made of what they answered."""
    asked = next(found for message in request.messages if (found := _CITIES.search(message.text)))
    cities = asked.group(1).split(", ")
    # one turn of the model may be told as several messages in a row: a call each
    turn = sum(role == "assistant" for role, _ in itertools.groupby(message.role for message in request.messages))
    if turn < len(_ROUNDS):
        return Reply(tool_calls=tuple(ToolCall(name, {"city": city}) for name in _ROUNDS[turn] for city in cities))
    text = f"Compared: {'; '.join(_results(request))}."
    if request.tool("final_answer"):  # smolagents ends a run by a tool
        return Reply(tool_calls=(ToolCall("final_answer", {"answer": text}),))
    return Reply(text)


def _results(request: ModelRequest) -> list[str]:
    """What the tools answered, as the program sent it; smolagents sends it as plain text."""
    if request.tool_results:
        return [result.content for result in request.tool_results]
    said = [message.text for message in request.messages if "Observation" in message.text]
    return [line for text in said for line in text.splitlines() if re.match(r"\w+: ", line)]


def provider() -> ProviderServer:
    """A server that answers as `trip_desk`, at random speed, and has a weather service beside it.

    One request to the model, of the first six, is told to come back in a second.
    """
    chance = random.SystemRandom()
    seed = chance.randrange(2**32)
    asked, refused = itertools.count(), chance.randrange(6)

    def weather(request: Received) -> dict[str, object]:
        return {"city": request.params["city"], "celsius": chance.randrange(-10, 40)}

    def is_refused(request: Received) -> bool:
        return request.path.startswith("/v1/") and next(asked) == refused

    return ProviderServer(
        trip_desk,
        routes={("GET", "/weather/{city}"): weather},
        faults=[Fault.status(429, retry_after=1).only(is_refused)],
        delay=jitter(0.0, 0.05, seed=seed),
        chunk_delay=jitter(0.0, 0.005, seed=seed + 1),
    )
