//! Answers of the MCP servers that come as server-sent events, message by message.

use serde_json::{Value, json};

/// A client without a proxy.
#[expect(clippy::disallowed_methods, reason = "the tests are the client, not the product")]
pub(super) fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// An answer as server-sent events, read message by message.
pub(super) struct Events {
    response: reqwest::Response,
    unread: String,
}

impl Events {
    /// Sends a request of revision 2026-07-28 to this endpoint with this key.
    pub(super) async fn of(
        url: &str,
        key: &str,
        method: &str,
        name: Option<&str>,
        mut params: Value,
    ) -> Self {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let request = http().post(url).bearer_auth(key).json(&body);
        let request = request.header("accept", "application/json, text/event-stream");
        let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
        let request = match name {
            Some(name) => request.header("mcp-name", name),
            None => request,
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, unread: String::new() }
    }

    /// Listens to these resources, and to the list of tools; the answer begins with what was accepted of them.
    pub(super) async fn listening(url: &str, key: &str, resources: &[&str]) -> (Self, Value) {
        let wanted = json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": resources}});
        let mut events = Self::of(url, key, "subscriptions/listen", None, wanted).await;
        let acknowledged = events.next().await.unwrap();
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged", "{acknowledged}");
        let accepted = acknowledged["params"]["notifications"]["resourceSubscriptions"].clone();
        (events, accepted)
    }

    /// The next message; `None` when the answer has ended.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let data = event
                    .lines()
                    .find_map(|line| line.strip_prefix("data:"))
                    .map(|data| data.trim().to_owned());
                self.unread = rest.to_owned();
                if let Some(data) = data.filter(|data| !data.is_empty()) {
                    return Some(serde_json::from_str(&data).unwrap());
                }
                continue;
            }
            let chunk = self.response.chunk().await.ok()??;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
