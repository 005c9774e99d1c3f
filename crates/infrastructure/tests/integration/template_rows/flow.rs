//! How long things take and how much gets done, told honestly when something was opened again.

use serde_json::json;

use super::Hand;

const CYCLE: [&str; 6] =
    ["type", "completed_items", "from_in_progress", "p50_hours", "p85_hours", "p95_hours"];
/// Tuesday noon of last week.
const TUESDAY: &str =
    "(date_trunc('week', now() at time zone 'UTC') - interval '5 days 12 hours') at time zone 'UTC'";

fn before(hours: u32) -> String {
    format!("{TUESDAY} - interval '{hours} hours'")
}

#[tokio::test]
async fn a_reopened_item_counts_as_completed_once_it_is_completed_again_and_not_before() {
    let mut hand = Hand::new().await;
    let jira = hand.instance("jira").await;
    let throughput = ["created", "completed", "story_points_completed", "open_again"];
    let week = json!({"project": "A", "weeks": 2});

    // Completed last Tuesday and opened again.
    hand.item(jira, "A-1", "story_points = 3").await;
    hand.moved(jira, "A-1", &before(30), "todo", "in_progress").await;
    hand.moved(jira, "A-1", TUESDAY, "in_progress", "done").await;
    hand.moved(jira, "A-1", &format!("{TUESDAY} + interval '1 hour'"), "done", "todo").await;
    let rows = hand.ask("throughput_by_week", &throughput, week.clone()).await;
    assert_eq!(rows, json!([[0, 0, 0.0, 0], [0, 0, 0.0, 1]]));
    assert_eq!(hand.ask("cycle_time_percentiles", &CYCLE, week.clone()).await, json!([]));

    // Completed once more, twenty hours after the first time: from the first start to the last end.
    let again = format!("{TUESDAY} + interval '20 hours'");
    hand.moved(jira, "A-1", &again, "todo", "done").await;
    hand.sql(format!("update work_items set status_norm = 'done', resolved_at = {again}")).await;
    let rows = hand.ask("throughput_by_week", &throughput, week.clone()).await;
    assert_eq!(rows, json!([[0, 0, 0.0, 0], [0, 1, 3.0, 0]]));
    let rows = hand.ask("cycle_time_percentiles", &CYCLE, week.clone()).await;
    assert_eq!(rows, json!([["task", 1, 1, 50.0, 50.0, 50.0]]));

    // What was done twice and is open once more is open again in the week of the last time only.
    hand.sql("update work_items set status_norm = 'in_progress', resolved_at = null".into()).await;
    let rows = hand.ask("throughput_by_week", &throughput, week).await;
    assert_eq!(rows, json!([[0, 0, 0.0, 0], [0, 0, 0.0, 1]]));
}

#[tokio::test]
async fn cycle_time_leaves_out_what_is_cancelled_or_gone_and_takes_creation_where_nothing_else_is_known() {
    let mut hand = Hand::new().await;
    let jira = hand.instance("jira").await;
    let done = format!("status_norm = 'done', resolved_at = {TUESDAY}");
    // Without a history; with starts that come after the end and so mean nothing; with a start.
    hand.item(jira, "A-1", &format!("{done}, created_at = {}", before(10))).await;
    hand.item(jira, "A-2", &format!("{done}, created_at = {}", before(20))).await;
    hand.moved(jira, "A-2", &format!("{TUESDAY} + interval '1 hour'"), "done", "in_progress").await;
    hand.item(jira, "A-3", &format!("{done}, created_at = {}", before(90))).await;
    hand.moved(jira, "A-3", &before(30), "todo", "in_progress").await;
    hand.moved(jira, "A-3", &before(3), "todo", "in_progress").await;
    hand.item(jira, "A-4", &format!("status_norm = 'cancelled', resolved_at = {TUESDAY}")).await;
    hand.item(jira, "A-5", &format!("{done}, deleted_at = now(), delete_reason = 'deleted'")).await;
    hand.item(jira, "A-6", &format!("{done}, type_norm = 'bug', created_at = {}", before(5))).await;
    hand.item(jira, "B-1", &done).await;
    let rows = hand.ask("cycle_time_percentiles", &CYCLE, json!({"project": "A"})).await;
    assert_eq!(rows, json!([["bug", 1, 0, 5.0, 5.0, 5.0], ["task", 3, 1, 20.0, 27.0, 29.0]]));
    let rows = hand.ask("cycle_time_percentiles", &CYCLE, json!({"project": "A", "type": "bug"})).await;
    assert_eq!(rows, json!([["bug", 1, 0, 5.0, 5.0, 5.0]]));
    // Deleted items are in no week, and a project or type narrows.
    let completed = ["created", "completed", "cancelled"];
    let rows = hand.ask("throughput_by_week", &completed, json!({"weeks": 2})).await;
    assert_eq!(rows[1], json!([3, 5, 1]));
    let rows = hand.ask("throughput_by_week", &completed, json!({"weeks": 2, "project": "B"})).await;
    assert_eq!(rows[1], json!([0, 1, 0]));
    let rows = hand.ask("throughput_by_week", &completed, json!({"weeks": 2, "type": "bug"})).await;
    assert_eq!(rows[1], json!([1, 1, 0]));
}

#[tokio::test]
async fn work_in_progress_is_told_for_each_assignee_and_for_nobody() {
    let mut hand = Hand::new().await;
    let jira = hand.instance("jira").await;
    let ana = "status_norm = 'in_progress', assignee = 'ana'";
    hand.item(jira, "A-1", &format!("{ana}, story_points = 2")).await;
    hand.moved(jira, "A-1", "now() - interval '40 days'", "todo", "in_progress").await;
    // Back and forth: the last time counts. From one status in progress to the next is no new time.
    hand.moved(jira, "A-1", "now() - interval '30 days'", "in_progress", "todo").await;
    hand.moved(jira, "A-1", "now() - interval '4 days'", "todo", "in_progress").await;
    hand.moved(jira, "A-1", "now() - interval '1 day'", "in_progress", "in_progress").await;
    hand.item(jira, "A-2", &format!("{ana}, story_points = 3, created_at = now() - interval '8 days'")).await;
    hand.item(jira, "A-3", "status_norm = 'in_progress', created_at = now() - interval '1 day'").await;
    hand.item(jira, "A-4", "assignee = 'ana'").await;
    hand.item(jira, "A-5", &format!("{ana}, deleted_at = now(), delete_reason = 'deleted'")).await;
    hand.item(jira, "B-1", &format!("{ana}, type_norm = 'bug', created_at = now() - interval '2 days'"))
        .await;
    let columns = ["assignee", "items", "story_points", "median_days", "longest_days", "longest_key"];
    let rows = hand.ask("wip_by_assignee", &columns, json!({"project": "A"})).await;
    assert_eq!(rows, json!([["ana", 2, 5.0, 6.0, 8.0, "A-2"], [null, 1, null, 1.0, 1.0, "A-3"]]));
    let rows = hand.ask("wip_by_assignee", &columns, json!({"type": "bug"})).await;
    assert_eq!(rows, json!([["ana", 1, null, 2.0, 2.0, "B-1"]]));
}

#[tokio::test]
async fn open_items_without_an_update_come_longest_untouched_first() {
    let mut hand = Hand::new().await;
    let jira = hand.instance("jira").await;
    for (key, days, set) in [
        ("A-1", 31, "status_norm = 'in_progress'"),
        ("A-2", 60, "type_norm = 'bug'"),
        ("A-3", 29, "status_norm = 'todo'"),
        ("A-4", 90, "status_norm = 'done', resolved_at = now()"),
        ("A-5", 90, "deleted_at = now(), delete_reason = 'deleted'"),
        ("B-1", 45, "assignee = 'ana'"),
    ] {
        hand.item(jira, key, &format!("{set}, updated_at = now() - interval '{days} days'")).await;
    }
    let columns = ["source_key", "assignee", "days_untouched"];
    let rows = hand.ask("list_stale_items", &columns, json!({})).await;
    assert_eq!(rows, json!([["A-2", null, 60], ["B-1", "ana", 45], ["A-1", null, 31]]));
    for (arguments, expected) in [
        (json!({"project": "A", "days": 20}), json!([["A-2"], ["A-1"], ["A-3"]])),
        (json!({"status": "in_progress"}), json!([["A-1"]])),
        (json!({"type": "bug"}), json!([["A-2"]])),
        (json!({"days": 61}), json!([])),
    ] {
        assert_eq!(hand.ask("list_stale_items", &["source_key"], arguments).await, expected);
    }
}
