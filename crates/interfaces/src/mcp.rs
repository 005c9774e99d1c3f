//! The MCP servers: streamable HTTP without sessions at `/mcp`, HTTP+SSE at `/sse` where it is switched on, and plain
//! `POST /tools/invoke` for scripts.

mod confirming;
mod front;
mod invoke;
pub mod jira;
mod listen;
pub(crate) mod metadata;
mod observed;
mod outcome;
mod record;
mod server;
mod shell;
pub mod sql;
mod sse;
mod step_up;
mod telemetry;
mod transport;

use tokio_util::sync::CancellationToken;
use url::Url;

pub use outcome::{MAX_CALL, describe_metrics};
pub use telemetry::{OPERATION_BUCKETS, OPERATION_DURATION};

/// Where an MCP server stands, as its callers see it.
#[derive(Debug, Clone)]
pub struct McpConfig {
    /// The address users type, such as `https://patchbay.example.org`; its host is accepted beside loopback.
    pub public_url: Option<Url>,
    /// The address of the MCP endpoint as clients type it: access tokens must be made for exactly this. Its host is
    /// accepted, too.
    pub resource: Url,
    /// Origins of web pages that may call, with scheme and port: `https://console.example.org:443`. Requests
    /// without `Origin`, which is what programs send, always may.
    pub allowed_origins: Vec<String>,
    /// Whether the older HTTP+SSE transport is there, too.
    pub sse: bool,
    /// Fires when the server is asked to end: streams that would go on and on end with it, requests finish.
    pub shutdown: CancellationToken,
}

impl McpConfig {
    /// Hosts a request may name.
    fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(String::from).to_vec();
        let own = self.public_url.iter().chain([&self.resource]);
        hosts.extend(own.filter_map(Url::host_str).map(str::to_owned));
        hosts
    }

    /// Origins a request may name, its own included.
    fn origins(&self) -> Vec<String> {
        let own = self.public_url.iter().chain([&self.resource]).filter_map(|url| {
            Some(format!("{}://{}:{}", url.scheme(), url.host_str()?, url.port_or_known_default()?))
        });
        self.allowed_origins.iter().cloned().chain(own).collect()
    }
}
