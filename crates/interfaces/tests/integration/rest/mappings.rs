use domain::Scope;
use http::Request;
use serde_json::json;

use super::{Api, Body};

const PATH: &str = "/api/v1/instances/00000000-0000-0000-0000-000000000005/mappings";
/// An instance without an unfinished run.
const IDLE: &str = "/api/v1/instances/00000000-0000-0000-0000-000000000006/mappings";

async fn put(api: &Api, path: &str, body: &str) -> (u16, serde_json::Value) {
    let request = api.request("PUT", path).header("content-type", "application/json");
    let (response, answer) = api.send(request, body.to_owned()).await;
    (response.status().as_u16(), answer)
}

#[tokio::test]
async fn mappings_are_read_with_the_words_they_can_be_about() {
    let api = Api::new();
    let (status, document) = api.get(PATH).await;
    assert_eq!(status, 200, "{document}");
    assert_eq!(document["version"], 1);
    let words = &document["vocabulary"]["type"];
    let expected = json!({"original": "bug", "items": 3, "default": "bug", "mapped": null});
    assert_eq!((words.as_array().unwrap().len(), &words[0]), (2, &expected));
    let (status, _) = api.get(&PATH.replace("0005", "0099")).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_preview_tells_what_would_change_and_what_may_be_a_mistake() {
    let api = Api::new();
    let body = r#"{"mappings": {"status": {"open": "done", "Opne": "todo"}}}"#;
    let (status, preview) = api.post(&format!("{PATH}/preview"), body).await;
    assert_eq!(status, 200, "{preview}");
    assert_eq!(preview["items"], 5);
    let change = &preview["changes"][0];
    assert_eq!(
        (&change["field"], &change["from"], &change["to"], &change["items"]),
        (&json!("status"), &json!("in_progress"), &json!("done"), &json!(3))
    );
    assert_eq!(change["examples"][0], "acme/core#1");
    let warning = &preview["warnings"][0];
    assert_eq!((&warning["pointer"], &warning["near"]), (&json!("/mappings/status/Opne"), &json!(["open"])));
    let (_, document) = api.get(PATH).await;
    assert_eq!((&document["version"], &document["mappings"]["status"]), (&json!(1), &json!({})));
}

#[tokio::test]
async fn replaced_mappings_start_a_run_unless_another_is_unfinished_and_lose_no_change_of_others() {
    let api = Api::new();
    let body = r#"{"mappings": {"status": {"open": "todo"}}, "version": 1}"#;
    let (status, stored) = put(&api, IDLE, body).await;
    assert_eq!((status, &stored["version"]), (202, &json!(2)), "{stored}");
    let run = stored["run_id"].as_str().unwrap();
    let (_, run) = api.get(&format!("/api/v1/runs/{run}")).await;
    assert_eq!(run["kind"], "remap");
    let (status, problem) = put(&api, IDLE, body).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")));
    let (status, stored) = put(&api, PATH, r#"{"mappings": {"type": {"bug": "feature"}}}"#).await;
    assert_eq!((status, &stored["run_id"]), (202, &json!(null)), "core has an unfinished run");
    let (_, document) = api.get(PATH).await;
    assert_eq!(document["vocabulary"]["type"][0]["mapped"], "feature");
}

#[tokio::test]
async fn wrong_mappings_are_named_where_they_stand() {
    let api = Api::new();
    for (body, pointer) in [
        (r#"{"mappings": {"fields": {"a": "due_on", "b": "due_on"}}}"#, "/mappings/fields/b"),
        (r#"{"mappings": {"status": {"": "done"}}}"#, "/mappings/status/"),
        (r#"{"mappings": {"colour": {}}}"#, "/mappings/colour"),
    ] {
        let (status, problem) = put(&api, PATH, body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
    let (status, problem) = put(&api, PATH, r#"{"mappings": {"status": {"open": "finished"}}}"#).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem.to_string().contains("in_progress"), "what may be given is not told: {problem}");
}

#[tokio::test]
async fn who_may_only_read_changes_no_mappings() {
    let mut api = Api::new();
    api.key = api.world.key(&[Scope::InstancesRead]);
    assert_eq!(api.get(PATH).await.0, 200);
    assert_eq!(put(&api, PATH, r#"{"mappings": {}}"#).await.0, 403);
    assert_eq!(api.post(&format!("{PATH}/preview"), r#"{"mappings": {}}"#).await.0, 403);
    let anonymous = Request::builder().method("PUT").uri(PATH);
    assert_eq!(api.send(anonymous, Body::empty()).await.0.status(), 401);
}
