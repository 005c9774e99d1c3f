//! The limit of a template: its own statement by pgbench, in the transaction that row-level security needs.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::processes::{self, Meter, Used};
use crate::server::{Server, output};

const WARM_UP: &str = "1";

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    /// Microseconds of each transaction, sorted.
    pub(crate) latencies: Vec<u64>,
    /// Of the server.
    pub(crate) used: Used,
    /// Of pgbench itself.
    pub(crate) own: Duration,
}

/// Four trips: begin, tell the tenant, ask in the order of the template's page key, commit. Everything prepared. The reader may not call `set_config`, so
/// another role with the same rights and policies does.
///
/// `folded` asks as Patchbay does, which knows what was given, so that PostgreSQL may keep the plan; otherwise the template's
/// text is run as it is.
pub(crate) fn script(template: &str, rows: u32, folded: bool) -> Result<String> {
    let (_, statement) = template.split_once("*/").context("the template has no header")?;
    let tenant = "'00000000-0000-7000-8000-000000000' || :tenant";
    // In the order of the template's parameters; the rest is left out, as by the callers.
    let question = folded.then(|| ("$3::text is null", "false".to_owned()));
    let given = [
        ("$1", format!("({tenant})::uuid")),
        (
            "$2",
            "(array['acme/core', 'acme/web', 'acme/ops', 'acme/mobile', 'acme/data'])[:project]".to_owned(),
        ),
        ("$3", "(array['todo', 'in_progress', 'done'])[:status]".to_owned()),
        ("$4", "null".to_owned()),
        ("$5", "null".to_owned()),
        ("$6", "null".to_owned()),
        ("$7", "null".to_owned()),
    ];
    let statement = (question.iter().chain(&given))
        .fold(statement.replace('\n', " "), |text, (name, value)| text.replace(name, value));
    Ok(format!(
        "\\set tenant random(100, 199)\n\\set project random(1, 5)\n\\set status random(1, 3)\n\
         BEGIN READ ONLY;\n\
         SELECT set_config('app.current_tenant_id', {tenant}, true);\n\
         SELECT * FROM ({}) AS q ORDER BY q.updated_at DESC, q.id LIMIT {};\n\
         COMMIT;\n",
        statement.trim(),
        rows + 1
    ))
}

/// Runs the script on so many connections for so long.
pub(crate) fn run(
    server: &Server,
    database: &str,
    script: &Path,
    connections: usize,
    time: Duration,
) -> Result<Outcome> {
    let logs = TempDir::new()?;
    let bench = |seconds: &str, log: bool| {
        let mut command = server.program("pgbench");
        command
            .args(["-n", "-M", "prepared", "-j", "1", "-T", seconds, "-c", &connections.to_string()])
            .arg("-f")
            .arg(script)
            // The published views by their short names, as templates are written.
            .env("PGOPTIONS", "-c search_path=published,pg_catalog")
            .stdin(Stdio::null());
        if log {
            command.arg("-l").arg("--log-prefix").arg(logs.path().join("log"));
        }
        output(command.arg(server.url("patchbay_bench", database)))
    };
    bench(WARM_UP, false)?;
    let own = processes::cpu_of_ended_children();
    let meter = Meter::start(&[server.pid]);
    let printed = bench(&time.as_secs().to_string(), true)?;
    let used = meter.stop();
    let own = processes::cpu_of_ended_children().saturating_sub(own);

    let mut latencies = Vec::new();
    for entry in fs::read_dir(logs.path())? {
        let text = fs::read_to_string(entry?.path())?;
        latencies.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()));
    }
    latencies.sort_unstable();
    let per_second =
        printed.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    let per_second = per_second.with_context(|| format!("pgbench told no rate: {printed}"))?;
    Ok(Outcome { per_second, latencies, used, own })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_runs_the_shipped_template_with_a_value_for_each_parameter() {
        let template = include_str!("../../sql/templates/search_issues_by_project.sql");
        for folded in [false, true] {
            let script = script(template, 50, folded).unwrap();
            assert!(!script.contains('$'), "{script}");
            assert_eq!(script.contains("(false or w.status ="), folded, "{script}");
            assert!(script.contains("LIMIT 51;\nCOMMIT;\n"), "{script}");
        }
    }
}
