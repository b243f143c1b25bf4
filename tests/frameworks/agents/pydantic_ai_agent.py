"""Four agents at once on pydantic-ai, with the models of two providers; one is streamed."""

import asyncio
import os

import httpx
from pydantic_ai import Agent

INSTRUCTIONS = "Compare the cities that you are given."


async def weather(city: str) -> str:
    """What the weather is like in a city."""
    async with httpx.AsyncClient(base_url=os.environ["WEATHER_BASE_URL"]) as client:
        answer = (await client.get(f"/weather/{city}")).json()
    print(f"  weather {city}: {answer['celsius']}")
    return f"{city}: {answer['celsius']} C"


async def fare(city: str) -> str:
    """What a ticket to a city costs."""
    await asyncio.sleep(0.01 * (len(city) % 4))
    print(f"  fare {city}")
    return f"{city}: {100 + 7 * len(city)} EUR"


def visa(city: str) -> str:
    """Whether a visa is needed in a city; the framework calls it in a thread."""
    return f"{city}: {'yes' if len(city) % 2 else 'no'}"


def desk(model: str) -> Agent:
    """An agent with the three tools."""
    return Agent(model, instructions=INSTRUCTIONS, tools=[weather, fare, visa])


async def ask(model: str, cities: str) -> None:
    """One run, to its end."""
    result = await desk(model).run(f"Compare {cities}.")
    print(f"{cities} => {result.output}")


async def follow(model: str, cities: str) -> None:
    """One run, told piece by piece."""
    async with desk(model).run_stream(f"Compare {cities}.") as result:
        async for text in result.stream_text(delta=True, debounce_by=None):
            print(f"  {cities} | {text!r}")
        print(f"{cities} => {await result.get_output()}")


async def main() -> None:
    """All at once."""
    await asyncio.gather(
        ask("openai-chat:gpt-4.1", "Lisbon, Oslo, Quito"),
        ask("anthropic:claude-sonnet-5", "Cairo, Lima"),
        ask("openai-responses:gpt-4.1", "Tunis, Porto"),
        follow("anthropic:claude-sonnet-5", "Turin, Accra, Hanoi"),
    )


if __name__ == "__main__":
    asyncio.run(main())
