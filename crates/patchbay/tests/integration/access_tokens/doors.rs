//! What is told without a token: the description, and what Host and Origin must be.

use super::*;

// Security requirement 24.
#[tokio::test]
async fn the_description_stands_at_path_and_root_without_a_credential() {
    let world = World::new().await;
    for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"] {
        let request = Request::get(path).header("host", "mcp.example").body(Body::empty()).unwrap();
        let (parts, body) = world.router.clone().oneshot(request).await.unwrap().into_parts();
        let json: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(parts.status, 200);
        assert_eq!(
            json,
            json!({"resource": RESOURCE, "authorization_servers": [world.issuer.url],
                "scopes_supported": ["mcp:sql"], "bearer_methods_supported": ["header"],
                "resource_name": "Patchbay SQL templates"})
        );
    }
    let request = Request::get("/.well-known/oauth-protected-resource/other").header("host", "mcp.example");
    let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn without_an_authorization_server_an_api_key_is_asked_for() {
    let memory = Memory::new();
    let key = memory.key(&[Scope::McpSql]);
    let services = Services { sign_in: Arc::new(memory.sign_in_with(None, None)), ..memory.services() };
    let world = World { issuer: Issuer::start().await, router: sql::router(&services, &config()) };
    for token in [world.token(&json!({})), "abc".to_owned()] {
        let (response, problem) = world.present(&token).await;
        assert_eq!(response.status(), 401);
        assert!(problem["hint"].as_str().unwrap().contains("API key"), "{problem}");
        assert_eq!(
            response.headers()["www-authenticate"],
            "Bearer error=\"invalid_token\", scope=\"mcp:sql\"",
            "nothing sends a client looking for what is not there"
        );
    }
    assert_eq!(world.status(&key).await, 200, "keys need none");
    let path = "/.well-known/oauth-protected-resource/mcp";
    let request = Request::get(path).header("host", "mcp.example").body(Body::empty()).unwrap();
    let (parts, body) = world.router.clone().oneshot(request).await.unwrap().into_parts();
    let problem: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let told = (parts.status.as_u16(), problem["code"].as_str());
    assert_eq!(told, (404, Some("no_authorization_server")), "{problem}");
}

// Security requirement 28.
#[tokio::test]
async fn host_and_origin_are_checked_on_every_route_and_before_the_credential() {
    let world = World::new().await;
    for path in ["/mcp", "/tools/invoke", "/.well-known/oauth-protected-resource", "/nowhere"] {
        for (what, name, value) in [
            ("another host", "host", "evil.example"),
            ("another origin", "origin", "https://evil.example"),
            ("no origin", "origin", "null"),
            ("another port", "origin", "https://mcp.example:8443"),
        ] {
            let mut request = Request::post(path).header(name, value);
            if name != "host" {
                request = request.header("host", "mcp.example");
            }
            let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), 403, "{path} with {what}");
        }
    }
}
