//! The limit of the intake: pgbench inserting a row of the same size for each delivery, each in a transaction of its own.

use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Bench;
use crate::processes::{self, Meter, cores_of_others};
use crate::server::output;

const DATABASE: &str = "bench_webhooks_limit";
const TABLE: &str = "create table limit_deliveries (
    tenant_id uuid not null, id uuid not null, instance_id uuid not null, delivery_id text not null, event text not null,
    hints jsonb not null, received_at timestamptz not null, primary key (tenant_id, id),
    unique (tenant_id, instance_id, delivery_id))";
const SCRIPT: &str = "\\set number random(1, 1000000000000)
insert into limit_deliveries values ('00000000-0000-7000-8000-000000000001', gen_random_uuid(),
    '00000000-0000-7000-8000-000000000002', '00000000-0000-4000-8000-' || :number, 'issues',
    '[{\"item\": {\"key\": \"acme/app#1\", \"ref_key\": \"1#1\", \"source_id\": \"1000000001\"}}]', now())
    on conflict (tenant_id, instance_id, delivery_id) do nothing;
";

pub(super) fn inserts(bench: &Bench, connections: usize) -> Result<Value> {
    let server = &bench.server;
    server.recreate(DATABASE)?;
    server.query(DATABASE, TABLE)?;
    server.checkpoint()?;
    let folder = TempDir::new()?;
    let script = folder.path().join("insert.sql");
    fs::write(&script, SCRIPT.replace('\n', " ").replacen(" insert", "\ninsert", 1))?;
    let own = processes::cpu_of_ended_children();
    let meter = Meter::start(&[server.pid]);
    let (seconds, connections) = (bench.secs.to_string(), connections.to_string());
    let mut pgbench = server.program("pgbench");
    pgbench.args(["-n", "-M", "prepared", "-j", "1", "-T", &seconds, "-c", &connections, "-f"]);
    let printed = output(pgbench.arg(&script).arg(server.url("postgres", DATABASE)).stdin(Stdio::null()))?;
    let used = meter.stop();
    let own = processes::cpu_of_ended_children().saturating_sub(own);
    server.drop(DATABASE)?;
    let told = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let rate = told("tps = ").with_context(|| format!("pgbench told no rate: {printed}"))?;
    let done = rate * used.wall.as_secs_f64();
    let postgres = used.cpu.first().copied().unwrap_or_default();
    Ok(json!({
        "per_second": rate,
        "p50_ms": told("latency average = "),
        "own_cpu_us": own.as_secs_f64() * 1e6 / done,
        "postgres_cpu_us": postgres.as_secs_f64() * 1e6 / done,
        "other_cores": cores_of_others(used.machine, own + postgres, used.wall),
    }))
}
