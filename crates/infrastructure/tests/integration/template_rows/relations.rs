//! Links, in whichever direction they are told.

use serde_json::json;

use super::Hand;

const RELATED: [&str; 5] = ["relation", "relation_original", "source_key", "instance", "status"];
const BLOCKED: [&str; 5] =
    ["source_key", "blocked_by", "blocker_status", "blocker_title", "blocker_assignee"];

#[tokio::test]
async fn an_item_shows_its_parent_children_and_links_once_each() {
    let mut hand = Hand::new().await;
    let (one, two) = (hand.instance("one").await, hand.instance("two").await);
    hand.item(one, "A-1", "parent_ref_key = 'rA-9'").await;
    hand.item(one, "A-9", "type_norm = 'epic'").await;
    hand.item(one, "A-2", "parent_ref_key = 'rA-1'").await;
    hand.item(one, "A-3", "status_norm = 'done'").await;
    hand.item(one, "A-4", "").await;
    for gone in ["A-5", "A-6", "A-7"] {
        hand.item(one, gone, "parent_ref_key = 'rA-1', deleted_at = now(), delete_reason = 'deleted'").await;
    }
    // Told by both ends, as Jira does; from the other end only; to what is not synced; to and from what is gone.
    hand.link(one, "A-1", "blocks", "A-3", true).await;
    hand.link(one, "A-3", "blocked_by", "A-1", true).await;
    hand.link(one, "A-4", "mentions", "A-1", true).await;
    hand.link(one, "A-1", "relates", "X-1", false).await;
    hand.link(one, "A-1", "duplicates", "A-5", true).await;
    hand.link(one, "A-6", "mentions", "A-1", true).await;
    // The same keys at another tracker.
    hand.item(two, "A-1", "").await;
    hand.item(two, "A-3", "").await;
    hand.link(two, "A-1", "blocks", "A-3", true).await;
    let of_one = json!([
        ["blocks", "is blocks", "A-3", "one", "done"],
        ["child", "child", "A-2", "one", "todo"],
        ["linked_from", "is mentions", "A-4", "one", "todo"],
        ["parent", "parent", "A-9", "one", "todo"],
        ["relates", "is relates", "X-1", "one", null],
    ]);
    let rows = hand.ask("find_related_items", &RELATED, json!({"key": "A-1", "instance": "one"})).await;
    assert_eq!(rows, of_one);
    let rows = hand.ask("find_related_items", &RELATED, json!({"key": "A-1", "instance": "two"})).await;
    assert_eq!(rows, json!([["blocks", "is blocks", "A-3", "two", "todo"]]));
    let both = hand.ask("find_related_items", &RELATED, json!({"key": "A-1"})).await;
    assert_eq!(both.as_array().map(Vec::len), Some(6), "{both}");
    for (key, expected) in [("A-7", json!([])), ("A-404", json!([]))] {
        assert_eq!(hand.ask("find_related_items", &RELATED, json!({"key": key})).await, expected);
    }
}

#[tokio::test]
async fn blocked_items_are_found_by_links_of_either_direction_and_each_pair_once() {
    let mut hand = Hand::new().await;
    let (one, two) = (hand.instance("one").await, hand.instance("two").await);
    for (n, set) in [
        (1, "assignee = 'ana'"),
        (2, "status_norm = 'in_progress'"),
        (3, ""),
        (4, "status_norm = 'done', resolved_at = now()"),
        (5, "deleted_at = now(), delete_reason = 'deleted'"),
        (6, "status_norm = 'unknown', assignee = 'bo'"),
        (7, "status_norm = 'cancelled', resolved_at = now()"),
    ] {
        let set = if set.is_empty() { String::new() } else { format!("{set}, ") };
        hand.item(one, &format!("A-{n}"), &format!("{set}updated_at = now() - interval '{} days'", 50 - n))
            .await;
    }
    // Told by both ends: one row.
    hand.link(one, "A-1", "blocked_by", "A-2", true).await;
    hand.link(one, "A-2", "blocks", "A-1", true).await;
    // By the blocker only, and by the blocked one only, of another project's item that is not synced.
    hand.link(one, "A-6", "blocks", "A-2", true).await;
    hand.link(one, "A-3", "blocked_by", "X-1", false).await;
    // What is done or gone blocks nothing, and what is done is not blocked.
    hand.link(one, "A-3", "blocked_by", "A-4", true).await;
    hand.link(one, "A-3", "blocked_by", "A-5", true).await;
    hand.link(one, "A-5", "blocks", "A-3", true).await;
    hand.link(one, "A-3", "blocked_by", "A-7", true).await;
    hand.link(one, "A-4", "blocked_by", "A-1", true).await;
    hand.link(one, "A-1", "blocks", "A-5", true).await;
    // Not blocking at all.
    hand.link(one, "A-3", "relates", "A-1", true).await;
    // Another tracker's item of the same key is not blocked.
    hand.item(two, "A-1", "").await;
    let first = json!(["A-1", "A-2", "in_progress", "Title of A-2", null]);
    let second = json!(["A-2", "A-6", "unknown", "Title of A-6", "bo"]);
    let third = json!(["A-3", "X-1", "unknown", null, null]);
    let rows = hand.ask("list_blocked_items", &BLOCKED, json!({})).await;
    assert_eq!(rows, json!([first, second, third]));
    let rows = hand.ask("list_blocked_items", &BLOCKED, json!({"assignee": "ana", "project": "A"})).await;
    assert_eq!(rows, json!([first]));
    assert_eq!(hand.ask("list_blocked_items", &BLOCKED, json!({"project": "B"})).await, json!([]));
}
