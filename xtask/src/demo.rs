//! `cargo xtask demo`, or `cargo demo`: from a checkout to a running demo.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result, bail};

use crate::provision::postgres;
use crate::workspace::Workspace;

/// Build Patchbay and run its demo: private database, simulated trackers, everything served.
///
/// PostgreSQL's server programs are found or fetched first. `cargo demo -- --help` tells what
/// `patchbay demo` itself takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build with optimisations: slower to build, faster to run
    #[arg(long)]
    release: bool,
    /// For `patchbay demo`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    rest: Vec<OsString>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let binaries = match env::var_os("PATCHBAY_DATABASE_URL") {
        Some(_) => None,
        None => Some(postgres::ensure(workspace)?),
    };

    let (profile, directory) = if args.release { ("release", "release") } else { ("dev", "debug") };
    eprintln!("== building patchbay (profile {profile}); the first time takes minutes");
    // The features of the workspace's tests (`--examples` adds those of the dependencies that only tests have), so that
    // what the demo has compiled serves `cargo xtask test`, and the other way round.
    let arguments = ["build", "--profile", profile, "--workspace", "--bin", "patchbay", "--examples"];
    let status = workspace.cargo(&arguments).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("patchbay could not be built");
    }

    // The demo takes the place of this process, so Ctrl-C and the exit code are its own.
    let mut demo = workspace.command(workspace.binary(directory, "patchbay"));
    demo.arg("demo").args(&args.rest);
    if let Some(binaries) = binaries {
        demo.env("PATCHBAY_PG_BIN", binaries.dir);
    }
    Err(demo.exec()).context("cannot start patchbay")
}
