//! `patchbay mcp stdio`

mod bridge;
mod lines;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use infrastructure::mcp_remote::RemoteMcp;

use crate::cli::{McpArgs, McpCommand, McpServer, StdioArgs};
use crate::config;

/// Where the servers listen unless told otherwise.
const JIRA_URL: &str = "http://127.0.0.1:8055/mcp";
const SQL_URL: &str = "http://127.0.0.1:8056/mcp";

pub(crate) async fn run(args: McpArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        McpCommand::Stdio(args) => stdio(args).await,
    }
}

async fn stdio(args: StdioArgs) -> anyhow::Result<ExitCode> {
    let url = match (args.url, args.server) {
        (Some(url), _) => url,
        (None, McpServer::Sql) => SQL_URL.parse()?,
        (None, McpServer::Jira) => JIRA_URL.parse()?,
    };
    let key = config::given(args.api_key.as_ref(), args.api_key_file.as_deref())?.context(
        "no API key: set PATCHBAY_API_KEY or PATCHBAY_API_KEY_FILE to a key that may use the server \
         (`patchbay key create --tenant <slug> --scope mcp:sql` or `mcp:jira:read`)",
    )?;
    let remote = RemoteMcp::new(url.clone(), &key).with_context(|| {
        format!("the MCP server at {url} cannot be used; check --url or PATCHBAY_MCP_URL")
    })?;
    let (messages, answers) = (lines::read(std::io::stdin()), lines::write(std::io::stdout()));
    tokio::select! {
        () = bridge::run(Arc::new(remote), messages, answers) => {}
        () = super::serve::asked_to_end() => {}
    }
    Ok(ExitCode::SUCCESS)
}
