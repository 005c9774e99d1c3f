//! A backfill of each source and a sync with nothing new, beside curl, COPY and INSERT of the same pages; and how many
//! requests it took beside how few would do.

mod limit;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Bench;
use crate::admin::Admin;
use crate::installation::{Installation, Process, simulator};
use crate::processes::{self, MemoryWatch, Meter, cores_of_others};
use crate::sources::{self, Source};
use crate::tape::Tape;
use limit::Pages;

const DATABASE: &str = "bench_sync";
/// Syncs with nothing new, so that their CPU time is more than a few ticks of the clock.
const SYNCS: u32 = 10;

/// Measures and prints.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let mut report = bench.report("sync")?;
    for source in sources::ALL.iter().filter(|source| bench.measures(source.label)) {
        measure(bench, source, &mut report)?;
    }
    report.print(
        "Backfill",
        &[
            ("items/s", "per_second", 0),
            ("of the limit", "ratio", 2),
            ("of it with lz4", "ratio_lz4", 2),
            ("own CPU µs/item", "own_cpu_us", 1),
            ("PostgreSQL CPU µs/item", "postgres_cpu_us", 1),
            ("tracker CPU µs/item", "tracker_cpu_us", 1),
            ("most memory MiB", "most_mib", 1),
            ("calls/1,000 items", "calls", 1),
            ("of the least", "of_the_least", 2),
            ("a sync: ms", "wall_ms", 0),
            ("own CPU ms", "cpu_ms", 1),
            ("cores used by others", "other_cores", 2),
        ],
    );
    Ok(())
}

fn measure(bench: &Bench, source: &Source, report: &mut crate::report::Report) -> Result<()> {
    let folder = TempDir::new()?;
    let tracker = simulator(&bench.binaries, &source.world(source.items), folder.path())?;
    let tape = Tape::before(tracker.url("url")?)?;
    // The simulator answers this one; everything after comes from the tape.
    let (first, _) = Running::start(bench, DATABASE, source, tape.url())?.backfill(&tape)?;
    let items = first["items"].as_u64().context("a number of items")?;
    let pages = Pages::write(tape.asked(), folder.path())?;
    eprintln!("{}: {items} items, {} pages, {:.1} MiB", source.label, pages.count, mib(tape.bytes()));
    for round in 1..=bench.rounds {
        let mut limits = Vec::new();
        if let Some(statement) = source.limit {
            for (label, compression) in [("curl + COPY + INSERT", "pglz"), ("the same, lz4", "lz4")] {
                let figures = pages.limit(bench, &tape, statement, compression, items)?;
                report.add(round, source.label, label, &figures)?;
                limits.push(figures["per_second"].as_f64().context("a rate")?);
            }
        }
        let forwarded = tape.forwarded();
        let (mut backfill, mut running) =
            Running::start(bench, DATABASE, source, tape.url())?.backfill(&tape)?;
        ensure!(backfill["items"] == json!(items), "{items} items at first, and now {backfill}");
        backfill["asked_anew"] = json!(tape.forwarded() - forwarded);
        for (name, limit) in ["ratio", "ratio_lz4"].iter().zip(limits) {
            backfill[*name] = json!(backfill["per_second"].as_f64().context("a rate")? / limit);
        }
        report.add(round, source.label, "patchbay", &backfill)?;
        let sync = running.nothing_new()?;
        report.add(round, source.label, "patchbay, nothing new", &sync)?;
    }
    bench.server.drop(DATABASE)
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// A fresh installation with one instance, serving.
pub(crate) struct Running<'a> {
    bench: &'a Bench,
    database: &'a str,
    source: &'a Source,
    process: Process,
    admin: Admin,
    instance: String,
    _installation: Installation<'a>,
}

impl<'a> Running<'a> {
    /// Reads the source from the tracker at this address.
    pub(crate) fn start(
        bench: &'a Bench,
        database: &'a str,
        source: &'a Source,
        tracker: &str,
    ) -> Result<Self> {
        let server = &bench.server;
        server.recreate(database)?;
        let installation = Installation::new(&bench.binaries, server, database)?;
        installation.migrate()?;
        installation.create_tenant("bench")?;
        let key = installation.create_key("bench", "admin")?;
        let process = installation.serve("admin,worker")?;
        let mut admin = Admin::connect(process.url("admin_url")?, key)?;
        let instance = admin.connect_tracker(&source.instance(tracker))?;
        server.checkpoint()?;
        Ok(Self { bench, database, source, process, admin, instance, _installation: installation })
    }

    /// The backfill, with the requests it made.
    fn backfill(mut self, tape: &Tape) -> Result<(Value, Self)> {
        let requests = tape.requests();
        let tape_cpu = processes::cpu(std::process::id());
        let mut figures = self.backfill_at(None, tape_cpu)?;
        let requests = (tape.requests() - requests) as f64;
        let least = self.count(self.source.least)?;
        let items = figures["items"].as_u64().context("a number of items")? as f64;
        figures["calls"] = json!(requests * 1_000.0 / items);
        figures["of_the_least"] = json!(requests / least);
        Ok((figures, self))
    }

    /// The backfill; `tracker` is watched as well, or this program's own work since `own` is the tracker's.
    pub(crate) fn backfill_at(&mut self, tracker: Option<&Process>, own: Duration) -> Result<Value> {
        let server = &self.bench.server;
        let watch = MemoryWatch::start(self.process.pid());
        let before = processes::cpu(self.process.pid());
        let watched: Vec<u32> = [server.pid].into_iter().chain(tracker.map(Process::pid)).collect();
        let meter = Meter::start(&watched);
        let run = self.admin.run(&self.instance, "backfill")?;
        let used = meter.stop();
        let product = processes::cpu(self.process.pid()).saturating_sub(before);
        let most_mib = watch.most_mib();
        let items = self.count("select count(*) from work_items")?;
        ensure!(items > 0.0, "the backfill left no items: {run}");
        let tape = processes::cpu(std::process::id()).saturating_sub(own);
        let postgres = used.cpu.first().copied().unwrap_or_default();
        let tracker = used.cpu.get(1).copied().unwrap_or(tape);
        let mut figures = figures(items, product, postgres, tracker, &used);
        figures["most_mib"] = json!(most_mib);
        figures["requests"] = run["counts"]["requests"].clone();
        Ok(figures)
    }

    /// Syncs that find nothing.
    fn nothing_new(&mut self) -> Result<Value> {
        let before = processes::cpu(self.process.pid());
        let begun = Instant::now();
        for _ in 0..SYNCS {
            let run = self.admin.run(&self.instance, "sync")?;
            ensure!(run["counts"]["upserted"] == json!(0), "the sync found something: {run}");
        }
        let wall = begun.elapsed() / SYNCS;
        let own = processes::cpu(self.process.pid()).saturating_sub(before) / SYNCS;
        Ok(json!({"wall_ms": wall.as_secs_f64() * 1e3, "cpu_ms": own.as_secs_f64() * 1e3}))
    }

    /// A number from the database.
    fn count(&self, statement: &str) -> Result<f64> {
        let rows = self.bench.server.query(self.database, statement)?;
        let row = rows.first().with_context(|| format!("no row from {statement}"))?;
        row.parse().with_context(|| format!("{row} is no number: {statement}"))
    }
}

/// What was used for so many items.
fn figures(
    items: f64,
    own: Duration,
    postgres: Duration,
    tracker: Duration,
    used: &processes::Used,
) -> Value {
    let per_item = |time: Duration| time.as_secs_f64() * 1e6 / items;
    json!({
        "items": items as u64,
        "wall_s": used.wall.as_secs_f64(),
        "per_second": items / used.wall.as_secs_f64(),
        "own_cpu_us": per_item(own),
        "postgres_cpu_us": per_item(postgres),
        "tracker_cpu_us": per_item(tracker),
        "other_cores": cores_of_others(used.machine, own + postgres + tracker, used.wall),
    })
}
