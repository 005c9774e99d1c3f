//! A PostgreSQL of a test's own, to be crashed, started again and made to stand still.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use private_postgres::{Cluster, Durability, Options, default_data_dir, find_binaries, is_root};

use crate::SmallDisk;

/// A running server with a data directory of its own. Stopped and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    cluster: Option<Cluster>,
    folder: PathBuf,
}

impl Postgres {
    /// Starts one.
    pub async fn start() -> anyhow::Result<Self> {
        let name = format!("e2e-{}", uuid::Uuid::new_v4().simple());
        // As root the server runs as another user, who may not be able to enter the checkout.
        let folder = match is_root()? {
            true => default_data_dir("test")?.join(name),
            false => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/test-postgres").join(name),
        };
        let mut server = Self { cluster: None, folder };
        server.launch().await?;
        Ok(server)
    }

    async fn launch(&mut self) -> anyhow::Result<()> {
        let programs = std::env::var_os("PATCHBAY_PG_BIN").map(PathBuf::from);
        let options = Options {
            data_dir: self.folder.clone(),
            binaries: find_binaries(programs.as_deref())?,
            durability: Durability::Fast,
            max_connections: 200,
            // What was committed has left the server's memory, so that its crash does not take it along.
            extra: vec![("synchronous_commit".to_owned(), "on".to_owned())],
        };
        self.cluster = Some(tokio::task::spawn_blocking(move || Cluster::start(options)).await??);
        Ok(())
    }

    /// The address of its administrator; the same after a restart.
    pub fn url(&self) -> anyhow::Result<String> {
        Ok(self.cluster.as_ref().context("the server is down")?.url("postgres", "postgres"))
    }

    /// A small disk beside its data directory, for its user.
    pub fn small_disk(&self, mebibytes: u32) -> anyhow::Result<SmallDisk> {
        SmallDisk::mount(&self.folder.with_extension("disk"), mebibytes, &self.folder.join("cluster"))
    }

    fn postmaster(&self) -> anyhow::Result<u32> {
        let lock = std::fs::read_to_string(self.folder.join("cluster/postmaster.pid"))?;
        Ok(lock.lines().next().context("an empty lock file")?.parse()?)
    }

    /// Ends it as an immediate shutdown does: every session is cut, nothing is tidied up.
    pub async fn crash(&mut self) -> anyhow::Result<()> {
        let postmaster = self.postmaster()?;
        signal("QUIT", &[postmaster])?;
        let begun = Instant::now();
        while PathBuf::from(format!("/proc/{postmaster}")).exists() {
            ensure!(begun.elapsed() < Duration::from_secs(30), "the server does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let cluster = self.cluster.take();
        tokio::task::spawn_blocking(move || drop(cluster)).await?;
        Ok(())
    }

    /// Starts it again where it was; answers once it takes queries.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.launch().await
    }

    /// Makes it stand still, all its sessions included: nothing is closed and nothing answers.
    pub fn pause(&self) -> anyhow::Result<()> {
        let postmaster = self.postmaster()?;
        // The postmaster first, so that it makes no more sessions.
        signal("STOP", &[postmaster])?;
        signal("STOP", &children(postmaster)?)
    }

    /// Lets it go on.
    pub fn resume(&self) -> anyhow::Result<()> {
        let postmaster = self.postmaster()?;
        signal("CONT", &children(postmaster)?)?;
        signal("CONT", &[postmaster])
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // One that stands still would not end.
        let _ = self.resume();
        drop(self.cluster.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Sends a signal to each of these processes.
pub(crate) fn signal(name: &str, processes: &[u32]) -> anyhow::Result<()> {
    if processes.is_empty() {
        return Ok(());
    }
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .args(processes.iter().map(u32::to_string))
        .stderr(std::process::Stdio::null())
        .status()?;
    // Of several, one may have ended in between.
    ensure!(status.success() || processes.len() > 1, "no such process: {processes:?}");
    Ok(())
}

fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name of the program, which may hold anything, ends with the last parenthesis.
        let parent_of =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if parent_of == Some(parent) {
            found.push(pid);
        }
    }
    Ok(found)
}
