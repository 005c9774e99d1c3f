//! What went wrong with syncing, and that nothing did.

use serde_json::json;

use super::Hand;

#[tokio::test]
async fn what_went_wrong_is_listed_and_nothing_when_nothing_did() {
    let mut hand = Hand::new().await;
    let (one, two) = (hand.instance("one").await, hand.instance("two").await);
    let tenant = hand.ctx.tenant;
    let columns = ["instance", "what", "code", "detail"];
    let run = async |hand: &mut Hand, instance, state: &str, created: u32, finished: u32, code: &str| {
        hand.sql(format!(
            "insert into sync_runs (tenant_id, id, instance_id, kind, state, error_code, error_hint, created_at, finished_at)
             values ('{tenant}', gen_random_uuid(), '{instance}', 'incremental', '{state}', {code}, 'do ' || {code},
                 now() - interval '{created} days', now() - interval '{finished} days')"
        ))
        .await;
    };
    run(&mut hand, one, "succeeded", 1, 1, "null").await;
    run(&mut hand, one, "cancelled", 1, 1, "null").await;
    assert_eq!(hand.ask("sync_errors", &columns, json!({"days": 365})).await, json!([]));

    run(&mut hand, one, "failed", 2, 2, "'unauthorized'").await;
    run(&mut hand, two, "partial", 4, 4, "'forbidden'").await;
    // Begun long ago, given up lately; and one whose end is too long ago.
    run(&mut hand, one, "failed", 12, 5, "'timeout'").await;
    run(&mut hand, one, "failed", 9, 8, "'old'").await;
    hand.sql(format!(
        "insert into sync_dead_letters (tenant_id, id, instance_id, run_id, stream, source_id, error, raw, created_at)
         select '{tenant}', gen_random_uuid(), '{one}', gen_random_uuid(), 'issues', n::text, 'has no title', 'secret',
             now() - n * interval '3 days' from generate_series(1, 3) n"
    ))
    .await;
    let first = json!(["one", "incremental failed", "unauthorized", "do unauthorized"]);
    let second = json!(["one", "item not stored", "issues", "1: has no title"]);
    let third = json!(["two", "incremental partial", "forbidden", "do forbidden"]);
    let fourth = json!(["one", "incremental failed", "timeout", "do timeout"]);
    let fifth = json!(["one", "item not stored", "issues", "2: has no title"]);
    let rows = hand.ask("sync_errors", &columns, json!({})).await;
    assert_eq!(rows, json!([first, second, third, fourth, fifth]));
    let rows = hand.ask("sync_errors", &columns, json!({"instance": "two", "days": 30})).await;
    assert_eq!(rows, json!([third]));
    assert_eq!(hand.ask("sync_errors", &columns, json!({"days": 1})).await, json!([]));
}
