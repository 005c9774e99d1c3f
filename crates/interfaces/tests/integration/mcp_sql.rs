//! The SQL MCP server as clients of both protocol eras meet it (security requirements 23, 27, 28, 30 and 36 to 38).

mod audit;
mod authored;
mod beside;
mod by_name;
mod doors;
mod failures;
mod narrowed;
mod schemas;

use std::sync::Arc;

use application::testing::{Memory, RUN};
use axum::Router;
use axum::body::Body;
use domain::template::Argument;
use domain::{RunState, Scope};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use patchbay_interfaces::mcp::{McpConfig, sql};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

fn config() -> McpConfig {
    McpConfig {
        public_url: Some("https://patchbay.example".parse().unwrap()),
        resource: "http://127.0.0.1:8056/mcp".parse().unwrap(),
        allowed_origins: vec!["https://console.example:443".into()],
        sse: false,
        shutdown: CancellationToken::new(),
    }
}

struct Server {
    router: Router,
    key: String,
    world: Arc<Memory>,
}

impl Server {
    fn new() -> Self {
        let world = Memory::new();
        let config = config();
        let key = world.key(&[Scope::McpSql]);
        Self { router: sql::router(&world.services(), &config), key, world }
    }

    fn post(&self, path: &str) -> http::request::Builder {
        Request::post(path)
            .header("host", "127.0.0.1:8056")
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        (parts.status, parts.headers, json)
    }

    /// A request of a client from before 2026-07-28.
    async fn rpc(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let request =
            self.post("/mcp").header("mcp-protocol-version", "2025-11-25").body(body.into()).unwrap();
        let (status, _, json) = self.send(request).await;
        assert_eq!(status, 200, "{json}");
        json
    }

    async fn call(&self, name: &str, arguments: Value) -> Value {
        self.rpc("tools/call", json!({"name": name, "arguments": arguments})).await["result"].take()
    }

    async fn tools(&self) -> Vec<Value> {
        self.rpc("tools/list", json!({})).await["result"]["tools"].as_array().unwrap().clone()
    }

    async fn invoke(&self, body: Value) -> (StatusCode, Value) {
        let request = self.post("/tools/invoke").body(body.to_string().into()).unwrap();
        let (status, _, json) = self.send(request).await;
        (status, json)
    }
}

#[tokio::test]
async fn an_idempotency_key_changes_nothing_about_a_read_but_must_be_one() {
    let server = Server::new();
    let body = json!({"name": "sql_list_templates"}).to_string();
    for (key, status) in [("k", 200), ("k", 200), ("two words", 400)] {
        let request = server.post("/tools/invoke").header("idempotency-key", key);
        let (answered, headers, json) = server.send(request.body(body.clone().into()).unwrap()).await;
        assert_eq!(answered, status, "{json}");
        assert!(!headers.contains_key("idempotency-replayed"));
    }
}

#[tokio::test]
async fn a_client_of_either_era_gets_rows_with_freshness() {
    let server = Server::new();
    let answer = server.rpc(
        "initialize",
        json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}
        }),
    );
    assert_eq!(answer.await["result"]["serverInfo"]["name"], "patchbay-sql");

    server.world.set_run_state(RUN, RunState::Succeeded);
    let old = server
        .call("search_issues_by_project", json!({"project": "a/b", "status": "done", "limit": 2}))
        .await;
    let content = &old["structuredContent"];
    assert_eq!((&content["row_count"], &content["truncated"]), (&json!(2), &json!(true)), "{old}");
    assert_eq!(content["columns"][7], json!({"name": "updated_at", "type": "timestamp"}));
    assert_eq!(content["rows"][0][7], "2026-01-02T03:04:05Z");
    assert_eq!(
        (&content["freshness"][0]["state"], &content["freshness"][1]["state"]),
        (&json!("current"), &json!("never_synced"))
    );
    // One short line, never the rows again.
    assert_eq!(old["content"].as_array().unwrap().len(), 1);
    assert!(old["content"][0]["text"].as_str().unwrap().len() < 200);
    let asked = server.world.asked();
    assert_eq!((asked[0].arguments[1].clone(), asked[0].limit), (Argument::Text(Some("done".into())), 2));

    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                      "io.modelcontextprotocol/clientCapabilities": {}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":
        {"name": "get_project_metrics", "arguments": {"project": "a/b"}, "_meta": meta}});
    let request = server
        .post("/mcp")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "get_project_metrics")
        .body(body.to_string().into())
        .unwrap();
    let (status, headers, new) = server.send(request).await;
    assert_eq!(
        (status.as_u16(), &new["result"]["structuredContent"]["row_count"]),
        (200, &json!(3)),
        "{new}"
    );
    assert_eq!(headers["content-type"], "application/json");
}

#[tokio::test]
async fn clients_that_say_less_than_they_should_are_served() {
    let server = Server::new();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
    for accept in [None, Some("*/*"), Some("application/json")] {
        let mut request = server.post("/mcp").body(Body::from(body.clone())).unwrap();
        request.headers_mut().remove("accept");
        if let Some(accept) = accept {
            request.headers_mut().insert("accept", accept.parse().unwrap());
        }
        assert_eq!(server.send(request).await.0, 200, "{accept:?}");
    }
    let broken = server.post("/mcp").body("{\"jsonrpc\": ".into()).unwrap();
    let (status, _, answer) = server.send(broken).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (400, &json!(-32700)), "{answer}");
    let declared =
        server.post("/mcp").header("content-length", 2_000_000).body(" ".repeat(2_000_000).into()).unwrap();
    assert_eq!(server.send(declared).await.0, 413);
    let pieces = futures::stream::iter((0..30).map(|_| Ok::<_, std::io::Error>(" ".repeat(64 * 1024))));
    let undeclared = server.post("/mcp").body(Body::from_stream(pieces)).unwrap();
    assert_eq!(server.send(undeclared).await.0, 413);
}

#[tokio::test]
async fn scripts_call_the_same_tools_without_the_protocol() {
    let server = Server::new();
    let call = json!({"name": "search_issues_by_project", "arguments": {"project": "a/b"}});
    let (status, answer) = server.invoke(call).await;
    assert_eq!((status.as_u16(), &answer["row_count"]), (200, &json!(3)));
    let (status, answer) = server.invoke(json!({"name": "search_issues_by_project", "arguments": {}})).await;
    assert_eq!(
        (status.as_u16(), &answer["code"], &answer["field"]),
        (422, &json!("invalid_input"), &json!("/project"))
    );
    let (status, answer) = server.invoke(json!({"name": "nope"})).await;
    assert_eq!((status.as_u16(), &answer["code"]), (404, &json!("unknown_tool")));
    let (status, _) = server.invoke(json!({"name": "nope", "argumnts": {}})).await;
    assert_eq!(status, 422);
}
