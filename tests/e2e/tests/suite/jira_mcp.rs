//! Jira over MCP against the real binary: the official SDK's client, the list of tools, a second tenant, the record, and
//! texts that would be instructions.

mod admin;
mod agile;
mod bulk;
mod changes;
mod disconnect;
mod files;
mod injection;
mod noticed;
mod policy;
mod resources;
mod work;
mod writes;

use std::path::PathBuf;
use std::time::Duration;

use patchbay_e2e::{Api, Patchbay, Started, setting};
use reqwest::Method;
use serde_json::{Map, Value, json};
use simulator::{
    Deployment, FaultKind, FaultMatch, FaultRule, JiraLogin, Simulator, SimulatorConfig, generate,
};

use crate::tool_list::lint_tool;

/// Of the whole list as sent.
const LIST: usize = 15 * 1024;
const TOKEN: &str = "jira-token";
const WRITER: &str = "jira-writer";
/// All sets that a key has which is not narrowed.
const EVERY_SET: &str = "?toolsets=core,agile,work,files,bulk,changes";
/// More than a test asks for at once.
const WIDE: [(&str, &str); 1] = [("PATCHBAY_LIMIT_TOOL_WRITE", "6000/60s:1000")];

/// Waits for something to become so.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1_200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

struct World {
    patchbay: Patchbay,
    running: Started,
    tracker: Simulator,
    mcp: String,
    admin: Api,
    key: String,
    writing_key: String,
    foreign_key: String,
}

impl World {
    async fn start() -> Self {
        let world = Self::unconnected().await;
        world.connect(&world.admin, "acme").await;
        world
    }

    /// One whose installation has the set `admin` as well.
    async fn with_admin_tools() -> Self {
        let sets = [("PATCHBAY_JIRA_TOOLSETS", "core,agile,work,files,bulk,changes,admin")];
        let world = Self::served(&[WIDE.as_slice(), &sets].concat()).await;
        world.connect(&world.admin, "acme").await;
        world
    }

    /// Without a Jira yet.
    async fn unconnected() -> Self {
        Self::served(&WIDE).await
    }

    async fn served(settings: &[(&str, &str)]) -> Self {
        let tracker = Simulator::start(SimulatorConfig::default()).await.unwrap();
        for (name, key) in [("acme", "ENG"), ("globex", "GLO")] {
            let site = generate::jira(name, Deployment::Cloud, &[(key, 7, 60)]);
            let login = JiraLogin::new(Some("bot@example.com"), TOKEN);
            tracker
                .control()
                .add_jira(site.with_login(login).with_login(JiraLogin::new(None, WRITER)))
                .unwrap();
        }
        let patchbay = Patchbay::install().await.unwrap();
        for tenant in ["acme", "globex"] {
            patchbay.tenant(tenant).await.unwrap();
        }
        let running = patchbay.serve_with("admin,mcp-jira", settings).await.unwrap();
        let mcp = running.mcp_jira_url.clone().unwrap();
        let admin = running.api(&patchbay.key("acme", "admin").await.unwrap()).unwrap();
        let key = patchbay.key("acme", "mcp:jira:read").await.unwrap();
        let writing_key = patchbay.key("acme", "mcp:jira:write").await.unwrap();
        let foreign_key = patchbay.key("globex", "mcp:jira:read").await.unwrap();
        Self { patchbay, running, tracker, mcp, admin, key, writing_key, foreign_key }
    }

    async fn connect(&self, admin: &Api, site: &str) {
        self.connect_at(admin, site, &self.tracker.url()).await;
    }

    /// A site that is reached by another address.
    async fn connect_at(&self, admin: &Api, site: &str, at: &str) {
        let new = json!({"source": "jira", "name": site, "base_url": format!("{at}/jira/{site}"),
            "credentials": {"kind": "basic", "email": "bot@example.com", "token": TOKEN}});
        let made = admin.post("/api/v1/instances", &new).await.unwrap();
        assert_eq!(made.status, 201, "{made:?}");
    }

    /// A tool's result, through MCP.
    async fn call(&self, key: &str, tool: &str, arguments: Value) -> Value {
        self.call_at("", key, tool, arguments).await
    }

    /// The same at an address with this query; of a tool that is not there, the error.
    async fn call_at(&self, query: &str, key: &str, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        let url = format!("{}{query}", self.mcp);
        let answer = self.admin.with_key(key).rpc(&url, "tools/call", &params).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body.get("result").or(answer.body.get("error")).unwrap().clone()
    }

    /// Names of the tools of a key at an address with this query.
    async fn names_at(&self, query: &str, key: &str) -> Vec<String> {
        self.names_of(&format!("{}{query}", self.mcp), key).await
    }

    async fn names_of(&self, url: &str, key: &str) -> Vec<String> {
        let listed = self.admin.with_key(key).rpc(url, "tools/list", &json!({})).await.unwrap();
        let tools = listed.body["result"]["tools"].as_array().unwrap_or_else(|| panic!("{listed:?}"));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The list of one key, and its size as sent.
    async fn tools_of(&self, key: &str) -> (Vec<Value>, usize) {
        let api = self.admin.with_key(key);
        let listed = api.rpc(&self.mcp, "tools/list", &json!({})).await.unwrap();
        (listed.body["result"]["tools"].as_array().unwrap().clone(), listed.text.len())
    }

    /// Waits for a record of this action that holds this: those of reads are written together, a little later.
    async fn recorded(&self, action: &str, what: &str) {
        let path = format!("/api/v1/audit?action={action}&limit=50");
        let holds = async || self.admin.get(&path).await.unwrap().text.contains(what);
        until(&format!("a record of {action} with {what}"), holds).await;
    }

    async fn end(self) {
        assert_eq!(self.running.terminate().await.unwrap(), Some(0));
        self.patchbay.database.drop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_short_fit_for_every_vendor_as_committed_and_keeps_its_word() {
    let world = World::with_admin_tools().await;
    let (tools, size) = world.tools_of(&world.writing_key).await;
    let mut findings = Vec::new();
    for tool in &tools {
        lint_tool(tool, &mut findings);
        println!("{:>6} bytes: {}", tool.to_string().len(), tool["name"]);
    }
    println!("{size:>6} bytes: the list of {} tools as sent", tools.len());
    assert!(size <= LIST, "the list takes {size} bytes");
    let core = tools.len();
    let all = format!("{}{EVERY_SET}", world.mcp);
    let listed = world.admin.with_key(&world.writing_key).rpc(&all, "tools/list", &json!({})).await.unwrap();
    let mut tools = listed.body["result"]["tools"].as_array().unwrap().clone();
    println!("{:>6} bytes: the list of {} tools of all sets", listed.text.len(), tools.len());
    assert!(tools.len() > core, "no set was opened");
    // Those that only a key has which names their set.
    let naming = world.key_with(json!({"toolsets": ["jira_admin"]})).await;
    tools.extend(world.tools_of(&naming).await.0);
    tools.iter().for_each(|tool| lint_tool(tool, &mut findings));
    assert!(findings.is_empty(), "{findings:#?}");

    // Whoever uses a tool relies on its names: a change is seen in the diff of this file.
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tool_list_jira.json");
    let by_name: Map<String, Value> =
        tools.iter().map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool.clone())).collect();
    let now = format!("{}\n", serde_json::to_string_pretty(&by_name).unwrap());
    if std::env::var_os("UPDATE_TOOL_LIST").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    assert!(
        std::fs::read_to_string(&file).unwrap_or_default() == now,
        "tests/e2e/tool_list_jira.json is not what the server lists: look at the difference, then run this test again \
         with UPDATE_TOOL_LIST=1"
    );

    // What is told fits what was promised.
    for (name, arguments) in [
        ("jira_get_context", json!({})),
        ("jira_search_issues", json!({"jql": "project = ENG", "fields": ["Story Points"]})),
        ("jira_search_issues", json!({"jql": "", "view": "full", "limit": 100})),
        ("jira_search_issues", json!({"jql": "", "view": "key"})),
        (
            "jira_get_issue",
            json!({"key": "eng-7", "fields": ["*all"], "include":
            ["description", "comments", "changelog", "worklogs", "links", "subtasks", "attachments", "transitions", "watchers"]}),
        ),
        ("jira_get_issue", json!({"key": "ENG-7", "text_format": "adf", "max_chars": 1000})),
        (
            "jira_list_issue_activity",
            json!({"key": "ENG-7", "kinds": ["comment", "change"], "since": "2020-01-01"}),
        ),
        ("jira_list_projects", json!({"query": "e"})),
        ("jira_describe_fields", json!({"project": "ENG", "issue_type": "Bug"})),
        ("jira_describe_fields", json!({"project": "ENG", "issue_type": "Bug", "for": "edit"})),
        ("jira_describe_fields", json!({"project": "ENG", "for": "search", "query": "sprint"})),
        ("jira_find_users", json!({"query": "a"})),
        ("jira_find_users", json!({"query": "a", "project": "ENG"})),
        ("jira_list_boards", json!({"project": "ENG", "type": "scrum"})),
        ("jira_list_sprints", json!({"board": "1", "state": "closed", "limit": 3})),
        ("jira_list_changes", json!({"projects": ["ENG"]})),
    ] {
        let answer = world.call_at(EVERY_SET, &world.key, name, arguments.clone()).await;
        assert_ne!(answer["isError"], true, "{name} {arguments}: {answer}");
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
        if let Err(error) = jsonschema::validate(&tool["outputSchema"], &answer["structuredContent"]) {
            panic!("{name} {arguments}: {error} in {answer}");
        }
    }

    // A second Jira must be named, and the list says so.
    world.connect(&world.admin, "globex").await;
    let (tools, _) = world.tools_of(&world.key).await;
    let search = tools.iter().find(|tool| tool["name"] == "jira_search_issues").unwrap();
    assert_eq!(search["inputSchema"]["properties"]["instance"]["x-mcp-header"], "Instance");
    let unnamed = world.call(&world.key, "jira_search_issues", json!({"jql": ""})).await;
    let error = &unnamed["structuredContent"];
    assert_eq!((&error["field"], &error["allowed"]), (&json!("/instance"), &json!(["acme", "globex"])));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sdk_client_reads_the_tenants_jira_and_another_tenant_nothing_of_it() {
    let world = World::start().await;
    let calls = json!([["tools/list"], ["jira_get_context", {}],
        ["jira_search_issues", {"jql": "project = ENG ORDER BY key", "limit": 50}],
        ["jira_get_issue", {"key": "ENG-7", "include": ["comments", "transitions"]}]]);
    let script = PathBuf::from(setting("PATCHBAY_TEST_MCP_CLIENT_DIR").unwrap()).join("call.mjs");
    let output = tokio::process::Command::new(setting("PATCHBAY_TEST_NODE").unwrap())
        .arg(script)
        .args([&world.mcp, &world.key, &calls.to_string()])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers[0]["tools"].as_array().map(Vec::len), Some(7));
    let context = &answers[1]["structuredContent"];
    assert_eq!(
        (&context["instances"][0]["slug"], &context["instances"][0]["health"]),
        (&json!("acme"), &json!("ok"))
    );
    let found = &answers[2]["structuredContent"];
    assert_eq!((found["issues"].as_array().map(Vec::len), &found["has_more"]), (Some(50), &json!(true)));
    assert_eq!(
        (&found["source"], &answers[3]["structuredContent"]["key"]),
        (&json!("live"), &json!("ENG-7"))
    );
    println!("fifty issues take {} bytes as sent", answers[2].to_string().len());
    assert!(answers[2].to_string().len() <= 12 * 1024);

    // Another tenant has none, a key without the scope is not let in, and what is done is on the record.
    let before = world.tracker.control().stats().requests;
    for arguments in [json!({"jql": ""}), json!({"jql": "", "instance": "acme"})] {
        let refused = world.call(&world.foreign_key, "jira_search_issues", arguments).await;
        assert_eq!(refused["isError"], true, "{refused}");
        assert!(!refused.to_string().contains("ENG-"), "{refused}");
    }
    let sql = world.admin.with_key(&world.patchbay.key("acme", "mcp:sql").await.unwrap());
    let refused = sql.rpc(&world.mcp, "tools/list", &json!({})).await.unwrap();
    assert_eq!((refused.status, refused.body["code"].as_str()), (403, Some("forbidden")), "{refused:?}");
    assert_eq!(world.tracker.control().stats().requests, before);
    // Old names are for scripts.
    let old = world
        .admin
        .with_key(&world.key)
        .invoke(&world.mcp, "jira.search", &json!({"jql": ""}))
        .await
        .unwrap();
    assert_eq!((old.status, &old.body["source"]), (200, &json!("live")), "{old:?}");
    let unknown = world.admin.with_key(&world.key).invoke(&world.mcp, "jira.drop", &json!({})).await.unwrap();
    assert_eq!(unknown.status, 404, "{unknown:?}");
    world.recorded("tool.call", "jira_get_issue").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_is_told_what_to_do_about_a_refusal() {
    let world = World::start().await;
    let error = async |tool: &str, arguments: Value| {
        let answer = world.call(&world.key, tool, arguments).await;
        assert_eq!(answer["isError"], true, "{answer}");
        answer["structuredContent"].clone()
    };
    let told = error("jira_search_issues", json!({"jql": "project = ENG) OR (key = X-1"})).await;
    assert_eq!((&told["field"], &told["code"]), (&json!("/jql"), &json!("source_rejected")), "{told}");
    let told = error("jira_search_issues", json!({"jql": "nonsense = 1"})).await;
    assert_eq!((&told["field"], &told["upstream_status"]), (&json!("/jql"), &json!(400)), "{told}");
    assert!(told["message"].as_str().unwrap().contains("nonsense"), "{told}");
    let told = error("jira_get_issue", json!({"key": "ENG-99999"})).await;
    assert_eq!(told["code"], "not_found", "{told}");
    let told = error("jira_get_issue", json!({"key": "ENG-1", "include": ["everything"]})).await;
    assert_eq!(told["field"], "/include/0", "{told}");
    assert!(told["allowed"].as_array().unwrap().contains(&json!("comments")), "{told}");
    let told = error("jira_describe_fields", json!({"project": "ENG"})).await;
    assert_eq!(told["field"], "/issue_type", "{told}");
    let told = error("jira_get_issue", json!({"issue": "ENG-1"})).await;
    assert!(told["allowed"].as_array().unwrap().contains(&json!("key")), "{told}");

    let limit = FaultKind::RateLimited { retry_after_s: 30, as_http_date: false, omit_header: false };
    let matching = FaultMatch { path_contains: Some("/issue/".into()), ..FaultMatch::default() };
    world.tracker.control().add_fault(FaultRule { matching, kind: limit });
    let told =
        tokio::time::timeout(Duration::from_secs(25), error("jira_get_issue", json!({"key": "ENG-1"})));
    let told = told.await.expect("an answer before the limit is over");
    assert_eq!(
        (&told["code"], &told["retry_after_ms"]),
        (&json!("source_rate_limited"), &json!(30_000)),
        "{told}"
    );
    // Before that time nothing is sent, whoever asks for whatever.
    let before = world.tracker.control().stats().requests;
    for (tool, arguments) in
        [("jira_get_issue", json!({"key": "ENG-2"})), ("jira_search_issues", json!({"jql": ""}))]
    {
        let told = error(tool, arguments).await;
        assert_eq!(told["code"], "source_rate_limited", "{told}");
        assert!(told["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{told}");
    }
    let stats = world.tracker.control().stats();
    assert_eq!((stats.requests, stats.violations), (before, 0));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_opened_once_for_calls_in_a_row_and_another_one_counts_at_once() {
    let world = World::start().await;
    let read = async || world.call(&world.key, "jira_get_issue", json!({"key": "ENG-1"})).await;
    for _ in 0..3 {
        let answer = read().await;
        assert_eq!(answer["structuredContent"]["key"], "ENG-1", "{answer}");
    }
    let used = world.admin.get("/api/v1/audit?action=credential.use").await.unwrap();
    assert_eq!(used.body["items"].as_array().map(Vec::len), Some(1), "{used:?}");

    let listed = world.admin.get("/api/v1/instances").await.unwrap();
    let path = format!("/api/v1/instances/{}", listed.body["items"][0]["id"].as_str().unwrap());
    let give = async |token: &str| {
        let credentials = json!({"kind": "basic", "email": "bot@example.com", "token": token});
        let given =
            world.admin.send(Method::PATCH, &path, Some(&json!({"credentials": credentials}))).await.unwrap();
        assert_eq!(given.status, 200, "{given:?}");
    };
    give("not-a-token").await;
    let refused = read().await;
    assert_eq!(refused["structuredContent"]["code"], "source_unauthorized", "{refused}");
    give(TOKEN).await;
    let answer = read().await;
    assert_eq!(answer["structuredContent"]["key"], "ENG-1", "{answer}");
    world.end().await;
}
