//! A server process that ends with this one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::run_as::RunAs;

/// Longer than the script needs to ask politely, then firmly, then to kill.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// What to run, and where its output goes.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The server, by absolute path: it starts in `/` with an almost empty environment.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// File for its output; what was there before is kept beside it with `.1` at the end.
    pub log: PathBuf,
}

/// A running server that is stopped when this is dropped and when this process ends, even by
/// `kill -9`.
///
/// It has its own process group, so Ctrl-C in the terminal does not reach it before its user has
/// finished with it.
#[derive(Debug)]
pub struct Supervised {
    shell: Child,
    // While this end of the pipe is open the server runs. It is closed on exec, so no other child
    // keeps it open.
    lifeline: Option<ChildStdin>,
    log: PathBuf,
}

impl Supervised {
    /// Starts the server as the current user. It is not waited for.
    pub fn start(launch: &Launch) -> Result<Supervised> {
        start(launch, RunAs::CurrentUser, None)
    }

    /// `None` while the server runs.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.shell.try_wait().context("cannot ask for the state of a child process")
    }

    /// The last lines the server wrote.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    /// Stops the server and waits until it is gone.
    pub fn stop(mut self) -> Result<()> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<()> {
        drop(self.lifeline.take());
        let started = Instant::now();
        while started.elapsed() < STOP_TIMEOUT {
            if self.exit_status()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("a server did not stop within {STOP_TIMEOUT:?}; its log ends with:\n{}", self.log_tail());
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // Nobody is left to tell: `stop` is the call that reports.
        let _ = self.shut_down();
    }
}

/// Starts a server as another user; `scratch` is removed when it has ended.
pub(crate) fn start(launch: &Launch, run_as: RunAs, scratch: Option<&Path>) -> Result<Supervised> {
    let _ = std::fs::rename(&launch.log, with_suffix(&launch.log, ".1"));
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(include_str!("supervise.sh"))
        .arg("supervise.sh")
        .arg(&launch.log)
        .arg(scratch.unwrap_or(Path::new("")))
        .arg(&launch.program)
        .args(&launch.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    run_as.apply(&mut command);
    let mut shell = command.spawn().with_context(|| format!("cannot start {}", launch.program.display()))?;
    let lifeline = shell.stdin.take();
    Ok(Supervised { shell, lifeline, log: launch.log.clone() })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn log_tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(20)..];
    if tail.is_empty() {
        return format!("  (nothing in {})", log.display());
    }
    tail.iter().map(|line| format!("  {line}\n")).collect()
}
