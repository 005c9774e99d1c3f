//! The schedule of an instance: what it is before anybody says so, and what may be said.

use domain::Scope;
use http::Request;
use serde_json::{Value, json};

use super::{Api, Body};

const PATH: &str = "/api/v1/instances/00000000-0000-0000-0000-000000000005/schedule";

async fn put(api: &Api, path: &str, body: &str) -> (u16, Value) {
    let request = api.request("PUT", path).header("content-type", "application/json");
    let (response, answer) = api.send(request, body.to_owned()).await;
    (response.status().as_u16(), answer)
}

#[tokio::test]
async fn an_instance_has_the_usual_schedule_until_somebody_changes_it() {
    let api = Api::new();
    let (status, usual) = api.get(PATH).await;
    assert_eq!(status, 200, "{usual}");
    assert_eq!((&usual["paused"], &usual["next_sync_at"]), (&json!(false), &Value::Null));
    assert!(usual["interval_s"].as_u64().is_some_and(|seconds| seconds >= 60), "{usual}");

    let (status, changed) = put(&api, PATH, r#"{"interval_s": 600, "reconcile_at": "03:30"}"#).await;
    assert_eq!(status, 200, "{changed}");
    let told = (&changed["interval_s"], &changed["reconcile_at"], &changed["jitter_percent"]);
    assert_eq!(told, (&json!(600), &json!("03:30"), &json!(10)));
    assert!(changed["next_sync_at"].is_string() && changed["next_reconcile_at"].is_string(), "{changed}");
    assert_eq!(api.get(PATH).await.1, changed);

    let (_, never) =
        put(&api, PATH, r#"{"interval_s": 86400, "reconcile_at": null, "jitter_percent": 0}"#).await;
    assert_eq!((&never["reconcile_at"], &never["next_reconcile_at"]), (&Value::Null, &Value::Null));
    let (_, paused) = put(&api, PATH, r#"{"interval_s": 60, "reconcile_at": "00:00", "paused": true}"#).await;
    let told = (&paused["paused"], &paused["next_sync_at"], &paused["next_reconcile_at"]);
    assert_eq!(told, (&json!(true), &Value::Null, &Value::Null));
    assert_eq!(paused["reconcile_at"], "00:00", "it is kept for later");
}

#[tokio::test]
async fn wrong_schedules_are_named_where_they_are_wrong_and_change_nothing() {
    let api = Api::new();
    let (_, before) = put(&api, PATH, r#"{"interval_s": 600}"#).await;
    for (body, pointer) in [
        (r#"{"interval_s": 59}"#, "/interval_s"),
        (r#"{"interval_s": 86401}"#, "/interval_s"),
        (r#"{"interval_s": -1}"#, "/interval_s"),
        (r#"{"interval_s": 600.5}"#, "/interval_s"),
        (r#"{"interval_s": "600"}"#, "/interval_s"),
        (r#"{"interval_s": 600, "jitter_percent": 51}"#, "/jitter_percent"),
        (r#"{"interval_s": 600, "jitter_percent": 300}"#, "/jitter_percent"),
        (r#"{"interval_s": 600, "reconcile_at": "25:00"}"#, "/reconcile_at"),
        (r#"{"interval_s": 600, "reconcile_at": "3.30"}"#, "/reconcile_at"),
        (r#"{"interval_s": 600, "reconcile_at": "at half past three"}"#, "/reconcile_at"),
        (r#"{"interval_s": 600, "reconcile_at": 330}"#, "/reconcile_at"),
        (r#"{"interval_s": 600, "paused": "no"}"#, "/paused"),
        (r#"{"interval_s": 600, "every": 5}"#, "/every"),
    ] {
        let (status, problem) = put(&api, PATH, body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}: {problem}");
    }
    let (status, problem) = put(&api, PATH, r#"{"paused": true}"#).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem.to_string().contains("interval_s"), "what is missing is not told: {problem}");
    let (status, _) = put(&api, PATH, "").await;
    assert!(matches!(status, 400 | 422), "{status}");
    assert_eq!(api.get(PATH).await.1["interval_s"], before["interval_s"]);
}

#[tokio::test]
async fn schedules_of_instances_that_are_not_there_and_for_keys_that_only_read() {
    let mut api = Api::new();
    for unknown in
        [PATH.replace("0005", "0099"), PATH.replace("00000000-0000-0000-0000-000000000005", "core")]
    {
        assert_eq!(api.get(&unknown).await.0, 404, "{unknown}");
        let (status, problem) = put(&api, &unknown, r#"{"interval_s": 600}"#).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{unknown}");
    }
    api.key = api.world.key(&[Scope::InstancesRead]);
    assert_eq!(api.get(PATH).await.0, 200);
    assert_eq!(put(&api, PATH, r#"{"interval_s": 600}"#).await.0, 403);
    let anonymous = Request::builder().method("GET").uri(PATH);
    assert_eq!(api.send(anonymous, Body::empty()).await.0.status(), 401);
}
