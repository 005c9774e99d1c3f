//! Faults as a client meets them.

use crate::client;

use std::time::{Duration, Instant};

use client::start;
use patchbay_simulator::{FaultKind, FaultMatch, FaultRule, Simulator};
use serde_json::{Value, json};

const LIST: &str = "/repos/octo/billing/issues?state=all&sort=updated&direction=asc&per_page=20";

fn add(simulator: &Simulator, kind: FaultKind) {
    simulator.control().add_fault(FaultRule { matching: FaultMatch::default(), kind });
}

#[tokio::test]
async fn a_rate_limit_holds_until_its_time_and_early_calls_are_counted() {
    let (simulator, client) = start(5).await;
    add(&simulator, FaultKind::RateLimited { retry_after_s: 1, as_http_date: false, omit_header: false });
    let first = client.get("/user").await;
    assert_eq!((first.status, first.header("retry-after").as_str()), (429, "1"));
    assert_eq!(client.with_token("other").get("/user").await.status, 200);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(client.get("/user").await.status, 429);
    assert_eq!(simulator.control().stats().violations, 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.get("/user").await.status, 200);
    assert_eq!(simulator.control().stats().violations, 1);
}

#[tokio::test]
async fn limits_are_announced_in_every_form() {
    let (simulator, client) = start(5).await;
    let limited =
        |as_http_date, omit_header| FaultKind::RateLimited { retry_after_s: 5, as_http_date, omit_header };
    add(&simulator, limited(true, false));
    assert!(client.with_token("1").get("/user").await.header("retry-after").ends_with(" GMT"));
    add(&simulator, limited(false, true));
    let silent = client.with_token("2").get("/user").await;
    assert_eq!((silent.status, silent.header("retry-after").as_str()), (429, ""));
    add(&simulator, FaultKind::PrimaryExhausted { reset_in_s: 5 });
    let primary = client.with_token("3").get("/user").await;
    assert_eq!((primary.status, primary.header("x-ratelimit-remaining").as_str()), (403, "0"));
    assert!(primary.header("x-ratelimit-reset").parse::<i64>().unwrap() > 1_700_000_000);
    add(&simulator, FaultKind::SecondaryLimit { retry_after_s: None });
    let secondary = client.with_token("4").get("/user").await;
    assert_eq!((secondary.status, secondary.header("retry-after").as_str()), (403, ""));
    assert!(secondary.body.contains("secondary rate limit"));
    assert_eq!(client.with_token("4").get("/user").await.status, 200, "no time was announced");
}

#[tokio::test]
async fn broken_answers_break_once() {
    let (simulator, client) = start(30).await;
    add(&simulator, FaultKind::TruncatedBody);
    let error = client.try_get(LIST).await.unwrap_err();
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert_eq!(client.get(LIST).await.status, 200);
    add(&simulator, FaultKind::Reset);
    assert!(client.try_get(LIST).await.is_err());
    add(&simulator, FaultKind::ServerError { status: 502 });
    let proxy = client.get(LIST).await;
    assert_eq!((proxy.status, proxy.header("content-type").as_str()), (502, "text/html"));
    add(&simulator, FaultKind::UnauthorizedOnce);
    assert_eq!(client.get(LIST).await.status, 401);
    add(&simulator, FaultKind::Slow { ms: 150 });
    let started = Instant::now();
    assert_eq!(client.get(LIST).await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(150));
    let statuses: Vec<u16> = simulator.control().requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [200, 200, 0, 502, 401, 200]);
}

#[tokio::test]
async fn an_empty_page_in_the_middle_hides_nothing_from_who_follows_links() {
    let (simulator, client) = start(70).await;
    simulator.control().add_fault(FaultRule {
        matching: FaultMatch { path_contains: Some("&page=2".into()), ..FaultMatch::default() },
        kind: FaultKind::EmptyPageInMiddle,
    });
    assert_eq!(client.all(LIST).await.len(), 70);
    assert_eq!(simulator.control().stats().requests, 5, "four pages and the empty one");
}

#[tokio::test]
async fn rows_move_between_pages_while_somebody_reads_them() {
    let (simulator, client) = start(60).await;
    let first = client.get(LIST).await.json();
    let moved = first[0]["number"].as_u64().unwrap();
    simulator.control().add_fault(FaultRule {
        matching: FaultMatch { path_contains: Some("&page=2".into()), ..FaultMatch::default() },
        kind: FaultKind::RowsMove { repository: "octo/billing".into(), numbers: vec![moved] },
    });
    let rows = client.all(LIST).await;
    let last = rows.last().unwrap();
    assert_eq!((rows.len(), last["number"].as_u64()), (60, Some(moved)));
    let mut seen: Vec<_> = rows.iter().map(|row| row["number"].as_u64()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 59, "one row slipped from the second page to the first, unseen");
}

#[tokio::test]
async fn damaged_items_are_served_damaged_each_time() {
    let (simulator, client) = start(10).await;
    let repository = "octo/billing".to_owned();
    add(&simulator, FaultKind::UnmappableItem { repository: repository.clone(), number: 3 });
    add(&simulator, FaultKind::NullCharacter { repository, number: 4 });
    for _ in 0..2 {
        let body = client.get("/repos/octo/billing/issues?state=all").await.body;
        assert!(body.contains(r#""number":"not-a-number""#) && body.contains(r#""updated_at":null"#));
        assert!(body.contains(r"\u0000") && body.contains(r"\ud800"));
    }
    simulator.control().clear_faults();
    assert_eq!(client.all("/repos/octo/billing/issues?state=all").await.len(), 10);
}

#[tokio::test]
async fn the_control_surface_does_the_same_over_http() {
    let (simulator, client) = start(30).await;
    let rule =
        json!({"match": {"path_prefix": "/repos", "nth": 2}, "kind": {"server_error": {"status": 503}}});
    let added = client.send("POST", "/__control/faults", &rule).await;
    assert_eq!((added.status, added.json()["id"].as_u64()), (200, Some(1)));
    assert_eq!(client.get("/api/v3/repos/octo/billing").await.status, 200);
    assert_eq!(client.get("/api/v3/repos/octo/billing").await.status, 503);
    let wrong = client.send("POST", "/__control/faults", &json!({"kind": "explode"})).await;
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    let stats = client.get("/__control/stats").await.json();
    assert_eq!(stats["requests"], 2);
    assert_eq!(stats["by_path_prefix"]["/repos/octo/billing"], 2);
    let requests = client.get("/__control/requests").await.json();
    assert_eq!(requests[1]["status"], 503);
    assert_eq!(requests[1]["path_and_query"], "/api/v3/repos/octo/billing");
    let touch = json!({"repository": "octo/billing", "numbers": [1]});
    assert_eq!(client.send("POST", "/__control/touch", &touch).await.status, 200);
    let delete = json!({"repository": "octo/billing", "number": 2});
    assert_eq!(client.send("POST", "/__control/issues/delete", &delete).await.status, 200);
    assert_eq!(client.get("/repos/octo/billing/issues/2").await.status, 410);
    let absent = client.send("POST", "/__control/issues/delete", &delete).await;
    assert_eq!(absent.status, 422, "{}", absent.body);
    let rename = json!({"repository": "octo/billing", "to": "octo/money"});
    assert_eq!(client.send("POST", "/__control/repositories/rename", &rename).await.status, 200);
    assert_eq!(client.send("DELETE", "/__control/requests", &Value::Null).await.status, 204);
    assert_eq!(client.send("DELETE", "/__control/faults", &Value::Null).await.status, 204);
    assert_eq!(client.get("/__control/requests").await.json(), json!([]));
    assert_eq!(simulator.control().stats().requests, 0);
}
