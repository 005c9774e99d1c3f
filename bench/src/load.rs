//! Callers of an MCP tool in a closed loop: each has a connection of its own, initializes, then asks and waits.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::http::{self, Connection};
use crate::processes::{Meter, Used};

const PROTOCOL: &str = "2025-11-25";
/// One answer in so many is read and checked; reading them all would cost more than asking.
const CHECKED: u64 = 16;
const WARM_UP: Duration = Duration::from_secs(1);

/// A tool, and what to ask it.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pub(crate) url: &'a str,
    pub(crate) tool: &'a str,
    /// A key and the arguments that go with it.
    pub(crate) calls: &'a [(String, Value)],
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    /// Rows that each answer must have.
    pub(crate) rows: usize,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Nanoseconds of each call, sorted.
    pub(crate) latencies: Vec<u64>,
    pub(crate) bytes: u64,
    pub(crate) used: Used,
}

struct Shared {
    counting: AtomicBool,
    stop: AtomicBool,
    ready: Barrier,
    bytes: AtomicU64,
}

impl Load<'_> {
    /// Runs the load and counts what these process trees use meanwhile. Any wrong answer is an error.
    pub(crate) fn run(&self, watched: &[u32]) -> Result<Outcome> {
        let shared = Shared {
            counting: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            ready: Barrier::new(self.connections + 1),
            bytes: AtomicU64::new(0),
        };
        thread::scope(|scope| {
            let callers: Vec<_> = (0..self.connections)
                .map(|number| {
                    let shared = &shared;
                    scope.spawn(move || {
                        let caller = Caller::connect(self, number);
                        shared.ready.wait();
                        caller?.run(shared)
                    })
                })
                .collect();
            shared.ready.wait();
            thread::sleep(WARM_UP);
            let meter = Meter::start(watched);
            shared.counting.store(true, Ordering::Relaxed);
            thread::sleep(self.time);
            shared.stop.store(true, Ordering::Relaxed);
            let used = meter.stop();
            let mut latencies = Vec::new();
            for caller in callers {
                latencies.extend(caller.join().map_err(|_| anyhow::anyhow!("a caller ended abruptly"))??);
            }
            latencies.sort_unstable();
            ensure!(!latencies.is_empty(), "not one call ended in time");
            Ok(Outcome { latencies, bytes: shared.bytes.load(Ordering::Relaxed), used })
        })
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Caller<'a> {
    load: &'a Load<'a>,
    path: &'a str,
    connection: Connection,
    session: Option<String>,
    body: Vec<u8>,
    random: u64,
    /// Made so far.
    calls: u64,
}

impl<'a> Caller<'a> {
    /// Connects and initializes. The number makes its lots others than those of its fellows.
    pub(crate) fn connect(load: &'a Load<'a>, number: usize) -> Result<Self> {
        let (host, path) = http::split(load.url)?;
        let mut caller = Caller {
            load,
            path,
            connection: Connection::open(host)?,
            session: None,
            body: Vec::new(),
            random: 0x2545_f491_4f6c_dd1d_u64.wrapping_mul(number as u64 + 1),
            calls: 0,
        };
        let (key, _) = load.calls.first().context("there is nothing to call")?;
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": {"name": "patchbay-bench", "version": "1"}}});
        let answer = caller.post(key, &hello)?;
        ensure!(answer.status == 200, "initialize: {} {}", answer.status, caller.shown());
        caller.session = answer.session;
        caller.post(key, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(caller)
    }

    /// Asks until told to stop; the time of each call that began while counting.
    fn run(mut self, shared: &Shared) -> Result<Vec<u64>> {
        let mut latencies = Vec::new();
        while !shared.stop.load(Ordering::Relaxed) {
            let counting = shared.counting.load(Ordering::Relaxed);
            let took = self.call()?;
            // A call that ended after the time is not one of that time.
            if counting && !shared.stop.load(Ordering::Relaxed) {
                latencies.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                shared.bytes.fetch_add(self.body.len() as u64, Ordering::Relaxed);
            }
        }
        Ok(latencies)
    }

    /// Makes one call, drawn by lot; how long its answer took.
    pub(crate) fn call(&mut self) -> Result<Duration> {
        let load = self.load;
        self.calls += 1;
        let id = self.calls;
        let (key, arguments) = &load.calls[self.draw(load.calls.len())];
        let request = self.request(
            key,
            &json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": load.tool, "arguments": arguments}}),
        );
        let begun = Instant::now();
        let answer = self.connection.send(&request, &mut self.body)?;
        let took = begun.elapsed();
        ensure!(answer.status == 200, "{}: {} {}", load.tool, answer.status, self.shown());
        if id <= 2 || id.is_multiple_of(CHECKED) {
            self.check()?;
        }
        if answer.closes {
            self.connection = Connection::open(self.connection.host())?;
        }
        Ok(took)
    }

    fn request(&self, key: &str, message: &Value) -> Vec<u8> {
        let mut headers = format!(
            "authorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: {PROTOCOL}\r\n"
        );
        if let Some(session) = &self.session {
            headers.push_str(&format!("mcp-session-id: {session}\r\n"));
        }
        http::request("POST", self.connection.host(), self.path, &headers, &message.to_string())
    }

    fn post(&mut self, key: &str, message: &Value) -> Result<http::Answer> {
        let request = self.request(key, message);
        let answer = self.connection.send(&request, &mut self.body)?;
        if answer.closes {
            self.connection = Connection::open(self.connection.host())?;
        }
        Ok(answer)
    }

    /// A full page of rows, and no error.
    fn check(&self) -> Result<()> {
        let text = std::str::from_utf8(&self.body)?;
        // One event, where the server chose to stream.
        let message = text.lines().find_map(|line| line.strip_prefix("data:")).unwrap_or(text);
        let answer: Value =
            serde_json::from_str(message).with_context(|| format!("not JSON: {}", self.shown()))?;
        let result = &answer["result"];
        if result["isError"] == json!(true) {
            bail!("the tool failed: {}", self.shown());
        }
        let rows = result["structuredContent"]["rows"].as_array().map(Vec::len);
        ensure!(
            rows == Some(self.load.rows),
            "{rows:?} rows instead of {}: {}",
            self.load.rows,
            self.shown()
        );
        Ok(())
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(300).collect()
    }

    /// The next of a sequence that looks random (xorshift), below `bound`.
    fn draw(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % bound.max(1) as u64).unwrap_or(0)
    }
}
