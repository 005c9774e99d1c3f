"""Calls an MCP server with the official Python client, as a process of its own.

usage: python call.py MODE KIND TARGET KEY JSON     as call.mjs beside it
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


async def one(client: Client, name: str, params: dict) -> dict:
    match name:
        case "tools/list":
            result = await client.list_tools()
        case "resources/list":
            result = await client.list_resources()
        case "resources/templates/list":
            result = await client.list_resource_templates()
        case "resources/read":
            result = await client.read_resource(params["uri"])
        case "prompts/list":
            result = await client.list_prompts()
        case "prompts/get":
            result = await client.get_prompt(params["name"], params.get("arguments"))
        case _:
            result = await client.call_tool(name, params)
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main() -> None:
    mode, kind, target, key, calls = sys.argv[1:]
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        match kind:
            case "http":
                transport = streamable_http_client(target, http_client=http)
            case "sse":
                transport = sse_client(target, headers=headers)
            case _:
                command, *args = json.loads(target)
                transport = StdioServerParameters(
                    command=command, args=args, env={**os.environ, "PATCHBAY_API_KEY": key}
                )
        async with Client(transport, mode=mode) as client:
            print(json.dumps({"version": client.protocol_version}))
            for name, *params in json.loads(calls):
                try:
                    line = await one(client, name, params[0] if params else {})
                except Exception as error:  # noqa: BLE001 - told to the test, whatever it is
                    line = {"failed": str(error)}
                print(json.dumps(line))


asyncio.run(main())
