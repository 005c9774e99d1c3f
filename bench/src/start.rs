//! How long `patchbay serve` takes until it answers, and what it holds when nobody asks anything.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tempfile::TempDir;

use crate::{Bench, processes, sql_mcp};

/// Until what the start needed is given back.
const SETTLE: Duration = Duration::from_secs(5);

/// Measures and prints.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let folder = TempDir::new()?;
    let installation = sql_mcp::seeded(bench, folder.path())?;
    let mut report = bench.report("start")?;
    for round in 1..=bench.rounds {
        for parts in ["admin,mcp-sql,worker", "mcp-sql", "worker"] {
            let process = installation.serve(parts)?;
            let cpu = processes::cpu(process.pid());
            thread::sleep(SETTLE);
            let idle = processes::cpu(process.pid()).saturating_sub(cpu);
            let figures = json!({
                "ready_ms": process.time_to_ready.as_secs_f64() * 1e3,
                "cpu_ms": cpu.as_secs_f64() * 1e3,
                "memory_mib": processes::memory_mib(process.pid()),
                "idle_cpu_ms_per_s": idle.as_secs_f64() * 1e3 / SETTLE.as_secs_f64(),
            });
            report.add(round, "serve", parts, &figures)?;
        }
    }
    report.print(
        "Start and rest",
        &[
            ("start to ready ms", "ready_ms", 0),
            ("CPU of the start ms", "cpu_ms", 0),
            ("memory at rest MiB", "memory_mib", 1),
            ("CPU at rest ms/s", "idle_cpu_ms_per_s", 1),
        ],
    );
    Ok(())
}
