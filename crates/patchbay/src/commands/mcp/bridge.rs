//! Passes messages between a client on stdio and a server over HTTP, as they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use infrastructure::mcp_remote::{Message, RemoteError, RemoteMcp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::lines::Line;

/// The most requests under way; further ones are refused, so that cancellations are still heard.
const MOST_REQUESTS: usize = 64;
/// How long requests may take once the input has ended: longer than any tool does.
const LONGEST_END: Duration = Duration::from_secs(35);
/// One of the codes that JSON-RPC leaves to servers.
const NOT_NOW: i64 = -32000;

type Answers = mpsc::Sender<Message>;

/// Runs until the input has ended and what was asked is answered, or until nobody reads the answers.
pub(super) async fn run(
    remote: Arc<RemoteMcp>,
    mut messages: mpsc::Receiver<Line>,
    (answers, writing): (Answers, thread::JoinHandle<()>),
) {
    let mut requests = Requests::default();
    loop {
        let line = tokio::select! {
            line = messages.recv() => line,
            () = answers.closed() => return,
            Some(_) = requests.running.join_next() => {
                requests.forget_ended();
                continue;
            }
        };
        match line {
            None => break,
            Some(Line::TooLong) => {
                refuse(&answers, &Value::Null, -32600, "the message is larger than 1 MiB").await;
            }
            Some(Line::Text(line)) if line.iter().all(u8::is_ascii_whitespace) => {}
            Some(Line::Text(line)) => match serde_json::from_slice(&line) {
                Ok(Value::Object(message)) => requests.take(&remote, Value::Object(message), &answers).await,
                Ok(_) => refuse(&answers, &Value::Null, -32600, "a message is one JSON object").await,
                Err(_) => refuse(&answers, &Value::Null, -32700, "the line is not JSON").await,
            },
        }
    }
    requests.end().await;
    drop(answers);
    // What was answered is written before the process ends.
    let _ = tokio::task::spawn_blocking(move || writing.join()).await;
}

/// What is under way.
#[derive(Debug, Default)]
struct Requests {
    running: JoinSet<()>,
    /// By the client's id, as JSON; true for those that have no end of their own.
    by_id: HashMap<String, (AbortHandle, bool)>,
}

impl Requests {
    async fn take(&mut self, remote: &Arc<RemoteMcp>, message: Value, answers: &Answers) {
        if message["method"] == "notifications/cancelled" {
            // Closing its connection cancels a request, and nothing of it comes any more.
            if let Some((request, _)) = self.by_id.remove(&message["params"]["requestId"].to_string()) {
                request.abort();
            }
            return;
        }
        let id = message.get("id").filter(|_| message.get("method").is_some()).cloned();
        self.forget_ended();
        if self.running.len() >= MOST_REQUESTS {
            if let Some(id) = &id {
                refuse(answers, id, NOT_NOW, "too many requests are under way: wait for an answer first")
                    .await;
            }
            return;
        }
        let endless = message["method"] == "subscriptions/listen";
        let (remote, answers, key) = (remote.clone(), answers.clone(), id.as_ref().map(Value::to_string));
        let request = self.running.spawn(async move {
            if let Err(error) = remote.send(&message, &answers).await {
                tell(&error);
                if let Some(id) = &id {
                    refuse(&answers, id, NOT_NOW, &words(&error)).await;
                }
            }
        });
        if let Some(key) = key {
            self.by_id.insert(key, (request, endless));
        }
    }

    fn forget_ended(&mut self) {
        while self.running.try_join_next().is_some() {}
        self.by_id.retain(|_, (request, _)| !request.is_finished());
    }

    /// Waits for what has an end, within reason.
    async fn end(mut self) {
        for (request, endless) in self.by_id.values() {
            if *endless {
                request.abort();
            }
        }
        let rest = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(LONGEST_END, rest).await.is_err() {
            eprintln!("patchbay: some requests were not answered in time; they were cancelled");
        }
    }
}

/// Answers in the server's place.
async fn refuse(answers: &Answers, id: &Value, code: i64, why: &str) {
    let answer = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": why}});
    // Nobody reads when this fails, and then the bridge ends anyway.
    let _ = answers.send(answer.to_string().into()).await;
}

fn words(error: &RemoteError) -> String {
    match error {
        RemoteError::Refused { hint: Some(hint), .. } => format!("{error}; {hint}"),
        error => error.to_string(),
    }
}

/// Tells people what to do.
fn tell(error: &RemoteError) {
    let advice = match error {
        RemoteError::Gone => return,
        RemoteError::Unreachable(_) => {
            "check that the server runs and that --url or PATCHBAY_MCP_URL is its address"
        }
        RemoteError::Refused { status, .. } => match status.as_u16() {
            401 => "set PATCHBAY_API_KEY to a key that is neither revoked nor expired",
            403 => "use a key with the scope of this server, such as mcp:sql",
            404 | 405 => "the address must be that of the MCP endpoint, with the path /mcp",
            429 => "the key asks more often than it may; wait a little",
            _ => "try again; if it stays, look into the server's log",
        },
        RemoteError::TooLarge => "ask for less at once",
    };
    eprintln!("patchbay: {}; {advice}", words(error));
}
