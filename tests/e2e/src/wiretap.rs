//! What the product asks PostgreSQL: a socket of the test's own that passes everything on and notes each statement with
//! what came back. The messages are those of <https://www.postgresql.org/docs/15/protocol-message-formats.html>.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

/// Requests for encryption, which no socket has, and for the end of somebody's statement.
const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// What the product's connections end each use with, before somebody else gets them.
const GIVEN_BACK: &str = "BEGIN; ROLLBACK";
/// What the connection that only looks whether the server is there calls itself.
const PULSE: &str = "application_name\0patchbay-pulse\0";
/// What those call themselves that are given back so; others are done when the answer is there.
const OF_THE_APPLICATION: &str = "application_name\0patchbay\0";

/// One statement that was run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    /// Its text; the values given with it are not there.
    pub text: String,
    /// Rows that came back.
    pub rows: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// A running one. Ends with all its connections when dropped.
#[derive(Debug)]
pub struct Wiretap {
    folder: TempDir,
    url: String,
    heard: Arc<Mutex<Heard>>,
    serving: AbortHandle,
}

#[derive(Debug, Default)]
struct Heard {
    statements: Vec<Statement>,
    /// Of each connection, whether it has been given back.
    idle: HashMap<usize, bool>,
    connections: usize,
}

/// What is known of one connection.
struct Line {
    number: usize,
    prepared: HashMap<String, String>,
    heard: Arc<Mutex<Heard>>,
    running: Arc<Mutex<Option<Statement>>>,
}

impl Wiretap {
    /// Listens in between whoever uses [`Self::url`] and the database at this address.
    pub async fn before(database_url: &str) -> anyhow::Result<Self> {
        let server = PgConnectOptions::from_str(database_url)?;
        let folder = TempDir::new()?;
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432"))?;
        let front = database_url.split('?').next().unwrap_or_default();
        let url = format!("{front}?host={}", folder.path().display());
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = heard.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, heard) = (server.clone(), shared.clone());
                connections.spawn(async move {
                    // A connection that breaks shows at both its ends.
                    let _ = connection(client, &server, heard).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { folder, url, heard, serving: serving.abort_handle() })
    }

    /// The database's address through here.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything that was run since the last time, once all connections have been given back.
    pub async fn take(&self) -> anyhow::Result<Vec<Statement>> {
        let begun = Instant::now();
        loop {
            {
                let mut heard = lock(&self.heard);
                if heard.idle.values().all(|idle| *idle) {
                    return Ok(std::mem::take(&mut heard.statements));
                }
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(20),
                "a connection was not given back; the socket is in {}",
                self.folder.path().display()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(server: &PgConnectOptions) -> anyhow::Result<Box<dyn Stream>> {
    let port = server.get_port();
    Ok(match server.get_socket() {
        Some(folder) => {
            let path: PathBuf = folder.join(format!(".s.PGSQL.{port}"));
            Box::new(UnixStream::connect(path).await?)
        }
        None => Box::new(TcpStream::connect((server.get_host(), port)).await?),
    })
}

async fn connection(
    mut client: UnixStream,
    server: &PgConnectOptions,
    heard: Arc<Mutex<Heard>>,
) -> anyhow::Result<()> {
    let mut server = connect(server).await?;
    let (code, hello) = loop {
        let length = usize::try_from(client.read_i32().await?)?;
        let mut rest = vec![0; length.checked_sub(4).context("a message shorter than its length")?];
        client.read_exact(&mut rest).await?;
        let code = i32::from_be_bytes(rest.get(..4).context("a short greeting")?.try_into()?);
        if matches!(code, SSL_REQUEST | GSS_REQUEST) {
            client.write_all(b"N").await?;
            continue;
        }
        let mut whole = i32::try_from(length)?.to_be_bytes().to_vec();
        whole.extend(rest);
        break (code, whole);
    };
    server.write_all(&hello).await?;
    let hello = String::from_utf8_lossy(&hello);
    if code == CANCEL_REQUEST || hello.contains(PULSE) {
        tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    }
    let given_back = hello.contains(OF_THE_APPLICATION);
    let number = {
        let mut heard = lock(&heard);
        heard.connections += 1;
        heard.connections
    };
    let running = Arc::new(Mutex::new(None));
    let line = Line { number, prepared: HashMap::new(), heard: heard.clone(), running: running.clone() };
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let ended = tokio::select! {
        ended = questions(from_client, to_server, line) => ended,
        ended = answers(from_server, to_client, &heard, &running, (number, given_back)) => ended,
    };
    lock(&heard).idle.remove(&number);
    ended
}

/// One message: its kind and what is in it.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await?;
    let length = usize::try_from(from.read_i32().await?)?;
    let mut content = vec![0; length.checked_sub(4).context("a message shorter than its length")?];
    from.read_exact(&mut content).await?;
    Ok((kind, content))
}

async fn pass_on(to: &mut (impl AsyncWrite + Unpin), kind: u8, content: &[u8]) -> anyhow::Result<()> {
    let mut whole = vec![kind];
    whole.extend(i32::try_from(content.len() + 4)?.to_be_bytes());
    whole.extend(content);
    Ok(to.write_all(&whole).await?)
}

async fn questions(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: Line,
) -> anyhow::Result<()> {
    loop {
        let (kind, content) = message(&mut from).await?;
        let mut texts =
            content.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        let mut next = || texts.next().unwrap_or_default();
        match kind {
            b'Q' => line.runs(next()),
            b'P' => {
                let (name, text) = (next(), next());
                line.prepared.insert(name, text);
            }
            b'B' => {
                let (_portal, name) = (next(), next());
                let text = line.prepared.get(&name).cloned().unwrap_or_default();
                line.runs(text);
            }
            _ => {}
        }
        pass_on(&mut to, kind, &content).await?;
    }
}

impl Line {
    fn runs(&self, text: String) {
        lock(&self.heard).idle.insert(self.number, false);
        *lock(&self.running) = Some(Statement { text, rows: 0, bytes: 0 });
    }
}

async fn answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    heard: &Mutex<Heard>,
    running: &Mutex<Option<Statement>>,
    (number, given_back): (usize, bool),
) -> anyhow::Result<()> {
    loop {
        let (kind, content) = message(&mut from).await?;
        match kind {
            b'D' => {
                if let Some(statement) = lock(running).as_mut() {
                    statement.rows += 1;
                    statement.bytes += content.len();
                }
            }
            // The server is ready for the next.
            b'Z' => {
                if let Some(statement) = lock(running).take() {
                    let mut heard = lock(heard);
                    heard.idle.insert(number, !given_back || statement.text == GIVEN_BACK);
                    heard.statements.push(statement);
                }
            }
            _ => {}
        }
        pass_on(&mut to, kind, &content).await?;
    }
}
