//! Flags of `patchbay audit`.

use clap::{Args, Subcommand};

use super::DatabaseArgs;

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Look whether anybody changed, removed, moved or added records. Exit code 1 when so.
    Verify(AuditVerifyArgs),
    /// Print a tenant's records as JSON lines, oldest first, then a line with the head.
    Export(AuditExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// The tenant whose log is looked through.
    #[arg(long, value_name = "SLUG", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) tenant: Option<String>,
    /// Look through the logs of all tenants.
    #[arg(long)]
    pub(crate) all: bool,
    /// A head that an earlier check or export printed, as <place>:<hash>: also look whether that record is still there.
    #[arg(long, value_name = "SEQ:HASH", conflicts_with = "all")]
    pub(crate) expect_head: Option<String>,
    /// Print a JSON object for each tenant: {"tenant","ok","records","head","broken"}.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AuditExportArgs {
    /// The tenant whose log is printed.
    #[arg(long, value_name = "SLUG")]
    pub(crate) tenant: String,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}
