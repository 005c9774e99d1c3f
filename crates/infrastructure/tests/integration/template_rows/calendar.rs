//! Weeks and days in UTC, those without anything included.

use chrono::{Datelike, Days, NaiveDate, Weekday};
use serde_json::{Value, json};

use super::Hand;

const FIGURES: [&str; 4] = ["week", "created", "completed", "cancelled"];
/// The Monday of this week.
const MONDAY: &str = "date_trunc('week', now() at time zone 'UTC')";

#[tokio::test]
async fn a_week_begins_on_monday_at_midnight_utc_and_not_a_second_earlier() {
    let mut hand = Hand::new().await;
    let jira = hand.instance("jira").await;
    let monday = hand.day(MONDAY).await;
    let sunday_night = format!("({MONDAY} - interval '1 second') at time zone 'UTC'");
    let midnight = format!("{MONDAY} at time zone 'UTC'");
    hand.item(jira, "A-1", &format!("created_at = {sunday_night}")).await;
    hand.item(jira, "A-2", &format!("created_at = {midnight}")).await;
    hand.item(jira, "A-3", &format!("status_norm = 'done', resolved_at = {sunday_night}")).await;
    hand.item(jira, "A-4", &format!("status_norm = 'done', resolved_at = {midnight}")).await;
    hand.item(jira, "A-5", &format!("status_norm = 'cancelled', resolved_at = {sunday_night}")).await;
    let last = monday - Days::new(7);
    let rows = hand.ask("throughput_by_week", &FIGURES, json!({"weeks": 2})).await;
    assert_eq!(rows, json!([[monday, 1, 1, 0], [last, 1, 1, 1]]));
    // One week is this one only.
    let rows = hand.ask("throughput_by_week", &FIGURES, json!({"weeks": 1})).await;
    assert_eq!(rows, json!([[monday, 1, 1, 0]]));
    let cycle = ["week", "completed_items"];
    let rows = hand.ask("cycle_time_percentiles", &cycle, json!({"project": "A", "weeks": 2})).await;
    assert_eq!(rows, json!([[monday, 1], [last, 1]]));
    let rows = hand.ask("cycle_time_percentiles", &cycle, json!({"project": "A", "weeks": 1})).await;
    assert_eq!(rows, json!([[monday, 1]]));
}

#[tokio::test]
async fn weeks_in_which_nothing_happened_are_there_as_far_back_as_can_be_asked() {
    let mut hand = Hand::new().await;
    let monday = hand.day(MONDAY).await;
    for weeks in [1_u64, 12, 260] {
        let rows = hand.ask("throughput_by_week", &FIGURES, json!({"weeks": weeks, "limit": 260})).await;
        let expected: Value = (0..weeks).map(|n| json!([monday - Days::new(7 * n), 0, 0, 0])).collect();
        assert_eq!(rows, expected);
    }
}

/// The latest first of January, before this week, that is no Monday.
fn new_year(today: NaiveDate) -> NaiveDate {
    (0..8)
        .filter_map(|back| NaiveDate::from_ymd_opt(today.year() - back, 1, 1))
        .find(|day| day.weekday() != Weekday::Mon && *day + Days::new(7) < today)
        .unwrap()
}

#[tokio::test]
async fn a_week_goes_over_the_end_of_the_year() {
    let mut hand = Hand::new().await;
    let jira = hand.instance("jira").await;
    let today = hand.day("now() at time zone 'UTC'").await;
    let new_year = new_year(today);
    hand.item(
        jira,
        "A-1",
        &format!("created_at = '{new_year}T00:00:00Z'::timestamptz - interval '1 second'"),
    )
    .await;
    hand.item(jira, "A-2", &format!("created_at = '{new_year}T00:00:00Z'")).await;
    let week = new_year - Days::new(u64::from(new_year.weekday().num_days_from_monday()));
    let rows = hand
        .ask("throughput_by_week", &["week", "created"], json!({"project": "A", "weeks": 260, "limit": 260}))
        .await;
    let found: Vec<&Value> =
        rows.as_array().unwrap().iter().filter(|row| row[1].as_i64() > Some(0)).collect();
    assert_eq!(found, [&json!([week, 2])]);
}

#[tokio::test]
async fn days_without_figures_are_there_and_what_was_open_stays_open() {
    let mut hand = Hand::new().await;
    let (one, two) = (hand.instance("one").await, hand.instance("two").await);
    let tenant = hand.ctx.tenant;
    let today = hand.day("now() at time zone 'UTC'").await;
    let new_year = new_year(today);
    // Two instances hold a project of that key; each has figures on other days. The last row is after what is asked for.
    for (instance, offset, created, completed, reopened, hours, open) in [
        (one, -40, 5, 0, 0, 0.0, 5),
        (one, -1, 1, 2, 1, 9.0, 4),
        (two, 0, 3, 1, 0, 3.5, 2),
        (one, 3, 9, 9, 9, 9.0, 9),
    ] {
        hand.sql(format!(
            "insert into work_item_metrics_daily (tenant_id, instance_id, project_key, day, created, completed, cancelled,
                 reopened, lead_time_hours, open_at_end)
             values ('{tenant}', '{instance}', 'A', date '{new_year}' + {offset}, {created}, {completed}, 0, {reopened},
                 {hours}, {open})"
        ))
        .await;
    }
    let columns = ["day", "created", "completed", "reopened", "open_at_end", "avg_lead_time_hours"];
    let day = |n: i64| new_year + chrono::TimeDelta::days(n);
    let rows = hand
        .ask("get_project_metrics", &columns, json!({"project": "A", "from": day(-2), "to": day(1)}))
        .await;
    assert_eq!(
        rows,
        json!([
            [day(-2), 0, 0, 0, 5, null],
            [day(-1), 1, 2, 1, 4, 4.5],
            [day(0), 3, 1, 0, 6, 3.5],
            [day(1), 0, 0, 0, 6, null],
        ])
    );
    // The default is the last thirty days, and a project nobody knows has as many, with nothing on them.
    let rows = hand.ask("get_project_metrics", &["day", "open_at_end"], json!({"project": "B"})).await;
    let expected: Value = (0..30).rev().map(|n| json!([today - Days::new(n), 0])).collect();
    assert_eq!(rows, expected);
    let last =
        hand.ask("get_project_metrics", &["day"], json!({"project": "A", "to": day(0), "days": 1})).await;
    assert_eq!(last, json!([[day(0)]]));
}
