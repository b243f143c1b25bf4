"""Three runs of one graph at once, on langgraph and langchain-openai; one is streamed."""

import asyncio
import os
import uuid
from datetime import datetime

import httpx
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send


@tool
async def weather(city: str) -> str:
    """What the weather is like in a city."""
    async with httpx.AsyncClient(base_url=os.environ["WEATHER_BASE_URL"]) as client:
        answer = (await client.get(f"/weather/{city}")).json()
    print(f"  weather {city}: {answer['celsius']}")
    return f"{city}: {answer['celsius']} C"


@tool
async def fare(city: str) -> str:
    """What a ticket to a city costs."""
    await asyncio.sleep(0.01 * (len(city) % 4))
    print(f"  fare {city}")
    return f"{city}: {100 + 7 * len(city)} EUR"


@tool
def visa(city: str) -> str:
    """Whether a visa is needed in a city; the framework calls it in a thread."""
    return f"{city}: {'yes' if len(city) % 2 else 'no'}"


TOOLS = [weather, fare, visa]
model = ChatOpenAI(model="gpt-4.1").bind_tools(TOOLS)


async def think(state: MessagesState) -> dict[str, object]:
    """The node that asks the model."""
    return {"messages": [await model.ainvoke(state["messages"])]}


def spread(state: MessagesState) -> list[Send] | str:
    """A branch of the graph for each call that the model asks for; the end when it asks for none."""
    return [Send("tools", [call]) for call in state["messages"][-1].tool_calls] or END


builder = StateGraph(MessagesState)
builder.add_node("think", think)
builder.add_node("tools", ToolNode(TOOLS))
builder.add_edge(START, "think")
builder.add_conditional_edges("think", spread, ["tools", END])
builder.add_edge("tools", "think")
graph = builder.compile(checkpointer=InMemorySaver())


def question(cities: str) -> dict[str, object]:
    """What goes in: with the time and a number that is new in every run, as support desks have them."""
    now = f"It is {datetime.now():%H:%M:%S.%f}, case {uuid.uuid4()}."
    print(f"  {cities} | {now}")
    return {"messages": [("system", f"Compare the cities that you are given. {now}"), ("user", f"Compare {cities}.")]}


async def ask(cities: str) -> None:
    """One run, to its end."""
    state = await graph.ainvoke(question(cities), {"configurable": {"thread_id": cities}})
    print(f"{cities} => {state['messages'][-1].content}")


async def follow(cities: str) -> None:
    """One run, told piece by piece."""
    said = ""
    config = {"configurable": {"thread_id": cities}}
    async for mode, news in graph.astream(question(cities), config, stream_mode=["messages", "updates"]):
        if mode == "updates":
            print(f"  {cities} | {', '.join(news)} is done")
        elif isinstance(news[0], AIMessageChunk) and news[0].content:
            print(f"  {cities} | {news[0].content!r}")
            said += str(news[0].content)
    print(f"{cities} => {said}")


async def main() -> None:
    """All at once."""
    await asyncio.gather(ask("Lisbon, Oslo, Quito"), ask("Cairo, Lima"), follow("Turin, Accra, Hanoi"))


if __name__ == "__main__":
    asyncio.run(main())
