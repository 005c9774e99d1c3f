//! Benchmarks of the built binary, each beside the limit of the machine in the same rounds.
//!
//! `cargo xtask bench` builds everything, starts a private PostgreSQL and runs this; `docs/benchmarks.md`
//! tells what is measured and what came out. Nothing here is asserted: a benchmark reports.

mod admin;
mod http;
mod installation;
mod jira_mcp;
mod load;
mod memory;
mod pgbench;
mod processes;
mod recorded;
mod redis_gone;
mod report;
mod server;
mod sources;
mod sql_mcp;
mod stage;
mod start;
mod sync;
mod tape;
mod webhooks;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::installation::Binaries;
use crate::report::Report;
use crate::server::Server;

/// Measures Patchbay on a PostgreSQL server that nobody else uses; run it by `cargo xtask bench`.
#[derive(Debug, Parser)]
struct Options {
    /// Address of the server, with ROLE and DATABASE where the two belong
    #[arg(long)]
    server: String,
    /// The server's own process
    #[arg(long)]
    server_pid: u32,
    /// Where psql and pgbench are, when they are not on the path
    #[arg(long)]
    postgres_programs: Option<PathBuf>,
    /// The binary under test
    #[arg(long)]
    patchbay: PathBuf,
    /// The simulated trackers
    #[arg(long)]
    simulator: PathBuf,
    /// A Redis server program, for redis-gone
    #[arg(long)]
    redis_server: Option<PathBuf>,
    /// Where results go, a JSON line for each cell
    #[arg(long)]
    out: PathBuf,
    /// Only these benchmarks
    #[arg(long, value_delimiter = ',')]
    only: Vec<Benchmark>,
    /// Of sync and memory only these sources, by the beginning of their names
    #[arg(long, value_delimiter = ',')]
    sources: Vec<String>,
    /// Work items in the database of sql-mcp, redis-gone and start; another number than last time is filled in anew
    #[arg(long, default_value_t = 200_000)]
    items: u32,
    /// Tenants that they are of
    #[arg(long, default_value_t = 100)]
    tenants: u32,
    /// How often everything is measured; medians are shown
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds that count in each cell under load
    #[arg(long, default_value_t = 5)]
    secs: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// A SQL template over MCP, beside pgbench
    SqlMcp,
    /// The same with and without the record of reads
    Recorded,
    /// Live tools of Jira over MCP, beside the requests they make of Jira
    JiraMcp,
    /// A backfill of each source, beside curl, COPY and INSERT of the same pages
    Sync,
    /// The most memory over 10,000 and over 100,000 items
    Memory,
    /// 1,000 webhook deliveries a second, and as many as go, beside pgbench
    Webhooks,
    /// Tool calls and REST calls while Redis is killed and frozen
    RedisGone,
    /// Memory at rest, and the time until it answers
    Start,
}

/// What every benchmark needs.
#[derive(Debug)]
struct Bench {
    server: Server,
    binaries: Binaries,
    redis_server: Option<PathBuf>,
    out: PathBuf,
    sources: Vec<String>,
    items: u32,
    tenants: u32,
    rounds: u32,
    secs: u64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot create {}", options.out.display()))?;
    let bench = Bench {
        server: Server::new(options.server, options.server_pid, options.postgres_programs)?,
        binaries: Binaries { patchbay: options.patchbay, simulator: options.simulator },
        redis_server: options.redis_server,
        out: options.out,
        sources: options.sources,
        items: options.items.max(1_000),
        tenants: options.tenants.max(1),
        rounds: options.rounds.max(1),
        secs: options.secs.max(1),
    };
    println!("{}; {}", processes::machine(), bench.server.version()?);
    for benchmark in Benchmark::value_variants() {
        if !options.only.is_empty() && !options.only.contains(benchmark) {
            continue;
        }
        match benchmark {
            Benchmark::SqlMcp => sql_mcp::run(&bench)?,
            Benchmark::Recorded => recorded::run(&bench)?,
            Benchmark::JiraMcp => jira_mcp::run(&bench)?,
            Benchmark::Sync => sync::run(&bench)?,
            Benchmark::Memory => memory::run(&bench)?,
            Benchmark::Webhooks => webhooks::run(&bench)?,
            Benchmark::RedisGone => redis_gone::run(&bench)?,
            Benchmark::Start => start::run(&bench)?,
        }
    }
    Ok(())
}

impl Bench {
    fn report(&self, name: &str) -> Result<Report> {
        Report::create(&self.out.join(format!("{name}.jsonl")))
    }

    /// Whether this source is asked for; all are when none is named.
    fn measures(&self, source: &str) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|wanted| source.starts_with(wanted.as_str()))
    }
}
