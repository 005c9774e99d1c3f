//! What processes use, from Linux's `/proc`.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Linux counts in hundredths of a second, whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy)]
struct Stat {
    parent: u32,
    own: u32,
    /// Of children that have ended.
    ended: u32,
}

/// User and system time of a process, of all below it, and of those that ended there.
pub(crate) fn cpu_of_tree(root: u32) -> Duration {
    let all: HashMap<u32, Stat> = numbered("/proc").filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let below = |pid: u32| {
        let mut at = pid;
        while at != root {
            match all.get(&at) {
                Some(stat) if stat.parent != 0 => at = stat.parent,
                _ => return false,
            }
        }
        true
    };
    let ticks =
        all.iter().filter(|(pid, _)| below(**pid)).map(|(_, stat)| stat.own + stat.ended).sum::<u32>();
    TICK * ticks
}

/// User and system time of one process.
pub(crate) fn cpu(pid: u32) -> Duration {
    TICK * stat(pid).map_or(0, |stat| stat.own)
}

/// User and system time of this process's children that have ended.
pub(crate) fn cpu_of_ended_children() -> Duration {
    TICK * stat(std::process::id()).map_or(0, |stat| stat.ended)
}

/// User and system time of everything on the machine.
pub(crate) fn cpu_of_machine() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields: Vec<u32> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq
    TICK * [0, 1, 2, 5, 6].iter().filter_map(|&at| fields.get(at)).sum::<u32>()
}

/// A process's share of memory in MiB: pages it shares are divided by their users.
pub(crate) fn memory_mib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// The machine, without its name.
pub(crate) fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let memory = field("/proc/meminfo", "MemTotal");
    let kib: u64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    format!("{cores} cores ({}), {} GiB", field("/proc/cpuinfo", "model name"), kib / 1_048_576)
}

/// Cores in use, on average, by others than those counted.
pub(crate) fn cores_of_others(machine: Duration, counted: Duration, wall: Duration) -> f64 {
    machine.saturating_sub(counted).as_secs_f64() / wall.as_secs_f64().max(0.001)
}

/// The most memory a process held, looked at ten times a second.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl MemoryWatch {
    pub(crate) fn start(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut most = 0.0_f64;
            while !asked.load(Ordering::Relaxed) {
                most = most.max(memory_mib(pid));
                thread::sleep(Duration::from_millis(100));
            }
            most
        });
        Self { stop, thread }
    }

    pub(crate) fn most_mib(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(f64::NAN)
    }
}

/// CPU time and wall time between two moments.
#[derive(Debug)]
pub(crate) struct Meter {
    begun: Instant,
    machine: Duration,
    counted: Vec<(u32, Duration)>,
}

/// What was used in between.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) wall: Duration,
    /// In the order the processes were given.
    pub(crate) cpu: Vec<Duration>,
    pub(crate) machine: Duration,
}

impl Meter {
    /// Starts counting these process trees.
    pub(crate) fn start(roots: &[u32]) -> Self {
        let counted = roots.iter().map(|&root| (root, cpu_of_tree(root))).collect();
        Self { counted, machine: cpu_of_machine(), begun: Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn stop(self) -> Used {
        let wall = self.begun.elapsed();
        let cpu =
            self.counted.iter().map(|(root, before)| cpu_of_tree(*root).saturating_sub(*before)).collect();
        Used { wall, cpu, machine: cpu_of_machine().saturating_sub(self.machine) }
    }
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
    Some(Stat { parent: number(1), own: number(11) + number(12), ended: number(13) + number(14) })
}

fn numbered(directory: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
