//! Whether a backfill's memory depends on how much there is to read: the most it holds over 10,000 and over 100,000 items.
//! The simulator answers by itself here; what it holds is not looked at.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::Bench;
use crate::installation::simulator;
use crate::sources::{ASANA, GITHUB, JIRA};
use crate::sync::Running;

const DATABASE: &str = "bench_memory";
const SIZES: [(u32, &str); 2] = [(10_000, "10,000 items"), (100_000, "100,000 items")];

/// Measures and prints.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let mut report = bench.report("memory")?;
    for source in [&GITHUB, &JIRA, &ASANA].into_iter().filter(|source| bench.measures(source.label)) {
        for round in 1..=bench.rounds {
            let mut smaller = None;
            for (items, label) in SIZES {
                let folder = TempDir::new()?;
                let tracker = simulator(&bench.binaries, &source.world(items), folder.path())?;
                let mut running = Running::start(bench, DATABASE, source, tracker.url("url")?)?;
                let mut figures = running.backfill_at(Some(&tracker), Duration::ZERO)?;
                let most = figures["most_mib"].as_f64().context("a size")?;
                let smaller = *smaller.get_or_insert(most);
                figures["ratio"] = json!(most / smaller);
                report.add(round, source.label, label, &figures)?;
            }
        }
    }
    bench.server.drop(DATABASE)?;
    report.print(
        "Memory",
        &[
            ("most memory MiB", "most_mib", 1),
            ("of 10,000 items", "ratio", 2),
            ("items/s", "per_second", 0),
            ("own CPU µs/item", "own_cpu_us", 1),
            ("cores used by others", "other_cores", 2),
        ],
    );
    Ok(())
}
