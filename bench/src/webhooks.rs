//! A storm of webhook deliveries over HTTP: a thousand a second for half a minute, a fifth of them repetitions, signed, in
//! the forms of GitHub and Jira; then as many as the intake takes, beside pgbench inserting the same rows one by one.

mod limit;
mod messages;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Bench;
use crate::admin::Admin;
use crate::http::Connection;
use crate::installation::{Installation, Process, simulator};
use crate::processes::{self, MemoryWatch, Meter, Used, cores_of_others};
use crate::report::quantile;
use crate::sources::{GITHUB_ALL, JIRA};
use crate::tape::Tape;
use messages::{Form, Target};

const DATABASE: &str = "bench_webhooks";
/// Items of each tracker that deliveries are about.
const ITEMS: u32 = 500;
const A_SECOND: u64 = 1_000;
const SECONDS: u64 = 30;
const CONNECTIONS: usize = 64;
/// How long applying may go on after the last delivery.
const PATIENCE: Duration = Duration::from_secs(900);

/// Measures and prints.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let folder = TempDir::new()?;
    let worlds: Vec<String> = [&GITHUB_ALL, &JIRA].iter().flat_map(|source| source.world(ITEMS)).collect();
    let tracker = simulator(&bench.binaries, &worlds, folder.path())?;
    let tape = Tape::before(tracker.url("url")?)?;
    let mut report = bench.report("webhooks")?;
    for round in 1..=bench.rounds {
        let limit = limit::inserts(bench, CONNECTIONS)?;
        report.add(round, "as fast as it goes", "pgbench, an insert each", &limit)?;
        let server = &bench.server;
        server.recreate(DATABASE)?;
        let installation = Installation::new(&bench.binaries, server, DATABASE)?;
        installation.migrate()?;
        installation.create_tenant("bench")?;
        let key = installation.create_key("bench", "admin")?;
        let process = installation.serve("admin,worker")?;
        let mut admin = Admin::connect(process.url("admin_url")?, key)?;
        let mut targets = Vec::new();
        for (source, form) in [(&GITHUB_ALL, Form::GitHub), (&JIRA, Form::Jira)] {
            let instance = admin.connect_tracker(&source.instance(tape.url()))?;
            admin.run(&instance, "backfill")?;
            let set_up = admin.send("POST", &format!("/instances/{instance}/webhook"), "", 200)?;
            targets.push(Target::new(form, &set_up, &tape)?);
        }
        server.checkpoint()?;

        let storm = storm(bench, &process, &targets)?;
        report.add(round, "1,000/s for 30 s", "patchbay", &storm)?;
        // The intake by itself: whoever works must not be measured with it.
        drop(process);
        let process = installation.serve("admin")?;
        let mut flood = flood(bench, &process, &targets)?;
        let rate = limit["per_second"].as_f64().context("a rate")?;
        flood["ratio"] = json!(flood["per_second"].as_f64().context("a rate")? / rate);
        report.add(round, "as fast as it goes", "patchbay", &flood)?;
        drop(process);
        server.drop(DATABASE)?;
    }
    report.print(
        "Webhook deliveries",
        &[
            ("a second", "per_second", 0),
            ("of the limit", "ratio", 2),
            ("p50 ms", "p50_ms", 1),
            ("p99 ms", "p99_ms", 1),
            ("longest ms", "longest_ms", 1),
            ("refused", "refused", 0),
            ("lost", "lost", 0),
            ("applied twice", "applied_twice", 0),
            ("all applied after s", "applied_after_s", 1),
            ("own CPU µs", "own_cpu_us", 1),
            ("PostgreSQL CPU µs", "postgres_cpu_us", 1),
            ("most memory MiB", "most_mib", 1),
            ("cores used by others", "other_cores", 2),
        ],
    );
    Ok(())
}

/// What came of a load.
struct Sent {
    /// Nanoseconds from when each was due until its answer, sorted.
    latencies: Vec<u64>,
    /// Ids that were answered with 200.
    accepted: HashSet<String>,
    refused: u64,
    used: Used,
    own: Duration,
    /// Of this program, which signs nothing while it sends but plays the trackers too.
    sending: Duration,
}

/// Sends `total` deliveries from many connections, at this rate or as fast as answers come.
fn send(
    bench: &Bench,
    process: &Process,
    targets: &[Target],
    rate: Option<u64>,
    goes_on: &(dyn Fn(u64, Duration) -> bool + Sync),
    id: &(dyn Fn(u64) -> u64 + Sync),
) -> Result<Sent> {
    let url = process.url("admin_url")?;
    let (host, _) = crate::http::split(url)?;
    let next = AtomicU64::new(0);
    let accepted = Mutex::new(HashSet::new());
    let refused = AtomicU64::new(0);
    let own = processes::cpu(process.pid());
    let sending = processes::cpu(std::process::id());
    let meter = Meter::start(&[bench.server.pid]);
    let begun = Instant::now();
    let sender = || -> Result<Vec<u64>> {
        let mut connection = Connection::open(host)?;
        let (mut body, mut latencies, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if !goes_on(number, begun.elapsed()) {
                break;
            }
            let due = match rate {
                Some(rate) => begun + Duration::from_nanos(number * 1_000_000_000 / rate),
                None => Instant::now(),
            };
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let id = id(number);
            // Repetitions have the form and the item of the first.
            let target = &targets[usize::try_from(id).unwrap_or(0) % targets.len()];
            let name = messages::name(id);
            let answer = connection.send(&target.request(host, id, &name), &mut body)?;
            latencies.push(u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX));
            if answer.status == 200 {
                taken.push(name);
            } else {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            if answer.closes {
                connection = Connection::open(host)?;
            }
        }
        accepted.lock().unwrap_or_else(PoisonError::into_inner).extend(taken);
        Ok(latencies)
    };
    let mut latencies = thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(sender)).collect();
        let mut all = Vec::new();
        for sender in senders {
            all.extend(sender.join().map_err(|_| anyhow!("a sender ended abruptly"))??);
        }
        Ok::<_, anyhow::Error>(all)
    })?;
    let used = meter.stop();
    latencies.sort_unstable();
    Ok(Sent {
        latencies,
        accepted: accepted.into_inner().unwrap_or_else(PoisonError::into_inner),
        refused: refused.into_inner(),
        own: processes::cpu(process.pid()).saturating_sub(own),
        sending: processes::cpu(std::process::id()).saturating_sub(sending),
        used,
    })
}

impl Sent {
    fn figures(&self) -> Value {
        let sent = self.latencies.len() as f64;
        let ms = |share: f64| quantile(&self.latencies, share) as f64 / 1e6;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / sent;
        let postgres = self.used.cpu.first().copied().unwrap_or_default();
        json!({
            "sent": self.latencies.len(),
            "per_second": sent / self.used.wall.as_secs_f64(),
            "p50_ms": ms(0.5), "p99_ms": ms(0.99), "longest_ms": ms(1.0),
            "refused": self.refused,
            "own_cpu_us": each(self.own), "postgres_cpu_us": each(postgres),
            "other_cores": cores_of_others(self.used.machine, self.own + postgres + self.sending, self.used.wall),
        })
    }
}

/// The storm, and what became of every delivery.
fn storm(bench: &Bench, process: &Process, targets: &[Target]) -> Result<Value> {
    let watch = MemoryWatch::start(process.pid());
    let total = A_SECOND * SECONDS;
    // Every fifth repeats the one before it, which may not be answered yet.
    let sent = send(bench, process, targets, Some(A_SECOND), &|number, _| number < total, &|number| {
        number - number % 5 / 4
    })?;
    let ended = Instant::now();
    let open = "select count(*) from webhook_deliveries where applied_at is null";
    while bench.server.query(DATABASE, open)? != ["0"] {
        ensure!(ended.elapsed() < PATIENCE, "deliveries are still not applied: {}", process.log()?);
        thread::sleep(Duration::from_millis(250));
    }
    let mut figures = sent.figures();
    figures["applied_after_s"] = json!(ended.elapsed().as_secs_f64());
    figures["most_mib"] = json!(watch.most_mib());
    let stored =
        bench.server.query(DATABASE, "select delivery_id from webhook_deliveries where problem is null")?;
    let kept: HashSet<&str> = stored.iter().map(String::as_str).collect();
    figures["lost"] = json!(sent.accepted.iter().filter(|id| !kept.contains(id.as_str())).count());
    // The log tells of every batch how many deliveries it applied.
    let applied = applied(&process.log()?)?;
    figures["applied_twice"] =
        json!(applied.saturating_sub(kept.len() as u64) + (stored.len() - kept.len()) as u64);
    figures["applied"] = json!(applied);
    Ok(figures)
}

/// As many as are taken in, all different, none of them applied.
fn flood(bench: &Bench, process: &Process, targets: &[Target]) -> Result<Value> {
    // After the ids of the storm.
    let id = |number| 1_000_000 + number;
    let sent =
        send(bench, process, targets, None, &|_, elapsed| elapsed < Duration::from_secs(bench.secs), &id)?;
    Ok(sent.figures())
}

/// Deliveries that the process says it has applied.
fn applied(log: &str) -> Result<u64> {
    let mut applied = 0;
    for line in log.lines().filter(|line| line.contains("Deliveries were applied")) {
        let line: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        let told = line.get("deliveries").or_else(|| line["fields"].get("deliveries"));
        applied +=
            told.and_then(Value::as_u64).with_context(|| format!("no number of deliveries: {line}"))?;
    }
    Ok(applied)
}
