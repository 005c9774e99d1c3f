//! What stands between the use cases and the outside: the admin REST API, the MCP servers and operations endpoints.
//!
//! A handler translates a request, calls one use case and translates the answer back. It decides nothing else.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod extract;
pub mod health;
pub mod idempotency;
pub mod limits;
pub mod mcp;
pub mod metrics;
pub mod problem;
pub mod request;
pub mod server;
mod streams;
mod trace;
pub mod webhooks;
