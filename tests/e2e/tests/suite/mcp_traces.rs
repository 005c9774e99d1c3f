//! What a collector of traces and a scraper of metrics get of MCP requests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use patchbay_e2e::Patchbay;
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Spans = Arc<Mutex<Vec<Span>>>;

/// A collector that keeps every span.
async fn collector() -> (String, Spans) {
    let spans = Spans::default();
    let take = async |State(spans): State<Spans>, body: Bytes| {
        let sent = ExportTraceServiceRequest::decode(body).unwrap();
        let all = sent.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans);
        spans.lock().unwrap().extend(all);
    };
    let router = Router::new().route("/v1/traces", post(take)).with_state(spans.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, spans)
}

fn text(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_call_is_a_span_below_its_callers_with_the_attributes_of_the_convention() {
    let (collector, spans) = collector().await;
    let patchbay = Patchbay::install().await.unwrap();
    let tenant = patchbay.tenant("acme").await.unwrap();
    let key = patchbay.key("acme", "mcp:sql").await.unwrap();
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
    let running = patchbay.serve_with("admin,mcp-sql", &settings).await.unwrap();
    let mcp = running.mcp_sql_url.clone().unwrap();
    let api = running.api(&key).unwrap();

    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    // The caller's flag says that it keeps no trace; whether one is kept here is not for it to say.
    let meta = json!({"traceparent": format!("00-{trace}-{parent}-00"), "tracestate": "theirs=1"});
    let call = |name: &str, arguments: Value| json!({"name": name, "arguments": arguments, "_meta": meta});
    let good = call("search_issues_by_project", json!({"project": "secret-project"}));
    assert_eq!(api.rpc(&mcp, "tools/call", &good).await.unwrap().status, 200);
    api.rpc(&mcp, "tools/call", &call("search_issues_by_project", json!({"colour": "red"}))).await.unwrap();
    api.rpc(&mcp, "tools/call", &call("made_up_by_the_caller", json!({}))).await.unwrap();
    let damaged = json!({"name": "sql_get_freshness", "arguments": {}, "_meta": {"traceparent": "nonsense"}});
    api.rpc(&mcp, "tools/call", &damaged).await.unwrap();

    let mut found = Vec::new();
    for _ in 0..600 {
        found = spans
            .lock()
            .unwrap()
            .iter()
            .filter(|span| text(span, "mcp.method.name").is_some())
            .cloned()
            .collect();
        if found.len() >= 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let theirs: Vec<&Span> = found.iter().filter(|span| hex::encode(&span.trace_id) == trace).collect();
    assert_eq!(theirs.len(), 3, "{found:?}");
    let by_error = |error: Option<&str>| {
        theirs
            .iter()
            .find(|span| text(span, "error.type").as_deref() == error)
            .unwrap_or_else(|| panic!("{theirs:?}"))
    };
    let good = by_error(None);
    assert_eq!(good.name, "tools/call search_issues_by_project");
    assert_eq!(hex::encode(&good.parent_span_id), parent, "the caller's span is the parent");
    assert_eq!(good.links.len(), 1, "the span of the HTTP request is linked");
    assert_eq!(good.trace_state, "theirs=1");
    for (name, value) in [
        ("mcp.method.name", "tools/call"),
        ("mcp.protocol.version", "2025-11-25"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "search_issues_by_project"),
        ("jsonrpc.request.id", "1"),
        ("network.transport", "tcp"),
        ("network.protocol.name", "http"),
    ] {
        assert_eq!(text(good, name).as_deref(), Some(value), "{name}: {good:?}");
    }
    assert_eq!(
        text(by_error(Some("tool_error")), "gen_ai.tool.name").as_deref(),
        Some("search_issues_by_project")
    );
    let unknown = by_error(Some("-32602"));
    assert_eq!(text(unknown, "rpc.response.status_code").as_deref(), Some("-32602"));
    assert_eq!(unknown.name, "tools/call unknown", "what a caller makes up names nothing");
    let untouched = found.iter().find(|span| span.name == "tools/call sql_get_freshness").unwrap();
    assert_ne!(hex::encode(&untouched.trace_id), trace);
    assert!(!untouched.parent_span_id.is_empty(), "below the HTTP request, as nothing usable was sent");

    // Neither tenants nor arguments nor what callers make up.
    for span in spans.lock().unwrap().iter() {
        let told = format!("{span:?}");
        for secret in ["secret-project", "made_up_by_the_caller", tenant.as_str(), key.as_str()] {
            assert!(!told.contains(secret), "{secret} is in {span:?}");
        }
    }
    let metrics = api.text("/metrics").await.unwrap();
    let counted = |labels: &[&str]| {
        let line = metrics.lines().find(|line| {
            line.starts_with("mcp_server_operation_duration_seconds_count")
                && labels.iter().all(|l| line.contains(l))
        });
        assert!(line.is_some_and(|line| line.ends_with(" 1")), "{labels:?}: {line:?}");
    };
    let tool = r#"gen_ai_tool_name="search_issues_by_project""#;
    counted(&[r#"mcp_method_name="tools/call""#, tool, r#"error_type="tool_error""#]);
    counted(&[
        r#"gen_ai_tool_name="unknown""#,
        r#"error_type="-32602""#,
        r#"mcp_protocol_version="2025-11-25""#,
    ]);
    for name in
        ["mcp_tool_calls_total", "mcp_tool_duration_seconds_bucket", "sql_query_duration_seconds_bucket"]
    {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name} is missing");
    }
    assert!(!metrics.contains("made_up_by_the_caller") && !metrics.contains(&tenant), "{metrics}");

    assert_eq!(running.terminate().await.unwrap(), Some(0));
    patchbay.database.drop().await.unwrap();
}
