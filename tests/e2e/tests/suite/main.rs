//! The built binaries from outside. One binary, as each one is linked with the whole product: a file more
//! costs no link more. A test's name begins with its file's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

mod audit;
mod authored_templates;
mod authorization;
mod bad_input;
mod canaries;
mod changes;
mod demo;
mod events;
mod faults;
mod front;
mod isolation;
mod jira;
mod jira_mcp;
mod keys;
mod kill;
mod limits;
mod mcp_client;
mod mcp_suite;
mod mcp_traces;
mod once;
mod real_data;
mod reconcile;
mod reliability;
mod rotation;
mod schemathesis;
mod sign_in;
mod templates;
mod tenants;
mod tool_list;
mod webhooks;
