//! Tools that write: each does what it was asked once, within what its key may, or says what to do about it.

use futures::future::join_all;
use patchbay_e2e::Answer;

use super::*;

pub(super) const INTENDED: &str = "select count(*) from write_intents where state = 'intended'";
/// Jira gives up what it was asked within a minute, and a dead server's claim runs out: pretends that both have passed.
pub(super) const PASSED: &str = "update write_intents set lease_until = now() - interval '1 s',
    attempt_over_at = now() - interval '5 minutes' where state = $1";
const WRITTEN: &str = "select count(*) from audit_log where action = 'tracker.write' and outcome = 'ok' and principal_id is not null";

impl World {
    /// Issues at the tracker.
    pub(super) fn issues(&self) -> usize {
        count(&self.tracker)
    }

    /// Requests that changed something at the tracker.
    pub(super) fn sent(&self) -> usize {
        let read = |path: &str| path.contains("/search") || path.contains("bulkfetch");
        let sent = self.tracker.control().requests();
        sent.iter().filter(|one| one.method != "GET" && !read(&one.path_and_query)).count()
    }

    /// A tool's content, when it did what it was asked.
    pub(super) async fn done(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.call(&self.writing_key, tool, arguments.clone()).await;
        assert_ne!(answer["isError"], true, "{tool} {arguments}: {answer}");
        answer["structuredContent"].clone()
    }

    /// What a tool says to somebody whom it refuses.
    pub(super) async fn refused(&self, key: &str, tool: &str, arguments: Value) -> Value {
        let answer = self.call(key, tool, arguments.clone()).await;
        assert_eq!(answer["isError"], true, "{tool} {arguments}: {answer}");
        answer["structuredContent"].clone()
    }

    pub(super) async fn make(&self, summary: &str) -> String {
        let new = json!({"project": "ENG", "issue_type": "Task", "summary": summary, "description": "Since **Monday**."});
        self.done("jira_create_issue", new).await["key"].as_str().unwrap().to_owned()
    }

    pub(super) async fn key_with(&self, grant: Value) -> String {
        let new =
            json!({"name": "narrow", "kind": "assistant", "scopes": ["mcp:jira:write"], "grant": grant});
        let made = self.admin.post("/api/v1/keys", &new).await.unwrap();
        made.body["secret"]
            .as_str()
            .or(made.body["key"].as_str())
            .unwrap_or_else(|| panic!("{made:?}"))
            .to_owned()
    }
}

fn count(tracker: &Simulator) -> usize {
    tracker.control().with_jira("acme", |site| site.issue_keys().len()).unwrap()
}

/// The change of a field, as an answer tells it.
pub(super) fn change<'a>(content: &'a Value, field: &str) -> &'a Value {
    let changed = content["changed"].as_array().unwrap();
    changed.iter().find(|change| change["field"] == field).unwrap_or_else(|| panic!("{field} in {content}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_is_made_changed_commented_linked_and_taken_along_and_each_answer_says_what_changed() {
    let world = World::start().await;
    let (tools, _) = world.tools_of(&world.writing_key).await;
    let fits = |name: &str, content: &Value| {
        let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
        if let Err(error) = jsonschema::validate(&tool["outputSchema"], content) {
            panic!("{name}: {error} in {content}");
        }
    };
    let before = world.issues();
    let new = json!({"project": "eng", "issue_type": "task", "summary": "Login fails", "description": "Since **Monday**.",
        "labels": ["mobile"], "idempotency_key": "one"});
    let mut rehearsal = new.clone();
    rehearsal["dry_run"] = true.into();
    let told = world.done("jira_create_issue", rehearsal).await;
    fits("jira_create_issue", &told);
    assert_eq!((&told["dry_run"], &told["key"]), (&json!(true), &Value::Null), "{told}");
    assert_eq!(change(&told, "description")["to"], "Since **Monday**.\n");
    assert_eq!((world.issues(), world.sent()), (before, 0), "a dry run wrote something");

    let made = world.done("jira_create_issue", new.clone()).await;
    fits("jira_create_issue", &made);
    let key = made["key"].as_str().unwrap();
    assert_eq!(
        (change(&made, "summary")["to"].as_str(), &made["replayed"]),
        (Some("Login fails"), &json!(false))
    );
    let again = world.done("jira_create_issue", new.clone()).await;
    assert_eq!((&again["key"], &again["replayed"]), (&made["key"], &json!(true)));
    let mut other = new;
    other["summary"] = "Another".into();
    let told = world.refused(&world.writing_key, "jira_create_issue", other).await;
    assert_eq!(told["code"], "idempotency_mismatch", "{told}");
    assert_eq!(world.issues(), before + 1);

    // What was written is in the synced copy, without a sync.
    let kept =
        world.patchbay.database.count_of(key, "select count(*) from work_items where source_key = $1").await;
    assert_eq!(kept.unwrap(), 1);

    let fields = json!({"summary": "Login fails on phones", "Labels": {"add": ["login"]}});
    let rehearsed = json!({"key": key, "fields": fields, "dry_run": true});
    let told = world.done("jira_update_issue", rehearsed).await;
    let updated = world.done("jira_update_issue", json!({"key": key, "fields": fields})).await;
    fits("jira_update_issue", &updated);
    assert_eq!(told["changed"], updated["changed"], "the rehearsal foretold something else");
    assert_eq!(change(&updated, "labels")["to"], json!(["login", "mobile"]));

    let commented = world.done("jira_add_comment", json!({"key": key, "body": "Seen **again**."})).await;
    fits("jira_add_comment", &commented);
    assert_eq!(commented["visibility_applied"], "public");

    let panel = json!({"type": "doc", "version": 1, "content": [{"type": "panel", "attrs": {"panelType": "info"},
        "content": [{"type": "paragraph", "content": [{"type": "text", "text": "As it is"}]}]}]});
    let described = json!({"key": key, "fields": {"description": panel}, "text_format": "adf"});
    fits("jira_update_issue", &world.done("jira_update_issue", described).await);
    let shown = json!({"key": key, "include": ["description"], "text_format": "adf"});
    let shown = world.call(&world.key, "jira_get_issue", shown).await;
    assert_eq!(shown["structuredContent"]["description"], panel, "{shown}");

    let moved = world.done("jira_transition_issue", json!({"key": key, "to": "in progress"})).await;
    fits("jira_transition_issue", &moved);
    assert_eq!(change(&moved, "status"), &json!({"field": "status", "from": "To Do", "to": "In Progress"}));

    let other = world.make("The cause").await;
    let link = json!({"from": key, "to": other, "type": "is blocked by"});
    let linked = world.done("jira_link_issues", link.clone()).await;
    fits("jira_link_issues", &linked);
    assert_eq!(change(&linked, "links")["to"], format!("is blocked by {other}"));
    let twice = world.done("jira_link_issues", link.clone()).await;
    assert_eq!(twice["changed"], json!([]), "{twice}");
    let read =
        world.call(&world.key, "jira_get_issue", json!({"key": key, "include": ["links", "comments"]})).await;
    let read = &read["structuredContent"];
    assert_eq!(
        (&read["links"][0]["type"], &read["links"][0]["key"]),
        (&json!("is blocked by"), &json!(other))
    );
    assert_eq!(read["comments"][0]["body"], "Seen **again**.\n");
    let mut gone = link;
    gone["remove"] = true.into();
    let unlinked = world.done("jira_link_issues", gone).await;
    assert_eq!(change(&unlinked, "links")["from"], format!("is blocked by {other}"));
    let read = world.call(&world.key, "jira_get_issue", json!({"key": key, "include": ["links"]})).await;
    assert_eq!(read["structuredContent"]["links"], json!([]));

    // Each write is on the record as one, beside the call of the tool; replays and rehearsals are no writes.
    assert_eq!(world.patchbay.database.count(WRITTEN).await.unwrap(), 9);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_changes_nothing_and_says_what_to_do() {
    let world = World::start().await;
    let key = world.make("Stays as it is").await;
    world.done("jira_update_issue", json!({"key": key, "fields": {"summary": "As it is"}})).await;
    world.tracker.control().reset_requests();
    let refused =
        async |tool: &str, arguments: Value| world.refused(&world.writing_key, tool, arguments).await;

    let stale = json!({"key": key, "fields": {"summary": "Lost"}, "if_unchanged_since": "2020-01-01"});
    let told = refused("jira_update_issue", stale).await;
    assert_eq!(
        (&told["code"], &told["field"]),
        (&json!("source_conflict"), &json!("/if_unchanged_since")),
        "{told}"
    );
    assert!(told["message"].as_str().unwrap().contains("changed since: summary"), "{told}");
    let told = refused("jira_transition_issue", json!({"key": key, "to": "Shipped"})).await;
    assert_eq!(
        (&told["field"], &told["allowed"]),
        (&json!("/to"), &json!(["Done", "In Progress", "In Review"])),
        "{told}"
    );
    let told = refused("jira_update_issue", json!({"key": key, "fields": {"Summry": "x"}})).await;
    assert_eq!(
        (&told["field"], &told["allowed"][0]),
        (&json!("/fields/Summry"), &json!("Summary")),
        "{told}"
    );
    let told = refused("jira_update_issue", json!({"key": key, "fields": {"Priority": "Hihg"}})).await;
    assert_eq!((&told["field"], &told["allowed"][0]), (&json!("/fields/Priority"), &json!("High")), "{told}");
    let told = refused("jira_update_issue", json!({"key": key, "fields": {"status": "Done"}})).await;
    assert_eq!(told["field"], "/fields/status", "{told}");
    let told =
        refused("jira_create_issue", json!({"project": "ENG", "issue_type": "Bugg", "summary": "x"})).await;
    assert_eq!((&told["field"], &told["allowed"][0]), (&json!("/issue_type"), &json!("Bug")), "{told}");
    let told = refused("jira_link_issues", json!({"from": key, "to": "ENG-1", "type": "is blocking"})).await;
    assert_eq!(told["field"], "/type", "{told}");
    assert!(told["allowed"].as_array().unwrap().contains(&json!("is blocked by")), "{told}");
    let told = refused("jira_add_comment", json!({"key": key, "body": "x", "visibility": "internal"})).await;
    assert_eq!(told["field"], "/visibility", "{told}");
    let wrong = json!({"type": "doc", "version": 1, "content": [{"type": "paragraf"}]});
    let new = json!({"project": "ENG", "issue_type": "Task", "summary": "x", "text_format": "adf", "description": wrong});
    let told = refused("jira_create_issue", new).await;
    assert_eq!(told["field"], "/description/content/0/type", "{told}");
    let told = refused("jira_add_comment", json!({"key": key, "body": wrong})).await;
    assert_eq!(told["field"], "/body", "{told}");
    let text = json!({"key": key, "body": "Markdown", "text_format": "adf"});
    assert_eq!(refused("jira_add_comment", text).await["field"], "/body");
    // A refused call did nothing: its key is free for the corrected one.
    let typo = json!({"key": key, "fields": {"Summry": "x"}, "idempotency_key": "typo"});
    refused("jira_update_issue", typo).await;
    assert_eq!(world.sent(), 0, "something was sent");
    let corrected = json!({"key": key, "fields": {"Priority": "High"}, "idempotency_key": "typo"});
    assert_eq!(change(&world.done("jira_update_issue", corrected.clone()).await, "Priority")["to"], "High");
    assert_eq!(world.done("jira_update_issue", corrected).await["replayed"], true);
    let other = json!({"key": key, "fields": {"Priority": "Low"}, "idempotency_key": "typo"});
    assert_eq!(refused("jira_update_issue", other).await["code"], "idempotency_mismatch");
    let seen = world.call(&world.key, "jira_get_issue", json!({"key": key})).await;
    let seen = seen["structuredContent"]["updated"].as_str().unwrap().to_owned();

    // As fresh as what the caller has seen, it is written.
    let fresh = json!({"key": key, "fields": {"summary": "New"}, "if_unchanged_since": seen});
    assert_eq!(change(&world.done("jira_update_issue", fresh).await, "Summary")["to"], "New");

    // A lost answer is looked for at the tracker before anything is sent again.
    let lost = |kind| {
        let matching = FaultMatch {
            method: Some("POST".into()),
            path_contains: Some("/comment".into()),
            ..FaultMatch::default()
        };
        world.tracker.control().add_fault(FaultRule { matching, kind });
    };
    lost(FaultKind::AnswerLost);
    let comment = json!({"key": key, "body": "Once", "idempotency_key": "lost"});
    let told = world.done("jira_add_comment", comment.clone()).await;
    let again = world.done("jira_add_comment", comment).await;
    assert_eq!((&again["comment_id"], &again["replayed"]), (&told["comment_id"], &json!(true)));
    // What is neither there nor known to be absent is left open, under a key that finds out.
    lost(FaultKind::Reset);
    let told =
        refused("jira_add_comment", json!({"key": key, "body": "Open", "idempotency_key": "open"})).await;
    assert_eq!(told["code"], "write_unsure", "{told}");
    assert!(told["hint"].as_str().unwrap().contains("idempotency_key = open"), "{told}");
    assert!(told["retry_after_ms"].as_u64().unwrap() > 0, "{told}");

    let limit = FaultKind::RateLimited { retry_after_s: 30, as_http_date: false, omit_header: false };
    lost(limit);
    let told = refused("jira_add_comment", json!({"key": key, "body": "Later"})).await;
    assert_eq!(
        (&told["code"], &told["retry_after_ms"]),
        (&json!("source_rate_limited"), &json!(30_000)),
        "{told}"
    );
    world.tracker.control().reset_requests();
    let told = refused("jira_add_comment", json!({"key": key, "body": "Later"})).await;
    assert_eq!(told["code"], "source_rate_limited", "{told}");
    assert_eq!(world.tracker.control().stats().requests, 0, "the time to wait was not kept");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_writes_only_where_it_may_and_one_that_reads_is_shown_no_tool_that_writes() {
    let world = World::start().await;
    let names = async |key: &str| -> Vec<String> {
        let (tools, _) = world.tools_of(key).await;
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let (reading, writing) = (names(&world.key).await, names(&world.writing_key).await);
    assert_eq!((reading.len(), writing.len()), (7, 12));
    let key = world.make("Ours").await;
    let comment = json!({"key": key, "body": "x"});
    let context = world.done("jira_get_context", json!({})).await;
    assert_eq!(context["instances"][0]["can_write"], true, "{context}");
    world.tracker.control().reset_requests();

    let told = world.refused(&world.key, "jira_add_comment", comment.clone()).await;
    assert_eq!(told["code"], "forbidden", "{told}");
    let plain = world.admin.with_key(&world.key).invoke(&world.mcp, "jira.comment", &comment).await.unwrap();
    assert_eq!((plain.status, &plain.body["code"]), (403, &json!("forbidden")), "{plain:?}");

    // Narrowed to reading or writing another project: neither may write here, whether the issue is there or not.
    for grant in [
        json!({"projects_read": ["OPS"]}),
        json!({"projects_read": ["ENG"], "projects_write": ["OPS"]}),
        json!({"projects_write": []}),
    ] {
        let narrow = world.key_with(grant.clone()).await;
        let absent = json!({"key": "ENG-99999", "body": "x"});
        let mut said = Vec::new();
        for arguments in [&comment, &absent] {
            let told = world.refused(&narrow, "jira_add_comment", arguments.clone()).await;
            assert_eq!(told["code"], "exceeds_own_rights", "{grant}: {told}");
            said.push(told["message"].clone());
        }
        assert_eq!(said[0], said[1], "{grant} tells what exists");
        for (tool, arguments) in [
            ("jira_create_issue", json!({"project": "ENG", "issue_type": "Task", "summary": "x"})),
            (
                "jira_create_issue",
                json!({"project": "ENG", "issue_type": "Task", "summary": "x", "dry_run": true}),
            ),
            ("jira_update_issue", json!({"key": key, "fields": {"summary": "x"}})),
            ("jira_transition_issue", json!({"key": key, "to": "Done"})),
            ("jira_link_issues", json!({"from": key, "to": "ENG-1", "type": "blocks"})),
        ] {
            let told = world.refused(&narrow, tool, arguments).await;
            assert_eq!(told["code"], "exceeds_own_rights", "{grant}, {tool}: {told}");
        }
    }
    let own = world.key_with(json!({"projects_read": ["ENG"], "projects_write": ["ENG"]})).await;
    assert_eq!(world.sent(), 0, "something was sent");
    let written = world.call(&own, "jira_add_comment", comment.clone()).await;
    assert_ne!(written["isError"], true, "{written}");

    // The address takes away from what the key may do.
    let narrow = format!("{}?read_only=true", world.mcp);
    let listed =
        world.admin.with_key(&world.writing_key).rpc(&narrow, "tools/list", &json!({})).await.unwrap();
    assert_eq!(listed.body["result"]["tools"].as_array().map(Vec::len), Some(7), "{listed:?}");
    let params = json!({"name": "jira_add_comment", "arguments": comment});
    let told = world.admin.with_key(&world.writing_key).rpc(&narrow, "tools/call", &params).await.unwrap();
    assert!(told.body["error"]["message"].as_str().unwrap().contains("Unknown tool"), "{told:?}");
    let misspelt = format!("{}?readonly=true", world.mcp);
    let told =
        world.admin.with_key(&world.writing_key).rpc(&misspelt, "tools/list", &json!({})).await.unwrap();
    assert_eq!(told.body["error"]["data"]["errors"][0]["pointer"], "/readonly", "{told:?}");

    // Another tenant reaches neither the instance nor, under the same idempotency key, what was answered here.
    let foreign = world.patchbay.key("globex", "mcp:jira:write").await.unwrap();
    world.tracker.control().reset_requests();
    for arguments in [comment.clone(), json!({"key": key, "body": "x", "instance": "acme"})] {
        let told = world.refused(&foreign, "jira_add_comment", arguments).await;
        assert!(!told.to_string().contains(&key), "{told}");
    }
    assert_eq!(world.tracker.control().stats().requests, 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_sent_a_hundred_times_at_once_to_a_server_that_is_killed_makes_one_issue() {
    let World { patchbay, mut running, tracker, mut mcp, mut admin, writing_key, .. } = World::start().await;
    let db = &patchbay.database;
    for round in 0..3 {
        let before = count(&tracker);
        let once = format!("create-{round}");
        let new = json!({"project": "ENG", "issue_type": "Task", "summary": once, "idempotency_key": once});
        let call = |mcp: &str| {
            let (api, mcp, new) = (admin.with_key(&writing_key), mcp.to_owned(), new.clone());
            tokio::spawn(async move { api.invoke(&mcp, "jira.create_issue", &new).await })
        };
        // The answer comes too late for the one that asks, or never.
        let matching = FaultMatch {
            method: Some("POST".into()),
            path_contains: Some("/api/3/issue".into()),
            ..FaultMatch::default()
        };
        let kind = if round < 2 { FaultKind::Slow { ms: 1_500 } } else { FaultKind::AnswerLost };
        tracker.control().add_fault(FaultRule { matching, kind });
        let calls: Vec<_> = (0..100).map(|_| call(&mcp)).collect();
        // When it is meant, when it is about to be sent, and when it has been done.
        match round {
            0 => while db.count(INTENDED).await.unwrap() == 0 {},
            1 => {
                while !tracker
                    .control()
                    .requests()
                    .iter()
                    .any(|one| one.path_and_query.contains("createmeta"))
                {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            _ => {
                while count(&tracker) == before {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
        running.kill_9().await.unwrap();
        let firsts = join_all(calls).await;
        let answered = firsts.into_iter().filter(|first| matches!(first, Ok(Ok(_)))).count();
        println!("round {round}: {answered} of 100 calls were answered before the kill");
        tracker.control().clear_faults();
        running = patchbay.serve_with("admin,mcp-jira", &WIDE).await.unwrap();
        mcp = running.mcp_jira_url.clone().unwrap();
        admin = running.api(&patchbay.key("acme", "admin").await.unwrap()).unwrap();
        let call = async || -> Answer {
            admin.with_key(&writing_key).invoke(&mcp, "jira_create_issue", &new).await.unwrap()
        };
        db.execute(PASSED, "intended").await.unwrap();
        let mut told = call().await;
        for _ in 0..40 {
            if !["idempotency_in_flight", "write_unsure"].iter().any(|code| told.body["code"] == *code) {
                break;
            }
            db.execute(PASSED, "intended").await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            told = call().await;
        }
        assert_eq!(told.status, 200, "round {round}: {told:?}");
        for again in join_all((0..100).map(|_| call())).await {
            assert_eq!(
                (again.status, &again.body["key"]),
                (200, &told.body["key"]),
                "round {round}: {again:?}"
            );
            assert_eq!(again.body["replayed"], true, "round {round}: {again:?}");
        }
        assert_eq!(count(&tracker), before + 1, "round {round}: issues");
        tracker.control().reset_requests();
    }
    assert_eq!(running.terminate().await.unwrap(), Some(0));
    patchbay.database.drop().await.unwrap();
}
