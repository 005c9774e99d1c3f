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
    password: Option<String>,
    child: Child,
}

impl Redis {
    /// Starts one on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        Self::begin(None).await
    }

    /// One that asks for a password.
    pub async fn start_with_password(password: &str) -> anyhow::Result<Self> {
        Self::begin(Some(password.to_owned())).await
    }

    async fn begin(password: Option<String>) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let child = spawn(port, password.as_deref())?;
        let server = Self { port, password, child };
        server.answers().await?;
        Ok(server)
    }

    /// A connection that has given the password.
    pub async fn connect(&self) -> anyhow::Result<tokio::net::TcpStream> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        if let Some(password) = &self.password {
            stream.write_all(format!("AUTH {password}\r\n").as_bytes()).await?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).await?;
            ensure!(&answer == b"+OK\r\n", "redis-server refuses its password");
        }
        Ok(stream)
    }

    /// The address, as `PATCHBAY_REDIS_URL` takes it.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        format!("redis://{password}127.0.0.1:{}", self.port)
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as a crash does.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// On the same port, empty.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.child = spawn(self.port, self.password.as_deref())?;
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
        let mut stream = self.connect().await?;
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

fn spawn(port: u16, password: Option<&str>) -> anyhow::Result<Child> {
    let program = std::env::var("PATCHBAY_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
    let port = port.to_string();
    Ok(Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
        .args(password.map(|password| ["--requirepass", password]).into_iter().flatten())
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}
