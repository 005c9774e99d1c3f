//! Commands and their flags. Every flag has an environment variable of the same meaning.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use url::Url;

/// A self-hosted connector platform: plug in your work trackers once, ask them over MCP.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "patchbay", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the platform: admin API, MCP servers and worker.
    Serve(ServeArgs),
    /// Run a self-contained demonstration: simulated trackers, two tenants, everything served.
    Demo(DemoArgs),
    /// Create or upgrade the database schema, roles and functions.
    Migrate(MigrateArgs),
    /// Check configuration and database, and say what to do about each finding.
    Doctor(DoctorArgs),
    /// Manage tenants.
    Tenant(TenantArgs),
    /// Manage API keys.
    Key(KeyArgs),
}

/// Where the database is and how to open its secrets.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseArgs {
    /// PostgreSQL (15 or later) as its administrator: postgres://user:password@host/database. Patchbay creates
    /// and uses roles of its own. Without it, a private PostgreSQL is started from the server binaries found on
    /// this machine.
    #[arg(long, env = "PATCHBAY_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
    /// A file that holds the database URL.
    #[arg(long, env = "PATCHBAY_DATABASE_URL_FILE", value_name = "PATH", conflicts_with = "database_url")]
    pub(crate) database_url_file: Option<PathBuf>,
    /// The key that wraps all others: 32 random bytes in base64 or hex, for example from
    /// `openssl rand -base64 32`. Keep a copy: without it stored credentials cannot be opened.
    #[arg(long, env = "PATCHBAY_MASTER_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) master_key: Option<String>,
    /// A file that holds the master key.
    #[arg(long, env = "PATCHBAY_MASTER_KEY_FILE", value_name = "PATH", conflicts_with = "master_key")]
    pub(crate) master_key_file: Option<PathBuf>,
    /// Where the private PostgreSQL keeps its data, when there is no database URL.
    #[arg(long, env = "PATCHBAY_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where `postgres` and `initdb` are; found by themselves in the usual places.
    #[arg(long, env = "PATCHBAY_PG_BIN", value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,
}

/// One part of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The admin REST API.
    Admin,
    /// The MCP server of SQL templates.
    McpSql,
    /// Backfills and syncs.
    Worker,
}

/// Addresses and limits of a serving process.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListenArgs {
    /// Address of the admin API; port 0 picks a free one.
    #[arg(long, env = "PATCHBAY_ADMIN_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) admin_addr: SocketAddr,
    /// Address of the MCP server of SQL templates.
    #[arg(long, env = "PATCHBAY_MCP_SQL_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8056")]
    pub(crate) mcp_sql_addr: SocketAddr,
    /// Where clients reach this installation; its host is accepted in Host and Origin headers.
    #[arg(long, env = "PATCHBAY_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<Url>,
    /// Further origins whose pages may call the MCP servers, with scheme and port, separated by commas.
    #[arg(long, env = "PATCHBAY_MCP_ALLOWED_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) mcp_allowed_origins: Vec<String>,
    /// Networks that base URLs of instances may point into beside public addresses, separated by commas.
    #[arg(long, env = "PATCHBAY_EGRESS_ALLOW", value_name = "CIDR", value_delimiter = ',')]
    pub(crate) egress_allow: Vec<IpNet>,
    /// Jobs a worker does at once.
    #[arg(long, env = "PATCHBAY_WORKER_CONCURRENCY", value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) worker_concurrency: u16,
    /// Seconds of silence after which a worker's jobs go to others.
    #[arg(long, env = "PATCHBAY_JOB_DEAD_AFTER_S", value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub(crate) job_dead_after_s: u16,
    /// Seconds that running requests and jobs get to finish when the process is asked to end.
    #[arg(long, env = "PATCHBAY_SHUTDOWN_GRACE_S", value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u16).range(0..=600))]
    pub(crate) shutdown_grace_s: u16,
    /// Once everything answers, write a JSON object with the addresses to this file.
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    /// Run these parts only.
    #[arg(long, value_name = "PARTS", value_delimiter = ',', default_value = "admin,mcp-sql,worker")]
    pub(crate) only: Vec<Part>,
    /// Create or upgrade the schema first, as `patchbay migrate` does.
    #[arg(long, env = "PATCHBAY_MIGRATE")]
    pub(crate) migrate: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the demonstration keeps its database and keys.
    #[arg(long, env = "PATCHBAY_DEMO_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where `postgres` and `initdb` are; found by themselves in the usual places.
    #[arg(long, env = "PATCHBAY_PG_BIN", value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,
    /// Forget what an earlier demonstration left and begin anew.
    #[arg(long)]
    pub(crate) fresh: bool,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Print the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    #[command(subcommand)]
    pub(crate) command: TenantCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Create a tenant.
    Create(TenantCreateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TenantCreateArgs {
    /// Its short name: a-z, 0-9 and hyphens.
    pub(crate) slug: String,
    /// Print {"id","slug"} as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create an API key. It is shown once, now.
    Create(KeyCreateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeyCreateArgs {
    /// The tenant it belongs to.
    #[arg(long, value_name = "SLUG")]
    pub(crate) tenant: String,
    /// What it may do; may be repeated or separated by commas: admin, instances:read, instances:write, sync:run,
    /// items:read, keys:write, audit:read, mcp:jira:read, mcp:jira:write, mcp:sql.
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
    pub(crate) scopes: Vec<String>,
    /// A name to recognise it by.
    #[arg(long, default_value = "key")]
    pub(crate) name: String,
    /// Print {"id","key"} as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}
