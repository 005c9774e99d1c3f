// Calls one tool with the second TypeScript client, which asks a person when the server wants one asked.
// usage, in a folder where the client is installed: node --input-type=module -e "$(cat confirm.mjs)" MODE URL KEY SAYS NAME JSON
//   MODE legacy | 2026-07-28;  SAYS accept | decline | cancel, or none for a client that asks nobody
// Prints {"asked": …} for each question, and then the result, or {"failed": message}.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [mode, url, key, says, name, given] = process.argv.slice(-6);
const options = mode === "legacy" ? {} : { versionNegotiation: { mode: { pin: mode } } };
if (says !== "none") options.capabilities = { elicitation: { form: {} } };
const client = new Client({ name: "patchbay-e2e", version: "2.0.0" }, options);
if (says !== "none") {
  client.setRequestHandler("elicitation/create", async (request) => {
    console.log(JSON.stringify({ asked: request.params }));
    return says === "accept" ? { action: says, content: { confirm: true } } : { action: says };
  });
}
const headers = { Authorization: `Bearer ${key}` };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
let line;
try {
  // The client checks results against the schema of the list.
  await client.listTools();
  line = await client.callTool({ name, arguments: JSON.parse(given) });
} catch (error) {
  line = { failed: String(error?.message ?? error), code: error?.code };
}
console.log(JSON.stringify(line));
await client.close();
