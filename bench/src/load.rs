//! Callers in a closed loop, each with a connection of its own: of an MCP tool, which they initialize for, or of plain HTTP.

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
    pub(crate) expected: Expected,
}

/// What the structured content of an answer must have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// A list of this name with so many entries.
    List(&'static str, usize),
    /// Something under this name.
    Field(&'static str),
}

/// Requests in plain HTTP, drawn by lot.
#[derive(Debug)]
pub(crate) struct Plain<'a> {
    /// `host:port`.
    pub(crate) host: &'a str,
    pub(crate) requests: &'a [Vec<u8>],
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Nanoseconds of each call, sorted.
    pub(crate) latencies: Vec<u64>,
    pub(crate) bytes: u64,
    /// All calls, also those before and after the time that counts.
    pub(crate) calls: u64,
    pub(crate) used: Used,
}

/// Asks once; how long the answer took, and its bytes.
type Ask<'a> = Box<dyn FnMut() -> Result<(Duration, usize)> + 'a>;

struct Shared {
    counting: AtomicBool,
    stop: AtomicBool,
    ready: Barrier,
    bytes: AtomicU64,
    calls: AtomicU64,
}

impl Load<'_> {
    /// Runs the load and counts what these process trees use meanwhile. Any wrong answer is an error.
    pub(crate) fn run(&self, watched: &[u32]) -> Result<Outcome> {
        closed_loop(self.connections, self.time, watched, |number| {
            let mut caller = Caller::connect(self, number)?;
            Ok(Box::new(move || Ok((caller.call()?, caller.body.len()))))
        })
    }
}

impl Plain<'_> {
    /// The same for plain requests. Any status but 200 is an error.
    pub(crate) fn run(&self, watched: &[u32]) -> Result<Outcome> {
        closed_loop(self.connections, self.time, watched, |number| {
            let mut connection = Connection::open(self.host)?;
            let (mut body, mut lots) = (Vec::new(), Lots::of(number));
            Ok(Box::new(move || {
                let request = &self.requests[lots.draw(self.requests.len())];
                let begun = Instant::now();
                let answer = connection.send(request, &mut body)?;
                let took = begun.elapsed();
                ensure!(answer.status == 200, "the tracker answered {}", answer.status);
                if answer.closes {
                    connection = Connection::open(connection.host())?;
                }
                Ok((took, body.len()))
            }))
        })
    }
}

/// Lets so many callers ask and counts what these process trees use meanwhile.
fn closed_loop<'a>(
    connections: usize,
    time: Duration,
    watched: &[u32],
    caller: impl Fn(usize) -> Result<Ask<'a>> + Sync,
) -> Result<Outcome> {
    let shared = Shared {
        counting: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        ready: Barrier::new(connections + 1),
        bytes: AtomicU64::new(0),
        calls: AtomicU64::new(0),
    };
    thread::scope(|scope| {
        let callers: Vec<_> = (0..connections)
            .map(|number| {
                let (shared, caller) = (&shared, &caller);
                scope.spawn(move || {
                    let ask = caller(number);
                    shared.ready.wait();
                    shared.ask(ask?)
                })
            })
            .collect();
        shared.ready.wait();
        thread::sleep(WARM_UP);
        let meter = Meter::start(watched);
        shared.counting.store(true, Ordering::Relaxed);
        thread::sleep(time);
        shared.stop.store(true, Ordering::Relaxed);
        let used = meter.stop();
        let mut latencies = Vec::new();
        for caller in callers {
            latencies.extend(caller.join().map_err(|_| anyhow::anyhow!("a caller ended abruptly"))??);
        }
        latencies.sort_unstable();
        ensure!(!latencies.is_empty(), "not one call ended in time");
        let [bytes, calls] = [&shared.bytes, &shared.calls].map(|of| of.load(Ordering::Relaxed));
        Ok(Outcome { latencies, bytes, calls, used })
    })
}

impl Shared {
    /// Asks until told to stop; the time of each call that began while counting.
    fn ask(&self, mut ask: Ask<'_>) -> Result<Vec<u64>> {
        let mut latencies = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let counting = self.counting.load(Ordering::Relaxed);
            let (took, bytes) = ask()?;
            self.calls.fetch_add(1, Ordering::Relaxed);
            // A call that ended after the time is not one of that time.
            if counting && !self.stop.load(Ordering::Relaxed) {
                latencies.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        }
        Ok(latencies)
    }
}

/// A sequence that looks random (xorshift).
#[derive(Debug)]
struct Lots(u64);

impl Lots {
    /// The number makes these lots others than those of its fellows.
    fn of(number: usize) -> Self {
        Self(0x2545_f491_4f6c_dd1d_u64.wrapping_mul(number as u64 + 1))
    }

    /// The next one, below `bound`.
    fn draw(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or(0)
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
    lots: Lots,
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
            lots: Lots::of(number),
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

    /// Makes one call, drawn by lot; how long its answer took.
    pub(crate) fn call(&mut self) -> Result<Duration> {
        let load = self.load;
        self.calls += 1;
        let id = self.calls;
        let (key, arguments) = &load.calls[self.lots.draw(load.calls.len())];
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

    /// What is expected, and no error.
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
        let content = &result["structuredContent"];
        let as_expected = match self.load.expected {
            Expected::List(name, rows) => content[name].as_array().is_some_and(|list| list.len() == rows),
            Expected::Field(name) => !content[name].is_null(),
        };
        ensure!(as_expected, "not {:?}: {}", self.load.expected, self.shown());
        Ok(())
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(300).collect()
    }
}
