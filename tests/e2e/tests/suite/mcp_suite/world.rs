//! A tenant with a little data, and programs that ask for it.

use std::path::PathBuf;
use std::time::Duration;

use patchbay_e2e::{Api, Patchbay, Started, setting};
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig, TokenGrant, generate};
use tokio::process::Command;

/// One tenant, its synced items, and a running server.
pub(super) struct World {
    pub(super) patchbay: Patchbay,
    pub(super) running: Started,
    pub(super) mcp: String,
    /// Of the tenant, with the scope of the server.
    pub(super) key: String,
    pub(super) admin: Api,
    _tracker: Simulator,
}

pub(super) const ITEMS: usize = 12;

impl World {
    pub(super) async fn start(settings: &[(&str, &str)]) -> Self {
        let tokens = vec![TokenGrant { token: "token".into(), login: "sync".into(), repositories: None }];
        let repositories = vec![generate::repository("acme/app", 3, ITEMS)];
        let tracker = SimulatorConfig { port: 0, repositories, tokens, latency: Duration::ZERO };
        let tracker = Simulator::start(tracker).await.unwrap();
        let patchbay = Patchbay::install().await.unwrap();
        patchbay.tenant("acme").await.unwrap();
        let key = patchbay.key("acme", "mcp:sql").await.unwrap();
        let running = patchbay.serve_with("admin,mcp-sql,worker", settings).await.unwrap();
        let admin = running.api(&patchbay.key("acme", "admin").await.unwrap()).unwrap();
        let repositories = json!({"repositories": ["acme/app"]});
        let instance = admin.connect_github(&tracker.url(), "token", &repositories).await.unwrap();
        admin.run_to(&instance, "backfill", "succeeded").await.unwrap();
        let mcp = running.mcp_sql_url.clone().unwrap();
        Self { patchbay, running, mcp, key, admin, _tracker: tracker }
    }

    pub(super) async fn end(self) {
        assert_eq!(self.running.terminate().await.unwrap(), Some(0));
        self.patchbay.database.drop().await.unwrap();
    }
}

/// A folder or program that `cargo xtask test` installs; `None`, with a word about it, when it is not there.
pub(super) fn installed(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os(name).map(PathBuf::from);
    if found.is_none() {
        println!("skipped: {name} is not set; `cargo xtask test` installs what it names");
    }
    found
}

/// A client of others.
#[derive(Debug, Clone)]
pub(super) struct Client {
    program: PathBuf,
    script: PathBuf,
}

impl Client {
    /// The second TypeScript client.
    pub(super) fn typescript() -> Option<Self> {
        let script = installed("PATCHBAY_TEST_MCP_SUITE_DIR")?.join("call.mjs");
        Some(Self { program: setting("PATCHBAY_TEST_NODE").unwrap().into(), script })
    }

    /// The Python client.
    pub(super) fn python() -> Option<Self> {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("mcp-suite/call.py");
        Some(Self { program: installed("PATCHBAY_TEST_MCP_PYTHON")?, script })
    }

    /// Connects and makes these calls; the version that was agreed on, and a result each.
    pub(super) async fn ask(
        &self,
        mode: &str,
        kind: &str,
        target: &str,
        key: &str,
        calls: &Value,
    ) -> (String, Vec<Value>) {
        let output = Command::new(&self.program)
            .arg(&self.script)
            .args([mode, kind, target, key, &calls.to_string()])
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {mode} {kind}: {complaint}", self.script);
        let mut lines = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>();
        let version = lines.remove(0)["version"].as_str().unwrap_or_default().to_owned();
        (version, lines)
    }
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
    let text = |answer: &Value| -> Value {
        serde_json::from_str(
            answer["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{who}: {answer}")),
        )
        .unwrap()
    };
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
