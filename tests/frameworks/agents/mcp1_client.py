"""A client of mcp 1: equal calls at once, an error that a tool tells, one of the protocol, a limit."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from mcp import ClientSession, McpError, StdioServerParameters, stdio_client

SERVER = str(Path(__file__).with_name("mcp1_server.py"))


async def main() -> None:
    """Ask."""
    server = StdioServerParameters(command=sys.executable, args=[SERVER, sys.argv[1]])
    async with stdio_client(server) as (reading, writing), ClientSession(reading, writing) as session:
        print((await session.initialize()).serverInfo.name, [tool.name for tool in (await session.list_tools()).tools])
        numbers = await asyncio.gather(*[session.call_tool("number", {}) for _ in range(4)])
        print([number.structuredContent for number in numbers])
        refused = await session.call_tool("refuse", {"reason": "not today"})
        print(refused.isError, refused.content[0].text)
        for asked in (
            session.call_tool("slow", {}, read_timeout_seconds=timedelta(seconds=0.5)),
            session.read_resource("shop://nothing"),
        ):
            try:
                await asked
            except McpError as error:
                print(error.error)


asyncio.run(main())
