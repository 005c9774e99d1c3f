//! `search_issues_by_project` over MCP on many items of many tenants, beside the same statement by pgbench.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Bench;
use crate::installation::{Installation, Process};
use crate::load::{Expected, Load};
use crate::processes::cores_of_others;
use crate::report::quantile;
use crate::server::output;
use crate::{pgbench, processes};

const DATABASE: &str = "bench_sql_mcp";
const TEMPLATE: &str = include_str!("../../sql/templates/search_issues_by_project.sql");
const SEED: &str = include_str!("../sql/seed_work_items.sql");
pub(crate) const ROWS: u32 = 50;
const CONNECTIONS: [usize; 3] = [1, 8, 32];

/// Measures and prints.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let folder = TempDir::new()?;
    let installation = seeded(bench, folder.path())?;
    let calls = calls(bench, &installation, "mcp:sql")?;
    let scripts = ["limit.sql", "folded.sql"].map(|name| folder.path().join(name));
    for (script, folded) in scripts.iter().zip([false, true]) {
        fs::write(script, pgbench::script(TEMPLATE, ROWS, folded)?)?;
    }
    let server = installation.serve("mcp-sql")?;
    let mut report = bench.report("sql-mcp")?;
    for round in 1..=bench.rounds {
        for connections in CONNECTIONS {
            let what = format!("{connections} connections");
            let [text, folded] = &scripts;
            let text = limit(bench, text, connections)?;
            report.add(round, &what, "pgbench", &text)?;
            let folded = limit(bench, folded, connections)?;
            report.add(round, &what, "pgbench, folded", &folded)?;
            let product = product(bench, &server, &calls, connections, [&text, &folded])?;
            report.add(round, &what, "patchbay", &product)?;
        }
    }
    report.print(
        "search_issues_by_project over MCP",
        &[
            ("calls/s", "per_second", 0),
            ("of pgbench", "ratio", 2),
            ("of it folded", "ratio_folded", 2),
            ("p50 ms", "p50_ms", 2),
            ("p99 ms", "p99_ms", 2),
            ("own CPU µs/call", "own_cpu_us", 0),
            ("PostgreSQL CPU µs/call", "postgres_cpu_us", 0),
            ("answer bytes", "bytes", 0),
            ("memory MiB", "memory_mib", 1),
            ("cores used by others", "other_cores", 2),
        ],
    );
    Ok(())
}

/// The database, migrated by the product and filled once; a later run finds it as this one leaves it.
pub(crate) fn seeded<'a>(bench: &'a Bench, folder: &Path) -> Result<Installation<'a>> {
    let server = &bench.server;
    let installation = Installation::new(&bench.binaries, server, DATABASE)?;
    let known =
        server.query("postgres", &format!("select 1 from pg_database where datname = '{DATABASE}'"))?;
    let Bench { items, tenants, .. } = bench;
    let stamp = format!("{items} items, {tenants} tenants, seed of {} bytes", SEED.len());
    let asked =
        "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()";
    // Migrating fails when the schema's history is no longer the one this database was made with.
    if !known.is_empty() && server.query(DATABASE, asked)?.contains(&stamp) && installation.migrate().is_ok()
    {
        return Ok(installation);
    }
    eprintln!("seeding {items} work items in {tenants} tenants; 200,000 take a minute");
    server.recreate(DATABASE)?;
    installation.migrate()?;
    let file = folder.join("seed.sql");
    fs::write(&file, SEED)?;
    output(
        server
            .psql(DATABASE)
            .args(["-v", &format!("items={items}"), "-v", &format!("tenants={tenants}"), "-f"])
            .arg(&file),
    )?;
    server.query(DATABASE, &format!("comment on database {DATABASE} is '{stamp}'"))?;
    Ok(installation)
}

/// What is asked, each with a key of the tenant it is asked for; all have a full page of rows.
pub(crate) fn calls(
    bench: &Bench,
    installation: &Installation<'_>,
    scope: &str,
) -> Result<Vec<(String, Value)>> {
    eprintln!("making a key for each tenant");
    let tenants = bench.server.query(DATABASE, "select slug from tenants order by id")?;
    let keys: Vec<String> =
        tenants.iter().map(|slug| installation.create_key(slug, scope)).collect::<Result<_>>()?;
    let sql = "select t.ord - 1, c.project_key, c.status from bench.calls c
               join (select id, row_number() over (order by id) as ord from tenants) t on t.id = c.tenant_id";
    let calls: Vec<(String, Value)> = bench
        .server
        .query(DATABASE, sql)?
        .iter()
        .filter_map(|row| {
            let mut columns = row.split('|');
            let key = keys.get(columns.next()?.parse::<usize>().ok()?)?;
            let arguments = json!({"project": columns.next()?, "status": columns.next()?});
            Some((key.clone(), arguments))
        })
        .collect();
    ensure!(calls.len() > 1000, "only {} calls have a full page of rows", calls.len());
    Ok(calls)
}

fn limit(bench: &Bench, script: &Path, connections: usize) -> Result<Value> {
    let time = Duration::from_secs(bench.secs);
    let outcome = pgbench::run(&bench.server, DATABASE, script, connections, time)?;
    let count = outcome.latencies.len();
    let postgres = outcome.used.cpu.first().copied().unwrap_or_default();
    Ok(json!({
        "per_second": outcome.per_second,
        "p50_ms": quantile(&outcome.latencies, 0.5) as f64 / 1e3,
        "p99_ms": quantile(&outcome.latencies, 0.99) as f64 / 1e3,
        "own_cpu_us": per_call(outcome.own, count),
        "postgres_cpu_us": per_call(postgres, count),
        "other_cores": cores_of_others(outcome.used.machine, postgres + outcome.own, outcome.used.wall),
    }))
}

fn product(
    bench: &Bench,
    server: &Process,
    calls: &[(String, Value)],
    connections: usize,
    limits: [&Value; 2],
) -> Result<Value> {
    let load = Load {
        url: server.url("mcp_sql_url")?,
        tool: "search_issues_by_project",
        calls,
        connections,
        time: Duration::from_secs(bench.secs),
        expected: Expected::List("rows", usize::try_from(ROWS)?),
    };
    let callers = std::process::id();
    let before = processes::cpu(callers);
    let outcome = load.run(&[server.pid(), bench.server.pid])?;
    let callers = processes::cpu(callers).saturating_sub(before);
    let [own, postgres] = outcome.used.cpu[..] else { anyhow::bail!("two processes were watched") };
    let count = outcome.latencies.len();
    let per_second = count as f64 / outcome.used.wall.as_secs_f64();
    let of = |limit: &Value| limit["per_second"].as_f64().map(|limit| per_second / limit);
    let [ratio, folded] = limits.map(|limit| of(limit).context("the limit has a rate"));
    Ok(json!({
        "per_second": per_second,
        "ratio": ratio?,
        "ratio_folded": folded?,
        "p50_ms": quantile(&outcome.latencies, 0.5) as f64 / 1e6,
        "p99_ms": quantile(&outcome.latencies, 0.99) as f64 / 1e6,
        "own_cpu_us": per_call(own, count),
        "postgres_cpu_us": per_call(postgres, count),
        "callers_cpu_us": per_call(callers, count),
        "bytes": outcome.bytes as f64 / count as f64,
        "memory_mib": processes::memory_mib(server.pid()),
        "other_cores": cores_of_others(outcome.used.machine, own + postgres + callers, outcome.used.wall),
    }))
}

pub(crate) fn per_call(time: Duration, calls: usize) -> f64 {
    time.as_secs_f64() * 1e6 / calls.max(1) as f64
}
