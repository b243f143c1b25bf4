"""A server of mcp 1 on pipes, whose tools leave a line for each time that they are run."""

import asyncio
import sys

from mcp.server.fastmcp import FastMCP

server = FastMCP("shop", log_level="ERROR")
count = 0


@server.tool()
def number() -> int:
    """Another one each time."""
    global count
    count += 1
    with open(sys.argv[1], "a", encoding="utf-8") as log:
        log.write("number\n")
    return count


@server.tool()
def refuse(reason: str) -> str:
    """Fail."""
    raise ValueError(reason)


@server.tool()
async def slow() -> str:
    """Take longer than anybody waits."""
    await asyncio.sleep(30)
    return "at last"


server.run()
