// A real authorization server and OpenID provider on a free port: everybody may sign in by any name, as <name>@example.com.
// usage: node serve.mjs
// Prints one JSON line, {"issuer": …}, once it answers; ends with its standard input.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const server = createServer();
await new Promise((resolve) => server.listen(0, "localhost", resolve));
const issuer = `http://localhost:${server.address().port}`;
const ofPatchbay = ["mcp:sql", "mcp:jira:read", "mcp:jira:write", "instances:read", "items:read", "sync:run"];

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "patchbay",
      client_secret: "a-secret-that-only-tests-know-0123456789",
      // A native client may come back to any port of this machine.
      application_type: "native",
      redirect_uris: ["http://localhost/auth/callback"],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: id,
      email: `${id}@example.com`,
      email_verified: !id.startsWith("unverified"),
    }),
  }),
  cookies: { keys: ["a-key-that-only-tests-know"] },
  scopes: ["openid", "offline_access", "email", "profile", ...ofPatchbay],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async (_, client) => client.grantTypeAllowed("refresh_token"),
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: ofPatchbay.join(" "),
        audience: resource,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});
server.on("request", provider.callback());
console.log(JSON.stringify({ issuer }));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
