//! Answers that take their time: progress, cancellation down to the database, and subscriptions.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::world::World;
use crate::events::Events;

/// Makes every statement over items take as long as it may.
const SLOW: [&str; 3] = [
    "create function published.slow() returns int language plpgsql volatile security definer
        as 'begin perform pg_sleep(30); return 1; end'",
    "grant execute on function published.slow to public",
    "do $$ begin
        execute 'create or replace view published.work_items with (security_invoker = true) as '
            || replace(pg_get_viewdef('published.work_items'::regclass), 'FROM work_items',
                       'FROM work_items cross join (select published.slow()) as slow');
     end $$",
];

// Acceptance: a disconnect stops the statement, as the database sees it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_template_tells_its_progress_and_ends_in_the_database_with_its_client() {
    let world = World::start(&[]).await;
    let mut admin = PgConnection::connect(&world.patchbay.database.url().unwrap()).await.unwrap();
    for statement in SLOW {
        sqlx::query(statement).execute(&mut admin).await.unwrap();
    }
    let mut running = async || -> Vec<f64> {
        let ages = sqlx::query_scalar(
            "select extract(epoch from clock_timestamp() - query_start)::float8 from pg_stat_activity
                where datname = current_database() and usename = 'patchbay_reader' and state = 'active'",
        );
        ages.fetch_all(&mut admin).await.unwrap()
    };

    let arguments = json!({"name": "search_issues_by_project", "arguments": {"project": "acme/app"},
        "_meta": {"progressToken": "p1"}});
    let (mcp, key) = (&world.mcp, &world.key);
    let mut events = Events::of(mcp, key, "tools/call", Some("search_issues_by_project"), arguments).await;
    let mut last = 0.0;
    for _ in 0..2 {
        let told = events.next().await.unwrap();
        assert_eq!(
            (&told["method"], &told["params"]["progressToken"]),
            (&json!("notifications/progress"), &json!("p1"))
        );
        let progress = told["params"]["progress"].as_f64().unwrap();
        assert!(progress > last, "{told}");
        last = progress;
    }
    assert_eq!(running().await.len(), 1, "the statement runs");
    drop(events);
    let mut oldest = 0.0f64;
    loop {
        let ages = running().await;
        let Some(age) = ages.first() else { break };
        oldest = oldest.max(*age);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The template's own limit, 5 s, would end it as well, and must not have been what did.
    assert!(oldest < 4.8, "the statement went on without its client, for {oldest} s");
    drop(admin);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_told_of_new_data_and_gets_a_last_word_when_the_server_ends() {
    let world = World::start(&[]).await;
    let wanted = ["patchbay://freshness", "https://elsewhere.example/"];
    let (mut events, accepted) = Events::listening(&world.mcp, &world.key, &wanted).await;
    assert_eq!(accepted, json!(["patchbay://freshness"]));

    let instances = world.admin.get("/api/v1/instances").await.unwrap();
    let instance = instances.body["items"][0]["id"].as_str().unwrap().to_owned();
    // The first look is what later ones are compared with.
    let told = loop {
        world.admin.run_to(&instance, "sync", "succeeded").await.unwrap();
        if let Ok(told) = tokio::time::timeout(Duration::from_secs(5), events.next()).await {
            break told.unwrap();
        }
    };
    assert_eq!(told["method"], "notifications/resources/updated", "{told}");
    assert_eq!(told["params"]["uri"], "patchbay://freshness", "{told}");
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], json!(7), "{told}");

    let rest = tokio::spawn(async move {
        let mut last = Value::Null;
        while let Some(message) = events.next().await {
            last = message;
        }
        last
    });
    world.end().await;
    let last = rest.await.unwrap();
    assert_eq!((&last["id"], last["result"].is_object()), (&json!(7), true), "{last}");
}
