//! A client of HTTP/1.1 on one kept connection: little enough that the load costs less than what it loads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// One connection to one server.
#[derive(Debug)]
pub(crate) struct Connection {
    host: String,
    stream: BufReader<TcpStream>,
    line: String,
}

/// An answer; the body is in the caller's buffer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    pub(crate) closes: bool,
}

/// `http://host:port` and the rest of an address.
pub(crate) fn split(url: &str) -> Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is not an http address"))?;
    Ok(match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    })
}

/// The text of a request; `headers` ends each line with CR LF.
pub(crate) fn request(method: &str, host: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        .into_bytes()
}

impl Connection {
    pub(crate) fn open(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host).with_context(|| format!("cannot connect to {host}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let stream = BufReader::with_capacity(64 * 1024, stream);
        Ok(Self { host: host.to_owned(), stream, line: String::new() })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Sends a request and reads the whole answer; `body` is emptied first.
    pub(crate) fn send(&mut self, request: &[u8], body: &mut Vec<u8>) -> Result<Answer> {
        body.clear();
        self.stream.get_mut().write_all(request)?;
        let status = self.line()?.split_whitespace().nth(1).and_then(|code| code.parse().ok());
        let mut answer = Answer { status: status.context("no status")?, session: None, closes: false };
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { bail!("a header without a colon: {line}") };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().context("content-length")?,
                "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
                "mcp-session-id" => answer.session = Some(value.to_owned()),
                "connection" => answer.closes = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        if chunked {
            self.chunks(body)?;
        } else {
            self.take(length, body)?;
        }
        Ok(answer)
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<()> {
        loop {
            let size = self.line()?.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).context("size of a chunk")?;
            self.take(size, body)?;
            self.line()?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn take(&mut self, length: usize, body: &mut Vec<u8>) -> Result<()> {
        let filled = body.len();
        body.resize(filled + length, 0);
        Ok(self.stream.read_exact(&mut body[filled..])?)
    }

    fn line(&mut self) -> Result<&str> {
        self.line.clear();
        ensure!(self.stream.read_line(&mut self.line)? > 0, "the server closed the connection");
        Ok(self.line.trim_end())
    }
}
