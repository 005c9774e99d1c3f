//! HTTP+SSE, the transport of protocol 2024-11-05, where it is switched on.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Client, Server, World, check, questions};
use crate::events::http;

/// An open session.
struct Session {
    response: reqwest::Response,
    unread: String,
}

impl Session {
    async fn open(http: &reqwest::Client, base: &str, key: &str) -> Self {
        let response = http.get(format!("{base}/sse")).bearer_auth(key).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, unread: String::new() }
    }

    /// The next event that is no comment; `None` when the stream has ended.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .unwrap_or_default()
                        .trim()
                        .to_owned()
                };
                let told = (field("event:"), field("data:"));
                self.unread = rest.to_owned();
                if !told.0.is_empty() {
                    return Some(told);
                }
                continue;
            }
            let chunk = self.response.chunk().await.ok()??;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_old_transport_get_the_same_answers() {
    let clients = [("typescript", Client::typescript()), ("python", Client::python())];
    if clients.iter().all(|(_, client)| client.is_none()) {
        return;
    }
    let world = World::start(&[("PATCHBAY_MCP_SSE", "on")]).await;
    let sse = world.mcp.replace("/mcp", "/sse");
    for (name, client) in clients {
        let Some(client) = client else { continue };
        let (agreed, answers) = client.ask("legacy", "sse", &sse, &world.key, &questions(Server::Sql)).await;
        assert_eq!(agreed, "2025-11-25", "{name}");
        check(Server::Sql, &format!("{name} over HTTP+SSE"), &answers);
    }
    world.end().await;
}

// Acceptance: sessions are bound to their caller, bounded, and end with the key and with the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_callers_alone_and_ends_with_the_key_or_the_server() {
    let world = World::start(&[("PATCHBAY_MCP_SSE", "on")]).await;
    let base = world.mcp.trim_end_matches("/mcp").to_owned();
    let http = http();
    let new = json!({"name": "to be revoked", "kind": "assistant", "scopes": ["mcp:sql"]});
    let made = world.admin.post("/api/v1/keys", &new).await.unwrap();
    let (revoked_id, revoked) = (made.body["id"].as_str().unwrap(), made.body["key"].as_str().unwrap());

    let mut session = Session::open(&http, &base, revoked).await;
    let (event, messages) = session.next().await.unwrap();
    assert_eq!(event, "endpoint");
    assert!(messages.starts_with("/messages?sessionId="), "{messages}");
    let say = async |key: &str, messages: &str, message: &Value| {
        let request = http.post(format!("{base}{messages}")).bearer_auth(key).json(message);
        request.send().await.unwrap().status().as_u16()
    };
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    // Whoever knows the id has nothing of it; and nobody without a key gets that far.
    let unknown = format!("/messages?sessionId={}", uuid::Uuid::new_v4());
    assert_eq!(say(&world.key, &messages, &hello).await, 404, "another key of the same tenant");
    assert_eq!(say(revoked, &unknown, &hello).await, 404, "an unknown session");
    assert_eq!(say("", &messages, &hello).await, 401);
    assert_eq!(say(revoked, &messages, &json!("hello")).await, 400);
    assert_eq!(say(revoked, &messages, &hello).await, 202);
    let (event, answer) = session.next().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((event.as_str(), &answer["result"]["protocolVersion"]), ("message", &json!("2024-11-05")));
    assert_eq!(answer["result"]["capabilities"]["tools"], json!({}), "no changes are told of here");

    // One more than there may be.
    let mut others = Vec::new();
    for _ in 1..8 {
        others.push(Session::open(&http, &base, revoked).await);
    }
    let refused = http.get(format!("{base}/sse")).bearer_auth(revoked).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    drop(others);

    let path = format!("/api/v1/keys/{revoked_id}");
    assert_eq!(world.admin.send(reqwest::Method::DELETE, &path, None).await.unwrap().status, 204);
    let ended = tokio::time::timeout(Duration::from_secs(60), session.next()).await;
    assert_eq!(ended.expect("the stream goes on"), None, "a revoked key ends its streams");

    let mut last = Session::open(&http, &base, &world.key).await;
    last.next().await.unwrap();
    let watching = tokio::spawn(async move { last.next().await });
    world.end().await;
    assert_eq!(watching.await.unwrap(), None, "the end of the server is an end of the stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_transport_is_not_there_unless_it_is_switched_on() {
    let world = World::start(&[]).await;
    let base = world.mcp.trim_end_matches("/mcp").to_owned();
    let sse = http().get(format!("{base}/sse")).bearer_auth(&world.key).send().await.unwrap();
    assert_eq!(sse.status(), 404);
    world.end().await;
}
