//! `cargo xtask bench`: each benchmark is a ratio against a limit measured in the same run.

use std::fs;

use anyhow::{Context, Result};
use clap::ValueEnum;
use private_postgres::{Cluster, Durability, Options, default_data_dir, is_root};

use crate::process::Interrupt;
use crate::provision::{postgres, redis};
use crate::workspace::Workspace;

/// Run the benchmarks; each prints a ratio against a limit measured in the same run.
///
/// Builds everything optimised and starts a private PostgreSQL, whose data is kept for the next time. Results are
/// shown, and kept in `out/bench`. See `docs/benchmarks.md`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<Benchmark>,
    /// Of sync and memory only these sources, by the beginning of their names
    #[arg(long, value_delimiter = ',', value_name = "SOURCE")]
    sources: Vec<String>,
    /// Work items in the database of sql-mcp, redis-gone and start
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
    /// Make the database anew
    #[arg(long)]
    fresh: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
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

pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let binaries = postgres::ensure(workspace)?;
    let with_redis = args.only.is_empty() || args.only.iter().any(|one| matches!(one, Benchmark::RedisGone));
    let redis_server = with_redis.then(|| redis::ensure(workspace)).transpose()?;
    let interrupt = Interrupt::listen()?;
    let packages = ["-p", "patchbay", "-p", "patchbay-simulator", "-p", "patchbay-bench"];
    interrupt.run(workspace.cargo(&["build", "--release"]).args(packages))?;

    // As root the server runs as another user, who may not be able to enter the checkout.
    let data_dir =
        if is_root()? { default_data_dir("bench")? } else { workspace.target.join("bench-postgres") };
    if args.fresh && data_dir.exists() {
        fs::remove_dir_all(&data_dir).with_context(|| format!("cannot remove {}", data_dir.display()))?;
    }
    let programs = binaries.dir.clone();
    let cluster = Cluster::start(Options {
        data_dir: data_dir.clone(),
        binaries,
        durability: Durability::Safe,
        max_connections: 200,
        // Safe as in production; only sizes are set.
        extra: [("shared_buffers", "512MB"), ("max_wal_size", "4GB"), ("checkpoint_timeout", "30min")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
    })?;
    let pid_file = data_dir.join("cluster/postmaster.pid");
    let pid_file =
        fs::read_to_string(&pid_file).with_context(|| format!("cannot read {}", pid_file.display()))?;
    let pid = pid_file.lines().next().context("the server's file does not name its process")?;

    let mut bench = workspace.command(workspace.binary("release", "patchbay-bench"));
    bench
        .args(["--server", &cluster.url("ROLE", "DATABASE"), "--server-pid", pid])
        .args(["--items", &args.items.to_string(), "--tenants", &args.tenants.to_string()])
        .args(["--rounds", &args.rounds.to_string(), "--secs", &args.secs.to_string()])
        .arg("--postgres-programs")
        .arg(programs)
        .arg("--patchbay")
        .arg(workspace.binary("release", "patchbay"))
        .arg("--simulator")
        .arg(workspace.binary("release", "patchbay-simulator"))
        .arg("--out")
        .arg(workspace.root.join("out/bench"));
    if let Some(program) = redis_server {
        bench.arg("--redis-server").arg(program);
    }
    if !args.sources.is_empty() {
        bench.arg("--sources").arg(args.sources.join(","));
    }
    let only: Vec<String> = args
        .only
        .iter()
        .filter_map(|benchmark| Some(benchmark.to_possible_value()?.get_name().to_owned()))
        .collect();
    if !only.is_empty() {
        bench.arg("--only").arg(only.join(","));
    }
    let measured = interrupt.run(&mut bench);
    measured.and(cluster.stop())
}
