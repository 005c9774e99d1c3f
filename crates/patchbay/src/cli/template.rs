//! Flags of `patchbay template`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::DatabaseArgs;

#[derive(Debug, Args)]
pub(crate) struct TemplateArgs {
    #[command(subcommand)]
    pub(crate) command: TemplateCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// Prove template files: that each is one harmless query that fits the schema.
    ///
    /// Exit code 0 when all pass, 1 when one does not, 2 when they could not be checked.
    ///
    /// Each finding is printed as <file>:<line>:<column>: <what is wrong>. A template that passes is printed with its
    /// parameters, its columns and what the planner expects it to cost.
    Check(TemplateCheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TemplateCheckArgs {
    /// The files; a template has the name of its file, without .sql.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Only what can be checked without a database: not whether columns exist, nor their types.
    #[arg(long)]
    pub(crate) without_database: bool,
    /// Print a JSON object for each file: {"file","ok","name","findings","params","columns","cost","version"}.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}
