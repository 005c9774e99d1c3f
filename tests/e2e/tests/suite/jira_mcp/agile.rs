//! Sets beside the core: who opens them, and what the set agile does.

use super::*;

const AGILE: &str = "?toolsets=agile";

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_opened_by_the_key_that_names_it_or_by_the_address_and_the_context_tells() {
    let world = World::start().await;
    let agile = ["jira_list_boards", "jira_list_sprints", "jira_set_issue_sprint", "jira_write_sprint"];
    let core = world.names_at("", &world.writing_key).await;
    assert_eq!(core.len(), 12, "{core:?}");
    assert_eq!(world.names_at(AGILE, &world.writing_key).await, agile);
    assert_eq!(
        world.names_at(AGILE, &world.key).await,
        agile[..2],
        "who may not write is shown no tool that does"
    );
    let both = world.names_at("?toolsets=core,jira_agile&read_only=true", &world.writing_key).await;
    assert_eq!(both.len(), 9, "{both:?}");
    let closed = world.call(&world.key, "jira_list_boards", json!({})).await;
    assert_eq!(closed["code"], -32602, "{closed}");
    assert_eq!(world.names_at("?toolsets=admin", &world.writing_key).await, [] as [&str; 0]);

    let context = world.call_at("?toolsets=core,agile", &world.key, "jira_get_context", json!({})).await;
    let sets = context["structuredContent"]["toolsets"].as_array().unwrap().clone();
    let open = |name: &str| sets.iter().find(|set| set["name"] == name).map(|set| set["open"].clone());
    assert_eq!((open("jira_core"), open("jira_agile")), (Some(json!(true)), Some(json!(true))));
    assert_eq!((open("jira_changes"), open("jira_admin")), (Some(json!(false)), None), "{sets:?}");

    // A key of one set is let in, has it without a word, and opens no other.
    let narrow = world.key_with(json!({"toolsets": ["jira_agile"]})).await;
    assert_eq!(world.names_at("", &narrow).await, agile);
    assert_eq!(world.names_at("?toolsets=core,work", &narrow).await, [] as [&str; 0]);
    // The installation is the upper bound, for keys that name a set too.
    let bound = [("PATCHBAY_JIRA_TOOLSETS", "core,jira_admin")];
    let bounded = world.patchbay.serve_with("mcp-jira", &bound).await.unwrap();
    let mcp = bounded.mcp_jira_url.clone().unwrap();
    assert_eq!(world.names_of(&format!("{mcp}?toolsets=core,agile"), &world.writing_key).await, core);
    assert_eq!(world.names_of(&mcp, &narrow).await, [] as [&str; 0]);
    assert_eq!(bounded.terminate().await.unwrap(), Some(0));

    let other = world.key_with(json!({"toolsets": ["sql"]})).await;
    let refused = world.admin.with_key(&other).rpc(&world.mcp, "tools/list", &json!({})).await.unwrap();
    assert_eq!(refused.status, 403, "{refused:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_and_sprints_are_read_within_the_projects_of_the_key() {
    let world = World::start().await;
    let boards = world.call_at(AGILE, &world.key, "jira_list_boards", json!({"project": "eng"})).await;
    let boards = &boards["structuredContent"];
    assert_eq!(
        boards["boards"],
        json!([{"id": "1", "name": "ENG board", "type": "scrum", "project": "ENG"}])
    );
    let sprints = world.call_at(AGILE, &world.key, "jira_list_sprints", json!({"board": 1})).await;
    let sprints = sprints["structuredContent"]["sprints"].as_array().unwrap().clone();
    assert!(!sprints.is_empty() && sprints.iter().all(|sprint| sprint["state"] != "closed"), "{sprints:?}");

    // Page by page, each once.
    let mut seen = Vec::new();
    let mut arguments = json!({"board": "1", "state": "closed", "limit": 2});
    loop {
        let page = world.call_at(AGILE, &world.key, "jira_list_sprints", arguments.clone()).await;
        let page = page["structuredContent"].clone();
        seen.extend(page["sprints"].as_array().unwrap().iter().map(|sprint| sprint["id"].clone()));
        match page.get("next_cursor") {
            Some(next) => arguments["cursor"] = next.clone(),
            None => break,
        }
    }
    let closed = world.tracker.control().with_jira("acme", |site| site.sprints_in("closed")).unwrap();
    let closed: Vec<Value> = closed.into_iter().map(|(id, _)| json!(id.to_string())).collect();
    assert_eq!(seen, closed);

    let elsewhere = world.key_with(json!({"projects_read": ["OPS"]})).await;
    let none = world.call_at(AGILE, &elsewhere, "jira_list_boards", json!({})).await;
    assert_eq!(none["structuredContent"]["boards"], json!([]), "{none}");
    for (tool, arguments) in [
        ("jira_list_boards", json!({"project": "ENG"})),
        ("jira_list_sprints", json!({"board": "1"})),
        ("jira_list_sprints", json!({"board": "99"})),
    ] {
        let refused = world.call_at(AGILE, &elsewhere, tool, arguments).await;
        assert_eq!(refused["structuredContent"]["code"], "not_found", "{tool}: {refused}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sprint_is_made_once_filled_started_and_closed() {
    let world = World::start().await;
    let done = async |tool: &str, arguments: Value| {
        let answer = world.call_at(AGILE, &world.writing_key, tool, arguments.clone()).await;
        assert_ne!(answer["isError"], true, "{tool} {arguments}: {answer}");
        answer["structuredContent"].clone()
    };
    let refused = async |tool: &str, arguments: Value| {
        let answer = world.call_at(AGILE, &world.writing_key, tool, arguments.clone()).await;
        assert_eq!(answer["isError"], true, "{tool} {arguments}: {answer}");
        answer["structuredContent"].clone()
    };
    let future =
        || world.tracker.control().with_jira("acme", |site| site.sprints_in("future")).unwrap().len();
    let before = future();
    let new = json!({"board": "1", "name": "Hardening", "goal": "No more canaries", "start": "2026-12-01",
        "end": "2026-12-14", "idempotency_key": "s-1"});
    let mut rehearsal = new.clone();
    rehearsal["dry_run"] = true.into();
    let told = done("jira_write_sprint", rehearsal).await;
    assert_eq!((told.get("sprint_id"), told["changed"].as_array().map(Vec::len)), (None, Some(4)), "{told}");
    assert_eq!(future(), before, "a dry run made a sprint");
    let made = done("jira_write_sprint", new.clone()).await;
    let again = done("jira_write_sprint", new).await;
    assert_eq!((&made["sprint_id"], &again["replayed"]), (&again["sprint_id"], &json!(true)));
    assert_eq!(future(), before + 1);
    let sprint = made["sprint_id"].as_str().unwrap().to_owned();
    let told = refused("jira_write_sprint", json!({"board": "1", "name": "Hardening"})).await;
    assert_eq!(told["field"], "/name", "{told}");

    let keys = json!(["ENG-3", "eng-4", "ENG-3", "ENG-9999"]);
    let moved = done("jira_set_issue_sprint", json!({"keys": keys, "sprint": sprint})).await;
    assert_eq!((&moved["done"], &moved["failed"]), (&json!(2), &json!(1)), "{moved}");
    assert_eq!(moved["results"][0], json!({"key": "ENG-3", "ok": true, "changed": true}));
    assert_eq!(
        (&moved["results"][2]["key"], &moved["results"][2]["ok"]),
        (&json!("ENG-9999"), &json!(false))
    );
    assert_eq!(moved["results"][2]["error"]["code"], "source_not_found", "{moved}");
    let found = world
        .call(&world.key, "jira_search_issues", json!({"jql": format!("sprint = {sprint}"), "view": "key"}))
        .await;
    assert_eq!(found["structuredContent"]["issues"].as_array().map(Vec::len), Some(2), "{found}");
    let again = done("jira_set_issue_sprint", json!({"keys": ["ENG-3"], "sprint": sprint})).await;
    assert_eq!((&again["results"][0]["ok"], &again["results"][0]["changed"]), (&json!(true), &json!(false)));

    let started = done("jira_write_sprint", json!({"sprint": sprint, "state": "active"})).await;
    assert_eq!(
        started["changed"],
        json!([{"field": "state", "from": "future", "to": "active"}]),
        "{started}"
    );
    done("jira_set_issue_sprint", json!({"keys": ["ENG-4"], "sprint": "backlog"})).await;
    done("jira_write_sprint", json!({"sprint": sprint, "state": "closed"})).await;
    let told = refused("jira_set_issue_sprint", json!({"keys": ["ENG-4"], "sprint": sprint})).await;
    assert_eq!(told["field"], "/sprint", "{told}");
    let told = refused("jira_write_sprint", json!({"sprint": sprint, "name": "Again"})).await;
    assert_eq!((&told["code"], &told["upstream_status"]), (&json!("source_rejected"), &json!(400)), "{told}");
    for (tool, arguments, field) in [
        ("jira_write_sprint", json!({"name": "x"}), "/board"),
        ("jira_write_sprint", json!({"board": "one", "name": "x"}), "/board"),
        (
            "jira_write_sprint",
            json!({"board": "1", "name": "x", "start": "2026-12-02", "end": "2026-12-01"}),
            "/end",
        ),
        ("jira_set_issue_sprint", json!({"keys": [], "sprint": "backlog"}), "/keys"),
        ("jira_set_issue_sprint", json!({"keys": ["nonsense"], "sprint": "backlog"}), "/keys/0"),
        ("jira_set_issue_sprint", json!({"keys": ["ENG-1"], "sprint": "soon"}), "/sprint"),
    ] {
        assert_eq!(refused(tool, arguments).await["field"], field);
    }
    // A key that may write elsewhere only moves nothing here and makes nothing here.
    let narrow = world.key_with(json!({"projects_write": ["OPS"]})).await;
    let told = world
        .call_at(AGILE, &narrow, "jira_set_issue_sprint", json!({"keys": ["ENG-5"], "sprint": "backlog"}))
        .await;
    assert_eq!(told["structuredContent"]["results"][0]["error"]["code"], "exceeds_own_rights", "{told}");
    let told = world.call_at(AGILE, &narrow, "jira_write_sprint", json!({"board": "1", "name": "x"})).await;
    assert_eq!(told["structuredContent"]["code"], "exceeds_own_rights", "{told}");
    world.end().await;
}
