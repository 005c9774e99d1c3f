//! The tools beside the templates: found, run by name, estimated and explained.

use super::*;

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
