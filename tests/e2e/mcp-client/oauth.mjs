// Signs in to an MCP server by OAuth as the official SDK does (discovery, registration, PKCE, resource indicator), then
// calls a tool with the token.
// usage: node oauth.mjs URL JSON [RESOURCE]     where JSON is ["tool_name", {…}]; RESOURCE asks for a token of another audience
// Prints JSON lines: {"authorize": url}, then, once the address that the browser came back to stands on standard input,
// {"registered": client, "resource": …, "token": …} and {"tools": […], "result": …} or {"failed": message}.
import { createInterface } from "node:readline";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [address, call, resource] = process.argv.slice(2);
const url = new URL(address);
const [tool, args] = JSON.parse(call);
const say = (line) => console.log(JSON.stringify(line));
const kept = {};
let asked;
const authProvider = {
  redirectUrl: "http://localhost:9/callback",
  clientMetadata: {
    client_name: "patchbay-e2e",
    redirect_uris: ["http://localhost:9/callback"],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => (kept.tokens = tokens),
  redirectToAuthorization: (to) => (asked = to),
  saveCodeVerifier: (verifier) => (kept.verifier = verifier),
  codeVerifier: () => kept.verifier,
  ...(resource && { validateResourceURL: async () => new URL(resource) }),
};
const connect = async () => {
  const client = new Client({ name: "patchbay-e2e", version: "1.0.0" });
  const transport = new StreamableHTTPClientTransport(url, { authProvider });
  try {
    await client.connect(transport);
    return { client };
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    return { transport };
  }
};

try {
  const { transport } = await connect();
  if (!transport) throw new Error("the server asked for no token");
  say({ authorize: asked.toString() });
  const [line] = await new Promise((resolve) => {
    createInterface({ input: process.stdin }).once("line", (text) => resolve([text]));
  });
  await transport.finishAuth(new URL(line).searchParams.get("code"));
  say({
    registered: kept.client.client_id,
    resource: asked.searchParams.get("resource"),
    challenge: asked.searchParams.get("code_challenge_method"),
    scope: asked.searchParams.get("scope"),
    token: kept.tokens.access_token,
  });
  asked = undefined;
  const { client } = await connect();
  if (!client) throw new Error("the token was refused");
  const { tools } = await client.listTools();
  const result = await client.callTool({ name: tool, arguments: args });
  say({ tools: tools.map((each) => each.name), result });
  await client.close();
} catch (error) {
  say({ failed: String(error?.message ?? error) });
}
process.exit(0);
