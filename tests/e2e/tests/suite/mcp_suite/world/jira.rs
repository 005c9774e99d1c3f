//! What is asked of the Jira server.

use patchbay_e2e::Api;
use serde_json::{Value, json};
use simulator::{Deployment, JiraLogin, Simulator, SimulatorConfig, generate};

use super::content;

const TOKEN: &str = "jira-token";
const ISSUES: usize = 12;

pub(super) async fn tracker() -> Simulator {
    let tracker = Simulator::start(SimulatorConfig::default()).await.unwrap();
    let site = generate::jira("acme", Deployment::Cloud, &[("ENG", 7, ISSUES)]);
    let login = JiraLogin::new(Some("bot@example.com"), TOKEN);
    tracker.control().add_jira(site.with_login(login)).unwrap();
    tracker
}

pub(super) async fn connect(admin: &Api, tracker: &Simulator) -> String {
    let new = json!({"source": "jira", "name": "acme", "base_url": format!("{}/jira/acme", tracker.url()),
        "credentials": {"kind": "basic", "email": "bot@example.com", "token": TOKEN}});
    let made = admin.post("/api/v1/instances", &new).await.unwrap();
    made.body["id"].as_str().unwrap_or_else(|| panic!("{made:?}")).to_owned()
}

pub(super) fn questions() -> Value {
    json!([
        ["tools/list"],
        ["jira_search_issues", {"jql": "project = ENG", "limit": 100}],
        ["jira_get_issue", {"key": "ENG-7", "include": ["description", "comments"]}],
        // The same for every client: done once, and told again to the others.
        ["jira_add_comment", {"key": "ENG-7", "body": "**Told** by a client.", "idempotency_key": "of-all-clients"}],
        ["jira_get_issue", {"key": "ENG-99999"}],
        ["resources/list"],
        ["resources/templates/list"],
        ["resources/read", {"uri": "patchbay://work-items/acme/ENG-7"}],
        ["resources/read", {"uri": "patchbay://work-items/acme/ENG-99999"}],
    ])
}

pub(super) fn check(who: &str, answers: &[Value]) {
    let tools = answers[0]["tools"].as_array().unwrap_or_else(|| panic!("{who}: {}", answers[0]));
    assert!(tools.iter().any(|tool| tool["name"] == "jira_create_issue"), "{who}: {tools:?}");
    let found = &answers[1]["structuredContent"];
    assert_eq!(found["issues"].as_array().map(Vec::len), Some(ISSUES), "{who}: {}", answers[1]);
    assert_eq!(answers[2]["structuredContent"]["key"], "ENG-7", "{who}: {}", answers[2]);
    assert!(answers[3]["structuredContent"]["comment_id"].is_string(), "{who}: {}", answers[3]);
    assert_eq!(answers[4]["structuredContent"]["code"], "not_found", "{who}: {}", answers[4]);
    assert_eq!(answers[5]["resources"], json!([]), "{who}");
    let template = &answers[6]["resourceTemplates"][0]["uriTemplate"];
    assert_eq!(template, "patchbay://work-items/{instance}/{key}", "{who}: {}", answers[6]);
    let read = content(who, &answers[7]);
    assert_eq!((&read["key"], &read["source"]), (&json!("ENG-7"), &json!("synced")), "{who}: {read}");
    assert!(answers[8]["failed"].as_str().unwrap().contains("no resource"), "{who}: {}", answers[8]);
}
