//! `/audit`, and refusals on the record.

use application::testing::{Fault, TENANT};
use domain::Scope;
use http::Request;
use serde_json::Value;

use super::Api;

fn get(path: &str, key: &str) -> http::request::Builder {
    Request::get(path).header("authorization", format!("Bearer {key}"))
}

async fn lines(api: &Api, path: &str) -> (http::Response<()>, Vec<Value>) {
    let (response, body) = api.send(get(path, &api.key), "").await;
    let text = match body {
        Value::String(text) => text,
        one => one.to_string(),
    };
    (response, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A caller who may not do what it asks for, some times.
async fn refused(api: &Api, times: usize) -> String {
    let key = api.world.key(&[Scope::ItemsRead]);
    for _ in 0..times {
        let (response, _) = api.send(get("/api/v1/instances", &key), "").await;
        assert_eq!(response.status(), 403);
    }
    key
}

// Security requirement 66.
#[tokio::test]
async fn a_refusal_is_on_the_record_with_its_route_and_code() {
    let api = Api::new();
    refused(&api, 1).await;
    let records = api.world.records(TENANT);
    assert_eq!(records.len(), 1, "{records:?}");
    let record = &records[0];
    assert_eq!((record.action.as_str(), record.outcome.as_str()), ("access.deny", "denied"));
    assert_eq!(record.target, Some(("route".into(), "GET /api/v1/instances".into())));
    assert_eq!(record.details["code"], "forbidden");
    assert_eq!(record.principal_kind, "key");
}

#[tokio::test]
async fn what_is_read_over_rest_is_not_on_the_record() {
    let api = Api::new();
    for path in [
        "/api/v1/me",
        "/api/v1/instances",
        "/api/v1/audit",
        "/api/v1/instances/00000000-0000-0000-0000-000000000001",
    ] {
        api.send(get(path, &api.key), "").await;
    }
    assert!(api.world.records(TENANT).is_empty(), "{:?}", api.world.records(TENANT));
}

// Security requirement 67.
#[tokio::test]
async fn a_refusal_that_cannot_be_recorded_is_a_503() {
    let api = Api::new();
    let key = api.world.key(&[Scope::ItemsRead]);
    api.world.break_down("audit.note", Fault::Unavailable);
    let (response, body) = api.send(get("/api/v1/instances", &key), "").await;
    assert_eq!((response.status().as_u16(), body["code"].as_str()), (503, Some("unavailable")));
}

#[tokio::test]
async fn records_are_listed_in_pages_newest_first_and_by_filter() {
    let api = Api::new();
    refused(&api, 5).await;
    let (response, first) = api.send(get("/api/v1/audit?limit=2", &api.key), "").await;
    assert_eq!(response.status(), 200, "{first}");
    assert_eq!(first["items"][0]["seq"], 5);
    let next = first["next_cursor"].as_str().unwrap();
    let (_, second) = api.send(get(&format!("/api/v1/audit?limit=2&cursor={next}"), &api.key), "").await;
    assert_eq!(second["items"][0]["seq"], 3);
    let principal = first["items"][0]["principal"]["id"].as_str().unwrap().to_owned();
    for (query, count) in [
        ("outcome=denied", 5),
        ("outcome=ok", 0),
        ("action=access.", 5),
        ("action=access.deny&target_kind=route", 5),
        ("action=access", 0),
        ("target_id=GET%20/api/v1/runs", 0),
        ("since=2026-01-02T03:04:05Z", 5),
        ("until=2026-01-02T03:04:05Z", 0),
        ("principal=00000000-0000-0000-0000-00000000ffff", 0),
        (&*format!("principal={principal}"), 5),
    ] {
        let (response, body) = api.send(get(&format!("/api/v1/audit?{query}"), &api.key), "").await;
        assert_eq!(response.status(), 200, "{query}: {body}");
        assert_eq!(body["items"].as_array().unwrap().len(), count, "{query}");
        let (_, exported) = lines(&api, &format!("/api/v1/audit/export?{query}")).await;
        assert_eq!(exported.len(), count + 1, "{query}");
    }
}

#[tokio::test]
async fn a_wrong_filter_is_named() {
    let api = Api::new();
    for (query, pointer) in [
        ("outcome=maybe", "/outcome"),
        ("since=yesterday", "/since"),
        ("until=1", "/until"),
        ("principal=me", "/principal"),
        ("action=", "/action"),
        ("limit=0", "/limit"),
        ("cursor=x", "/cursor"),
    ] {
        let (response, body) = api.send(get(&format!("/api/v1/audit?{query}"), &api.key), "").await;
        assert_eq!(response.status(), 422, "{query}: {body}");
        assert_eq!(body["errors"][0]["pointer"], pointer, "{query}");
    }
    let (response, _) = api.send(get("/api/v1/audit/export?limit=5", &api.key), "").await;
    assert_eq!(response.status(), 422, "an export has no pages");
}

#[tokio::test]
async fn an_export_is_json_lines_that_end_with_the_head() {
    let api = Api::new();
    refused(&api, 3).await;
    let (response, all) = lines(&api, "/api/v1/audit/export").await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let places: Vec<_> = all[..3].iter().map(|line| line["seq"].as_i64().unwrap()).collect();
    assert_eq!(places, [1, 2, 3]);
    assert_eq!(all[3]["head"]["seq"], 3);
    assert_eq!(all[3]["head"]["hash"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn the_log_is_for_those_with_its_scope() {
    let api = Api::new();
    let reader = api.world.key(&[Scope::AuditRead]);
    let other = api.world.key(&[Scope::ItemsRead, Scope::KeysWrite, Scope::InstancesWrite]);
    for path in ["/api/v1/audit", "/api/v1/audit/export"] {
        assert_eq!(api.send(get(path, &reader), "").await.0.status(), 200);
        assert_eq!(api.send(get(path, &other), "").await.0.status(), 403);
        assert_eq!(api.send(Request::get(path), "").await.0.status(), 401);
    }
}
