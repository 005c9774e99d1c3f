//! A Redis server of the benchmark's own, which can be taken away.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// It ends with this.
#[derive(Debug)]
pub(super) struct Redis {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Redis {
    /// Starts one that keeps nothing, on a port that is free.
    pub(super) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = launch(program, folder, port)?;
        Ok(Self { program: program.to_owned(), folder: folder.to_owned(), port, child })
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its port is closed from then on.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Empty, on the same port.
    pub(super) fn start_again(&mut self) -> Result<()> {
        self.child = launch(&self.program, &self.folder, self.port)?;
        Ok(())
    }

    /// Its connections stay open, and nothing answers.
    pub(super) fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    pub(super) fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status()?;
        ensure!(sent.success(), "cannot send SIG{name} to Redis");
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // SIGKILL ends one that is frozen, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(program: &Path, folder: &Path, port: u16) -> Result<Child> {
    let mut child = Command::new(program)
        .args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
        ])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(child);
        }
        if let Some(status) = child.try_wait()? {
            bail!("the Redis server ended with {status}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    bail!("the Redis server took no connection within 20 s");
}
