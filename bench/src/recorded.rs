//! What the record of reads costs. Two servers of the same binary on the same database, one with and one without it, are
//! asked by the same callers in short slices that alternate: what else the machine does falls on both alike. The result is
//! the median of the ratios within each pair of slices, with its spread. Each round has new servers, as two processes of the
//! same binary differ by some percent for as long as they live.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Bench;
use crate::installation::Process;
use crate::load::{Caller, Expected, Load};
use crate::processes::{Meter, Used, cores_of_others};
use crate::report::{Report, Spread};
use crate::sql_mcp::{self, per_call};
use crate::stage::{self, Asked, Asking, Stage};

/// Callers beside each other, as in the cells.
const CONNECTIONS: [usize; 2] = [8, 32];
/// One slice. Long enough for several batches of records, short enough that the machine is the same in both of a pair.
const SLICE: Duration = Duration::from_millis(500);
/// Before each slice, asked all the same but not counted: until the batches that the slice before left are written, and
/// those of this one come as they go.
const SETTLE: Duration = Duration::from_millis(250);
/// Slices with and without, and how they follow each other: each is the first as often as the second.
const ORDER: [[usize; 2]; 2] = [[0, 1], [1, 0]];

/// One slice: which server, and what was used meanwhile.
struct Slice {
    side: usize,
    used: Used,
}

/// Measures and prints.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let folder = TempDir::new()?;
    let installation = sql_mcp::seeded(bench, folder.path())?;
    let calls = sql_mcp::calls(bench, &installation, "mcp:sql")?;
    let (mut report, mut pairs) = (bench.report("recorded")?, Vec::new());
    for round in 1..=bench.rounds {
        let recorded = installation.serve("mcp-sql")?;
        let unrecorded = installation.serve_with("mcp-sql", &["--audit-reads", "off"])?;
        measure(bench, &mut report, round, [&recorded, &unrecorded], &calls, &mut pairs)?;
    }
    print(&pairs);
    Ok(())
}

/// Measures pairs of slices: two for each second of a cell.
fn measure(
    bench: &Bench,
    report: &mut Report,
    round: u32,
    [recorded, unrecorded]: [&Process; 2],
    calls: &[(String, Value)],
    pairs: &mut Vec<(usize, Value)>,
) -> Result<()> {
    for connections in CONNECTIONS {
        let loads = [load(recorded, calls, connections)?, load(unrecorded, calls, connections)?];
        let callers = (0..connections)
            .map(|number| {
                let mut sides = [Caller::connect(&loads[0], number)?, Caller::connect(&loads[1], number)?];
                let ask = move |phase: usize| {
                    let side = side(phase);
                    Ok(Asked { kind: side, took: sides[side].call()?, well: true })
                };
                Ok(Box::new(ask) as Asking<'_>)
            })
            .collect::<Result<Vec<_>>>()?;
        let wanted = usize::try_from(bench.secs)?.saturating_mul(2).max(2);
        let servers = [recorded.pid(), unrecorded.pid(), bench.server.pid, std::process::id()];
        let (slices, asked) = stage::play(callers, |stage| Ok(conduct(stage, wanted * 2, &servers)))?;
        for pair in 0..wanted {
            let mut of_sides = [Value::Null, Value::Null];
            for at in [pair * 2, pair * 2 + 1] {
                let slice = slices.get(at).context("a slice is missing")?;
                let counted = 2 * at + 2;
                let count = asked
                    .iter()
                    .filter(|(phase, asked)| *phase == counted && asked.kind == slice.side)
                    .count();
                of_sides[slice.side] = figures(slice, count)?;
            }
            let [on, off] = &of_sides;
            let ratio = |name: &str| Some(on[name].as_f64()? / off[name].as_f64()?);
            let figures = json!({
                "recorded": on, "unrecorded": off,
                "ratio": ratio("per_second"), "cpu_ratio": ratio("cpu_us"),
                "own_cpu_us": on["own_cpu_us"], "postgres_cpu_us": on["postgres_cpu_us"],
            });
            report.note(round, &format!("{connections} connections"), "a pair of slices", &figures)?;
            pairs.push((connections, figures));
        }
        eprintln!("round {round}: {connections} connections: {wanted} pairs of slices done");
    }
    Ok(())
}

fn load<'a>(server: &'a Process, calls: &'a [(String, Value)], connections: usize) -> Result<Load<'a>> {
    Ok(Load {
        url: server.url("mcp_sql_url")?,
        tool: "search_issues_by_project",
        calls,
        connections,
        time: SLICE,
        expected: Expected::List("rows", usize::try_from(sql_mcp::ROWS)?),
    })
}

/// Which server is asked in a phase. Each slice has two phases, one that settles and one that counts.
fn side(phase: usize) -> usize {
    let slice = phase.saturating_sub(1) / 2;
    ORDER[slice / 2 % ORDER.len()][slice % 2]
}

fn conduct(stage: &Stage, slices: usize, watched: &[u32]) -> Vec<Slice> {
    (0..slices)
        .map(|slice| {
            stage.enter(2 * slice + 1);
            thread::sleep(SETTLE);
            let meter = Meter::start(watched);
            stage.enter(2 * slice + 2);
            thread::sleep(SLICE);
            // Before the time is taken: what ends later belongs to the next phase.
            stage.enter(2 * slice + 3);
            Slice { side: side(2 * slice + 2), used: meter.stop() }
        })
        .collect()
}

fn figures(slice: &Slice, count: usize) -> Result<Value> {
    let used = &slice.used;
    let [recorded, unrecorded, postgres, callers] = used.cpu[..] else {
        anyhow::bail!("four processes were watched")
    };
    // The other server's batches are written by then; what it still uses is a process at rest.
    let own = if slice.side == 0 { recorded } else { unrecorded };
    Ok(json!({
        "per_second": count as f64 / used.wall.as_secs_f64(),
        "own_cpu_us": per_call(own, count),
        "postgres_cpu_us": per_call(postgres, count),
        "cpu_us": per_call(own + postgres, count),
        "other_cores": cores_of_others(
            used.machine, recorded + unrecorded + postgres + callers, used.wall),
    }))
}

/// Prints what came of all pairs.
fn print(pairs: &[(usize, Value)]) {
    println!("\n## What the record of reads costs\n");
    println!(
        "| task | pairs | throughput | middle half | CPU a call | middle half | own CPU µs | PostgreSQL CPU µs |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for connections in CONNECTIONS {
        let of_these: Vec<&Value> =
            pairs.iter().filter(|(of, _)| *of == connections).map(|(_, f)| f).collect();
        let spread = |get: &dyn Fn(&Value) -> Option<f64>| {
            Spread::of(&of_these.iter().filter_map(|figures| get(figures)).collect::<Vec<_>>())
        };
        // Below zero where the record makes it slower, or dearer by as much above.
        let throughput = spread(&|figures| Some(100.0 * (figures["ratio"].as_f64()? - 1.0)));
        let cpu = spread(&|figures| Some(100.0 * (figures["cpu_ratio"].as_f64()? - 1.0)));
        let more = |name: &'static str| {
            spread(&move |figures| {
                Some(figures["recorded"][name].as_f64()? - figures["unrecorded"][name].as_f64()?)
            })
            .middle
        };
        println!(
            "| {connections} connections | {} | {:+.1} % | {:+.1} to {:+.1} % | {:+.1} % | {:+.1} to {:+.1} % | {:+.0} | {:+.0} |",
            of_these.len(),
            throughput.middle,
            throughput.low,
            throughput.high,
            cpu.middle,
            cpu.low,
            cpu.high,
            more("own_cpu_us"),
            more("postgres_cpu_us"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_the_first_of_a_pair_as_often_as_the_second() {
        let slices: Vec<usize> = (0..8).map(|slice| side(2 * slice + 2)).collect();
        assert_eq!(slices, [0, 1, 1, 0, 0, 1, 1, 0]);
        // A slice settles on the server that it counts on.
        assert!((0..8).all(|slice| side(2 * slice + 1) == side(2 * slice + 2)));
    }
}
