//! A Redis of a test's own, to be killed and started again.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    child: Child,
}

impl Redis {
    /// Starts one on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let server = Self { port, child: spawn(port)? };
        server.answers().await?;
        Ok(server)
    }

    /// The address, as `PATCHBAY_REDIS_URL` takes it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash does.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// On the same port, empty.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.child = spawn(self.port)?;
        self.answers().await
    }

    /// Makes it stand still.
    pub fn pause(&self) -> anyhow::Result<()> {
        crate::server::signal("STOP", &[self.child.id().context("it has ended")?])
    }

    /// Lets it go on.
    pub fn resume(&self) -> anyhow::Result<()> {
        crate::server::signal("CONT", &[self.child.id().context("it has ended")?])
    }

    /// Empties it.
    pub async fn flush(&self) -> anyhow::Result<()> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.write_all(b"FLUSHALL\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        ensure!(&answer == b"+OK\r\n", "redis-server refuses to be emptied");
        Ok(())
    }

    async fn answers(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

fn spawn(port: u16) -> anyhow::Result<Child> {
    let program = std::env::var("PATCHBAY_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
    let port = port.to_string();
    Ok(Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}
