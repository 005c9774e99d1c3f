//! Flags of `patchbay mcp`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use url::Url;

#[derive(Debug, Args)]
pub(crate) struct McpArgs {
    #[command(subcommand)]
    pub(crate) command: McpCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// Speak MCP on standard input and output for a client that knows nothing else, and pass it on to a server.
    ///
    /// Both eras of the protocol pass through as they are. Standard output carries messages of the protocol and nothing
    /// else; what goes wrong is said on standard error. It ends with its input, once what was asked is answered.
    Stdio(StdioArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StdioArgs {
    /// The server to pass on to.
    #[arg(long, value_enum)]
    pub(crate) server: McpServer,
    /// Its address, with the path /mcp; port 8055 (jira) or 8056 (sql) of this machine when not given. Over plain http
    /// only on this very machine.
    #[arg(long, env = "PATCHBAY_MCP_URL", value_name = "URL")]
    pub(crate) url: Option<Url>,
    /// The API key to send; better in the environment or a file, as others on this machine can read flags.
    #[arg(long, env = "PATCHBAY_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// A file that holds the API key.
    #[arg(long, env = "PATCHBAY_API_KEY_FILE", value_name = "PATH", conflicts_with = "api_key")]
    pub(crate) api_key_file: Option<PathBuf>,
}

/// An MCP server of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum McpServer {
    /// Live Jira.
    Jira,
    /// SQL templates.
    Sql,
}
