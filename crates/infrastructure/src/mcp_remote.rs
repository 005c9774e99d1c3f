//! An MCP server elsewhere, spoken to over Streamable HTTP: one message out, whatever it brings back in.
//! Serves the bridge for clients that only speak stdio.

mod events;

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::mpsc;
use url::Url;

use crate::egress::{EgressClient, EgressError, EgressPolicy, OpenResponse};
pub use events::Events;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const VERSION_IN_META: &str = "io.modelcontextprotocol/protocolVersion";

/// A message of the protocol, as its JSON text.
pub type Message = Bytes;

/// Why a message got no answer of the protocol.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// There was no HTTP answer, or it broke off.
    #[error("the server {0}")]
    Unreachable(#[from] EgressError),
    /// An HTTP answer that is no message of the protocol.
    #[error("the server answered with status {status}: {detail}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// The problem's own words, or others for want of them.
        detail: String,
        /// What to do, where the server said so.
        hint: Option<String>,
    },
    /// An event larger than is read.
    #[error("the server sent an event larger than {} MiB", events::MOST_EVENT / 1024 / 1024)]
    TooLarge,
    /// Nobody takes the answers any more.
    #[error("the client has gone")]
    Gone,
}

/// A server, and the key to it.
#[derive(Debug)]
pub struct RemoteMcp {
    http: EgressClient,
    url: Url,
    authorization: HeaderValue,
    /// The version an `initialize` has settled on, for the messages after it.
    negotiated: Mutex<Option<HeaderValue>>,
}

impl RemoteMcp {
    /// A server at an address that the operator gave. Fails when the key cannot stand in a header, or TLS cannot be set
    /// up.
    pub fn new(url: Url, key: &SecretString) -> Result<Self, EgressError> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
            .map_err(|_| EgressError::Internal("the key holds characters that no key has".into()))?;
        authorization.set_sensitive(true);
        let policy = EgressPolicy::of_operator();
        policy.check_url(&url)?;
        Ok(Self { http: EgressClient::new(policy)?, url, authorization, negotiated: Mutex::default() })
    }

    /// Sends a message and hands on what comes for it, each message of the protocol as its JSON text, until the answer
    /// ends. Dropped before, it closes the connection, which cancels the request.
    pub async fn send(&self, message: &Value, answers: &mpsc::Sender<Message>) -> Result<(), RemoteError> {
        let headers = self.headers(message);
        let body = Bytes::from(message.to_string());
        let mut response = self.http.open(Method::POST, &self.url, headers, body).await?;
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            let mut events = Events::default();
            while let Some(chunk) = response.chunk().await? {
                events.feed(&chunk).map_err(|_| RemoteError::TooLarge)?;
                while let Some(data) = events.next() {
                    self.hand_on(message, data, answers).await?;
                }
            }
            return Ok(());
        }
        if response.status() == StatusCode::ACCEPTED {
            return Ok(());
        }
        self.whole(message, response, answers).await
    }

    async fn whole(
        &self,
        message: &Value,
        response: OpenResponse,
        answers: &mpsc::Sender<Message>,
    ) -> Result<(), RemoteError> {
        let status = response.status();
        let body = response.rest().await?;
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        if parsed.as_ref().is_some_and(|parsed| parsed.get("jsonrpc").is_some()) {
            return self.hand_on(message, body, answers).await;
        }
        let text = |name: &str| parsed.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let detail = text("detail").unwrap_or_else(|| "it is not a message of the protocol".to_owned());
        Err(RemoteError::Refused { status, detail, hint: text("hint") })
    }

    async fn hand_on(
        &self,
        asked: &Value,
        text: Bytes,
        answers: &mpsc::Sender<Message>,
    ) -> Result<(), RemoteError> {
        if asked["method"] == "initialize"
            && let Ok(answer) = serde_json::from_slice::<Value>(&text)
            && let Some(version) = answer["result"]["protocolVersion"].as_str()
        {
            let version = HeaderValue::try_from(version).ok();
            *self.negotiated.lock().unwrap_or_else(PoisonError::into_inner) = version;
        }
        answers.send(text).await.map_err(|_| RemoteError::Gone)
    }

    /// What the transport wants beside the body: the version, and since 2026-07-28 the method and what it is about.
    fn headers(&self, message: &Value) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let method = message["method"].as_str();
        let params = &message["params"];
        if let Some(version) = params["_meta"][VERSION_IN_META].as_str() {
            insert(&mut headers, PROTOCOL_VERSION, version);
            insert(&mut headers, METHOD, method.unwrap_or_default());
            let about = match method {
                Some("tools/call" | "prompts/get") => params["name"].as_str(),
                Some("resources/read" | "resources/subscribe" | "resources/unsubscribe") => {
                    params["uri"].as_str()
                }
                Some("tasks/get" | "tasks/update" | "tasks/cancel") => params["taskId"].as_str(),
                _ => None,
            };
            if let Some(about) = about {
                insert(&mut headers, NAME, about);
            }
        } else if method != Some("initialize") {
            let negotiated = self.negotiated.lock().unwrap_or_else(PoisonError::into_inner).clone();
            headers.extend(negotiated.map(|version| (PROTOCOL_VERSION, version)));
        }
        headers
    }
}

/// What cannot stand in a header as it is goes in base64, as the transport has it for its own headers.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let plain = value.chars().all(|c| (' '..='~').contains(&c))
        && value.trim() == value
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    let encoded = if plain { value.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(value)) };
    // Base64 and visible ASCII always can.
    if let Ok(value) = HeaderValue::try_from(encoded) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(message: &Value) -> HeaderMap {
        let url = "https://patchbay.example/mcp".parse().unwrap();
        RemoteMcp::new(url, &"pb_test_key".to_owned().into()).unwrap().headers(message)
    }

    #[test]
    fn a_message_of_the_modern_protocol_says_in_headers_what_it_is_about() {
        let meta = json!({VERSION_IN_META: "2026-07-28"});
        let call =
            headers(&json!({"method": "tools/call", "params": {"name": "find_work_items", "_meta": meta}}));
        assert_eq!(call["mcp-protocol-version"], "2026-07-28");
        assert_eq!(call["mcp-method"], "tools/call");
        assert_eq!(call["mcp-name"], "find_work_items");
        let read = headers(&json!({"method": "resources/read", "params": {"uri": "a://ü", "_meta": meta}}));
        assert_eq!(read["mcp-name"], format!("=?base64?{}?=", STANDARD.encode("a://ü")).as_str());
        let old = headers(&json!({"method": "tools/call", "params": {"name": "find_work_items"}}));
        assert!(!old.contains_key("mcp-method") && !old.contains_key("mcp-protocol-version"));
    }

    #[test]
    fn the_key_is_no_part_of_what_is_logged() {
        let url = "https://patchbay.example/mcp".parse().unwrap();
        let remote = RemoteMcp::new(url, &"pb_test_secretsecret".to_owned().into()).unwrap();
        assert!(!format!("{remote:?}").contains("secretsecret"));
        assert!(RemoteMcp::new("http://10.0.0.1/mcp".parse().unwrap(), &"k".to_owned().into()).is_err());
    }
}
