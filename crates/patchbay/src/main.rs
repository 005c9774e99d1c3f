//! The `patchbay` binary: reads the configuration, puts the parts together and runs them.

mod allocator;
mod cli;
mod commands;
mod config;
mod core_dumps;
mod database;
mod limits;
mod ready;
mod sign_in;
mod telemetry;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::allocator::GiveBack;
use crate::cli::{Cli, Command, Part};

/// An answer is many small allocations: the system's allocator took a fifth of a call's time (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Command::Serve(args) if !args.only.contains(&Part::Worker) => allocator::give_back(GiveBack::Soon),
        Command::Serve(_) | Command::Demo(_) => allocator::give_back(GiveBack::AtOnce),
        _ => {}
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("patchbay: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli));
    // Whatever a command left running has had its time to end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("patchbay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // No provider is compiled in by default; the first one installed is the process's.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli.command {
        Command::Serve(args) => commands::serve::run(*args).await,
        Command::Demo(args) => commands::demo::run(*args).await,
        Command::Migrate(args) => commands::migrate::run(args).await,
        Command::Doctor(args) => commands::doctor::run(args).await,
        Command::Tenant(args) => commands::tenant::run(args).await,
        Command::Key(args) => commands::key::run(args).await,
        Command::Template(args) => commands::template::run(args).await,
        Command::Mcp(args) => commands::mcp::run(args).await,
        Command::Vault(args) => commands::vault::run(args).await,
        Command::Audit(args) => commands::audit::run(args).await,
        Command::Invitation(args) => commands::invitation::run(args).await,
    }
}
