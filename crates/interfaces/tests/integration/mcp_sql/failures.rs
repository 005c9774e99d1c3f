//! What is told of wrong calls and of what broke inside.

use application::testing::Fault;

use super::*;

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
