//! What stands at the installation's public address: hands on what comes, and remembers it to the byte.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The most bytes of a request.
const MOST: usize = 8 << 20;

/// A relay of plain HTTP requests, one a connection. It ends with the runtime.
#[derive(Debug, Clone)]
pub struct Relay {
    url: String,
    target: Arc<OnceLock<String>>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    /// Listens on a free port.
    pub async fn listen() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let relay = Self {
            url: format!("http://{}", listener.local_addr()?),
            target: Arc::default(),
            seen: Arc::default(),
        };
        let own = relay.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let relay = own.clone();
                tokio::spawn(async move { relay.hand_on(stream).await });
            }
        });
        Ok(relay)
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Says where requests go, once that is known: `http://host:port`.
    pub fn lead_to(&self, url: &str) -> anyhow::Result<()> {
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        self.target.set(address).ok().context("it leads somewhere already")
    }

    /// The requests that came, oldest first.
    pub fn seen(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request as it stands to where they go; the answer's status.
    pub async fn send(&self, request: &[u8]) -> anyhow::Result<u16> {
        let answer = self.exchange(request).await?;
        let line = String::from_utf8_lossy(&answer[..answer.len().min(64)]).into_owned();
        line.split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .with_context(|| format!("no status: {line}"))
    }

    async fn hand_on(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        let request = read(&mut stream).await?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let answer = self.exchange(&request).await?;
        Ok(stream.write_all(&answer).await?)
    }

    async fn exchange(&self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        let target = self.target.get().context("it leads nowhere yet")?;
        let mut stream = TcpStream::connect(target).await?;
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        // The requests say `Connection: close`.
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

/// Head and body of a request.
async fn read(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if request.len() >= end + 4 + length.unwrap_or(0usize) {
                return Ok(request);
            }
        }
        if stream.read_buf(&mut request).await? == 0 || request.len() > MOST {
            bail!("the request has no end");
        }
    }
}
