//! What is asked of the server of templates.

use std::time::Duration;

use patchbay_e2e::Api;
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};

use super::content;

const ITEMS: usize = 12;

pub(super) async fn tracker() -> Simulator {
    let tokens = vec![TokenGrant { token: "token".into(), login: "sync".into(), repositories: None }];
    let repositories = vec![generate::repository("acme/app", 3, ITEMS)];
    let tracker = SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO };
    Simulator::start(tracker).await.unwrap()
}

pub(super) async fn connect(admin: &Api, tracker: &Simulator) -> String {
    let repositories = json!({"repositories": ["acme/app"]});
    admin.connect_github(&tracker.url(), "token", &repositories).await.unwrap()
}

/// Questions of every kind.
pub(super) fn questions() -> Value {
    json!([
        ["tools/list"],
        ["search_issues_by_project", {"project": "acme/app", "limit": 100}],
        ["sql_run_template", {"name": "get_project_metrics", "arguments": {"project": "acme/app"}}],
        ["resources/list"],
        ["resources/templates/list"],
        ["resources/read", {"uri": "patchbay://freshness"}],
        ["resources/read", {"uri": "patchbay://templates/find_work_items"}],
        ["resources/read", {"uri": "patchbay://templates/no_such_template"}],
        ["resources/read", {"uri": "patchbay://dictionary"}],
        ["prompts/list"],
        ["prompts/get", {"name": "weekly_report", "arguments": {"project": "acme/app", "days": "7"}}],
    ])
}

/// That the answers to [`questions`] are what the tenant has.
pub(super) fn check(who: &str, answers: &[Value]) {
    let tools = answers[0]["tools"].as_array().unwrap_or_else(|| panic!("{who}: {}", answers[0]));
    assert!(tools.iter().any(|tool| tool["name"] == "find_work_items"), "{who}: {tools:?}");
    assert_eq!(answers[1]["structuredContent"]["row_count"], ITEMS, "{who}: {}", answers[1]);
    assert!(answers[2]["structuredContent"]["rows"].is_array(), "{who}: {}", answers[2]);
    let uris: Vec<&str> =
        answers[3]["resources"].as_array().unwrap().iter().map(|r| r["uri"].as_str().unwrap()).collect();
    assert!(
        uris.contains(&"patchbay://freshness") && uris.contains(&"patchbay://templates"),
        "{who}: {uris:?}"
    );
    assert!(uris.is_sorted(), "{who}: {uris:?}");
    assert_eq!(answers[4]["resourceTemplates"][0]["uriTemplate"], "patchbay://templates/{name}", "{who}");
    let text = |answer: &Value| content(who, answer);
    assert_eq!(text(&answers[5])["instances"].as_array().map(Vec::len), Some(1), "{who}");
    assert_eq!(text(&answers[6])["name"], "find_work_items", "{who}");
    assert!(answers[7]["failed"].as_str().unwrap().contains("no resource"), "{who}: {}", answers[7]);
    assert!(text(&answers[8])["tables"].as_array().is_some_and(|tables| tables.len() > 3), "{who}");
    let prompts = answers[9]["prompts"].as_array().unwrap();
    let names: Vec<&str> = prompts.iter().map(|prompt| prompt["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["release_notes", "stand_up", "weekly_report"], "{who}");
    let told = answers[10]["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(told.contains("get_project_metrics") && told.contains("acme/app"), "{who}: {told}");
}
