//! The SQL MCP server as clients of both protocol eras meet it (security requirements 23, 27, 28, 30 and 36 to 38).

mod audit;
mod authored;
mod beside;
mod narrowed;

use std::sync::Arc;

use application::testing::{Fault, Memory, RUN};
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
async fn the_list_of_tools_is_ordered_private_and_small() {
    let server = Server::new();
    let answer = server.rpc("tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "cycle_time_percentiles",
            "find_work_items",
            "get_project_metrics",
            "search_issues_by_project",
            "sql_explain_template",
            "sql_get_dictionary",
            "sql_get_freshness",
            "sql_list_templates",
            "sql_run_template",
        ]
    );
    let bytes = answer.to_string().len();
    println!("the list of tools has {bytes} bytes");
    assert!(bytes <= 15_000, "{bytes}");
}

/// Everything some vendor's client or model is known to refuse.
fn lint(schema: &Value, path: &str, findings: &mut Vec<String>) {
    let Value::Object(object) = schema else { return };
    for word in ["anyOf", "oneOf", "allOf", "not", "$ref", "$defs", "patternProperties"] {
        if object.contains_key(word) {
            findings.push(format!("{path} uses {word}"));
        }
    }
    match &object.get("type") {
        Some(Value::Array(_)) => findings.push(format!("{path} is a union")),
        Some(Value::String(kind)) if kind == "array" && !object.contains_key("items") => {
            findings.push(format!("{path} has no items"));
        }
        Some(Value::String(kind))
            if kind == "object"
                && path.contains("inputSchema")
                && object.contains_key("properties")
                && object.get("additionalProperties") != Some(&json!(false)) =>
        {
            findings.push(format!("{path} is open"));
        }
        _ => {}
    }
    for (name, inner) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if name == "properties" || name.len() > 64 {
            findings.push(format!("{path} has the property {name}"));
        }
        lint(inner, &format!("{path}/{name}"), findings);
    }
    if let Some(items) = object.get("items") {
        lint(items, &format!("{path}[]"), findings);
    }
}

#[tokio::test]
async fn every_schema_is_one_that_all_clients_and_models_take() {
    let mut findings = Vec::new();
    for tool in Server::new().tools().await {
        let name = tool["name"].as_str().unwrap();
        let snake = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if name.len() > 32 || !snake || tool["description"].as_str().is_none_or(str::is_empty) {
            findings.push(format!("{name} is badly named or not described"));
        }
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{name}");
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(tool[schema]["type"], "object", "{name} {schema}");
            jsonschema::meta::validate(&tool[schema])
                .unwrap_or_else(|error| panic!("{name} {schema}: {error}"));
            lint(&tool[schema], &format!("{name} {schema}"), &mut findings);
        }
    }
    assert!(findings.is_empty(), "{findings:#?}");
}

#[tokio::test]
async fn every_answer_fits_its_output_schema() {
    let server = Server::new();
    let tools = server.tools().await;
    for (name, arguments) in [
        ("cycle_time_percentiles", json!({"project": "a/b"})),
        ("find_work_items", json!({"query": "x"})),
        ("get_project_metrics", json!({"project": "a/b"})),
        ("search_issues_by_project", json!({"project": "a/b"})),
        ("sql_get_freshness", json!({})),
        ("sql_get_freshness", json!({"instance": "web"})),
        ("sql_list_templates", json!({"query": "project", "limit": 1})),
        ("sql_list_templates", json!({"cursor": "find_work_items"})),
        ("sql_run_template", json!({"name": "find_work_items", "arguments": {"query": "x"}})),
        (
            "sql_run_template",
            json!({"name": "find_work_items", "arguments": {"query": "x"}, "format": "csv", "limit": 2}),
        ),
        ("find_work_items", json!({"query": "x", "limit": 2})),
        ("sql_explain_template", json!({"name": "find_work_items", "arguments": {"query": "x"}})),
        ("sql_get_dictionary", json!({})),
        ("sql_get_dictionary", json!({"table": "work_items", "query": "priority"})),
    ] {
        let answer = server.call(name, arguments).await;
        assert_ne!(answer["isError"], true, "{name}: {answer}");
        let schema = &tools.iter().find(|tool| tool["name"] == name).unwrap()["outputSchema"];
        if let Err(error) = jsonschema::validate(schema, &answer["structuredContent"]) {
            panic!("{name}: {error} in {answer}");
        }
    }
}

#[tokio::test]
async fn a_template_can_be_run_by_name_with_rows_as_arrays_or_csv() {
    let server = Server::new();
    let run = json!({"name": "search_issues_by_project", "arguments": {"project": "a/b"}, "limit": 1});
    let answer = server.call("sql_run_template", run).await;
    let content = &answer["structuredContent"];
    assert_eq!(content["columns"][0], json!({"name": "source_key", "type": "text"}));
    assert_eq!(content["rows"][0][0], "source_key \"0\", x");
    assert_eq!(content["rows"][0].as_array().unwrap().len(), 9);
    let csv = json!({"name": "search_issues_by_project", "arguments": {"project": "a/b", "limit": 1}, "format": "csv"});
    let answer = server.call("sql_run_template", csv).await;
    let csv = answer["structuredContent"]["csv"].as_str().unwrap();
    assert!(csv.starts_with("source_key,title,") && csv.contains("\"source_key \"\"0\"\", x\""), "{csv}");
}

#[tokio::test]
async fn rows_beyond_a_page_are_reached_with_its_cursor_by_either_tool() {
    let server = Server::new();
    let by_itself = json!({"query": "x", "limit": 2});
    let by_name = json!({"name": "find_work_items", "arguments": {"query": "x"}, "limit": 2});
    for (tool, arguments) in [("find_work_items", by_itself), ("sql_run_template", by_name)] {
        let first = server.call(tool, arguments.clone()).await;
        let content = &first["structuredContent"];
        assert_eq!((&content["row_count"], &content["truncated"]), (&json!(2), &json!(true)), "{first}");
        let line = first["content"][0]["text"].as_str().unwrap();
        assert!(line.contains("cursor = next_cursor"), "{line}");
        let mut next = arguments.clone();
        next["cursor"] = content["next_cursor"].clone();
        let last = server.call(tool, next.clone()).await;
        let content = &last["structuredContent"];
        assert_eq!((&content["row_count"], &content["truncated"]), (&json!(1), &json!(false)), "{last}");
        assert!(content.get("next_cursor").is_none(), "{last}");
        // Of another question it is worth nothing.
        match next.pointer_mut("/arguments/query") {
            Some(query) => *query = json!("y"),
            None => next["query"] = json!("y"),
        }
        let refused = server.call(tool, next).await;
        assert_eq!(refused["structuredContent"]["field"], "/cursor", "{refused}");
        assert!(refused.to_string().contains("start again"), "{refused}");
    }
    assert_eq!(server.world.asked().len(), 4, "a wrong cursor runs nothing");
}

#[tokio::test]
async fn an_estimate_says_rows_cost_indexes_and_a_verdict_and_runs_nothing() {
    let server = Server::new();
    let asked = json!({"name": "find_work_items", "arguments": {"query": "x"}});
    let answer = server.call("sql_explain_template", asked).await;
    let content = &answer["structuredContent"];
    assert_eq!(content["verdict"], "within_guard", "{answer}");
    // To two digits.
    assert_eq!((&content["estimated_rows"], &content["estimated_cost"]), (&json!(3), &json!(1200)));
    assert_eq!(content["indexes"], json!(["work_items_project"]));
    assert!(server.world.asked().is_empty() && !answer.to_string().contains("select"));
}

#[tokio::test]
async fn the_dictionary_explains_tables_and_finds_words() {
    let server = Server::new();
    let all = server.call("sql_get_dictionary", json!({})).await;
    let tables = all["structuredContent"]["tables"].as_array().unwrap().len();
    assert_eq!(tables, domain::dictionary::TABLES.len());
    let found = server.call("sql_get_dictionary", json!({"query": "story points UNHEARD-OF"})).await;
    assert_eq!(found["structuredContent"]["tables"], json!([]), "all words are asked for");
    let found = server.call("sql_get_dictionary", json!({"query": "Time SPENT"})).await;
    let names = &found["structuredContent"]["tables"];
    assert_eq!(names[0]["columns"][0]["name"], "spent_s", "{names}");
    assert_eq!(names.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_warns_of_what_is_broken_or_late() {
    let server = Server::new();
    let answer = server.call("get_project_metrics", json!({"project": "a"})).await;
    let warnings = answer["structuredContent"]["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|told| told.as_str().unwrap().contains("not been synced")), "{answer}");
    let fresh = server.call("sql_get_freshness", json!({})).await;
    assert_eq!(fresh["structuredContent"]["warnings"].as_array().unwrap().len(), warnings.len());
    assert_eq!(fresh["structuredContent"]["instances"][0]["target_s"], 630);
}

#[tokio::test]
async fn the_list_of_templates_can_be_searched_and_walked() {
    let server = Server::new();
    let mut names = Vec::new();
    let mut arguments = json!({"limit": 3});
    loop {
        let answer = server.call("sql_list_templates", arguments).await["structuredContent"].take();
        names.extend(
            answer["templates"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = answer["next_cursor"].as_str() else { break };
        arguments = json!({"limit": 3, "cursor": cursor});
    }
    assert_eq!(names.len(), 4);
    let found = server.call("sql_list_templates", json!({"query": "METRICS"})).await;
    assert_eq!(found["structuredContent"]["templates"][0]["name"], "get_project_metrics");
    assert_eq!(found["structuredContent"]["templates"][0]["parameters"][1]["default"], "30");
}

#[tokio::test]
async fn wrong_arguments_are_told_as_errors_the_assistant_can_act_on() {
    let server = Server::new();
    for (tool, arguments, code, field) in [
        ("search_issues_by_project", json!({}), "invalid_input", "/project"),
        (
            "search_issues_by_project",
            json!({"project": "a", "tenant_id": "x"}),
            "invalid_input",
            "/tenant_id",
        ),
        ("search_issues_by_project", json!({"project": "a", "status": "open"}), "invalid_input", "/status"),
        ("search_issues_by_project", json!({"project": "a", "limit": 501}), "invalid_input", "/limit"),
        ("search_issues_by_project", json!({"project": 5}), "invalid_input", "/project"),
        ("get_project_metrics", json!({"project": "a", "days": 0}), "invalid_input", "/days"),
        ("sql_run_template", json!({}), "invalid_input", "/name"),
        ("sql_run_template", json!({"name": "no_such"}), "not_found", "/name"),
        ("sql_run_template", json!({"name": "find_work_items", "sql": "select 1"}), "invalid_input", "/sql"),
        (
            "sql_run_template",
            json!({"name": "find_work_items", "arguments": {"query": "x", "tenant_id": "y"}}),
            "invalid_input",
            "/arguments/tenant_id",
        ),
        (
            "sql_run_template",
            json!({"name": "find_work_items", "arguments": []}),
            "invalid_input",
            "/arguments",
        ),
        ("sql_get_freshness", json!({"instance": "other"}), "invalid_input", "/instance"),
        ("find_work_items", json!({"query": "x", "cursor": "bm9uZQ"}), "invalid_input", "/cursor"),
        (
            "sql_run_template",
            json!({"name": "find_work_items", "arguments": {"query": "x"}, "cursor": "bm9uZQ"}),
            "invalid_input",
            "/cursor",
        ),
        ("get_project_metrics", json!({"project": "a", "cursor": "bm9uZQ"}), "invalid_input", "/cursor"),
        ("sql_explain_template", json!({"name": "no_such"}), "not_found", "/name"),
        (
            "sql_explain_template",
            json!({"name": "find_work_items", "arguments": {"query": 5}}),
            "invalid_input",
            "/arguments/query",
        ),
        ("sql_get_dictionary", json!({"table": "api_keys"}), "invalid_input", "/table"),
        ("sql_list_templates", json!({"limit": 0}), "invalid_input", "/limit"),
    ] {
        let answer = server.call(tool, arguments.clone()).await;
        let error = &answer["structuredContent"];
        assert_eq!(answer["isError"], true, "{tool} {arguments}: {answer}");
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!(code), &json!(field)),
            "{tool} {arguments}: {error}"
        );
    }
    assert!(server.world.asked().is_empty(), "nothing was run");
    let status = server.call("search_issues_by_project", json!({"project": "a", "status": "open"})).await;
    assert_eq!(status["structuredContent"]["allowed"][0], "todo");
    let name = server.call("sql_run_template", json!({"name": "no_such"})).await;
    assert_eq!(name["structuredContent"]["allowed"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn an_unknown_tool_is_an_error_of_the_protocol() {
    let server = Server::new();
    let answer = server.rpc("tools/call", json!({"name": "jira_search", "arguments": {}})).await;
    assert_eq!(answer["error"]["code"], -32602);
    assert_eq!(answer["error"]["message"], "Unknown tool: jira_search");
}

#[tokio::test]
async fn failures_of_the_runner_say_what_to_do_and_nothing_of_the_inside() {
    let server = Server::new();
    let search = |project: &str| server.call("search_issues_by_project", json!({"project": project}));
    server.world.break_down("templates.run", Fault::Timeout(5_000));
    let answer = search("a").await;
    assert_eq!(answer["structuredContent"]["code"], "query_timeout", "{answer}");
    server.world.break_down("templates.run", Fault::Internal("column c4nary of published.x"));
    let answer = search("a").await;
    assert_eq!(answer["structuredContent"]["code"], "internal");
    assert!(!answer.to_string().contains("c4nary"), "{answer}");
    server.world.break_down("templates.run", Fault::Panic("a bug with the secret c4nary"));
    let answer =
        server.rpc("tools/call", json!({"name": "find_work_items", "arguments": {"query": "a"}})).await;
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    assert!(!answer.to_string().contains("c4nary"), "{answer}");
    server.world.repair();
    assert_eq!(search("a").await["structuredContent"]["row_count"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_ended_by_its_deadline() {
    let server = Server::new();
    server.world.break_down("templates.run", Fault::Hang);
    let (status, answer) =
        server.invoke(json!({"name": "find_work_items", "arguments": {"query": "a"}})).await;
    assert_eq!(status, 504, "{answer}");
}

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
