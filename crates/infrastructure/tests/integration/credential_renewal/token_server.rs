//! A token endpoint that rotates refresh tokens as Atlassian's does, and misbehaves when told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use url::Url;

/// What the server does with one request instead of answering it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Rotates, and the connection ends before the answer.
    CutAfterRotation,
    /// Answers so and does nothing.
    Status(u16),
    /// Answers when [`TokenServer::go_on`] is called.
    Hold,
}

#[derive(Default)]
struct State {
    refresh_token: String,
    granted: usize,
    requests: Vec<Value>,
    content_types: Vec<String>,
    faults: VecDeque<Fault>,
}

#[derive(Clone)]
pub struct TokenServer {
    state: Arc<Mutex<State>>,
    asked: Arc<Notify>,
    go_on: Arc<Notify>,
    address: std::net::SocketAddr,
}

impl TokenServer {
    /// Knows the refresh token `refresh-0`, then `refresh-1`, …
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            state: Arc::new(Mutex::new(State { refresh_token: "refresh-0".into(), ..State::default() })),
            asked: Arc::default(),
            go_on: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    pub fn fail_next(&self, faults: &[Fault]) {
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// Voids the grant, as a user does who withdraws it.
    pub fn revoke(&self) {
        self.state.lock().unwrap().refresh_token = "revoked".into();
    }

    /// Everything that was asked for.
    pub fn requests(&self) -> Vec<Value> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn content_types(&self) -> Vec<String> {
        self.state.lock().unwrap().content_types.clone()
    }

    /// Waits for a request to be held.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    pub fn go_on(&self) {
        self.go_on.notify_one();
    }

    async fn serve(&self, mut stream: TcpStream) {
        let Some((content_type, body)) = read_request(&mut stream).await else { return };
        let fault = {
            let mut state = self.state.lock().unwrap();
            let request = match content_type.as_str() {
                "application/json" => serde_json::from_slice(&body).unwrap(),
                _ => url::form_urlencoded::parse(&body)
                    .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
                    .collect::<serde_json::Map<_, _>>()
                    .into(),
            };
            state.requests.push(request);
            state.content_types.push(content_type);
            state.faults.pop_front()
        };
        if fault == Some(Fault::Hold) {
            self.asked.notify_one();
            self.go_on.notified().await;
        }
        let (status, answer) = match fault {
            Some(Fault::Status(status)) => (status, json!({"error": "server_error"})),
            _ => self.grant(),
        };
        if fault == Some(Fault::CutAfterRotation) {
            return;
        }
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            answer.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), answer.as_bytes()].concat()).await;
    }

    fn grant(&self) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        let presented = state.requests.last().map(|request| request["refresh_token"].clone());
        if presented != Some(Value::String(state.refresh_token.clone())) {
            let refused =
                json!({"error": "unauthorized_client", "error_description": "refresh_token is invalid"});
            return (403, refused);
        }
        state.granted += 1;
        let n = state.granted;
        state.refresh_token = format!("refresh-{n}");
        let granted = json!({
            "access_token": format!("access-{n}"), "refresh_token": format!("refresh-{n}"), "expires_in": 3600,
            "scope": "read:jira-work offline_access",
        });
        (200, granted)
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let header = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
    };
    let length: usize = header("content-length")?.parse().ok()?;
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((header("content-type")?, bytes[end..end + length].to_vec()))
}
