//! The limit of a backfill: the same pages by one curl over one kept connection, then COPY, then INSERT.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::figures;
use crate::Bench;
use crate::processes::{self, Meter};
use crate::server::output;
use crate::tape::{Asked, Tape};

const DATABASE: &str = "bench_sync_limit";

/// The pages as the product asked for them, in a form that curl reads.
#[derive(Debug)]
pub(super) struct Pages {
    list: PathBuf,
    statement: PathBuf,
    received: PathBuf,
    asked: Vec<Asked>,
    pub(super) count: usize,
}

impl Pages {
    pub(super) fn write(asked: Vec<Asked>, folder: &Path) -> Result<Self> {
        ensure!(!asked.is_empty(), "the product asked for nothing");
        Ok(Self {
            list: folder.join("pages.curl"),
            statement: folder.join("limit.sql"),
            received: folder.join("pages.json"),
            count: asked.len(),
            asked,
        })
    }

    /// Fetches and writes everything once.
    pub(super) fn limit(
        &self,
        bench: &Bench,
        tape: &Tape,
        statement: &str,
        compression: &str,
        items: u64,
    ) -> Result<Value> {
        fs::write(&self.list, curl(tape.url(), &self.asked))?;
        fs::write(&self.statement, statement)?;
        let server = &bench.server;
        server.recreate(DATABASE)?;
        server.checkpoint()?;
        let (own, tape_cpu) = (processes::cpu_of_ended_children(), processes::cpu(std::process::id()));
        let meter = Meter::start(&[server.pid]);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-K"]).arg(&self.list).stdin(Stdio::null()).stdout(File::create(&self.received)?);
        ensure!(curl.status().context("cannot run curl; install it")?.success(), "curl failed");
        let fetched = meter.elapsed();
        let mut psql = server.psql(DATABASE);
        psql.args(["-v", &format!("compression={compression}"), "-f"]).arg(&self.statement);
        output(psql.stdin(File::open(&self.received)?))?;
        let used = meter.stop();
        let own = processes::cpu_of_ended_children().saturating_sub(own);
        let tracker = processes::cpu(std::process::id()).saturating_sub(tape_cpu);
        let rows = server.query(DATABASE, "select count(*) from limit_items")?;
        ensure!(rows == [items.to_string()], "the limit has {rows:?} rows and the product {items}");
        server.drop(DATABASE)?;
        let postgres = used.cpu.first().copied().unwrap_or_default();
        let mut figures = figures(items as f64, own, postgres, tracker, &used);
        figures["fetch_s"] = json!(fetched.as_secs_f64());
        Ok(figures)
    }
}

/// All requests for one curl. Each answer becomes a line: the page, a tab, what it is about.
fn curl(url: &str, asked: &[Asked]) -> String {
    let mut list = String::new();
    for (at, one) in asked.iter().enumerate() {
        if at > 0 {
            list.push_str("next\n");
        }
        let Asked { target, body, kind, method } = one;
        let _ = writeln!(list, "fail\ngloboff\nurl = {}", quoted(&format!("{url}{target}")));
        let _ = writeln!(list, "user-agent = \"patchbay-bench\"\nwrite-out = \"\\t{kind}\\n\"");
        let _ =
            writeln!(list, "header = \"authorization: Bearer bench\"\nheader = \"accept: application/json\"");
        if method != "GET" {
            let _ = writeln!(list, "header = \"content-type: application/json\"\nheader = \"expect:\"");
            let _ = writeln!(list, "request = {}\ndata-binary = {}", quoted(method), quoted(body));
        }
    }
    list
}

/// As curl reads it from a file: in quotes, with backslashes before quotes and backslashes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_stands_by_itself_and_bodies_are_quoted() {
        let asked = |method: &str, body: &str| Asked {
            method: method.into(),
            target: "/search?a=1".into(),
            body: body.into(),
            kind: "/search".into(),
        };
        let list = curl("http://h:1", &[asked("GET", ""), asked("POST", r#"{"q":"a\"b"}"#)]);
        let (get, post) = list.split_once("next\n").unwrap();
        assert!(get.contains("url = \"http://h:1/search?a=1\"\n") && !get.contains("data-binary"));
        assert!(get.contains("write-out = \"\\t/search\\n\"\n"), "{get}");
        assert!(post.contains(r#"data-binary = "{\"q\":\"a\\\"b\"}""#), "{post}");
    }
}
