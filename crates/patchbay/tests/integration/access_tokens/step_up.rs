//! A token that is too narrow for one tool: its client is told which scopes to come back with.

use interfaces::mcp::jira;

use super::*;

const WRITE: &str = "jira_add_comment";

impl World {
    /// A call of a tool through MCP, and at `/tools/invoke`.
    async fn calls(&self, token: &str, tool: &str) -> [(Response<()>, Value); 2] {
        let call = json!({"name": tool, "arguments": {"key": "ENG-1", "body": "b"}});
        let rpc = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call});
        let at = |path: &str| {
            let request = Request::builder().uri(path).header("authorization", format!("Bearer {token}"));
            request.header("mcp-protocol-version", "2025-11-25")
        };
        [
            self.send_body(
                at("/mcp").header("accept", "application/json, text/event-stream"),
                rpc.to_string(),
            )
            .await,
            self.send_body(at("/tools/invoke"), call.to_string()).await,
        ]
    }
}

// Security requirement 27.
#[tokio::test]
async fn a_tool_that_needs_more_than_the_token_has_names_it_in_the_challenge() {
    let memory = Memory::new();
    let world = World::of(&memory, KeyAges::default(), Role::Member, jira::router).await;
    let described = Request::get("/.well-known/oauth-protected-resource/mcp").header("host", "mcp.example");
    let described = world.router.clone().oneshot(described.body(Body::empty()).unwrap()).await.unwrap();
    let described: Value =
        serde_json::from_slice(&described.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(described["scopes_supported"], json!(["mcp:jira:read", "mcp:jira:write"]), "{described}");

    let reads = world.token(&json!({"scope": "mcp:jira:read"}));
    for (response, problem) in world.calls(&reads, WRITE).await {
        assert_eq!(
            (response.status().as_u16(), problem["code"].as_str()),
            (403, Some("forbidden")),
            "{problem}"
        );
        assert_eq!(
            response.headers()["www-authenticate"],
            "Bearer error=\"insufficient_scope\", scope=\"mcp:jira:read mcp:jira:write\", \
             resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource/mcp\""
        );
        assert!(problem["detail"].as_str().unwrap().contains("mcp:jira:write"), "{problem}");
    }
    // Enough for what only reads, whatever becomes of the call; and with the scope the challenge is over.
    for (token, tool) in
        [(reads, "jira_get_context"), (world.token(&json!({"scope": "mcp:jira:write"})), WRITE)]
    {
        for (response, answer) in world.calls(&token, tool).await {
            assert_ne!(response.status(), 403, "{tool}: {answer}");
            assert!(!response.headers().contains_key("www-authenticate"), "{tool}: {answer}");
        }
    }
    // What an address or the tenant takes away is no matter of scopes.
    let unknown = world.calls(&world.token(&json!({"scope": "mcp:jira:read"})), "jira_drop_everything").await;
    assert!(unknown.iter().all(|(response, _)| response.status() != 403), "{unknown:?}");

    // A key cannot be widened by a challenge: the assistant reads what is missing.
    let key = memory.key(&[Scope::McpJiraRead]);
    let [(response, answer), (plain, told)] = world.calls(&key, WRITE).await;
    assert_eq!((response.status().as_u16(), &answer["result"]["isError"]), (200, &json!(true)), "{answer}");
    assert!(
        answer["result"]["structuredContent"]["hint"].as_str().unwrap().contains("mcp:jira:write"),
        "{answer}"
    );
    assert_eq!((plain.status().as_u16(), told["code"].as_str()), (403, Some("forbidden")), "{told}");
}

/// A challenge would send the client for another token over and over.
#[tokio::test]
async fn who_has_a_role_that_no_token_goes_beyond_reads_what_is_missing() {
    let world = World::of(&Memory::new(), KeyAges::default(), Role::Viewer, jira::router).await;
    let token = world.token(&json!({"scope": "mcp:jira:read mcp:jira:write"}));
    let [(response, answer), (plain, told)] = world.calls(&token, WRITE).await;
    assert_eq!((response.status().as_u16(), &answer["result"]["isError"]), (200, &json!(true)), "{answer}");
    assert_eq!(answer["result"]["structuredContent"]["code"], "forbidden", "{answer}");
    assert_eq!((plain.status().as_u16(), told["code"].as_str()), (403, Some("forbidden")), "{told}");
    for response in [response, plain] {
        assert!(!response.headers().contains_key("www-authenticate"), "{response:?}");
    }
}
