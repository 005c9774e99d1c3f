//! `cargo xtask test`: every check and test the project has, from nothing.

mod node_program;
mod report;
mod services;

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::process::Interrupt;
use crate::provision::{cargo_tools, node::Node};
use crate::workspace::Workspace;
use report::Report;
use services::Services;

/// The package of the end-to-end tests, which run the built binaries.
const E2E: &str = "patchbay-e2e";

/// Run every check and test; what is missing (PostgreSQL, Redis, Node.js) is installed or fetched.
///
/// The servers are private ones and are gone at the end, however it ends. The first step that fails
/// is the last one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what a change needs most: fmt, clippy and unit
    #[arg(long, conflicts_with = "only")]
    quick: bool,
    /// Only these steps, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "STEP")]
    only: Vec<Step>,
    /// Only the unit and integration tests of this package; may be repeated
    #[arg(long, short, value_name = "PACKAGE", conflicts_with_all = ["quick", "only"])]
    package: Vec<String>,
    /// For the test runner: a part of the tests' names, or its own flags
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<String>,
}

impl Args {
    fn wants(&self, step: Step) -> bool {
        if !self.package.is_empty() {
            return step == Step::Unit;
        }
        if self.quick {
            return matches!(step, Step::Fmt | Step::Clippy | Step::Unit);
        }
        self.only.is_empty() || self.only.contains(&step)
    }
}

/// Binaries and tests in one selection, the one that the tests are run with: features of dependencies are decided for
/// all selected packages together, so another selection would compile much of the world once more.
const BUILD: [&str; 4] = ["build", "--workspace", "--bins", "--tests"];

/// Whose tests to run. What is compiled is the whole workspace each time, unless packages are named.
enum Selection<'a> {
    AllBut(&'a str),
    AllOf(&'a str),
    Packages(&'a [String]),
}

impl Selection<'_> {
    fn of_nextest(&self) -> Vec<String> {
        let filtered = |filter: String| vec!["--workspace".to_owned(), "-E".to_owned(), filter];
        match self {
            Self::AllBut(package) => filtered(format!("not package({package})")),
            Self::AllOf(package) => filtered(format!("package({package})")),
            Self::Packages(_) => self.of_cargo(),
        }
    }

    /// `cargo test` has no filter by package, so this one does compile some crates again.
    fn of_cargo(&self) -> Vec<String> {
        match self {
            Self::AllBut(package) => ["--workspace", "--exclude", package].map(str::to_owned).to_vec(),
            Self::AllOf(package) => ["--package", package].map(str::to_owned).to_vec(),
            Self::Packages(names) => {
                names.iter().flat_map(|name| ["--package".to_owned(), name.clone()]).collect()
            }
        }
    }
}

/// In the order they run: quick ones first, and the tests last, so that their summary ends the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting
    Fmt,
    /// Licences, sources and bans of dependencies
    Deny,
    /// Lints, with warnings denied
    Clippy,
    /// All binaries and tests
    Build,
    /// Examples in the documentation
    Doc,
    /// Unit and integration tests of every crate
    Unit,
    /// End-to-end tests of the built binaries
    E2e,
}

impl Step {
    fn name(self) -> String {
        let value = self.to_possible_value().expect("no step is hidden");
        value.get_name().to_owned()
    }

    fn needs_services(self) -> bool {
        matches!(self, Step::Unit | Step::E2e)
    }
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let steps: Vec<Step> = Step::value_variants().iter().copied().filter(|step| args.wants(*step)).collect();
    let mut run = Run { workspace, args, interrupt: Interrupt::listen()?, services: None };
    let mut report = Report::new(&workspace.target);
    let result = run.steps(&steps, &mut report);
    let stopped = run.services.take().map_or(Ok(()), Services::stop);
    report.print();
    result.and(stopped)
}

struct Run<'a> {
    workspace: &'a Workspace,
    args: &'a Args,
    interrupt: Interrupt,
    services: Option<Services>,
}

impl Run<'_> {
    fn steps(&mut self, steps: &[Step], report: &mut Report) -> Result<()> {
        for &step in steps {
            if step.needs_services() && self.services.is_none() {
                let started = timed(report, "services", || Services::start(self.workspace))?;
                self.services = Some(started);
            }
            timed(report, &step.name(), || self.step(step))?;
            if step.needs_services() {
                report.count_tests();
            }
        }
        Ok(())
    }

    fn step(&self, step: Step) -> Result<()> {
        match step {
            Step::Fmt => self.cargo(&["fmt", "--all", "--check"]),
            Step::Deny => self.deny(),
            Step::Clippy => self.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            Step::Build => self.cargo(&BUILD),
            Step::Doc => self.cargo(&["test", "--quiet", "--workspace", "--doc"]),
            Step::Unit if self.args.package.is_empty() => self.tests(&Selection::AllBut(E2E)),
            Step::Unit => self.tests(&Selection::Packages(&self.args.package)),
            Step::E2e => {
                self.cargo(&BUILD)?;
                self.tests(&Selection::AllOf(E2E))
            }
        }
    }

    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        self.interrupt.run(&mut self.workspace.cargo(arguments))
    }

    /// Advisories are left to a machine that can fetch their database; the rest needs nothing.
    fn deny(&self) -> Result<()> {
        let program = match cargo_tools::deny(self.workspace) {
            Ok(program) => program,
            Err(error) => {
                println!(
                    "skipped, as cargo-deny is missing (`cargo install cargo-deny --locked`): {error:#}"
                );
                return Ok(());
            }
        };
        let mut command = self.workspace.command(program);
        command.args(["--workspace", "--all-features", "check", "--hide-inclusion-graph"]);
        self.interrupt.run(command.args(["bans", "licenses", "sources"]))
    }

    /// Runs the selected tests, each told where the servers are.
    fn tests(&self, selection: &Selection<'_>) -> Result<()> {
        let services = self.services.as_ref().context("the services are started before tests")?;
        let mut command = match cargo_tools::nextest(self.workspace) {
            Ok(program) => {
                let mut command = self.workspace.command(program);
                command.args(["nextest", "run", "--no-fail-fast"]).args(selection.of_nextest());
                command
            }
            Err(error) => {
                println!("using `cargo test`, as cargo-nextest is missing: {error:#}");
                let mut command = self.workspace.cargo(&["test", "--no-fail-fast"]);
                command.args(["--lib", "--bins", "--tests", "--examples"]).args(selection.of_cargo());
                command
            }
        };
        self.interrupt.run(self.tell(&mut command, services).args(&self.args.rest))
    }

    fn tell<'c>(&self, command: &'c mut Command, services: &Services) -> &'c mut Command {
        command
            .env("PATCHBAY_TEST_DATABASE_URL", services.database_url())
            .env("PATCHBAY_TEST_REDIS_URL", services.redis_url())
            // Tests that stop and pause the servers start their own.
            .env("PATCHBAY_TEST_REDIS_SERVER", &services.redis_program)
            .envs(services.schemathesis.iter().map(|program| ("PATCHBAY_TEST_SCHEMATHESIS", program)))
            .env("PATCHBAY_TEST_NODE", &services.node)
            .env("PATCHBAY_TEST_MCP_CLIENT_DIR", &services.mcp_client)
            .env("PATCHBAY_TEST_OIDC_PROVIDER_DIR", &services.oidc_provider)
            .envs(services.prism.iter().map(|folder| ("PATCHBAY_TEST_PRISM_DIR", folder)))
            .envs(services.emulate.iter().map(|folder| ("PATCHBAY_TEST_EMULATE_DIR", folder)))
            .envs(services.mcp_suite.iter().map(|folder| ("PATCHBAY_TEST_MCP_SUITE_DIR", folder)))
            .envs(services.mcp_python.iter().map(|python| ("PATCHBAY_TEST_MCP_PYTHON", python)))
            .env("PATCHBAY_TEST_BIN", self.workspace.binary("debug", "patchbay"))
            .env("PATCHBAY_TEST_SIMULATOR_BIN", self.workspace.binary("debug", "patchbay-simulator"))
            // The private cluster's own tests, and those that run the demo, use the same programs.
            .env("PATCHBAY_PG_BIN", &services.postgres_programs)
            .env("PATCHBAY_FUZZ_S", std::env::var("PATCHBAY_FUZZ_S").unwrap_or_else(|_| "60".to_owned()))
            .env_remove("PATCHBAY_DATABASE_URL")
            .env_remove("PATCHBAY_REDIS_URL")
    }
}

/// Runs one step, says how it went, and notes it for the summary.
fn timed<T>(report: &mut Report, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== step {name}");
    let started = Instant::now();
    let result = step();
    report.note(name, started.elapsed(), result.is_ok());
    match result {
        Ok(value) => Ok(value),
        Err(error) => bail!("step {name}: {error:#}"),
    }
}
