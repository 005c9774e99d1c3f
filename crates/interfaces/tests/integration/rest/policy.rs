//! What a tenant lets assistants do.

use domain::Scope;
use http::Request;
use serde_json::{Value, json};

use super::{Api, Body};

const PATH: &str = "/api/v1/policy";

async fn put(api: &Api, body: &str) -> (u16, Value) {
    let request = api.request("PUT", PATH).header("content-type", "application/json");
    let (response, answer) = api.send(request, body.to_owned()).await;
    (response.status().as_u16(), answer)
}

#[tokio::test]
async fn a_policy_bounds_nothing_until_it_is_replaced_and_no_change_of_others_is_lost() {
    let api = Api::new();
    let (status, before) = api.get(PATH).await;
    let nothing = json!({"toolsets": null, "denied_tools": [], "read_only": false, "hidden_fields": []});
    assert_eq!((status.as_u16(), before), (200, json!({"version": 1, "jira": nothing, "updated_at": null})));
    let body = r#"{"version": 1, "jira": {"toolsets": ["jira_core"], "denied_tools": ["jira_find_users"],
        "hidden_fields": ["Salary"]}}"#;
    let (status, stored) = put(&api, body).await;
    assert_eq!((status, &stored["version"]), (200, &json!(2)), "{stored}");
    assert_eq!(api.get(PATH).await.1, stored);
    let (status, problem) = put(&api, body).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")));
    assert!(problem["hint"].as_str().unwrap().contains("GET it again"), "{problem}");
    let (_, stored) = put(&api, r#"{"jira": {}}"#).await;
    assert_eq!((&stored["version"], &stored["jira"]), (&json!(3), &nothing));
}

#[tokio::test]
async fn a_policy_that_would_bound_nothing_is_refused_where_it_is_wrong() {
    let api = Api::new();
    for (body, pointer) in [
        (r#"{"jira": {"toolsets": ["agile"]}}"#, "/jira/toolsets/0"),
        (r#"{"jira": {"toolsets": ["sql"]}}"#, "/jira/toolsets"),
        (r#"{"jira": {"denied_tools": ["jira_get_isue"]}}"#, "/jira/denied_tools"),
        (r#"{"jira": {"hidden_fields": ["Status"]}}"#, "/jira/hidden_fields"),
        (r#"{"jira": {"readonly": true}}"#, "/jira/readonly"),
        (r#"{}"#, "/jira"),
    ] {
        let (status, problem) = put(&api, body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
    assert_eq!(api.get(PATH).await.1["version"], 1);
}

#[tokio::test]
async fn only_who_has_the_whole_tenant_changes_its_policy() {
    let mut api = Api::new();
    api.key = api.world.key(&[Scope::InstancesWrite]);
    assert_eq!((api.get(PATH).await.0.as_u16(), put(&api, r#"{"jira": {}}"#).await.0), (403, 403));
    api.key = api.world.key(&[Scope::Admin]);
    let narrowed = r#"{"name": "n", "scopes": ["admin"], "grant": {"toolsets": ["jira_core"]}}"#;
    let (status, made) = api.post("/api/v1/keys", narrowed).await;
    assert_eq!(status, 201, "{made}");
    api.key = made["key"].as_str().unwrap().to_owned();
    assert_eq!(put(&api, r#"{"jira": {}}"#).await.0, 403);
    let anonymous = Request::builder().method("PUT").uri(PATH);
    assert_eq!(api.send(anonymous, Body::empty()).await.0.status(), 401);
}
