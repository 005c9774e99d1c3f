//! Webhook deliveries: a plain HTTP POST to an address on this machine, and signatures.

use std::time::Duration;

use anyhow::{Context, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends a body; answers the status.
///
/// Only `http` to where the tests listen: a simulator calls nobody else.
pub(crate) async fn post(url: &str, headers: &[(String, String)], body: &[u8]) -> anyhow::Result<u16> {
    tokio::time::timeout(PATIENCE, exchange(url, headers, body)).await.context("no answer in time")?
}

async fn exchange(url: &str, headers: &[(String, String)], body: &[u8]) -> anyhow::Result<u16> {
    let url = Url::parse(url)?;
    if url.scheme() != "http" {
        bail!("deliveries go to http addresses only");
    }
    let host = url.host_str().context("the address has no host")?;
    let port = url.port_or_known_default().unwrap_or(80);
    let mut stream = TcpStream::connect((host, port)).await?;
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        if name.chars().chain(value.chars()).any(char::is_control) {
            bail!("a header holds a control character");
        }
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") && answer.len() < 4096 {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            break;
        }
        answer.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.with_context(|| format!("no status in {:?}", line.trim_end()))
}

/// HMAC-SHA256 in hex.
pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    hex::encode(mac(secret, body))
}

pub(crate) fn mac(secret: &str, body: &[u8]) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_githubs_documentation() {
        // https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
        assert_eq!(
            signature("It's a Secret to Everybody", b"Hello, World!"),
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
