//! A backfill of 20,000 GitHub issues and a sync with nothing new, beside curl, COPY and one INSERT of the same pages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Bench;
use crate::http::{self, Connection};
use crate::installation::{Installation, Process, simulator};
use crate::processes::{self, MemoryWatch, Meter, cores_of_others};
use crate::server::output;

const DATABASE: &str = "bench_sync";
const LIMIT_DATABASE: &str = "bench_sync_limit";
const LIMIT: &str = include_str!("../sql/sync_limit.sql");
const REPOSITORY: &str = "acme/app";
const ITEMS: u32 = 20_000;
/// Syncs with nothing new, so that their CPU time is more than a few ticks of the clock.
const SYNCS: u32 = 10;

/// Measures and prints.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let folder = TempDir::new()?;
    let tracker = simulator(&bench.binaries, REPOSITORY, ITEMS, folder.path())?;
    let pages = Pages::walk(&tracker, folder.path())?;
    eprintln!("{} pages, {:.1} MiB", pages.count, pages.bytes as f64 / 1_048_576.0);
    let mut report = bench.report("sync")?;
    let bytes_per_item = pages.bytes as f64 / f64::from(ITEMS);
    for round in 1..=bench.rounds {
        let limit = limit(bench, &tracker, &pages, "pglz")?;
        let rate = limit["per_second"].as_f64().context("a rate")?;
        report.add(round, "backfill", "curl + COPY + INSERT", &limit)?;
        let small = self::limit(bench, &tracker, &pages, "lz4")?;
        report.add(round, "backfill", "the same, lz4", &small)?;
        let (mut backfill, sync) = product(bench, &tracker)?;
        let own = backfill["per_second"].as_f64().context("a rate")?;
        backfill["ratio"] = json!(own / rate);
        backfill["ratio_lz4"] = json!(own / small["per_second"].as_f64().context("a rate")?);
        backfill["bytes_per_item"] = json!(bytes_per_item);
        report.add(round, "backfill", "patchbay", &backfill)?;
        report.add(round, "nothing new", "patchbay", &sync)?;
    }
    report.print(
        "Backfill of 20,000 issues, 100 a page",
        &[
            ("items/s", "per_second", 0),
            ("of the limit", "ratio", 2),
            ("of it with lz4", "ratio_lz4", 2),
            ("own CPU µs/item", "own_cpu_us", 1),
            ("PostgreSQL CPU µs/item", "postgres_cpu_us", 1),
            ("tracker CPU µs/item", "tracker_cpu_us", 1),
            ("most memory MiB", "most_mib", 1),
            ("a sync: ms", "wall_ms", 0),
            ("own CPU ms", "cpu_ms", 1),
            ("cores used by others", "other_cores", 2),
        ],
    );
    Ok(())
}

/// The pages as the product asks for them, in a form that curl reads.
#[derive(Debug)]
struct Pages {
    list: PathBuf,
    statement: PathBuf,
    received: PathBuf,
    count: u32,
    bytes: usize,
}

impl Pages {
    /// Follows the pages once by time of change, which also lets the simulator make its lists.
    fn walk(tracker: &Process, folder: &Path) -> Result<Self> {
        let url = tracker.url("url")?;
        let (host, _) = http::split(url)?;
        let mut connection = Connection::open(host)?;
        let (mut since, mut list, mut body, mut count, mut bytes) =
            (String::new(), String::new(), Vec::new(), 0, 0);
        loop {
            let path = format!(
                "/repos/{REPOSITORY}/issues?state=all&sort=updated&direction=asc&per_page=100{since}"
            );
            let headers = "user-agent: patchbay-bench\r\nauthorization: Bearer bench\r\n";
            let answer = connection.send(&http::request("GET", host, &path, headers, ""), &mut body)?;
            ensure!(answer.status == 200, "the simulator answered {}", answer.status);
            let rows: Vec<Value> = serde_json::from_slice(&body)?;
            list.push_str(&format!("url = \"http://{host}{path}\"\n"));
            (count, bytes) = (count + 1, bytes + body.len());
            let last = rows.last().and_then(|row| row["updated_at"].as_str()).context("an empty page")?;
            let next = format!("&since={last}");
            if rows.len() < 100 {
                break;
            }
            ensure!(next != since, "a whole page changed in one second; take another seed");
            since = next;
        }
        let list_file = folder.join("pages.curl");
        fs::write(&list_file, list)?;
        let statement = folder.join("limit.sql");
        fs::write(&statement, LIMIT)?;
        Ok(Self { list: list_file, statement, received: folder.join("pages.json"), count, bytes })
    }
}

fn limit(bench: &Bench, tracker: &Process, pages: &Pages, compression: &str) -> Result<Value> {
    let server = &bench.server;
    server.recreate(LIMIT_DATABASE)?;
    server.checkpoint()?;
    let own = processes::cpu_of_ended_children();
    let meter = Meter::start(&[server.pid, tracker.pid()]);
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "-f", "-A", "patchbay-bench", "-H", "Authorization: Bearer bench", "-w", "\\n", "-K"]);
    // Each page becomes a line of one file.
    let status = curl.arg(&pages.list).stdin(Stdio::null()).stdout(File::create(&pages.received)?).status();
    ensure!(status.context("cannot run curl; install it")?.success(), "curl failed");
    let fetched = meter.elapsed();
    let mut psql = server.psql(LIMIT_DATABASE);
    psql.args(["-v", &format!("compression={compression}"), "-f"]).arg(&pages.statement);
    output(psql.stdin(File::open(&pages.received)?))?;
    let used = meter.stop();
    let own = processes::cpu_of_ended_children().saturating_sub(own);
    let rows = server.query(LIMIT_DATABASE, "select count(*) from limit_issues")?;
    ensure!(rows == [ITEMS.to_string()], "the limit has {rows:?} rows");
    server.drop(LIMIT_DATABASE)?;
    let mut figures = figures(&used.cpu, own, used.machine, used.wall)?;
    figures["fetch_s"] = json!(fetched.as_secs_f64());
    Ok(figures)
}

/// A fresh installation: its backfill, then syncs that find nothing.
fn product(bench: &Bench, tracker: &Process) -> Result<(Value, Value)> {
    let server = &bench.server;
    server.recreate(DATABASE)?;
    let installation = Installation::new(&bench.binaries, server, DATABASE)?;
    installation.migrate()?;
    installation.create_tenant("bench")?;
    let key = installation.create_key("bench", "admin")?;
    let process = installation.serve("admin,worker")?;
    let mut admin = Admin::connect(process.url("admin_url")?, key)?;
    let instance = admin.connect_tracker(tracker.url("url")?)?;
    server.checkpoint()?;

    let watch = MemoryWatch::start(process.pid());
    let own = processes::cpu(process.pid());
    let meter = Meter::start(&[server.pid, tracker.pid()]);
    let run = admin.run(&instance, "backfill")?;
    let used = meter.stop();
    let own = processes::cpu(process.pid()).saturating_sub(own);
    let most_mib = watch.most_mib();
    let rows = server.query(DATABASE, "select count(*) from work_items")?;
    ensure!(rows == [ITEMS.to_string()], "the backfill left {rows:?} items: {run}");
    let mut backfill = figures(&used.cpu, own, used.machine, used.wall)?;
    backfill["most_mib"] = json!(most_mib);
    backfill["requests"] = run["counts"]["requests"].clone();

    let own = processes::cpu(process.pid());
    let begun = Instant::now();
    for _ in 0..SYNCS {
        let run = admin.run(&instance, "sync")?;
        ensure!(run["counts"]["upserted"] == json!(0), "the sync found something: {run}");
    }
    let wall = begun.elapsed() / SYNCS;
    let own = processes::cpu(process.pid()).saturating_sub(own) / SYNCS;
    let sync = json!({"wall_ms": wall.as_secs_f64() * 1e3, "cpu_ms": own.as_secs_f64() * 1e3});
    drop(process);
    server.drop(DATABASE)?;
    Ok((backfill, sync))
}

/// `cpu` is that of PostgreSQL and of the tracker.
fn figures(cpu: &[Duration], own: Duration, machine: Duration, wall: Duration) -> Result<Value> {
    let [postgres, tracker] = cpu else { bail!("two processes are watched") };
    let per_item = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(ITEMS);
    Ok(json!({
        "wall_s": wall.as_secs_f64(),
        "per_second": f64::from(ITEMS) / wall.as_secs_f64(),
        "own_cpu_us": per_item(own),
        "postgres_cpu_us": per_item(*postgres),
        "tracker_cpu_us": per_item(*tracker),
        "other_cores": cores_of_others(machine, own + *postgres + *tracker, wall),
    }))
}

/// The admin API.
struct Admin {
    connection: Connection,
    key: String,
    body: Vec<u8>,
}

impl Admin {
    fn connect(url: &str, key: String) -> Result<Self> {
        let (host, _) = http::split(url)?;
        Ok(Self { connection: Connection::open(host)?, key, body: Vec::new() })
    }

    fn send(&mut self, method: &str, path: &str, body: &str, expected: u16) -> Result<Value> {
        let headers = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", self.key);
        let path = format!("/api/v1{path}");
        let request = http::request(method, self.connection.host(), &path, &headers, body);
        let answer = self.connection.send(&request, &mut self.body)?;
        let text = String::from_utf8_lossy(&self.body);
        ensure!(answer.status == expected, "{method} {path}: {} {text}", answer.status);
        Ok(serde_json::from_str(&text)?)
    }

    fn connect_tracker(&mut self, url: &str) -> Result<String> {
        let body = json!({"source": "github", "name": "bench", "base_url": url,
            "credentials": {"kind": "token", "token": "bench"},
            "settings": {"repositories": [REPOSITORY], "streams": ["issues"]}});
        let made = self.send("POST", "/instances", &body.to_string(), 201)?;
        Ok(made["id"].as_str().context("the instance has no id")?.to_owned())
    }

    /// Starts a run and waits for its end.
    fn run(&mut self, instance: &str, kind: &str) -> Result<Value> {
        let started = self.send("POST", &format!("/instances/{instance}/{kind}"), "{}", 202)?;
        let id = started["run_id"].as_str().context("no run_id")?.to_owned();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(600) {
            let run = self.send("GET", &format!("/runs/{id}"), "", 200)?;
            match run["state"].as_str() {
                Some("succeeded") => return Ok(run),
                Some("partial" | "failed" | "cancelled") => bail!("the run did not succeed: {run}"),
                _ => thread::sleep(Duration::from_millis(25)),
            }
        }
        bail!("the run {id} did not end within ten minutes");
    }
}
