"""Three agents at once on openai-agents, the third of them streamed. Prints what happens, when it happens."""

import asyncio
import os

import httpx
from agents import Agent, Runner, function_tool
from openai.types.responses import ResponseTextDeltaEvent


@function_tool
async def weather(city: str) -> str:
    """What the weather is like in a city."""
    async with httpx.AsyncClient(base_url=os.environ["WEATHER_BASE_URL"]) as client:
        answer = (await client.get(f"/weather/{city}")).json()
    print(f"  weather {city}: {answer['celsius']}")
    return f"{city}: {answer['celsius']} C"


@function_tool
async def fare(city: str) -> str:
    """What a ticket to a city costs."""
    await asyncio.sleep(0.01 * (len(city) % 4))
    print(f"  fare {city}")
    return f"{city}: {100 + 7 * len(city)} EUR"


@function_tool
def visa(city: str) -> str:
    """Whether a visa is needed in a city."""
    return f"{city}: {'yes' if len(city) % 2 else 'no'}"


desk = Agent(
    name="desk", model="gpt-4.1", instructions="Compare the cities that you are given.", tools=[weather, fare, visa]
)


async def ask(cities: str) -> None:
    """One run, to its end."""
    result = await Runner.run(desk, f"Compare {cities}.")
    print(f"{cities} => {result.final_output}")


async def follow(cities: str) -> None:
    """One run, told piece by piece."""
    result = Runner.run_streamed(desk, f"Compare {cities}.")
    async for event in result.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            print(f"  {cities} | {event.data.delta!r}")
    print(f"{cities} => {result.final_output}")


async def main() -> None:
    """All at once."""
    await asyncio.gather(ask("Lisbon, Oslo, Quito"), ask("Cairo, Lima"), follow("Turin, Accra, Hanoi"))


if __name__ == "__main__":
    asyncio.run(main())
