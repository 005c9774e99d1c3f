//! Live tools of Jira over MCP, beside the very requests they make of Jira: one that answers at once, and one that takes
//! 100 ms.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Bench;
use crate::admin::Admin;
use crate::http;
use crate::installation::{Installation, Process, simulator};
use crate::load::{Expected, Load, Outcome, Plain};
use crate::processes::{self, cores_of_others};
use crate::report::{Report, quantile};
use crate::sources;
use crate::tape::Tape;

const DATABASE: &str = "bench_jira_mcp";
const ISSUES: u32 = 2_000;
/// Different issues that are asked for.
const DIFFERENT: u32 = 200;
const CONNECTIONS: [usize; 3] = [1, 8, 32];
/// How long Jira takes.
const LATENCIES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(100)];

/// Beside the second that each load takes to warm up.
const WARM_UP: Duration = Duration::from_millis(500);

/// A tool, and what it is asked.
struct Task {
    label: &'static str,
    tool: &'static str,
    /// The part of the path by which its requests to Jira are known.
    path: &'static str,
    arguments: fn() -> Vec<Value>,
    expected: Expected,
}

fn search(limit: usize) -> Vec<Value> {
    vec![json!({"jql": "project = ENG ORDER BY updated DESC", "limit": limit})]
}

const TASKS: [Task; 3] = [
    Task {
        label: "search, 10 issues",
        tool: "jira_search_issues",
        path: "/search/jql",
        arguments: || search(10),
        expected: Expected::List("issues", 10),
    },
    Task {
        label: "search, 50 issues",
        tool: "jira_search_issues",
        path: "/search/jql",
        arguments: || search(50),
        expected: Expected::List("issues", 50),
    },
    Task {
        label: "get issue",
        tool: "jira_get_issue",
        path: "/issue/",
        arguments: || (1..=DIFFERENT).map(|n| json!({"key": format!("ENG-{}", n * 5)})).collect(),
        expected: Expected::Field("summary"),
    },
];

/// One Jira, with the key of the tenant that has connected it.
struct Jira {
    tape: Tape,
    latency: Duration,
    key: String,
}

/// Measures and prints.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let folder = TempDir::new()?;
    let tracker = simulator(&bench.binaries, &sources::JIRA.world(ISSUES), folder.path())?;
    bench.server.recreate(DATABASE)?;
    let installation = Installation::new(&bench.binaries, &bench.server, DATABASE)?;
    installation.migrate()?;
    let server = installation.serve("admin,mcp-jira")?;
    let jiras = LATENCIES
        .into_iter()
        .map(|latency| Jira::connect(&installation, &server, tracker.url("url")?, latency))
        .collect::<Result<Vec<_>>>()?;

    let mut cells = Vec::new();
    for jira in &jiras {
        for task in &TASKS {
            cells.push(Cell::prepare(jira, task, &server)?);
        }
    }
    let mut report = bench.report("jira-mcp")?;
    for round in 1..=bench.rounds {
        for cell in &cells {
            cell.measure(bench, round, &mut report)?;
        }
    }
    report.print(
        "Live tools of Jira over MCP",
        &[
            ("calls/s", "per_second", 0),
            ("of the limit", "ratio", 2),
            ("p50 ms", "p50_ms", 2),
            ("p99 ms", "p99_ms", 2),
            ("added p50 ms", "added_p50_ms", 2),
            ("added p99 ms", "added_p99_ms", 2),
            ("own CPU µs/call", "own_cpu_us", 0),
            ("answer bytes", "bytes", 0),
            ("requests/call", "requests", 2),
            ("memory MiB", "memory_mib", 1),
            ("cores used by others", "other_cores", 2),
        ],
    );
    drop(server);
    bench.server.drop(DATABASE)
}

impl Jira {
    /// A tenant with one instance.
    fn connect(
        installation: &Installation<'_>,
        server: &Process,
        tracker: &str,
        latency: Duration,
    ) -> Result<Self> {
        let tape = Tape::far_before(tracker, latency)?;
        let tenant = format!("far-{}-ms", latency.as_millis());
        installation.create_tenant(&tenant)?;
        let admin = installation.create_key(&tenant, "admin")?;
        Admin::connect(server.url("admin_url")?, admin)?
            .connect_tracker(&sources::JIRA.instance(tape.url()))?;
        let key = installation.create_key(&tenant, "mcp:jira:read")?;
        Ok(Self { tape, latency, key })
    }
}

/// A task at one Jira.
struct Cell<'a> {
    jira: &'a Jira,
    task: &'a Task,
    server: &'a Process,
    calls: Vec<(String, Value)>,
    /// What the tool asks of Jira.
    requests: Vec<Vec<u8>>,
}

impl<'a> Cell<'a> {
    /// Calls the tool for a while, so that the tape has what it asks of Jira, and the product knows what it keeps of an
    /// instance.
    fn prepare(jira: &'a Jira, task: &'a Task, server: &'a Process) -> Result<Self> {
        let calls = (task.arguments)().into_iter().map(|arguments| (jira.key.clone(), arguments)).collect();
        let mut cell = Self { jira, task, server, calls, requests: Vec::new() };
        let known = jira.tape.asked().len();
        cell.load(1, WARM_UP)?.run(&[])?;
        let (host, _) = http::split(jira.tape.url())?;
        let asked = jira.tape.asked();
        let of_task = asked.iter().skip(known).filter(|asked| asked.target.contains(task.path));
        cell.requests = of_task
            .map(|asked| {
                let headers = "content-type: application/json\r\n";
                http::request(&asked.method, host, &asked.target, headers, &asked.body)
            })
            .collect();
        ensure!(!cell.requests.is_empty(), "{} asked Jira for no {}", task.tool, task.path);
        Ok(cell)
    }

    fn load(&self, connections: usize, time: Duration) -> Result<Load<'_>> {
        Ok(Load {
            url: self.server.url("mcp_jira_url")?,
            tool: self.task.tool,
            calls: &self.calls,
            connections,
            time,
            expected: self.task.expected,
        })
    }

    fn measure(&self, bench: &Bench, round: u32, report: &mut Report) -> Result<()> {
        let (time, tape) = (Duration::from_secs(bench.secs), &self.jira.tape);
        let (host, _) = http::split(tape.url())?;
        for connections in CONNECTIONS {
            let latency = self.jira.latency.as_millis();
            let what = format!("{}, Jira {latency} ms, {connections} connections", self.task.label);
            let before = processes::cpu(std::process::id());
            let alone = Plain { host, requests: &self.requests, connections, time }.run(&[])?;
            let limit = figures(&alone, before, Duration::ZERO);
            report.add(round, &what, "its requests alone", &limit)?;

            let (before, requests) = (processes::cpu(std::process::id()), tape.requests());
            let outcome = self.load(connections, time)?.run(&[self.server.pid()])?;
            let own = outcome.used.cpu.first().copied().unwrap_or_default();
            let mut figures = figures(&outcome, before, own);
            let figure = |of: &Value, name: &str| of[name].as_f64().context("a figure");
            let requests = (tape.requests() - requests) as f64 / outcome.calls as f64;
            let ratio = figure(&figures, "per_second")? / figure(&limit, "per_second")?;
            for (added, of) in [("added_p50_ms", "p50_ms"), ("added_p99_ms", "p99_ms")] {
                figures[added] = json!(figure(&figures, of)? - figure(&limit, of)?);
            }
            figures["ratio"] = json!(ratio);
            figures["own_cpu_us"] = json!(own.as_secs_f64() * 1e6 / outcome.latencies.len() as f64);
            figures["requests"] = json!(requests);
            figures["memory_mib"] = json!(processes::memory_mib(self.server.pid()));
            report.add(round, &what, "patchbay", &figures)?;
        }
        Ok(())
    }
}

/// What both have. The callers and the tape are this process.
fn figures(outcome: &Outcome, before: Duration, own: Duration) -> Value {
    let here = processes::cpu(std::process::id()).saturating_sub(before);
    let count = outcome.latencies.len() as f64;
    json!({
        "per_second": count / outcome.used.wall.as_secs_f64(),
        "p50_ms": quantile(&outcome.latencies, 0.5) as f64 / 1e6,
        "p99_ms": quantile(&outcome.latencies, 0.99) as f64 / 1e6,
        "bytes": outcome.bytes as f64 / count,
        "other_cores": cores_of_others(outcome.used.machine, here + own, outcome.used.wall),
    })
}
