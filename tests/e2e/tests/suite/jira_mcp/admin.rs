//! The set `admin`: only for keys that name it, and nothing is deleted that a person did not agree to.

use std::process::Stdio;

use super::work::fits;
use super::*;
use crate::events::http;

const SET: [&str; 3] = ["jira_delete_issue", "jira_write_version", "jira_move_issue"];
const RECENT: &str = "2026-07-28";
const CLIENT: &str = include_str!("../../../mcp-suite/confirm.mjs");
const TOMBSTONES: &str =
    "select count(*) from work_items where deleted_at is not null and delete_reason = 'deleted'";

/// A world, and a key that names the set.
async fn start() -> (World, String) {
    let world = World::with_admin_tools().await;
    let key = world.key_with(json!({"toolsets": ["jira_core", "jira_admin"]})).await;
    (world, key)
}

impl World {
    /// A call of a client of the recent revision that asks people, or does not.
    async fn recent(&self, key: &str, asks: bool, mut params: Value) -> Value {
        let capabilities = if asks { json!({"elicitation": {}}) } else { json!({}) };
        params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": RECENT,
            "io.modelcontextprotocol/clientCapabilities": capabilities});
        let name = params["name"].as_str().unwrap().to_owned();
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request = http().post(&self.mcp).bearer_auth(key).json(&body);
        let request = request.header("accept", "application/json, text/event-stream");
        let request = request.header("mcp-protocol-version", RECENT).header("mcp-method", "tools/call");
        let answer = request.header("mcp-name", name).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        body["result"].clone()
    }

    /// What somebody is asked before this is deleted.
    async fn question(&self, key: &str, arguments: &Value) -> Value {
        let asked =
            self.recent(key, true, json!({"name": "jira_delete_issue", "arguments": arguments})).await;
        assert_eq!(asked["resultType"], "input_required", "{asked}");
        asked
    }

    /// The same call with what they said.
    async fn answered(&self, key: &str, arguments: &Value, asked: &Value, answer: Value) -> Value {
        let params = json!({"name": "jira_delete_issue", "arguments": arguments,
            "inputResponses": {"confirm": answer}, "requestState": asked["requestState"]});
        self.recent(key, true, params).await
    }

    /// What the second TypeScript client prints. `None` where it is not installed.
    async fn client(&self, mode: &str, key: &str, says: &str, arguments: &Value) -> Option<Vec<Value>> {
        let Some(folder) = std::env::var_os("PATCHBAY_TEST_MCP_SUITE_DIR") else {
            println!(
                "skipped: PATCHBAY_TEST_MCP_SUITE_DIR is not set; `cargo xtask test` installs what it names"
            );
            return None;
        };
        let output = tokio::process::Command::new(setting("PATCHBAY_TEST_NODE").unwrap())
            .args(["--input-type=module", "-e", CLIENT, mode, &self.mcp, key, says, "jira_delete_issue"])
            .arg(arguments.to_string())
            .current_dir(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        Some(said.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn has(&self, key: &str) -> bool {
        let keys = self.tracker.control().with_jira("acme", |site| site.issue_keys()).unwrap();
        keys.iter().any(|one| one == key)
    }

    async fn make_below(&self, parent: &str) -> String {
        let new =
            json!({"project": "ENG", "issue_type": "Sub-task", "summary": "A part of it", "parent": parent});
        self.done("jira_create_issue", new).await["key"].as_str().unwrap().to_owned()
    }
}

fn yes() -> Value {
    json!({"action": "accept", "content": {"confirm": true}})
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_key_that_names_the_set_has_it_where_it_is_installed_and_the_policy_takes_it_away() {
    let usual = World::start().await;
    let key = usual.key_with(json!({"toolsets": ["jira_core", "jira_admin"]})).await;
    let names = usual.names_at("", &key).await;
    assert!(!names.is_empty() && !SET.iter().any(|name| names.contains(&(*name).to_owned())), "{names:?}");
    usual.end().await;
    let (world, key) = start().await;
    for query in ["", "?toolsets=core,admin", "?toolsets=jira_admin", EVERY_SET] {
        let names = world.names_at(query, &world.writing_key).await;
        assert!(!SET.iter().any(|name| names.contains(&(*name).to_owned())), "{query}: {names:?}");
    }
    for (tool, arguments) in
        [(SET[0], json!({"key": "ENG-1"})), (SET[1], json!({"project": "ENG", "name": "1", "create": true}))]
    {
        let told = world.call_at("?toolsets=core,admin", &world.writing_key, tool, arguments).await;
        assert_eq!(told["code"], -32602, "{tool}: {told}");
    }
    let (mut tools, _) = world.tools_of(&key).await;
    tools.retain(|tool| SET.iter().any(|name| tool["name"] == *name));
    assert_eq!(tools.len(), SET.len(), "{tools:?}");
    let mut findings = Vec::new();
    tools.iter().for_each(|tool| lint_tool(tool, &mut findings));
    assert!(findings.is_empty(), "{findings:#?}");
    let hints = &tools.iter().find(|tool| tool["name"] == SET[0]).unwrap()["annotations"];
    assert_eq!((&hints["destructiveHint"], &hints["readOnlyHint"]), (&json!(true), &json!(false)));

    // Whoever only reads is told what is missing; where the key may not write, nobody is asked anything.
    let reading = world
        .admin
        .post(
            "/api/v1/keys",
            &json!({"name": "reads", "kind": "assistant", "scopes": ["mcp:jira:read"],
            "grant": {"toolsets": ["jira_admin"]}}),
        )
        .await
        .unwrap();
    let reading = reading.body["key"].as_str().unwrap_or_else(|| panic!("{reading:?}")).to_owned();
    let told = world.recent(&reading, true, json!({"name": SET[0], "arguments": {"key": "ENG-1"}})).await;
    assert_eq!(told["structuredContent"]["code"], "forbidden", "{told}");
    let narrow = world.key_with(json!({"toolsets": ["jira_admin"], "projects_write": ["OPS"]})).await;
    for arguments in
        [json!({"key": "ENG-1"}), json!({"key": "ENG-99999"}), json!({"key": "ENG-1", "dry_run": true})]
    {
        let told = world.recent(&narrow, true, json!({"name": SET[0], "arguments": arguments})).await;
        assert_eq!(told["structuredContent"]["code"], "exceeds_own_rights", "{arguments}: {told}");
    }
    let version = json!({"name": SET[1], "arguments": {"project": "ENG", "name": "9", "create": true}});
    let told = world.recent(&narrow, true, version).await;
    assert_eq!(told["structuredContent"]["code"], "exceeds_own_rights", "{told}");
    assert_eq!(world.sent(), 0);

    world.set_policy(json!({"denied_tools": ["jira_delete_issue"], "hidden_fields": ["fixVersions"]})).await;
    let names = world.names_at("", &key).await;
    assert!(!names.contains(&SET[0].to_owned()) && names.contains(&SET[1].to_owned()), "{names:?}");
    let told = world.refused(&key, SET[1], json!({"project": "ENG", "name": "9", "create": true})).await;
    assert!(told["message"].as_str().unwrap().contains("policy"), "{told}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_by_their_client_and_what_they_agree_to_is_gone_here_at_once() {
    let (world, key) = start().await;
    let issue = world.make("Old \u{200b}one").await;
    let below = world.make_below(&issue).await;
    let arguments = json!({"key": issue, "delete_subtasks": true, "idempotency_key": "away"});
    let rehearsal = json!({"key": issue, "delete_subtasks": true, "dry_run": true});
    let told = world.call(&key, SET[0], rehearsal).await;
    assert_ne!(told["isError"], true, "{told}");
    assert!(told["structuredContent"]["changed"].to_string().contains(&below), "{told}");
    let needed = world.refused(&key, SET[0], json!({"key": issue, "dry_run": true})).await;
    assert_eq!(needed["field"], "/delete_subtasks", "{needed}");

    // Who cannot ask, in either revision, and scripts, are told what to do. A no is a no.
    world.tracker.control().reset_requests();
    let old = world.call(&key, SET[0], arguments.clone()).await;
    let mute = world.recent(&key, false, json!({"name": SET[0], "arguments": arguments})).await;
    for told in [&old, &mute] {
        let content = &told["structuredContent"];
        assert_eq!(
            (&told["isError"], &content["code"]),
            (&json!(true), &json!("confirmation_needed")),
            "{told}"
        );
        assert!(content["hint"].as_str().unwrap().contains("elicitation"), "{told}");
    }
    let script = world.admin.with_key(&key).invoke(&world.mcp, SET[0], &arguments).await.unwrap();
    assert_eq!((script.status, &script.body["code"]), (422, &json!("confirmation_needed")), "{script:?}");
    let asked = world.question(&key, &arguments).await;
    for answer in [json!({"action": "decline"}), json!({"action": "accept", "content": {"confirm": false}})] {
        let told = world.answered(&key, &arguments, &asked, answer).await;
        assert_eq!(told["structuredContent"]["code"], "not_confirmed", "{told}");
    }
    if let Some(said) = world.client(RECENT, &key, "decline", &arguments).await {
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(said[1]["structuredContent"]["code"], "not_confirmed", "{said:?}");
    }
    if let Some(said) = world.client("legacy", &key, "accept", &arguments).await {
        assert_eq!(said.len(), 1, "somebody was asked: {said:?}");
        assert_eq!(said[0]["structuredContent"]["code"], "confirmation_needed", "{said:?}");
    }
    assert_eq!(world.sent(), 0, "something was sent");
    assert!(world.has(&issue));

    // The real client asks, and the issue goes with its subtask; the synced copy knows at once.
    let question = asked["inputRequests"]["confirm"]["params"]["message"].as_str().unwrap().to_owned();
    for named in [issue.as_str(), &below, "“Old one”", "“A part of it”"] {
        assert!(question.contains(named), "{question}");
    }
    assert_eq!(world.patchbay.database.count(TOMBSTONES).await.unwrap(), 0);
    match world.client(RECENT, &key, "accept", &arguments).await {
        Some(said) => {
            assert_eq!(said[0]["asked"]["message"], question, "{said:?}");
            assert_eq!(said[1]["structuredContent"]["key"], issue, "{said:?}");
        }
        None => {
            let told = world.answered(&key, &arguments, &asked, yes()).await;
            assert_eq!(told["structuredContent"]["key"], issue, "{told}");
        }
    }
    assert!(!world.has(&issue) && !world.has(&below));
    assert_eq!(world.patchbay.database.count(TOMBSTONES).await.unwrap(), 2, "the synced copy does not know");

    // Asked for again under its key it is told, and nobody is asked; another key finds nothing.
    world.tracker.control().reset_requests();
    let params = json!({"name": SET[0], "arguments": arguments});
    let again = world.recent(&key, true, params).await;
    assert_eq!(again["structuredContent"]["replayed"], true, "{again}");
    let other = json!({"name": SET[0], "arguments": {"key": issue, "idempotency_key": "other"}});
    let told = world.recent(&key, true, other).await;
    assert_eq!((&told["isError"], told["resultType"].as_str()), (&json!(true), Some("complete")), "{told}");
    assert_eq!(world.sent(), 0);
    world.recorded("tracker.write", "delete_item").await;
    world.recorded("tool.call", "\"asked\":true").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_is_good_for_its_caller_its_call_and_the_issue_as_it_was() {
    let (world, key) = start().await;
    let issue = world.make("Kept").await;
    let arguments = json!({"key": issue});
    let asked = world.question(&key, &arguments).await;
    let others = world.key_with(json!({"toolsets": ["jira_admin"]})).await;
    let mut longer = asked.clone();
    longer["requestState"] = format!("{}A", asked["requestState"].as_str().unwrap()).into();
    let other = json!({"key": world.make("Another").await});
    let named = json!({"key": issue, "idempotency_key": "named"});
    for (what, key, arguments, asked) in [
        ("another caller", &others, &arguments, &asked),
        ("another issue", &key, &other, &asked),
        ("another call", &key, &named, &asked),
        ("made up", &key, &arguments, &longer),
    ] {
        let told = world.answered(key, arguments, asked, yes()).await;
        assert_eq!(told["structuredContent"]["field"], "/requestState", "{what}: {told}");
    }
    // An answer without its question is none: they are asked.
    let params = json!({"name": SET[0], "arguments": arguments, "inputResponses": {"confirm": yes()}});
    assert_eq!(world.recent(&key, true, params).await["resultType"], "input_required");

    let change = json!({"key": issue, "fields": {"summary": "Kept, and needed"}});
    world.done("jira_update_issue", change).await;
    let told = world.answered(&key, &arguments, &asked, yes()).await;
    assert_eq!(told["structuredContent"]["code"], "source_conflict", "{told}");
    assert!(world.has(&issue));

    // An answer of Jira's that gets lost: it is found to be gone, and deleted once.
    let asked = world.question(&key, &arguments).await;
    world.tracker.control().reset_requests();
    let matching = FaultMatch { method: Some("DELETE".into()), ..FaultMatch::default() };
    world.tracker.control().add_fault(FaultRule { matching, kind: FaultKind::AnswerLost });
    let told = world.answered(&key, &arguments, &asked, yes()).await;
    assert_eq!(told["structuredContent"]["key"], issue, "{told}");
    let again = world.answered(&key, &arguments, &asked, yes()).await;
    assert_eq!(again["structuredContent"]["replayed"], true, "{again}");
    assert_eq!(world.sent(), 1, "it was deleted twice");
    assert!(!world.has(&issue));
    assert_eq!(world.patchbay.database.count(TOMBSTONES).await.unwrap(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_made_released_and_archived_each_once() {
    let (world, key) = start().await;
    let (mut tools, _) = world.tools_of(&key).await;
    tools.retain(|tool| tool["name"] == SET[1]);
    let done = async |arguments: Value| {
        let told = world.call(&key, SET[1], arguments.clone()).await;
        assert_ne!(told["isError"], true, "{arguments}: {told}");
        fits(&tools, SET[1], &told["structuredContent"]);
        told["structuredContent"].clone()
    };
    let new = json!({"project": "ENG", "name": "4.0", "create": true, "description": "The next one",
        "start_date": "2026-12-01", "release_date": "2027-01-31", "idempotency_key": "made"});
    let mut rehearsal = new.clone();
    rehearsal["dry_run"] = true.into();
    let told = done(rehearsal).await;
    assert_eq!(
        (&told["dry_run"], told["changed"].as_array().map(Vec::len)),
        (&json!(true), Some(4)),
        "{told}"
    );
    assert_eq!(world.sent(), 0, "a dry run made it");
    let made = done(new.clone()).await;
    let again = done(new.clone()).await;
    assert_eq!((&again["replayed"], &again["version_id"]), (&json!(true), &made["version_id"]), "{again}");
    assert_eq!(world.sent(), 1, "it was made twice");

    let released = done(json!({"project": "ENG", "name": "4.0", "released": true})).await;
    assert_eq!(released["changed"], json!([{"field": "released", "from": false, "to": true}]), "{released}");
    let renamed = json!({"project": "ENG", "name": "4.0", "rename_to": "4.0 LTS", "archived": true});
    assert_eq!(done(renamed).await["version_id"], made["version_id"]);
    let fields = json!({"project": "ENG", "issue_type": "Bug", "query": "fix"});
    let described = world.call(&world.key, "jira_describe_fields", fields).await;
    assert!(described.to_string().contains("4.0 LTS"), "{described}");

    world.tracker.control().reset_requests();
    for (arguments, field) in [
        (json!({"project": "ENG", "name": "4.0 LTS"}), "/name"),
        (json!({"project": "ENG", "name": "4.0", "released": true}), "/name"),
        (json!({"project": "ENG", "name": "4.0 lts", "create": true}), "/name"),
        (json!({"project": "ENG", "name": "4.0 LTS", "rename_to": "3.0"}), "/rename_to"),
        (json!({"project": "ENG", "name": "5", "create": true, "released": true}), "/released"),
        (json!({"project": "ENG", "name": "5", "create": true, "start_date": "soon"}), "/start_date"),
        (json!({"project": "NONE", "name": "5", "create": true}), "/project"),
    ] {
        let told = world.refused(&key, SET[1], arguments.clone()).await;
        assert_eq!(told["field"], field, "{arguments}: {told}");
    }
    assert_eq!(world.sent(), 0, "something was sent");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_is_moved_once_between_projects_that_may_both_be_written_to() {
    let (world, key) = start().await;
    let site = generate::jira("two", Deployment::Cloud, &[("DEV", 3, 5), ("OPS", 4, 5)]);
    let login = JiraLogin::new(Some("bot@example.com"), TOKEN);
    world.tracker.control().add_jira(site.with_login(login)).unwrap();
    world.connect(&world.admin, "two").await;
    let new =
        json!({"instance": "two", "project": "DEV", "issue_type": "Task", "summary": "In the wrong place"});
    let issue = world.done("jira_create_issue", new).await["key"].as_str().unwrap().to_owned();
    let ask = json!({"instance": "two", "key": issue, "project": "OPS", "idempotency_key": "moved"});
    world.tracker.control().reset_requests();
    let mut rehearsal = ask.clone();
    rehearsal["dry_run"] = true.into();
    let told = world.call(&key, SET[2], rehearsal.clone()).await["structuredContent"].clone();
    assert_eq!(told["changed"], json!([{"field": "project", "from": "DEV", "to": "OPS"}]), "{told}");
    // Each of the two projects must be on the list.
    for projects in [["DEV"], ["OPS"]] {
        let narrow = world.key_with(json!({"toolsets": ["jira_admin"], "projects_write": projects})).await;
        for arguments in [&ask, &rehearsal] {
            let told = world.refused(&narrow, SET[2], arguments.clone()).await;
            assert_eq!(told["code"], "exceeds_own_rights", "{projects:?}: {told}");
        }
    }
    assert_eq!(world.sent(), 0, "something was sent");

    let moved = world.call(&key, SET[2], ask.clone()).await["structuredContent"].clone();
    let now = moved["key"].as_str().unwrap_or_else(|| panic!("{moved}")).to_owned();
    assert!(now.starts_with("OPS-"), "{moved}");
    let again = world.call(&key, SET[2], ask).await["structuredContent"].clone();
    assert_eq!((&again["key"], &again["replayed"]), (&moved["key"], &json!(true)), "{again}");
    assert_eq!(world.sent(), 1, "it was moved twice");
    let stored = "select count(*) from work_items where source_key = $1 and deleted_at is null";
    assert_eq!(
        world.patchbay.database.count_of(&now, stored).await.unwrap(),
        1,
        "the synced copy does not know"
    );
    world.end().await;
}
