"""Three agents at once on llama-index, whose workflows hand events from task to task; one tells its events."""

import asyncio
import os

import httpx
from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ToolCallResult
from llama_index.llms.openai import OpenAI


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
    """Whether a visa is needed in a city."""
    return f"{city}: {'yes' if len(city) % 2 else 'no'}"


def desk(streaming: bool) -> FunctionAgent:
    """An agent with the three tools."""
    return FunctionAgent(
        tools=[weather, fare, visa],
        llm=OpenAI(model="gpt-4.1", api_base=os.environ["OPENAI_BASE_URL"]),
        system_prompt="Compare the cities that you are given.",
        streaming=streaming,
    )


async def ask(cities: str) -> None:
    """One run, to its end."""
    print(f"{cities} => {await desk(False).run(f'Compare {cities}.')}")


async def follow(cities: str) -> None:
    """One run, told event by event."""
    handler = desk(True).run(f"Compare {cities}.")
    async for event in handler.stream_events():
        if isinstance(event, AgentStream) and event.delta:
            print(f"  {cities} | {event.delta!r}")
        elif isinstance(event, ToolCallResult):
            print(f"  {cities} | {event.tool_name} answered")
    print(f"{cities} => {await handler}")


async def main() -> None:
    """All at once."""
    await asyncio.gather(ask("Lisbon, Oslo, Quito"), ask("Cairo, Lima"), follow("Turin, Accra, Hanoi"))


if __name__ == "__main__":
    asyncio.run(main())
