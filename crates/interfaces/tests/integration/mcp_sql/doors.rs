//! Who is not let in: without a key, a scope, or from another place.

use super::*;

#[tokio::test]
async fn without_a_key_nothing_is_answered_and_unknown_paths_are_not_found() {
    let server = Server::new();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
    for path in ["/mcp", "/tools/invoke"] {
        let request = Request::post(path).header("host", "localhost").body(body.clone().into()).unwrap();
        let (status, headers, answer) = server.send(request).await;
        assert_eq!(status, 401, "{path}");
        assert!(headers["www-authenticate"].to_str().unwrap().contains("scope=\"mcp:sql\""), "{headers:?}");
        assert!(answer["detail"].as_str().unwrap().contains("API key"), "{answer}");
    }
    for path in ["/", "/.well-known/openid-configuration", "/mcp/x"] {
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        assert_eq!(server.send(request).await.0, 404, "{path}");
    }
    let live = Request::get("/livez").body(Body::empty()).unwrap();
    assert_eq!(server.send(live).await.0, 200);
}

#[tokio::test]
async fn a_key_without_the_scope_is_refused_before_the_handler() {
    let server = Server::new();
    let other = server.world.key(&[Scope::ItemsRead]);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
    let request = Request::post("/mcp")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {other}"))
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap();
    let (status, headers, _) = server.send(request).await;
    assert_eq!(status, 403);
    let challenge = headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("insufficient_scope") && challenge.contains("mcp:sql"), "{challenge}");
}

#[tokio::test]
async fn foreign_pages_and_hosts_are_refused() {
    let server = Server::new();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
    let list = async |name: &'static str, value: &str| {
        let mut request = server.post("/mcp").body(Body::from(body.clone())).unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        server.send(request).await.0.as_u16()
    };
    assert_eq!(list("origin", "https://console.example").await, 200);
    assert_eq!(list("origin", "https://patchbay.example").await, 200);
    assert_eq!(list("host", "patchbay.example").await, 200);
    for origin in ["https://evil.example", "https://console.example:8443", "null"] {
        assert_eq!(list("origin", origin).await, 403, "{origin}");
    }
    assert_eq!(list("host", "evil.example").await, 403);
    let twice = server
        .post("/mcp")
        .header("origin", "https://console.example")
        .header("origin", "https://evil.example")
        .body(body.clone().into())
        .unwrap();
    assert_eq!(server.send(twice).await.0, 403);
}
