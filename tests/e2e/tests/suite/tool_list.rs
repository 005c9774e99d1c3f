//! The list of tools as an assistant's client gets it: how long it is, that it changes only on purpose, and that every
//! model vendor takes it.

use std::path::PathBuf;

use patchbay_e2e::Patchbay;
use serde_json::{Map, Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};

/// Of the whole answer, as sent. Each conversation of each assistant pays for it.
const LIST: usize = 15 * 1024;
/// Of one tool.
const TOOL: usize = 1_200;
/// Of an answer with fifty rows, as sent.
const FIFTY_ROWS: usize = 12 * 1024;

/// What some vendor's client or model is known to refuse, or what helps nobody.
fn lint(schema: &Value, path: &str, findings: &mut Vec<String>) {
    let Value::Object(object) = schema else { return findings.push(format!("{path} is no object")) };
    for word in ["anyOf", "oneOf", "allOf", "not", "$ref", "$defs", "patternProperties", "if", "nullable"] {
        if object.contains_key(word) {
            findings.push(format!("{path} uses {word}"));
        }
    }
    match object.get("type") {
        Some(Value::Array(_)) => findings.push(format!("{path} is a union of types")),
        Some(Value::String(kind)) if kind == "array" && !object.contains_key("items") => {
            findings.push(format!("{path} has no items"));
        }
        Some(_) => {}
        // What can be null has no type; arguments always have one.
        None if path.contains("inputSchema") => findings.push(format!("{path} has no type")),
        None => {}
    }
    for (name, inner) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if name == "properties" || !is_name(name) {
            findings.push(format!("{path} has a property called {name}"));
        }
        lint(inner, &format!("{path}/{name}"), findings);
    }
    if let Some(items) = object.get("items") {
        lint(items, &format!("{path}[]"), findings);
    }
}

fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

pub(crate) fn lint_tool(tool: &Value, findings: &mut Vec<String>) {
    let name = tool["name"].as_str().unwrap_or_default();
    let description = tool["description"].as_str().unwrap_or_default();
    if !is_name(name) {
        findings.push(format!("{name} is no name that all take"));
    }
    if !(20..1024).contains(&description.len()) {
        findings.push(format!("{name} has a description of {} bytes", description.len()));
    }
    for schema in ["inputSchema", "outputSchema"] {
        if tool[schema]["type"] != "object" {
            findings.push(format!("{name} {schema} is of no object"));
        }
        if let Err(error) = jsonschema::meta::validate(&tool[schema]) {
            findings.push(format!("{name} {schema} is no schema: {error}"));
        }
        lint(&tool[schema], &format!("{name} {schema}"), findings);
    }
    if tool["inputSchema"]["additionalProperties"] != false {
        findings.push(format!("{name} takes any argument"));
    }
    let hints = &tool["annotations"];
    if hints["readOnlyHint"] != true
        && !(hints["readOnlyHint"] == false && hints["destructiveHint"].is_boolean())
    {
        findings
            .push(format!("{name} does not say whether it only reads, and otherwise whether it destroys"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_tools_is_short_fit_for_every_vendor_and_as_committed() {
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let running = patchbay.serve("admin,mcp-sql").await.unwrap();
    let api = running.api(&patchbay.key("acme", "mcp:sql").await.unwrap()).unwrap();
    let mcp = running.mcp_sql_url.clone().unwrap();
    let answer = api.rpc(&mcp, "tools/list", &json!({})).await.unwrap();
    let tools = answer.body["result"]["tools"].as_array().unwrap();

    let mut findings = Vec::new();
    for tool in tools {
        lint_tool(tool, &mut findings);
        if tool["annotations"]["readOnlyHint"] != true {
            findings.push(format!("{} does not say that it only reads", tool["name"]));
        }
        let size = tool.to_string().len();
        println!("{size:>6} bytes: {}", tool["name"]);
        if size > TOOL {
            findings.push(format!("{} takes {size} bytes of {TOOL}", tool["name"]));
        }
    }
    println!("{:>6} bytes: the list of {} tools as sent", answer.text.len(), tools.len());
    if answer.text.len() > LIST {
        findings.push(format!("the list takes {} bytes of {LIST}", answer.text.len()));
    }
    assert!(findings.is_empty(), "{findings:#?}");

    // Whoever uses a tool relies on its names: a change is seen in the diff of this file.
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tool_list.json");
    let by_name: Map<String, Value> =
        tools.iter().map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool.clone())).collect();
    let now = format!("{}\n", serde_json::to_string_pretty(&by_name).unwrap());
    if std::env::var_os("UPDATE_TOOL_LIST").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == now,
        "tests/e2e/tool_list.json is not what the server lists: look at the difference, then run this test again with \
         UPDATE_TOOL_LIST=1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_rows_fit_into_an_answer_of_twelve_kilobytes() {
    let tracker = Simulator::start(SimulatorConfig {
        port: 0,
        repositories: vec![generate::repository("acme/billing-service", 5, 80)],
        tokens: vec![TokenGrant { token: "token".into(), login: "acme".into(), repositories: None }],
        latency: std::time::Duration::ZERO,
    })
    .await
    .unwrap();
    let patchbay = Patchbay::install().await.unwrap();
    patchbay.tenant("acme").await.unwrap();
    let running = patchbay.serve("admin,mcp-sql,worker").await.unwrap();
    let api = running.api(&patchbay.key("acme", "admin").await.unwrap()).unwrap();
    let settings = json!({"repositories": ["acme/billing-service"]});
    let instance = api.connect_github(&tracker.url(), "token", &settings).await.unwrap();
    api.run_to(&instance, "backfill", "succeeded").await.unwrap();
    let assistant = api.with_key(&patchbay.key("acme", "mcp:sql").await.unwrap());
    let mcp = running.mcp_sql_url.clone().unwrap();
    let call = json!({"name": "search_issues_by_project", "arguments": {"project": "acme/billing-service"}});
    let answer = assistant.rpc(&mcp, "tools/call", &call).await.unwrap();
    let content = &answer.body["result"]["structuredContent"];
    assert_eq!((&content["row_count"], &content["truncated"]), (&json!(50), &json!(true)), "{}", answer.text);
    println!("fifty rows take {} bytes as sent", answer.text.len());
    assert!(answer.text.len() <= FIFTY_ROWS, "{} bytes: {}", answer.text.len(), answer.text);

    // What is told fits what was promised.
    let listed = assistant.rpc(&mcp, "tools/list", &json!({})).await.unwrap().body;
    let tools = listed["result"]["tools"].as_array().unwrap();
    for (name, arguments) in [
        ("search_issues_by_project", json!({"project": "acme/billing-service"})),
        ("count_items_by", json!({"by": "label"})),
        ("cycle_time_percentiles", json!({"project": "acme/billing-service", "weeks": 260})),
        ("find_related_items", json!({"key": "acme/billing-service#1"})),
        ("find_work_items", json!({"query": "error"})),
        ("get_project_metrics", json!({"project": "acme/billing-service"})),
        ("get_work_item_history", json!({"key": "acme/billing-service#1"})),
        ("list_blocked_items", json!({})),
        ("list_recent_changes", json!({"hours": 744})),
        ("list_stale_items", json!({"days": 1})),
        ("sprint_progress", json!({})),
        ("sync_errors", json!({})),
        ("throughput_by_week", json!({"weeks": 260})),
        ("wip_by_assignee", json!({})),
        ("sql_get_freshness", json!({})),
        ("sql_list_templates", json!({})),
        ("sql_run_template", json!({"name": "list_stale_items", "format": "csv"})),
    ] {
        let call = json!({"name": name, "arguments": arguments});
        let answer = assistant.rpc(&mcp, "tools/call", &call).await.unwrap().body["result"].take();
        assert_ne!(answer["isError"], true, "{name}: {answer}");
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
        if let Err(error) = jsonschema::validate(&tool["outputSchema"], &answer["structuredContent"]) {
            panic!("{name}: {error} in {answer}");
        }
    }
}
