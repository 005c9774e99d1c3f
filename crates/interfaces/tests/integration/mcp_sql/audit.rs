//! Tool calls on the record.

use std::time::Duration;

use application::audit::arguments_digest;
use application::testing::{Fault, TENANT};
use domain::{AuditRecord, Scope};
use serde_json::{Value, json};

use crate::mcp_sql::Server;

fn only(server: &Server) -> AuditRecord {
    let records = server.world.records(TENANT);
    assert_eq!(records.len(), 1, "{records:?}");
    records.into_iter().next().unwrap()
}

fn target(record: &AuditRecord) -> (&str, &str) {
    record.target.as_ref().map(|(kind, id)| (kind.as_str(), id.as_str())).unwrap()
}

fn digest(arguments: &Value) -> Option<[u8; 32]> {
    Some(arguments_digest(arguments.as_object().unwrap()))
}

// Security requirement 66.
#[tokio::test]
async fn a_template_is_on_the_record_with_who_ran_it_for_what_and_how_much_it_gave() {
    let arguments = json!({"project": "c4nary/project", "limit": 2});
    let server = Server::new();
    server.call("search_issues_by_project", arguments.clone()).await;
    let record = only(&server);
    assert_eq!((record.action.as_str(), record.outcome.as_str()), ("template.run", "ok"));
    assert_eq!(target(&record), ("template", "search_issues_by_project"));
    assert_eq!(record.arguments_digest, digest(&arguments));
    assert_eq!((record.principal_kind.as_str(), record.principal_name.as_str()), ("key", "a test"));
    assert_eq!((&record.details["rows"], &record.details["truncated"]), (&json!(2), &json!(true)));
    assert!(record.details["bytes"].as_u64().unwrap() > 0 && record.details["duration_ms"].is_u64());
    // Security requirement 57: what was asked is not kept, only its digest.
    assert!(!format!("{record:?}").contains("c4nary"), "{record:?}");
}

#[tokio::test]
async fn a_template_run_by_name_is_recorded_as_that_template() {
    let server = Server::new();
    let arguments = json!({"name": "search_issues_by_project", "arguments": {"project": "a/b"}});
    server.call("sql_run_template", arguments.clone()).await;
    let record = only(&server);
    assert_eq!(record.action, "template.run");
    assert_eq!(target(&record), ("template", "search_issues_by_project"));
    assert_eq!(record.details["tool"], "sql_run_template");
    assert_eq!(record.arguments_digest, digest(&arguments));
}

#[tokio::test]
async fn every_other_tool_call_and_refusal_is_recorded_with_its_code() {
    for (tool, arguments, action, outcome, code) in [
        ("sql_list_templates", json!({}), "tool.call", "ok", Value::Null),
        ("sql_get_freshness", json!({}), "tool.call", "ok", Value::Null),
        ("sql_get_freshness", json!({"instance": "no-such"}), "tool.call", "failed", json!("invalid_input")),
        ("search_issues_by_project", json!({}), "template.run", "failed", json!("invalid_input")),
        ("no_such_tool", json!({"x": 1}), "tool.call", "denied", json!("unknown_tool")),
        ("sql_run_template", json!({"name": "nope"}), "template.run", "failed", json!("not_found")),
    ] {
        let server = Server::new();
        server.invoke(json!({"name": tool, "arguments": arguments})).await;
        let record = only(&server);
        let told = (record.action.as_str(), record.outcome.as_str(), record.details.get("code"));
        assert_eq!(told, (action, outcome, Some(&code).filter(|code| !code.is_null())), "{tool} {arguments}");
        assert_eq!(record.arguments_digest, digest(&arguments), "{tool} {arguments}");
    }
}

#[tokio::test]
async fn a_call_without_the_scope_is_recorded_as_denied() {
    let mut server = Server::new();
    server.key = server.world.key(&[Scope::ItemsRead]);
    let (status, _) = server.invoke(json!({"name": "sql_list_templates"})).await;
    assert_eq!(status, 403);
    let record = only(&server);
    assert_eq!((record.action.as_str(), record.outcome.as_str()), ("access.deny", "denied"));
    assert_eq!(target(&record), ("route", "POST /tools/invoke"));
}

// Security requirement 67.
#[tokio::test]
async fn without_a_record_there_is_no_answer() {
    let server = Server::new();
    server.world.break_down("audit.note", Fault::Unavailable);
    let call = json!({"name": "search_issues_by_project", "arguments": {"project": "a/b"}});
    let (status, answer) = server.invoke(call).await;
    assert_eq!((status.as_u16(), &answer["code"]), (503, &json!("unavailable")));
    assert!(answer.get("rows").is_none());
    let result = server.call("search_issues_by_project", json!({"project": "a/b"})).await;
    assert_eq!(result["isError"], true);
}

#[tokio::test]
async fn a_call_that_fails_through_our_fault_is_recorded_as_such() {
    for fault in [Fault::Panic("boom"), Fault::Internal("boom"), Fault::Timeout(5)] {
        let server = Server::new();
        server.world.break_down("templates.run", fault);
        server.invoke(json!({"name": "search_issues_by_project", "arguments": {"project": "a/b"}})).await;
        let record = only(&server);
        assert_eq!(record.outcome, "failed");
        let expected = if matches!(fault, Fault::Timeout(_)) { "query_timeout" } else { "internal" };
        assert_eq!(record.details["code"], expected, "{fault:?}");
        assert!(!format!("{record:?}").contains("boom"), "{record:?}");
    }
}

#[tokio::test]
async fn a_call_whose_client_went_away_is_recorded_as_cancelled() {
    let server = Server::new();
    server.world.break_down("templates.run", Fault::Hang);
    let call = json!({"name": "search_issues_by_project", "arguments": {"project": "a/b"}});
    let gone = tokio::time::timeout(Duration::from_millis(50), server.invoke(call)).await;
    assert!(gone.is_err());
    for _ in 0..100 {
        if !server.world.records(TENANT).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let record = only(&server);
    assert_eq!((record.outcome.as_str(), &record.details["code"]), ("failed", &json!("cancelled")));
}

#[tokio::test]
async fn an_installation_may_leave_reads_off_the_record_but_no_refusals() {
    use std::sync::Arc;

    use application::audit::AuditService;

    let mut server = Server::new();
    let mut services = server.world.services();
    services.audit = Arc::new(AuditService::new(server.world.clone()).without_reads());
    server.router = patchbay_interfaces::mcp::sql::router(&services, &crate::mcp_sql::config());
    server.invoke(json!({"name": "search_issues_by_project", "arguments": {"project": "a/b"}})).await;
    assert!(server.world.records(TENANT).is_empty());
    server.invoke(json!({"name": "nope"})).await;
    assert_eq!(only(&server).outcome, "denied");
}
