"""A support agent, as people write them: the openai SDK, two tools called in parallel, a streamed answer.

`rashomon demo` copies this file, records it, and finds out why it pays a refund that it should not pay.
Nothing in here knows about replay; `@rashomon.tool` marks what is not a model call.
"""

import asyncio
import json
import sys

import openai

import rashomon

ORDERS = {
    "A-1042": {"order_id": "A-1042", "item": "Headphones", "price": 89.90, "currency": "EUR", "status": "delivered",
               "days_since_delivery": 21},
}  # fmt: skip

# The shop's policy changed: version 2 asks for 14 days. This cache was never told.
POLICY_CACHE = {"EU": {"version": 1, "region": "EU", "window_days": 30, "requires_photo": False}}


@rashomon.tool
async def get_order(order_id: str) -> dict:
    """Look up an order by its id."""
    await asyncio.sleep(0.02)
    return ORDERS[order_id]


@rashomon.tool
async def get_refund_policy(region: str = "EU") -> dict:
    """Get the refund policy of a region."""
    await asyncio.sleep(0.01)
    return POLICY_CACHE[region]


@rashomon.tool
async def issue_refund(order_id: str, amount: float) -> dict:
    """Pay a refund for an order."""
    return {"ok": True, "order_id": order_id, "refunded": amount}


TOOLS = {tool.__name__: tool for tool in (get_order, get_refund_policy, issue_refund)}


def describe(name: str, properties: dict) -> dict:
    """A tool as the API wants it."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "type": "function",
        "function": {"name": name, "description": TOOLS[name].__doc__, "parameters": parameters},
    }


DESCRIPTIONS = [
    describe("get_order", {"order_id": {"type": "string"}}),
    describe("get_refund_policy", {"region": {"type": "string", "enum": ["EU", "US"]}}),
    describe("issue_refund", {"order_id": {"type": "string"}, "amount": {"type": "number"}}),
]


async def answer(client: openai.AsyncOpenAI, question: str) -> str:
    """Work on a question until the model has no more tools to call; stream what it says last."""
    messages = [
        {
            "role": "system",
            "content": "You are the support agent of a shop. Decide on refunds by order and policy.",
        },
        {"role": "user", "content": question},
    ]
    while True:
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=messages, tools=DESCRIPTIONS, seed=1, stream=True
        )
        text, calls = "", {}
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    text += choice.delta.content
                    print(choice.delta.content, end="", flush=True)
                for part in choice.delta.tool_calls or []:
                    call = calls.setdefault(part.index, {"id": part.id, "name": part.function.name, "arguments": ""})
                    call["arguments"] += part.function.arguments or ""
        if not calls:
            print()
            return text
        results = await asyncio.gather(
            *(TOOLS[call["name"]](**json.loads(call["arguments"])) for call in calls.values())
        )
        asked = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in calls.values()
        ]
        messages.append({"role": "assistant", "content": text or None, "tool_calls": asked})
        for call, result in zip(calls.values(), results, strict=True):
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})


async def main() -> None:
    """Answer one customer."""
    question = " ".join(sys.argv[1:]) or "I want a refund for order A-1042, I am in the EU."
    async with openai.AsyncOpenAI() as client:
        await answer(client, question)


if __name__ == "__main__":
    asyncio.run(main())
