//! What happened to one item, and lately to all.

use serde_json::json;
use uuid::Uuid;

use super::Hand;

async fn comment(hand: &mut Hand, instance: Uuid, key: &str, at: &str, body: &str) {
    let tenant = hand.ctx.tenant;
    hand.sql(format!(
        "insert into comments (tenant_id, id, instance_id, kind, source_id, item_ref_key, author, body, url, created_at,
             updated_at, content_hash, synced_at)
         values ('{tenant}', gen_random_uuid(), '{instance}', 'comment', gen_random_uuid()::text, 'r{key}', 'bo', {body},
             'https://example.org', {at}, {at}, '\\x00', now())"
    ))
    .await;
}

async fn changed(hand: &mut Hand, instance: Uuid, key: &str, at: &str, field: &str) {
    let tenant = hand.ctx.tenant;
    hand.sql(format!(
        "insert into work_item_changes (tenant_id, instance_id, source_id, item_ref_key, at, actor, field, from_value,
             to_value)
         values ('{tenant}', '{instance}', gen_random_uuid()::text, 'r{key}', {at}, 'ada', '{field}', 'old', 'new')"
    ))
    .await;
}

#[tokio::test]
async fn a_history_is_told_from_the_beginning_and_of_the_right_tracker() {
    let mut hand = Hand::new().await;
    let (one, two) = (hand.instance("one").await, hand.instance("two").await);
    hand.item(one, "A-1", "reporter = 'cleo'").await;
    hand.moved(one, "A-1", "now() - interval '5 days'", "todo", "in_progress").await;
    changed(&mut hand, one, "A-1", "now() - interval '4 days'", "assignee").await;
    comment(&mut hand, one, "A-1", "now() - interval '3 days'", "repeat('x', 501)").await;
    hand.item(two, "A-1", "created_at = now() - interval '1 day'").await;
    hand.item(one, "A-2", "deleted_at = now(), delete_reason = 'deleted'").await;
    let columns = ["actor", "what", "from_value", "to_value", "instance"];
    let rows = hand.ask("get_work_item_history", &columns, json!({"key": "A-1", "instance": "one"})).await;
    let cut = "x".repeat(500);
    let expected = json!([
        ["cleo", "created", null, "Title of A-1", "one"],
        ["ada", "status", "Todo", "In_Progress", "one"],
        ["ada", "assignee", "old", "new", "one"],
        ["bo", "comment", null, cut, "one"],
    ]);
    assert_eq!(rows, expected);
    // Without any history there is the beginning; without an instance both items are told, each with its own.
    let rows = hand.ask("get_work_item_history", &columns, json!({"key": "A-1", "instance": "two"})).await;
    assert_eq!(rows, json!([[null, "created", null, "Title of A-1", "two"]]));
    let since = chrono::Utc::now() - chrono::TimeDelta::hours(84);
    let rows =
        hand.ask("get_work_item_history", &["what", "instance"], json!({"key": "A-1", "since": since})).await;
    assert_eq!(rows, json!([["comment", "one"], ["created", "two"]]));
    assert_eq!(hand.ask("get_work_item_history", &columns, json!({"key": "A-2"})).await, json!([]));
}

#[tokio::test]
async fn what_changed_lately_comes_newest_first_and_can_be_narrowed() {
    let mut hand = Hand::new().await;
    let jira = hand.instance("jira").await;
    let touched = "updated_at = now() - interval '1 hour'";
    hand.item(jira, "A-1", touched).await;
    hand.moved(jira, "A-1", "now() - interval '30 hours'", "todo", "in_progress").await;
    hand.moved(jira, "A-1", "now() - interval '5 hours'", "in_progress", "done").await;
    changed(&mut hand, jira, "A-1", "now() - interval '4 hours'", "sprint").await;
    comment(&mut hand, jira, "A-1", "now() - interval '3 hours'", "repeat('y', 201)").await;
    hand.item(jira, "B-1", &format!("{touched}, reporter = 'bo', created_at = now() - interval '2 hours'"))
        .await;
    hand.item(jira, "B-2", &format!("{touched}, deleted_at = now(), delete_reason = 'deleted'")).await;
    comment(&mut hand, jira, "B-2", "now() - interval '1 hour'", "'gone'").await;
    let columns = ["source_key", "actor", "what", "field", "from_value", "to_value"];
    let cut = "y".repeat(200);
    let rows = hand.ask("list_recent_changes", &columns, json!({})).await;
    let expected = json!([
        ["B-1", "bo", "created", null, null, null],
        ["A-1", "bo", "comment", null, null, cut],
        ["A-1", "ada", "field", "sprint", "old", "new"],
        ["A-1", "ada", "status", "status", "In_Progress", "Done"],
    ]);
    assert_eq!(rows, expected);
    for (arguments, expected) in [
        (json!({"hours": 48, "what": "status"}), json!([["A-1", "status"], ["A-1", "status"]])),
        (json!({"project": "B"}), json!([["B-1", "created"]])),
        (json!({"actor": "bo"}), json!([["B-1", "created"], ["A-1", "comment"]])),
        (json!({"hours": 1}), json!([])),
    ] {
        let rows = hand.ask("list_recent_changes", &["source_key", "what"], arguments.clone()).await;
        assert_eq!(rows, expected, "{arguments}");
    }
}
