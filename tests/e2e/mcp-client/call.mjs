// Calls tools of an MCP server with the official SDK's client, as a process of its own.
// usage: node call.mjs URL KEY JSON     where JSON is [["tools/list"], ["tool_name", {…}], …]
// Prints one JSON line for each call: its result, or {"failed": message}.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, key, calls] = process.argv.slice(2);
const client = new Client({ name: "patchbay-e2e", version: "1.0.0" });
const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${key}` } },
});
await client.connect(transport);
// The client validates results against outputSchema once it has seen the list.
const tools = await client.listTools();
for (const [name, args] of JSON.parse(calls)) {
  let line;
  try {
    line = name === "tools/list" ? tools : await client.callTool({ name, arguments: args });
  } catch (error) {
    line = { failed: String(error?.message ?? error), code: error?.code };
  }
  console.log(JSON.stringify(line));
}
await client.close();
