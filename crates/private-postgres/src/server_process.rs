//! What earlier servers may have left behind in a cluster.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// A server whose owner was killed gets this long to finish its shutdown.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until no server process of an earlier owner works in `cluster`, and removes a
/// `postmaster.pid` that would wrongly keep the next one from starting.
///
/// The caller holds the data directory's lock, so whatever runs here has lost its owner.
pub(crate) fn wait_for_orphans(cluster: &Path) -> Result<()> {
    let started = Instant::now();
    while let Some(process) = working_in(cluster) {
        if started.elapsed() > PATIENCE {
            bail!(
                "the cluster {} is already used by process {process}, which Patchbay did not start; \
                 stop it first",
                cluster.display()
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
    forget_reused_process_id(cluster);
    Ok(())
}

/// The process, if any, that has `cluster` as its working directory: every PostgreSQL process has.
///
/// Only Linux can tell. Elsewhere PostgreSQL's own lock file has to do.
fn working_in(cluster: &Path) -> Option<u32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let directory = fs::read_link(entry.path().join("cwd")).ok()?;
        (directory == cluster).then_some(process)
    })
}

/// PostgreSQL overwrites the lock file of a dead process, but refuses to start when the number now
/// belongs to somebody else. In a container, where numbers repeat at each start, that is likely.
fn forget_reused_process_id(cluster: &Path) {
    let file = cluster.join("postmaster.pid");
    let Ok(content) = fs::read_to_string(&file) else {
        return;
    };
    let process = content.lines().next().unwrap_or_default().trim();
    if !process.is_empty() && Path::new("/proc").join(process).exists() {
        let _ = fs::remove_file(file);
    }
}
