// Calls an MCP server with the second TypeScript client, as a process of its own.
// usage: node call.mjs MODE KIND TARGET KEY JSON
//   MODE legacy | auto | 2026-07-28;  KIND http | sse | stdio
//   TARGET is an address, or for stdio the command line as JSON; KEY is the API key
//   JSON is [["tools/list"], ["resources/list"], ["prompts/get", {…}], ["tool_name", {…}], …]
// Prints {"version": …} and then one JSON line for each call: its result, or {"failed": message}.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const [mode, kind, target, key, calls] = process.argv.slice(2);
const negotiated = mode === "auto" ? "auto" : { pin: mode };
const options = mode === "legacy" ? {} : { versionNegotiation: { mode: negotiated } };
const client = new Client({ name: "patchbay-e2e", version: "2.0.0" }, options);
const headers = { Authorization: `Bearer ${key}` };

function transport() {
  switch (kind) {
    case "http":
      return new StreamableHTTPClientTransport(new URL(target), { requestInit: { headers } });
    case "sse":
      return new SSEClientTransport(new URL(target), { requestInit: { headers } });
    default: {
      const [command, ...args] = JSON.parse(target);
      const env = { ...process.env, PATCHBAY_API_KEY: key };
      return new StdioClientTransport({ command, args, env, stderr: "inherit" });
    }
  }
}

await client.connect(transport());
console.log(JSON.stringify({ version: client.getNegotiatedProtocolVersion?.() ?? null }));
for (const [name, params] of JSON.parse(calls)) {
  let line;
  try {
    switch (name) {
      case "tools/list": line = await client.listTools(); break;
      case "resources/list": line = await client.listResources(); break;
      case "resources/templates/list": line = await client.listResourceTemplates(); break;
      case "resources/read": line = await client.readResource(params); break;
      case "prompts/list": line = await client.listPrompts(); break;
      case "prompts/get": line = await client.getPrompt(params); break;
      case "completion/complete": line = await client.complete(params); break;
      default: line = await client.callTool({ name, arguments: params });
    }
  } catch (error) {
    line = { failed: String(error?.message ?? error), code: error?.code };
  }
  console.log(JSON.stringify(line));
}
await client.close();
