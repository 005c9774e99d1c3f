//! The project's own commands: `cargo xtask demo`, `test` and `bench`.

mod bench;
mod demo;
mod process;
mod provision;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::workspace::Workspace;

/// What the project does with itself. Each command installs or fetches what it needs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Test(test::Args),
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let Some(command) = Cli::parse().command else {
        // Nothing left to report to when the terminal is gone.
        let _ = Cli::command().print_help();
        return ExitCode::SUCCESS;
    };
    let done = Workspace::find().and_then(|workspace| match command {
        Command::Demo(args) => demo::run(&workspace, &args),
        Command::Test(args) => test::run(&workspace, &args),
        Command::Bench(args) => bench::run(&workspace, &args),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
