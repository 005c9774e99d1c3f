//! A tracker that answers from memory. What is asked for the first time is asked of the simulator; from then on it is
//! answered to the byte as it was answered then. So a tracker's own work costs neither the product nor the limit anything,
//! both read the same pages, and what is asked is counted in front of every source alike.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use serde_json::Value;

use crate::http::{self, Connection};

/// A request that was answered with 200, and the part of its path that tells what it is about.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) body: String,
    /// The path with numbers replaced: `/repos/acme/app/issues/{n}/timeline`.
    pub(crate) kind: String,
}

/// What it has on tape.
#[derive(Debug, Default)]
struct Recorded {
    answers: HashMap<Vec<u8>, Arc<[u8]>>,
    /// In the order of their first coming.
    asked: Vec<Asked>,
    /// Those that made something: answered with 201.
    made: Vec<Asked>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    /// How long each answer waits, as that of a tracker far away does.
    latency: Duration,
    recorded: Mutex<Recorded>,
    requests: AtomicU64,
    forwarded: AtomicU64,
}

/// It listens until the program ends.
#[derive(Debug)]
pub(crate) struct Tape {
    url: String,
    shared: Arc<Shared>,
}

/// A request as it came in.
#[derive(Debug)]
struct Incoming {
    method: String,
    target: String,
    /// Those that are passed on, each ended by CR LF.
    headers: String,
    /// What a conditional request is about.
    validator: String,
    body: Vec<u8>,
}

impl Tape {
    /// Listens in front of the tracker at `url`.
    pub(crate) fn before(url: &str) -> Result<Self> {
        Self::far_before(url, Duration::ZERO)
    }

    /// The same, with this wait before each answer.
    pub(crate) fn far_before(url: &str, latency: Duration) -> Result<Self> {
        let (upstream, _) = http::split(url)?;
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            latency,
            recorded: Mutex::default(),
            requests: AtomicU64::new(0),
            forwarded: AtomicU64::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for the tape")?;
        let url = format!("http://{}", listener.local_addr()?);
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                thread::spawn(move || {
                    // A client that goes away, or breaks off, ends its connection and nothing else.
                    if let Err(error) = shared.serve(stream) {
                        eprintln!("tape: {error:#}");
                    }
                });
            }
        });
        Ok(Self { url, shared })
    }

    /// `http://host:port`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// All requests so far, also those that came again.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Those that the simulator had to answer.
    pub(crate) fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(Ordering::Relaxed)
    }

    /// What was asked so far and answered with 200, each once, in the order of its first coming.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.recorded().asked.clone()
    }

    /// What was made through it so far.
    pub(crate) fn made(&self) -> Vec<Asked> {
        self.shared.recorded().made.clone()
    }

    /// The answer to something that was asked.
    pub(crate) fn page(&self, asked: &Asked) -> Result<Value> {
        let (host, _) = http::split(&self.url)?;
        let request = http::request(&asked.method, host, &asked.target, "", &asked.body);
        let mut body = Vec::new();
        let answer = Connection::open(host)?.send(&request, &mut body)?;
        ensure!(answer.status == 200, "{} was answered with {}", asked.target, answer.status);
        serde_json::from_slice(&body).with_context(|| format!("the answer to {} is no JSON", asked.target))
    }

    /// Bytes of all answers, their heads among them.
    pub(crate) fn bytes(&self) -> usize {
        self.shared.recorded().answers.values().map(|answer| answer.len()).sum()
    }
}

impl Shared {
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::with_capacity(64 * 1024, stream);
        while let Some(request) = Incoming::read(&mut stream)? {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let due = Instant::now() + self.latency;
            let answer = self.answer(&request)?;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            stream.get_mut().write_all(&answer)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Incoming) -> Result<Arc<[u8]>> {
        let key = request.key();
        if let Some(known) = self.recorded().answers.get(&key) {
            return Ok(Arc::clone(known));
        }
        self.forwarded.fetch_add(1, Ordering::Relaxed);
        let answer: Arc<[u8]> = request.forward(&self.upstream)?.into();
        let mut recorded = self.recorded();
        if answer.starts_with(b"HTTP/1.1 201") {
            // Asked again, it is made again.
            recorded.made.push(request.asked());
            return Ok(answer);
        }
        if answer.starts_with(b"HTTP/1.1 200") && !recorded.answers.contains_key(&key) {
            recorded.asked.push(request.asked());
        }
        recorded.answers.insert(key, Arc::clone(&answer));
        Ok(answer)
    }
}

impl Incoming {
    /// `None` when the client has closed the connection.
    fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Self>> {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) => return Ok(None),
            // What a client that was killed leaves behind.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
            read => read?,
        };
        let mut parts = line.split_whitespace();
        let (method, target) = (parts.next().unwrap_or_default(), parts.next().context("no target")?);
        let mut request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: String::new(),
            validator: String::new(),
            body: Vec::new(),
        };
        let mut length = 0;
        loop {
            line.clear();
            ensure!(stream.read_line(&mut line)? > 0, "a request broke off");
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            let Some((name, value)) = header.split_once(':') else { bail!("a header without a colon") };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().context("content-length")?,
                "transfer-encoding" => bail!("requests in chunks are not understood"),
                "connection" | "expect" | "accept-encoding" => {}
                name => {
                    if name == "if-none-match" {
                        request.validator = value.trim().to_owned();
                    }
                    request.headers.push_str(header);
                    request.headers.push_str("\r\n");
                }
            }
        }
        request.body.resize(length, 0);
        stream.read_exact(&mut request.body)?;
        Ok(Some(request))
    }

    /// What makes it the same request as another.
    fn key(&self) -> Vec<u8> {
        let mut key = format!("{} {} {}\n", self.method, self.target, self.validator).into_bytes();
        key.extend_from_slice(&self.body);
        key
    }

    fn asked(&self) -> Asked {
        let path = self.target.split('?').next().unwrap_or_default();
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Vec<&str> =
            path.split('/').map(|part| if is_number(part) { "{n}" } else { part }).collect();
        Asked {
            method: self.method.clone(),
            target: self.target.clone(),
            body: String::from_utf8_lossy(&self.body).into_owned(),
            kind: parts.join("/"),
        }
    }

    /// Asks the simulator; the whole answer as it came, but for the word that the connection ends. The host stays the one
    /// that was called, so that links in answers lead here.
    fn forward(&self, upstream: &str) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(upstream).context("cannot reach the simulator")?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let length = self.body.len();
        let head = format!(
            "{} {} HTTP/1.1\r\n{}connection: close\r\ncontent-length: {length}\r\n\r\n",
            self.method, self.target, self.headers
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(&self.body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("the simulator broke off")?;
        without_close(&answer)
    }
}

fn without_close(answer: &[u8]) -> Result<Vec<u8>> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("an answer without a head")?;
    let head = std::str::from_utf8(&answer[..end]).context("a head that is no text")?;
    let mut whole = Vec::with_capacity(answer.len());
    for line in head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:")) {
        whole.extend_from_slice(line.as_bytes());
        whole.extend_from_slice(b"\r\n");
    }
    whole.extend_from_slice(&answer[end + 2..]);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_whole_but_for_the_end_of_its_connection() {
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2\r\n\r\nhi\r\n\r\n";
        let kept = without_close(answer).unwrap();
        assert_eq!(kept, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi\r\n\r\n");
        assert!(without_close(b"HTTP/1.1 200 OK").is_err());
    }

    #[test]
    fn what_was_asked_before_is_answered_from_memory_and_counted() {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = upstream.local_addr().unwrap();
        let served = thread::spawn(move || {
            for number in 1..=2 {
                let (stream, _) = upstream.accept().unwrap();
                let mut stream = BufReader::new(stream);
                let asked = Incoming::read(&mut stream).unwrap().unwrap();
                assert!(asked.headers.contains("x-kept: yes"), "{asked:?}");
                let body = format!("{number} {}", String::from_utf8(asked.body).unwrap());
                let head =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
            }
        });
        let tape = Tape::before(&format!("http://{address}")).unwrap();
        let (host, _) = http::split(tape.url()).unwrap();
        let mut connection = Connection::open(host).unwrap();
        let mut body = Vec::new();
        for (sent, wanted) in [("a", "1 a"), ("a", "1 a"), ("b", "2 b"), ("a", "1 a")] {
            let request = http::request("POST", host, "/issues/7/x?page=2", "x-kept: yes\r\n", sent);
            assert_eq!(connection.send(&request, &mut body).unwrap().status, 200);
            assert_eq!(String::from_utf8_lossy(&body), wanted);
        }
        served.join().unwrap();
        assert_eq!((tape.requests(), tape.forwarded()), (4, 2));
        let asked = tape.asked();
        assert_eq!(asked.iter().map(|one| one.body.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(asked[0].kind, "/issues/{n}/x");
    }
}
