//! What changed in the synced copy, from a cursor on.

use super::*;

const CHANGES: &str = "?toolsets=changes";

impl World {
    pub(super) async fn told(&self, key: &str, arguments: Value) -> Value {
        let answer = self.call_at(CHANGES, key, "jira_list_changes", arguments.clone()).await;
        assert_ne!(answer["isError"], true, "{arguments}: {answer}");
        answer["structuredContent"].clone()
    }

    /// Asks until something changed; a transaction of another test on this server may hold it back.
    pub(super) async fn next_changes(&self, key: &str, since: &Value) -> Value {
        for _ in 0..200 {
            let told = self.told(key, json!({"since": since})).await;
            if told["changes"] != json!([]) {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("nothing changed since {since}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_told_to_who_asks_with_a_cursor_and_to_nobody_else() {
    let world = World::start().await;
    let begin = world.told(&world.key, json!({})).await;
    assert_eq!((&begin["changes"], &begin["source"]), (&json!([]), &json!("synced")));
    let elsewhere = world.key_with(json!({"projects_read": ["OPS"]})).await;
    let outside = world.told(&elsewhere, json!({})).await;

    let new = json!({"project": "ENG", "issue_type": "Task", "summary": "Told"});
    let made = world.call(&world.writing_key, "jira_create_issue", new).await;
    let key = made["structuredContent"]["key"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let told = world.next_changes(&world.key, &begin["next_cursor"]).await;
    let change = &told["changes"][0];
    assert_eq!((&change["key"], &change["kind"]), (&json!(key), &json!("created")), "{told}");
    assert_eq!((told["changes"].as_array().map(Vec::len), &told["has_more"]), (Some(1), &json!(false)));

    let change = json!({"key": key, "fields": {"summary": "Told again"}});
    let changed = world.call(&world.writing_key, "jira_update_issue", change).await;
    assert_ne!(changed["isError"], true, "{changed}");
    let told = world.next_changes(&world.key, &told["next_cursor"]).await;
    assert_eq!((&told["changes"][0]["key"], &told["changes"][0]["kind"]), (&json!(key), &json!("updated")));
    let nothing = world.told(&world.key, json!({"since": told["next_cursor"]})).await;
    assert_eq!(nothing["changes"], json!([]), "it is told twice");

    // Who may not read the project is told nothing of it, and a cursor is its caller's and its question's.
    let told = world.told(&elsewhere, json!({"since": outside["next_cursor"]})).await;
    assert_eq!(told["changes"], json!([]), "{told}");
    let refused = world.call_at(CHANGES, &elsewhere, "jira_list_changes", json!({"projects": ["ENG"]})).await;
    assert_eq!(refused["structuredContent"]["code"], "not_found", "{refused}");
    for (key, arguments) in [
        (&world.writing_key, json!({"since": begin["next_cursor"]})),
        (&world.key, json!({"since": begin["next_cursor"], "projects": ["ENG"]})),
        (&world.key, json!({"since": "yesterday"})),
    ] {
        let refused = world.call_at(CHANGES, key, "jira_list_changes", arguments).await;
        assert_eq!(refused["structuredContent"]["field"], "/since", "{refused}");
    }
    // It asks nothing of Jira, and goes on while that is away.
    let before = world.tracker.control().stats().requests;
    world.told(&world.key, json!({"since": begin["next_cursor"], "limit": 1})).await;
    assert_eq!(world.tracker.control().stats().requests, before);
    world.end().await;
}
