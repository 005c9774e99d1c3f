//! `cargo xtask bench`: each benchmark is a ratio against a limit measured in the same run.

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// The benchmarks there are.
const KNOWN: &[&str] = &["sql-mcp", "sync", "start"];

/// Run the benchmarks; each prints a ratio against a limit measured in the same run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
}

pub(crate) fn run(_workspace: &Workspace, args: &Args) -> Result<()> {
    let known = KNOWN.join(", ");
    match args.only.iter().find(|name| !KNOWN.contains(&name.as_str())) {
        Some(unknown) => bail!("no benchmark named {unknown}; known: {known}"),
        None => bail!("no benchmark is written yet; planned: {known}"),
    }
}
