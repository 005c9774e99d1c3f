//! Lists and counts of items: what is deleted is in none, what has no assignee in each.

use serde_json::json;

use super::Hand;

async fn filled() -> Hand {
    let mut hand = Hand::new().await;
    let (one, two) = (hand.instance("one").await, hand.instance("two").await);
    let tenant = hand.ctx.tenant;
    hand.item(one, "A-1", "assignee = 'ana', story_points = 3, updated_at = now() - interval '1 day'").await;
    hand.item(one, "A-2", "status_norm = 'done', resolved_at = now() - interval '1 day', story_points = 5")
        .await;
    hand.item(one, "A-3", "assignee = 'ana', deleted_at = now(), delete_reason = 'deleted'").await;
    hand.item(one, "B-1", "status_norm = 'unknown', created_at = now()").await;
    // The same key at another tracker.
    hand.item(two, "A-1", "assignee = 'bo', url = 'https://two.example/A-1'").await;
    hand.sql(format!(
        "insert into work_item_labels (tenant_id, work_item_id, label)
         select '{tenant}', id, label from work_items, unnest(array['ui', 'api']) label
         where source_key in ('A-1', 'A-3') and (label = 'ui' or instance_id = '{one}')"
    ))
    .await;
    hand
}

#[tokio::test]
async fn items_are_counted_under_each_value_and_under_none() {
    let hand = filled().await;
    let columns = ["value", "items", "open_items", "story_points"];
    for (by, expected) in [
        ("status", json!([["todo", 2, 2, 3.0], ["done", 1, 0, 5.0], ["unknown", 1, 1, null]])),
        ("assignee", json!([[null, 2, 1, 5.0], ["ana", 1, 1, 3.0], ["bo", 1, 1, null]])),
        ("label", json!([["ui", 2, 2, 3.0], [null, 2, 1, 5.0], ["api", 1, 1, 3.0]])),
        ("project", json!([["A", 3, 2, 8.0], ["B", 1, 1, null]])),
        ("instance", json!([["one", 3, 2, 8.0], ["two", 1, 1, null]])),
        ("type", json!([["task", 4, 3, 8.0]])),
        ("status_original", json!([["Open", 4, 3, 8.0]])),
        ("priority", json!([["normal", 4, 3, 8.0]])),
        ("reporter", json!([[null, 4, 3, 8.0]])),
        ("milestone", json!([[null, 4, 3, 8.0]])),
    ] {
        assert_eq!(hand.ask("count_items_by", &columns, json!({"by": by})).await, expected, "{by}");
    }
    let yesterday = chrono::Utc::now() - chrono::TimeDelta::days(2);
    for (narrowed, expected) in [
        (json!({"by": "project", "project": "B"}), json!([["B", 1]])),
        (json!({"by": "status", "status": "done"}), json!([["done", 1]])),
        (json!({"by": "status", "created_since": yesterday}), json!([["unknown", 1]])),
        (json!({"by": "status", "resolved_since": yesterday}), json!([["done", 1]])),
        (json!({"by": "status", "project": "C"}), json!([])),
    ] {
        let rows = hand.ask("count_items_by", &["value", "items"], narrowed.clone()).await;
        assert_eq!(rows, expected, "{narrowed}");
    }
}

#[tokio::test]
async fn items_of_the_same_key_are_told_apart_and_deleted_ones_are_not_listed() {
    let hand = filled().await;
    let columns = ["source_key", "assignee", "url"];
    let rows = hand.ask("search_issues_by_project", &columns, json!({"project": "A"})).await;
    let rows = rows.as_array().unwrap();
    assert_eq!(rows[0], json!(["A-1", "ana", "https://example.org/A-1"]));
    assert_eq!(rows.len(), 3);
    for row in
        [json!(["A-1", "bo", "https://two.example/A-1"]), json!(["A-2", null, "https://example.org/A-2"])]
    {
        assert!(rows.contains(&row), "{rows:?}");
    }
    let found = hand.ask("find_work_items", &["source_key"], json!({"query": "title", "project": "A"})).await;
    assert_eq!(found.as_array().unwrap().len(), 3, "{found}");
    let labelled = json!({"project": "A", "label": "api"});
    let rows = hand.ask("search_issues_by_project", &columns, labelled).await;
    assert_eq!(rows, json!([["A-1", "ana", "https://example.org/A-1"]]));
}
