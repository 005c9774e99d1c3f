//! The MCP server as the programs of others meet it: the official conformance suite, both TypeScript clients, the Python
//! client and the inspector, as processes of their own and in both eras of the protocol.

mod clients;
mod conformance;
mod sse;
mod stdio;
mod streams;
mod world;
