//! The admin API, as far as benchmarks use it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::http::{self, Connection};

/// A connection with a key.
pub(crate) struct Admin {
    connection: Connection,
    key: String,
    body: Vec<u8>,
}

impl Admin {
    pub(crate) fn connect(url: &str, key: String) -> Result<Self> {
        let (host, _) = http::split(url)?;
        Ok(Self { connection: Connection::open(host)?, key, body: Vec::new() })
    }

    /// Sends a request that is to be answered with this status.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &str, expected: u16) -> Result<Value> {
        let headers = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", self.key);
        let path = format!("/api/v1{path}");
        let request = http::request(method, self.connection.host(), &path, &headers, body);
        let answer = self.connection.send(&request, &mut self.body)?;
        let text = String::from_utf8_lossy(&self.body);
        ensure!(answer.status == expected, "{method} {path}: {} {text}", answer.status);
        Ok(serde_json::from_str(&text)?)
    }

    /// Makes an instance; answers its id.
    pub(crate) fn connect_tracker(&mut self, body: &Value) -> Result<String> {
        let made = self.send("POST", "/instances", &body.to_string(), 201)?;
        Ok(made["id"].as_str().context("the instance has no id")?.to_owned())
    }

    /// Starts a run and waits for its end.
    pub(crate) fn run(&mut self, instance: &str, kind: &str) -> Result<Value> {
        let started = self.send("POST", &format!("/instances/{instance}/{kind}"), "{}", 202)?;
        let id = started["run_id"].as_str().context("no run_id")?.to_owned();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1_800) {
            let run = self.send("GET", &format!("/runs/{id}"), "", 200)?;
            match run["state"].as_str() {
                Some("succeeded") => return Ok(run),
                Some("partial" | "failed" | "cancelled") => bail!("the run did not succeed: {run}"),
                _ => thread::sleep(Duration::from_millis(25)),
            }
        }
        bail!(
            "the run {id} did not end within half an hour: {}",
            json!({"instance": instance, "kind": kind})
        );
    }
}
