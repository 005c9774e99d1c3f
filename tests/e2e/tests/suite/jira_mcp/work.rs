//! The set `work`: time is booked once, and somebody watches.

use super::writes::change;
use super::*;

impl World {
    /// A world at whose address a set is open beside the core.
    pub(super) async fn with(set: &str) -> Self {
        let mut world = Self::start().await;
        world.mcp = format!("{}?toolsets=core,{set}", world.mcp);
        world
    }

    /// The tools of a set, which all model vendors take.
    pub(super) async fn set_of(&self, names: &[&str]) -> Vec<Value> {
        let (mut tools, _) = self.tools_of(&self.writing_key).await;
        tools.retain(|tool| names.iter().any(|name| tool["name"] == *name));
        let mut findings = Vec::new();
        for tool in &tools {
            lint_tool(tool, &mut findings);
        }
        assert!(findings.is_empty() && tools.len() == names.len(), "{findings:#?} in {tools:?}");
        tools
    }
}

/// Refuses an answer that is not what its tool promises.
pub(super) fn fits(tools: &[Value], name: &str, content: &Value) {
    let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
    if let Err(error) = jsonschema::validate(&tool["outputSchema"], content) {
        panic!("{name}: {error} in {content}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_is_booked_once_and_stored_at_once() {
    let world = World::with("work").await;
    let tools = world.set_of(&["jira_add_worklog", "jira_set_watcher"]).await;
    let key = world.make("Takes time").await;
    world.tracker.control().reset_requests();
    let ask = json!({"key": key, "time_spent": "1h 30m", "started": "2026-11-20T09:00:00+01:00",
        "comment": "Fixed **it**.", "idempotency_key": "booked"});
    let mut rehearsal = ask.clone();
    rehearsal["dry_run"] = true.into();
    let told = world.done("jira_add_worklog", rehearsal).await;
    fits(&tools, "jira_add_worklog", &told);
    assert_eq!((&told["dry_run"], &change(&told, "worklog")["to"]), (&json!(true), &json!("1h 30m")));
    assert_eq!(world.sent(), 0, "a dry run booked time");

    let told = world.done("jira_add_worklog", ask.clone()).await;
    fits(&tools, "jira_add_worklog", &told);
    assert_eq!(change(&told, "time_spent_s")["to"], 5_400, "{told}");
    let again = world.done("jira_add_worklog", ask).await;
    assert_eq!((&again["worklog_id"], &again["replayed"]), (&told["worklog_id"], &json!(true)));
    let stored = "select count(*) from worklogs where seconds = 5400 and started_at = '2026-11-20T08:00:00Z'";
    assert_eq!(world.patchbay.database.count(stored).await.unwrap(), 1, "the synced copy does not have it");

    // A lost answer is looked for before anything is sent again.
    let matching = FaultMatch {
        method: Some("POST".into()),
        path_contains: Some("/worklog".into()),
        ..FaultMatch::default()
    };
    world.tracker.control().add_fault(FaultRule { matching, kind: FaultKind::AnswerLost });
    let lost = json!({"key": key, "time_spent": "10m", "idempotency_key": "lost"});
    let told = world.done("jira_add_worklog", lost.clone()).await;
    let again = world.done("jira_add_worklog", lost).await;
    assert_eq!((&again["worklog_id"], &again["replayed"]), (&told["worklog_id"], &json!(true)));
    let happened = json!({"key": key, "kinds": ["worklog"]});
    let happened = world.call(&world.key, "jira_list_issue_activity", happened).await;
    let entries = happened["structuredContent"]["entries"].as_array().unwrap();
    let spent: Vec<_> = entries.iter().map(|entry| &entry["time_spent_s"]).collect();
    assert_eq!(spent, [600, 5_400], "{happened}");
    assert_eq!(entries[1]["body"], "Fixed **it**.\n", "{happened}");

    for (name, value) in [("time_spent", "soon"), ("time_spent", "90"), ("started", "yesterday")] {
        let mut wrong = json!({"key": key, "time_spent": "1h"});
        wrong[name] = value.into();
        let told = world.refused(&world.writing_key, "jira_add_worklog", wrong).await;
        assert_eq!(told["field"], format!("/{name}"), "{told}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_watches_an_issue_and_who_may_not_write_there_sets_nobody() {
    let world = World::with("work").await;
    let tools = world.set_of(&["jira_add_worklog", "jira_set_watcher"]).await;
    let key = world.make("Worth watching").await;
    let people = world.done("jira_find_users", json!({"query": "Jun"})).await;
    let name = people["users"][0]["name"].as_str().unwrap().to_owned();
    let set = json!({"key": key, "user": name});
    let told = world.done("jira_set_watcher", set.clone()).await;
    fits(&tools, "jira_set_watcher", &told);
    assert_eq!(change(&told, "watchers")["to"], name.as_str());
    let again = world.done("jira_set_watcher", set.clone()).await;
    assert_eq!(again["changed"], json!([]), "{again}");
    let watchers = async || {
        let read =
            world.call(&world.key, "jira_get_issue", json!({"key": key, "include": ["watchers"]})).await;
        read["structuredContent"].clone()
    };
    assert!(watchers().await.to_string().contains("\"count\":1"), "{}", watchers().await);
    let mut gone = set.clone();
    gone["watching"] = false.into();
    assert_eq!(change(&world.done("jira_set_watcher", gone).await, "watchers")["from"], name.as_str());
    let told =
        world.refused(&world.writing_key, "jira_set_watcher", json!({"key": key, "user": "Nobody"})).await;
    assert_eq!(told["field"], "/user", "{told}");

    let narrow = world.key_with(json!({"projects_write": []})).await;
    for (tool, arguments) in
        [("jira_set_watcher", set.clone()), ("jira_add_worklog", json!({"key": key, "time_spent": "1h"}))]
    {
        let told = world.refused(&narrow, tool, arguments).await;
        assert_eq!(told["code"], "exceeds_own_rights", "{tool}: {told}");
        // Who only reads, and who did not open the set, has no such tool.
        let told = world.refused(&world.key, tool, set.clone()).await;
        assert_eq!(told["code"], "forbidden", "{tool}: {told}");
    }
    let core = world.running.mcp_jira_url.clone().unwrap();
    let call = json!({"name": "jira_set_watcher", "arguments": set});
    let unknown = world.admin.with_key(&world.writing_key).rpc(&core, "tools/call", &call).await.unwrap();
    assert!(unknown.body["error"].is_object(), "{unknown:?}");
    world.end().await;
}
