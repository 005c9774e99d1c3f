//! Commands and their flags. Every flag has an environment variable of the same meaning.

mod audit;
mod keys;
mod mcp;
mod template;

use std::net::SocketAddr;
use std::path::PathBuf;

use application::authored::PUBLISHED_CEILING;
use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::Toolset;
use ipnet::IpNet;
use url::Url;

pub(crate) use self::audit::{AuditArgs, AuditCommand, AuditExportArgs, AuditVerifyArgs};
pub(crate) use self::keys::{
    InstanceName, InvitationArgs, InvitationCommand, KeyArgs, KeyCommand, KeyCreateArgs, KeyListArgs,
    KeyRevokeArgs, KeyRotateArgs,
};
pub(crate) use self::mcp::{McpArgs, McpCommand, McpServer, StdioArgs};
pub(crate) use self::template::{TemplateArgs, TemplateCheckArgs, TemplateCommand};
use crate::limits::{LimitArgs, RedisArgs};

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
    Serve(Box<ServeArgs>),
    /// Run a self-contained demonstration: simulated trackers, two tenants, everything served.
    Demo(Box<DemoArgs>),
    /// Create or upgrade the database schema, roles and functions.
    Migrate(MigrateArgs),
    /// Check configuration and database, and say what to do about each finding.
    Doctor(DoctorArgs),
    /// Manage tenants.
    Tenant(TenantArgs),
    /// Manage API keys.
    Key(KeyArgs),
    /// Invite people to a tenant.
    Invitation(InvitationArgs),
    /// Rotate, examine and destroy the keys that encrypt stored secrets.
    Vault(VaultArgs),
    /// Check and export the audit log.
    Audit(AuditArgs),
    /// Prove SQL templates before they are published.
    Template(TemplateArgs),
    /// Connect MCP clients to the servers.
    Mcp(McpArgs),
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
    /// Further master keys that open what they have wrapped, separated by commas or spaces: the old or the next one
    /// while the master key is rotated (docs/key-rotation.md).
    #[arg(long, env = "PATCHBAY_MASTER_KEYS_ACCEPTED", value_name = "KEYS", hide_env_values = true)]
    pub(crate) master_keys_accepted: Option<String>,
    /// A file that holds them, one on a line.
    #[arg(
        long,
        env = "PATCHBAY_MASTER_KEYS_ACCEPTED_FILE",
        value_name = "PATH",
        conflicts_with = "master_keys_accepted"
    )]
    pub(crate) master_keys_accepted_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) transit: TransitArgs,
    /// Where the private PostgreSQL keeps its data, when there is no database URL.
    #[arg(long, env = "PATCHBAY_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where `postgres` and `initdb` are; found by themselves in the usual places.
    #[arg(long, env = "PATCHBAY_PG_BIN", value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,
}

/// A master key in a key service, instead of one in this process.
#[derive(Debug, Clone, Args)]
pub(crate) struct TransitArgs {
    /// A key service with the API of Vault's transit engine, as https://vault.example:8200. Its key wraps all others,
    /// and stays there.
    #[arg(long, env = "PATCHBAY_TRANSIT_URL", value_name = "URL")]
    pub(crate) transit_url: Option<Url>,
    /// The name of the key there; of the type aes256-gcm96.
    #[arg(long, env = "PATCHBAY_TRANSIT_KEY", value_name = "NAME", default_value = "patchbay")]
    pub(crate) transit_key: String,
    /// Where the engine is mounted.
    #[arg(long, env = "PATCHBAY_TRANSIT_MOUNT", value_name = "PATH", default_value = "transit")]
    pub(crate) transit_mount: String,
    /// The token that may encrypt, decrypt and make HMACs with the key.
    #[arg(long, env = "PATCHBAY_TRANSIT_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) transit_token: Option<String>,
    /// A file that holds the token; read for every request, so that an agent may renew it.
    #[arg(long, env = "PATCHBAY_TRANSIT_TOKEN_FILE", value_name = "PATH", conflicts_with = "transit_token")]
    pub(crate) transit_token_file: Option<PathBuf>,
    /// Which of the two wraps when both a master key and a key service are given, while one replaces the other; both
    /// open.
    #[arg(long, env = "PATCHBAY_WRAP_WITH", value_name = "SOURCE")]
    pub(crate) wrap_with: Option<WrapWith>,
}

/// Where the wrapping key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WrapWith {
    /// In this process.
    MasterKey,
    /// In the key service.
    Transit,
}

/// One part of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The admin REST API.
    Admin,
    /// The MCP server of Jira.
    McpJira,
    /// The MCP server of SQL templates.
    McpSql,
    /// Backfills and syncs.
    Worker,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Who people sign in with.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SignInArgs {
    /// The OpenID provider that people sign in with, exactly as it names itself: https://id.example.org
    /// (docs/signing-in.md).
    #[arg(long, env = "PATCHBAY_OIDC_ISSUER", value_name = "URL")]
    pub(crate) oidc_issuer: Option<String>,
    /// Patchbay's client id at the provider. Its redirect URI there is <public URL>/auth/callback.
    #[arg(long, env = "PATCHBAY_OIDC_CLIENT_ID", value_name = "ID")]
    pub(crate) oidc_client_id: Option<String>,
    /// The client's secret; none for a public client.
    #[arg(long, env = "PATCHBAY_OIDC_CLIENT_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub(crate) oidc_client_secret: Option<String>,
    /// A file that holds the client's secret.
    #[arg(
        long,
        env = "PATCHBAY_OIDC_CLIENT_SECRET_FILE",
        value_name = "PATH",
        conflicts_with = "oidc_client_secret"
    )]
    pub(crate) oidc_client_secret_file: Option<PathBuf>,
    /// The authorization server whose access tokens the MCP servers and the API take; the OpenID provider when not given.
    #[arg(long, env = "PATCHBAY_OAUTH_ISSUER", value_name = "URL")]
    pub(crate) oauth_issuer: Option<String>,
}

/// Addresses and limits of a serving process.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListenArgs {
    /// Address of the admin API; port 0 picks a free one.
    #[arg(long, env = "PATCHBAY_ADMIN_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) admin_addr: SocketAddr,
    /// Address of the MCP server of Jira.
    #[arg(long, env = "PATCHBAY_MCP_JIRA_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8055")]
    pub(crate) mcp_jira_addr: SocketAddr,
    /// Address of the MCP server of SQL templates.
    #[arg(long, env = "PATCHBAY_MCP_SQL_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8056")]
    pub(crate) mcp_sql_addr: SocketAddr,
    /// Where clients reach this installation; its host is accepted in Host and Origin headers.
    #[arg(long, env = "PATCHBAY_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<Url>,
    /// The address that MCP clients type for the MCP server of Jira; access tokens must be made for exactly it.
    /// http://<address>/mcp when not given.
    #[arg(long, env = "PATCHBAY_MCP_JIRA_URL", value_name = "URL")]
    pub(crate) mcp_jira_url: Option<Url>,
    /// The address that MCP clients type for the MCP server of SQL templates; access tokens must be made for exactly
    /// it. http://<address>/mcp when not given.
    #[arg(long, env = "PATCHBAY_MCP_SQL_URL", value_name = "URL")]
    pub(crate) mcp_sql_url: Option<Url>,
    /// Further origins whose pages may call the MCP servers, with scheme and port, separated by commas.
    #[arg(long, env = "PATCHBAY_MCP_ALLOWED_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) mcp_allowed_origins: Vec<String>,
    /// Whether the MCP servers also speak HTTP+SSE, the transport of protocol 2024-11-05, at /sse and /messages: only for
    /// clients that know no other. Its sessions live in one process, so a load balancer needs sticky routing.
    #[arg(long, env = "PATCHBAY_MCP_SSE", value_name = "on|off", default_value = "off", value_enum)]
    pub(crate) mcp_sse: Switch,
    /// Networks that base URLs of instances may point into beside public addresses, separated by commas.
    #[arg(long, env = "PATCHBAY_EGRESS_ALLOW", value_name = "CIDR", value_delimiter = ',')]
    pub(crate) egress_allow: Vec<IpNet>,
    /// Jobs a worker does at once.
    #[arg(long, env = "PATCHBAY_WORKER_CONCURRENCY", value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) worker_concurrency: u16,
    /// Database connections for SQL templates, which is how many run at once; a tenant gets four tenths of them, and templates
    /// that tenants write have a quarter as many beside these.
    #[arg(long, env = "PATCHBAY_TEMPLATE_CONNECTIONS", value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) template_connections: u16,
    /// SQL templates that run at once in their first 50 ms; when not given, twice as many as there are cores, and one. More are
    /// worth it where the database is a slow network away.
    #[arg(long, env = "PATCHBAY_SHORT_TEMPLATES", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) short_templates: Option<u16>,
    /// Seconds of silence after which a worker's jobs go to others.
    #[arg(long, env = "PATCHBAY_JOB_DEAD_AFTER_S", value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub(crate) job_dead_after_s: u16,
    /// Seconds that running requests and jobs get to finish when the process is asked to end.
    #[arg(long, env = "PATCHBAY_SHUTDOWN_GRACE_S", value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u16).range(0..=600))]
    pub(crate) shutdown_grace_s: u16,
    /// Whether tool calls and template runs go on the record. Changes, uses of secrets and refusals always do.
    #[arg(
        long,
        env = "PATCHBAY_AUDIT_READS",
        value_name = "on|off",
        default_value = "on",
        value_enum,
        hide_short_help = true
    )]
    pub(crate) audit_reads: Switch,
    /// The largest body of a webhook delivery that is taken, in MiB. GitHub sends up to 25.
    #[arg(long, env = "PATCHBAY_WEBHOOK_MAX_BODY_MB", value_name = "MB", default_value_t = 25,
          value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) webhook_max_body_mb: u16,
    /// Once everything answers, write a JSON object with the addresses to this file.
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
    /// The most SQL templates of its own that a tenant may have published.
    #[arg(long, env = "PATCHBAY_PUBLISHED_TEMPLATES", value_name = "N", default_value_t = PUBLISHED_CEILING)]
    pub(crate) published_templates: u16,
    /// The sets of the Jira server's tools that anybody may have, separated by commas: core, agile, work, files, bulk, admin,
    /// changes. All but admin when not given.
    #[arg(long, env = "PATCHBAY_JIRA_TOOLSETS", value_name = "SETS", value_delimiter = ',',
          value_parser = jira_toolset)]
    pub(crate) jira_toolsets: Option<Vec<Toolset>>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) sign_in: SignInArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) redis: RedisArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    /// Run these parts only.
    #[arg(
        long,
        value_name = "PARTS",
        value_delimiter = ',',
        default_value = "admin,mcp-jira,mcp-sql,worker"
    )]
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
    #[command(flatten)]
    pub(crate) redis: RedisArgs,
    #[command(flatten)]
    pub(crate) sign_in: SignInArgs,
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
    /// List all tenants.
    List(TenantListArgs),
    /// Show one tenant, and how far its deletion is.
    Show(TenantNamedArgs),
    /// Stop a tenant: every process refuses its keys, sessions and tokens within 5 seconds, and its runs wait.
    Suspend(TenantNamedArgs),
    /// Let a suspended tenant go on where it was.
    Resume(TenantNamedArgs),
    /// Write everything a tenant has as JSON lines, secrets left out.
    Export(TenantExportArgs),
    /// Delete a tenant with everything it has, and prove that nothing stayed.
    ///
    /// Its encryption keys go first: what was sealed for it cannot be opened any more, from a backup neither. This
    /// cannot be taken back. Started again, it goes on where it was; so does a worker when this is interrupted.
    Delete(TenantDeleteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TenantListArgs {
    /// Print a JSON array.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TenantNamedArgs {
    /// Its short name.
    pub(crate) slug: String,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TenantExportArgs {
    /// Its short name.
    pub(crate) slug: String,
    /// Write to this file, which must not exist, instead of standard output.
    #[arg(long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TenantDeleteArgs {
    /// Its short name.
    pub(crate) slug: String,
    /// Its short name again.
    #[arg(long, value_name = "SLUG")]
    pub(crate) confirm: String,
    /// Leave the work to a worker and return at once; `patchbay tenant show` tells how far it is.
    #[arg(long)]
    pub(crate) background: bool,
    /// Print the proof as JSON: rows removed, and rows found afterwards, by table.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
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
pub(crate) struct VaultArgs {
    #[command(subcommand)]
    pub(crate) command: VaultCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Show which keys wrap how many rows, and what is left of earlier rotations.
    Status(VaultStatusArgs),
    /// Wrap every key under the present master key, or give tenants new data keys. Requests go on meanwhile; a run that
    /// was interrupted goes on at the next. See docs/key-rotation.md for the order of steps.
    Rotate(VaultRotateArgs),
    /// Destroy a tenant's data keys: its stored secrets, also those in backups, cannot be opened any more.
    Shred(VaultShredArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VaultStatusArgs {
    /// Print it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VaultRotateArgs {
    /// Give tenants new data keys, and encrypt their secrets anew; without it, data keys stay and are wrapped by the
    /// present master key.
    #[arg(long)]
    pub(crate) data_keys: bool,
    /// This tenant only.
    #[arg(long, value_name = "SLUG", requires = "data_keys")]
    pub(crate) tenant: Option<String>,
    /// End without waiting the minutes until retired data keys may be removed; the next run removes them.
    #[arg(long, requires = "data_keys")]
    pub(crate) no_wait: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VaultShredArgs {
    /// The tenant.
    #[arg(long, value_name = "SLUG")]
    pub(crate) tenant: String,
    /// The same slug again: there is no way back.
    #[arg(long, value_name = "SLUG")]
    pub(crate) confirm: String,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

fn jira_toolset(name: &str) -> Result<Toolset, String> {
    Toolset::of_jira(name).ok_or_else(|| {
        let known = Toolset::JIRA.map(|set| set.as_str().trim_start_matches("jira_"));
        format!("is no set of the Jira server: known are {}", known.join(", "))
    })
}
