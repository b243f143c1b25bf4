"""Three agents on smolagents, each in a thread of its own; their tools run in threads too. One is streamed."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import requests
from rich.console import Console
from smolagents import AgentLogger, LogLevel, OpenAIServerModel, ToolCallingAgent, tool
from smolagents.models import ChatMessageStreamDelta


@tool
def weather(city: str) -> str:
    """What the weather is like in a city.

    Args:
        city: The city.
    """
    answer = requests.get(f"{os.environ['WEATHER_BASE_URL']}/weather/{city}", timeout=30).json()
    return f"{city}: {answer['celsius']} C"


@tool
def fare(city: str) -> str:
    """What a ticket to a city costs.

    Args:
        city: The city.
    """
    return f"{city}: {100 + 7 * len(city)} EUR"


@tool
def visa(city: str) -> str:
    """Whether a visa is needed in a city.

    Args:
        city: The city.
    """
    return f"{city}: {'yes' if len(city) % 2 else 'no'}"


def desk(**options: object) -> ToolCallingAgent:
    """An agent with the three tools."""
    model = OpenAIServerModel("gpt-4.1", api_base=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
    logger = AgentLogger(LogLevel.OFF, Console(quiet=True))
    return ToolCallingAgent([weather, fare, visa], model, logger=logger, **options)


def question(cities: str) -> str:
    """What goes in: with a time and a number that are new in every run."""
    return f"Compare {cities}. It is {time.time()}; your reference is {random.getrandbits(64):x}."


def ask(cities: str) -> list[str]:
    """One run, to its end."""
    return [f"{cities} => {desk().run(question(cities))}"]


def follow(cities: str) -> list[str]:
    """One run, told piece by piece."""
    lines = []
    for event in desk(stream_outputs=True).run(question(cities), stream=True):
        if isinstance(event, ChatMessageStreamDelta) and event.tool_calls:
            lines.append(f"  {cities} | {event.tool_calls[0].function.arguments!r}")
        answer = getattr(event, "output", None)
    return [*lines, f"{cities} => {answer}"]


def main() -> None:
    """All at once; told when all have ended, since threads print in no order."""
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(ask, "Lisbon, Oslo, Quito"),
            pool.submit(ask, "Cairo, Lima"),
            pool.submit(follow, "Turin, Accra, Hanoi"),
        ]
    for run in runs:
        print("\n".join(run.result()))


if __name__ == "__main__":
    main()
