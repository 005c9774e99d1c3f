//! Answers that take their time: progress, cancellation down to the database, and subscriptions.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::world::World;

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

/// An answer as server-sent events, read message by message.
struct Events {
    response: reqwest::Response,
    unread: String,
}

impl Events {
    /// Sends a request of revision 2026-07-28.
    async fn of(world: &World, method: &str, name: Option<&str>, mut params: Value) -> Self {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let request = super::sse::http().post(&world.mcp).bearer_auth(&world.key).json(&body);
        let request = request.header("accept", "application/json, text/event-stream");
        let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
        let request = match name {
            Some(name) => request.header("mcp-name", name),
            None => request,
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, unread: String::new() }
    }

    /// The next message; `None` when the answer has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let data = event
                    .lines()
                    .find_map(|line| line.strip_prefix("data:"))
                    .map(|data| data.trim().to_owned());
                self.unread = rest.to_owned();
                if let Some(data) = data.filter(|data| !data.is_empty()) {
                    return Some(serde_json::from_str(&data).unwrap());
                }
                continue;
            }
            let chunk = self.response.chunk().await.ok()??;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

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
    let mut events = Events::of(&world, "tools/call", Some("search_issues_by_project"), arguments).await;
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
    let wanted = json!({"notifications": {"toolsListChanged": true,
        "resourceSubscriptions": ["patchbay://freshness", "https://elsewhere.example/"]}});
    let mut events = Events::of(&world, "subscriptions/listen", None, wanted).await;
    let acknowledged = events.next().await.unwrap();
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged", "{acknowledged}");
    let accepted = &acknowledged["params"]["notifications"];
    assert_eq!(accepted["resourceSubscriptions"], json!(["patchbay://freshness"]), "{acknowledged}");

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
