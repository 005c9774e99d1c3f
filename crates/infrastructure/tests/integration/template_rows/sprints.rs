//! What was in a sprint when it began, and what became of it.

use serde_json::json;
use uuid::Uuid;

use super::Hand;

const FIGURES: [&str; 9] = [
    "sprint",
    "at_start",
    "added",
    "removed",
    "completed",
    "cancelled",
    "still_open",
    "points_total",
    "points_completed",
];

/// Times are days from now; `None` is unknown.
async fn sprint(hand: &mut Hand, instance: Uuid, name: &str, state: &str, times: [Option<i32>; 3]) {
    let tenant = hand.ctx.tenant;
    let [start, end, completed] = times.map(|days| match days {
        Some(days) => format!("now() + interval '{days} days 1 hour'"),
        None => "null".into(),
    });
    hand.sql(format!(
        "insert into sprints (tenant_id, instance_id, source_id, name, state, start_at, end_at, completed_at, synced_at)
         values ('{tenant}', '{instance}', 's{name}', '{name}', '{state}', {start}, {end}, {completed}, now())"
    ))
    .await;
}

async fn member(hand: &mut Hand, instance: Uuid, sprint: &str, key: &str, from: i32, until: Option<i32>) {
    let tenant = hand.ctx.tenant;
    let until = until.map_or("null".into(), |days| format!("now() + interval '{days} days'"));
    hand.sql(format!(
        "insert into sprint_memberships (tenant_id, instance_id, item_ref_key, sprint_source_id, added_at, removed_at,
             from_history)
         values ('{tenant}', '{instance}', 'r{key}', 's{sprint}', now() + interval '{from} days', {until}, true)"
    ))
    .await;
}

#[tokio::test]
async fn a_running_sprint_tells_what_was_committed_added_taken_out_and_done() {
    let mut hand = Hand::new().await;
    let (one, two) = (hand.instance("one").await, hand.instance("two").await);
    sprint(&mut hand, one, "Now", "active", [Some(-7), Some(7), None]).await;
    sprint(&mut hand, one, "Next", "future", [None, None, None]).await;
    // The same sprint id at another tracker, with an item of the same key.
    sprint(&mut hand, two, "Now", "active", [Some(-6), None, None]).await;
    for (key, set, from, until) in [
        ("A-1", "status_norm = 'done', resolved_at = now(), story_points = 3", -9, None),
        ("A-2", "story_points = 5", -9, None),
        // Taken out before the start: never of the sprint. After it: removed.
        ("A-3", "story_points = 100", -9, Some(-8)),
        ("A-4", "story_points = 100", -9, Some(-2)),
        ("A-5", "story_points = 8", -3, None),
        ("A-6", "story_points = 100", -3, Some(-1)),
        ("A-7", "status_norm = 'cancelled', resolved_at = now()", -9, None),
        ("A-8", "deleted_at = now(), delete_reason = 'deleted'", -9, None),
    ] {
        hand.item(one, key, set).await;
        member(&mut hand, one, "Now", key, from, until).await;
    }
    // Out and in again is one item.
    hand.item(one, "A-9", "").await;
    member(&mut hand, one, "Now", "A-9", -9, Some(-5)).await;
    member(&mut hand, one, "Now", "A-9", -4, None).await;
    hand.item(one, "A-10", "").await;
    member(&mut hand, one, "Next", "A-10", -1, None).await;
    hand.item(two, "A-1", "").await;
    member(&mut hand, two, "Now", "A-1", -9, None).await;
    hand.sql(format!("update sprint_memberships set from_history = false where instance_id = '{two}'")).await;

    let of_one = json!(["Now", 5, 2, 2, 1, 1, 3, 16.0, 3.0]);
    let of_two = json!(["Now", 1, 0, 0, 0, 0, 1, 0.0, 0.0]);
    assert_eq!(hand.ask("sprint_progress", &FIGURES, json!({})).await, json!([of_two, of_one]));
    let rows = hand.ask("sprint_progress", &FIGURES, json!({"instance": "one", "sprint": "Now"})).await;
    assert_eq!(rows, json!([of_one]));
    let rows = hand.ask("sprint_progress", &["instance", "days_left", "complete_history"], json!({})).await;
    assert_eq!(rows, json!([["two", null, false], ["one", 7, true]]));
    let rows = hand.ask("sprint_progress", &FIGURES, json!({"state": "future"})).await;
    assert_eq!(rows, json!([["Next", 1, 0, 0, 0, 0, 1, 0.0, 0.0]]));
    assert_eq!(hand.ask("sprint_progress", &FIGURES, json!({"sprint": "now"})).await, json!([]));
}

#[tokio::test]
async fn a_closed_sprint_tells_how_it_ended_whatever_came_after() {
    let mut hand = Hand::new().await;
    let jira = hand.instance("jira").await;
    // It was to end a day later than it did.
    sprint(&mut hand, jira, "Past", "closed", [Some(-30), Some(-15), Some(-16)]).await;
    let at = |days: i32| format!("now() + interval '{days} days'");
    // Done in it; done later; done in it, opened again after it and done once more; the same and still open.
    hand.item(jira, "A-1", &format!("status_norm = 'done', story_points = 1, resolved_at = {}", at(-20)))
        .await;
    hand.item(jira, "A-2", &format!("status_norm = 'done', story_points = 2, resolved_at = {}", at(-5)))
        .await;
    hand.item(jira, "A-3", &format!("status_norm = 'done', story_points = 4, resolved_at = {}", at(-3)))
        .await;
    hand.item(jira, "A-4", "story_points = 8").await;
    for key in ["A-3", "A-4"] {
        hand.moved(jira, key, &at(-22), "todo", "in_progress").await;
        hand.moved(jira, key, &at(-20), "in_progress", "done").await;
        hand.moved(jira, key, &at(-10), "done", "todo").await;
    }
    hand.moved(jira, "A-3", &at(-3), "todo", "done").await;
    // Went on to the next sprint as this one ended; was added after it.
    hand.item(jira, "A-5", "story_points = 16").await;
    hand.item(jira, "A-6", "story_points = 100").await;
    for key in ["A-1", "A-2", "A-3", "A-4"] {
        member(&mut hand, jira, "Past", key, -31, None).await;
    }
    member(&mut hand, jira, "Past", "A-5", -31, Some(-15)).await;
    member(&mut hand, jira, "Past", "A-6", -2, None).await;
    let rows = hand.ask("sprint_progress", &FIGURES, json!({"state": "closed"})).await;
    assert_eq!(rows, json!([["Past", 5, 0, 0, 3, 0, 2, 31.0, 13.0]]));
    let rows = hand.ask("sprint_progress", &["sprint", "days_left"], json!({"sprint": "Past"})).await;
    assert_eq!(rows, json!([["Past", null]]));
    assert_eq!(hand.ask("sprint_progress", &FIGURES, json!({})).await, json!([]));
}
