"""An agent with the package `mcp` 1.x, from before the protocol was stateless: calls one
tool and prints what it got, as JSON.
"""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def main(url, key, tool, arguments):
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        streamablehttp_client(url, headers=headers) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        begun = await session.initialize()
        listed = await session.list_tools()
        called = await session.call_tool(tool, json.loads(arguments))
    said = {
        "version": str(begun.protocolVersion),
        "tools": [one.name for one in listed.tools],
        "failed": called.isError,
        "texts": [one.text for one in called.content],
    }
    print(json.dumps(said))


asyncio.run(main(*sys.argv[1:]))
