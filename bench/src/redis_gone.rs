//! What requests notice of it when Redis, where they are counted, stops or stands still: tool calls and REST calls at an even
//! pace, with Redis there, killed, started again, frozen and thawed.

mod redis;

use std::time::Duration;
use std::{fmt, thread};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{self, Connection};
use crate::installation::Process;
use crate::load::{Caller, Expected, Load};
use crate::processes::{Meter, cores_of_others};
use crate::report::quantile;
use crate::stage::{self, Asked, Asking};
use crate::{Bench, sql_mcp};
use redis::Redis;

/// Callers of each kind.
const CALLERS: usize = 4;
/// How often each of them asks; altogether about a quarter of what two cores can serve.
const EVERY: Duration = Duration::from_millis(20);
/// What REST callers read, one after the other.
const PATHS: [&str; 3] = ["/api/v1/me", "/api/v1/work-items?limit=20", "/api/v1/instances"];
/// Kinds of requests, by number.
const KINDS: [&str; 2] = ["tool calls", "REST calls"];

/// What becomes of Redis, one after the other. Each lasts as long as a cell and counts from the moment it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    There,
    Killed,
    StartedAgain,
    Frozen,
    Thawed,
}

const PHASES: [Phase; 5] = [Phase::There, Phase::Killed, Phase::StartedAgain, Phase::Frozen, Phase::Thawed];

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::There => "Redis there",
            Self::Killed => "killed",
            Self::StartedAgain => "started again",
            Self::Frozen => "frozen (SIGSTOP)",
            Self::Thawed => "thawed",
        })
    }
}

/// Measures and prints.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let folder = TempDir::new()?;
    let installation = sql_mcp::seeded(bench, folder.path())?;
    let calls = sql_mcp::calls(bench, &installation, "admin")?;
    let program = bench.redis_server.as_deref().context("--redis-server is needed to measure this")?;
    let mut redis = Redis::start(program, folder.path())?;
    let server = installation.serve_with("admin,mcp-sql", &["--redis-url", &redis.url()])?;

    let mut report = bench.report("redis-gone")?;
    for round in 1..=bench.rounds {
        let mut before = [0.0; KINDS.len()];
        for (phase, kinds) in measure(bench, &mut redis, &server, &calls)? {
            for (kind, mut figures) in kinds.into_iter().enumerate() {
                let p99 = figures["p99_ms"].as_f64().context("a p99")?;
                if phase == Phase::There {
                    before[kind] = p99;
                }
                figures["p99_growth_ms"] = json!(p99 - before[kind]);
                report.add(round, KINDS[kind], &phase.to_string(), &figures)?;
            }
        }
    }
    report.print(
        "Requests while Redis is gone",
        &[
            ("a second", "per_second", 0),
            ("p50 ms", "p50_ms", 2),
            ("p99 ms", "p99_ms", 2),
            ("more than with Redis: ms", "p99_growth_ms", 2),
            ("longest ms", "longest_ms", 1),
            ("refused", "refused", 0),
            ("cores used by others", "other_cores", 2),
        ],
    );
    Ok(())
}

/// Each phase with the figures of each kind of requests.
fn measure(
    bench: &Bench,
    redis: &mut Redis,
    server: &Process,
    calls: &[(String, Value)],
) -> Result<Vec<(Phase, Vec<Value>)>> {
    let load = Load {
        url: server.url("mcp_sql_url")?,
        tool: "search_issues_by_project",
        calls,
        connections: CALLERS,
        time: Duration::from_secs(bench.secs),
        expected: Expected::List("rows", usize::try_from(sql_mcp::ROWS)?),
    };
    let (key, _) = calls.first().context("there is nothing to call")?;
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let mut caller = Caller::connect(&load, number)?;
        let ask: Asking<'_> = Box::new(move |_| Ok(Asked { kind: 0, took: caller.call()?, well: true }));
        callers.push(stage::paced(EVERY, ask));
        callers.push(stage::paced(EVERY, reader(server.url("admin_url")?, key, number)?));
    }
    let (others, asked) = stage::play(callers, |stage| {
        // Connections, plans and caches are warm before anything counts.
        thread::sleep(Duration::from_secs(1));
        let mut others = Vec::new();
        for (at, phase) in PHASES.into_iter().enumerate() {
            let meter = Meter::start(&[server.pid(), bench.server.pid, redis.pid(), std::process::id()]);
            stage.enter(at + 1);
            match phase {
                Phase::There => {}
                Phase::Killed => redis.kill()?,
                Phase::StartedAgain => redis.start_again()?,
                Phase::Frozen => redis.freeze()?,
                Phase::Thawed => redis.thaw()?,
            }
            thread::sleep(Duration::from_secs(bench.secs).saturating_sub(meter.elapsed()));
            stage.enter(0);
            let used = meter.stop();
            let counted = used.cpu.iter().sum();
            others.push((cores_of_others(used.machine, counted, used.wall), used.wall));
        }
        Ok(others)
    })?;
    let of_phase = |(at, phase): (usize, Phase)| {
        let (others, wall) = others[at];
        let kinds = 0..KINDS.len();
        let figures = kinds.map(|kind| {
            let of_kind = asked.iter().filter(|(ended, asked)| *ended == at + 1 && asked.kind == kind);
            let all: Vec<&Asked> = of_kind.map(|(_, asked)| asked).collect();
            figures(&all, wall, others)
        });
        (phase, figures.collect())
    };
    Ok(PHASES.into_iter().enumerate().map(of_phase).collect())
}

/// A caller of the admin API.
fn reader<'a>(url: &str, key: &str, number: usize) -> Result<Asking<'a>> {
    let (host, _) = http::split(url)?;
    let mut connection = Connection::open(host)?;
    let requests =
        PATHS.map(|path| http::request("GET", host, path, &format!("authorization: Bearer {key}\r\n"), ""));
    let (mut body, mut next) = (Vec::new(), number);
    Ok(Box::new(move |_| {
        let request = &requests[next % PATHS.len()];
        next += 1;
        let answer = connection.send(request, &mut body)?;
        if answer.closes {
            connection = Connection::open(connection.host())?;
        }
        // Whatever the time until then, `paced` adds how late it began.
        Ok(Asked { kind: 1, took: Duration::ZERO, well: answer.status == 200 })
    }))
}

fn figures(asked: &[&Asked], wall: Duration, others: f64) -> Value {
    let mut latencies: Vec<u64> =
        asked.iter().map(|asked| u64::try_from(asked.took.as_nanos()).unwrap_or(u64::MAX)).collect();
    latencies.sort_unstable();
    let ms = |share: f64| quantile(&latencies, share) as f64 / 1e6;
    json!({
        "requests": latencies.len(),
        "per_second": latencies.len() as f64 / wall.as_secs_f64(),
        "p50_ms": ms(0.5), "p99_ms": ms(0.99), "longest_ms": ms(1.0),
        "refused": asked.iter().filter(|asked| !asked.well).count(),
        "other_cores": others,
    })
}
