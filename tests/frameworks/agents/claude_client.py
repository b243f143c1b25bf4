"""Two agents at once on Claude's Agent SDK: tools of the program's own, a hook, permissions, and two prompts each."""

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    HookMatcher,
    PermissionResultAllow,
    ResultMessage,
    create_sdk_mcp_server,
    tool,
)


@tool("lookup", "Look up an order", {"order": str})
async def lookup(args: dict[str, Any]) -> dict[str, Any]:
    """A tool of the program's own: it runs in this process."""
    await asyncio.sleep(random.random() / 50)
    text = f"order {args['order']} is {random.randrange(100)} days late at {time.time()}"
    return {"content": [{"type": "text", "text": text}]}


async def hook(told: Any, number: Any, context: Any) -> dict[str, Any]:
    """Sees each prompt."""
    print("hook:", told["prompt"].partition(" ")[0])
    return {}


async def allow(name: str, asked: dict[str, Any], context: Any) -> PermissionResultAllow:
    """Allows all tools."""
    print("allowed:", name)
    return PermissionResultAllow()


async def agent(number: int) -> None:
    """One conversation."""
    options = ClaudeAgentOptions(
        cli_path=Path(sys.argv[1]),
        system_prompt="Be short.",
        mcp_servers={"shop": create_sdk_mcp_server("shop", tools=[lookup])},
        hooks={"UserPromptSubmit": [HookMatcher(hooks=[hook])]},
        can_use_tool=allow,
    )
    async with ClaudeSDKClient(options=options) as client:
        for turn in range(2):
            await client.query(f"{number}.{turn} reference {random.random()}")
            async for message in client.receive_response():
                if isinstance(message, AssistantMessage):
                    print(number, turn, message.content)
                elif isinstance(message, ResultMessage):
                    print(number, turn, message.result, message.session_id, message.total_cost_usd)


async def main() -> None:
    """Both at once."""
    await asyncio.gather(agent(0), agent(1))


asyncio.run(main())
