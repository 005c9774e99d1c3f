use application::testing::{Fault, RUN};
use domain::Scope;
use http::{Request, StatusCode};
use serde_json::json;

use super::{Api, Body};

#[tokio::test]
async fn the_caller_is_told_who_it_is() {
    let (status, me) = Api::new().get("/api/v1/me").await;
    assert_eq!(status, 200);
    assert_eq!((&me["tenant"]["slug"], &me["scopes"]), (&json!("acme"), &json!(["admin"])));
    assert_eq!(me["principal"]["kind"], "key");
}

#[tokio::test]
async fn every_route_of_the_api_refuses_anonymous_callers_before_it_looks_at_anything() {
    let api = Api::new();
    let description = serde_json::to_value(patchbay_interfaces::admin::openapi::description()).unwrap();
    let mut seen = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        if !path.starts_with("/api/") {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            let uri = path.replace("{id}", "no-uuid").replace("{name}", "no_name");
            let request = Request::builder().method(method.to_uppercase().as_str()).uri(&uri);
            let (response, problem) = api.send(request, "not json").await;
            assert_eq!(response.status(), 401, "{method} {path}: {problem}");
            assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
            assert_eq!(problem["code"], "unauthenticated");
            seen += 1;
        }
    }
    assert!(seen >= 18, "only {seen} operations were tried");
}

#[tokio::test]
async fn unknown_malformed_and_doubled_keys_are_refused() {
    let api = Api::new();
    for header in ["Bearer nonsense", "Basic abc", &format!("Bearer {}x", api.key)] {
        let request = Request::builder().uri("/api/v1/me").header("authorization", header);
        let (response, problem) = api.send(request, Body::empty()).await;
        assert_eq!(response.status(), 401, "{problem}");
    }
    let (response, _) =
        api.send(api.request("GET", "/api/v1/me").header("authorization", "Bearer x"), Body::empty()).await;
    assert_eq!(response.status(), 401);
    api.world.revoke_all_keys();
    assert_eq!(api.get("/api/v1/me").await.0, 401);
}

#[tokio::test]
async fn a_key_in_the_query_is_refused_even_beside_a_good_header() {
    let api = Api::new();
    for path in [format!("/api/v1/me?access_token={}", api.key), format!("/api/v1/me?x={}", api.key)] {
        let (status, problem) = api.get(&path).await;
        assert_eq!((status.as_u16(), &problem["code"]), (401, &json!("token_in_query")));
        assert!(!problem.to_string().contains(&api.key));
    }
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let mut api = Api::new();
    api.key = api.world.key(&[Scope::ItemsRead]);
    let (status, problem) = api.get("/api/v1/runs").await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("forbidden")));
    assert!(problem["detail"].as_str().unwrap().contains("instances:read"), "{problem}");
    assert_eq!(api.get("/api/v1/work-items").await.0, 200);
}

#[tokio::test]
async fn unknown_routes_are_404_with_or_without_a_key_and_wrong_methods_405_with_allow() {
    let api = Api::new();
    for path in ["/nothing", "/api/v1/nothing", "/api/v1", "/api/v2/me", "/"] {
        let (response, problem) = api.send(Request::builder().uri(path), Body::empty()).await;
        assert_eq!((response.status().as_u16(), &problem["code"]), (404, &json!("unknown_route")), "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    for (method, path) in [("PUT", "/api/v1/me"), ("POST", "/livez"), ("DELETE", "/api/v1/instances")] {
        let (response, problem) = api.send(api.request(method, path), Body::empty()).await;
        assert_eq!((response.status().as_u16(), &problem["code"]), (405, &json!("method_not_allowed")));
        assert!(response.headers()["allow"].to_str().unwrap().contains("GET"));
    }
}

#[tokio::test]
async fn every_answer_carries_an_id_of_our_own_and_problems_repeat_it() {
    let api = Api::new();
    let request = api.request("GET", "/api/v1/runs/none").header("x-request-id", "forged");
    let (response, problem) = api.send(request, Body::empty()).await;
    let id = response.headers()["x-request-id"].to_str().unwrap();
    assert_ne!(id, "forged");
    assert_eq!(problem["request_id"], id);
    assert_eq!((response.status().as_u16(), &problem["code"]), (404, &json!("not_found")));
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn malformed_bodies_each_have_their_answer() {
    let api = Api::new();
    let path = "/api/v1/instances";
    let (status, problem) = api.post(path, "{\"name\": oops}").await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("malformed_json")));
    let (response, problem) = api.send(api.request("POST", path), "{}").await;
    assert_eq!((response.status().as_u16(), &problem["code"]), (415, &json!("unsupported_media_type")));
    let (status, problem) = api.post(path, r#"{"source":"stub","name":"x","credentials":{"kind":"token","token":"s3cret"},"tenant_id":"other"}"#).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!("/tenant_id")));
    assert!(!problem.to_string().contains("s3cret"));
    let (status, problem) = api
        .post("/api/v1/instances/00000000-0000-0000-0000-000000000005/backfill", r#"{"tenant_id":"x"}"#)
        .await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!("/tenant_id")));
}

#[tokio::test]
async fn oversized_bodies_are_413_declared_or_not() {
    let api = Api::new();
    let big = "x".repeat(1024 * 1024 + 1);
    let (status, problem) = api.post("/api/v1/instances", &big).await;
    assert_eq!((status.as_u16(), &problem["code"]), (413, &json!("body_too_large")));
    let chunks = futures::stream::iter((0..1025).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
    let request = api.request("POST", "/api/v1/instances").header("content-type", "application/json");
    let (response, problem) = api.send(request, Body::from_stream(chunks)).await;
    assert_eq!((response.status().as_u16(), &problem["code"]), (413, &json!("body_too_large")));
}

#[tokio::test]
async fn an_instance_is_created_and_its_credentials_stay_inside() {
    let api = Api::new();
    let request = api.request("POST", "/api/v1/instances").header("content-type", "application/json");
    let body = r#"{"source":"stub","name":"New core","credentials":{"kind":"token","token":"s3cret"},"settings":{"repositories":["a/b"]}}"#;
    let (response, instance) = api.send(request, body).await;
    assert_eq!(response.status(), 201, "{instance}");
    assert_eq!(
        response.headers()["location"],
        format!("/api/v1/instances/{}", instance["id"].as_str().unwrap())
    );
    assert_eq!(
        (&instance["slug"], &instance["base_url"]),
        (&json!("new-core"), &json!("https://tracker.example"))
    );
    assert!(!instance.to_string().contains("s3cret") && instance.get("credentials").is_none());
}

#[tokio::test]
async fn wrong_fields_of_an_instance_are_named_with_what_is_known() {
    let api = Api::new();
    let new = |source: &str, url: &str, token: &str| {
        json!({"source": source, "name": "x", "base_url": url, "credentials": {"kind": "token", "token": token}}).to_string()
    };
    for (body, pointer) in [
        (new("svn", "https://a.example", "t"), "/source"),
        (new("stub", "not a url", "t"), "/base_url"),
        (new("stub", "https://user:pw@a.example", "t"), "/base_url"),
        (new("stub", "https://a.example", "a\r\nb"), "/credentials/token"),
    ] {
        let (status, problem) = api.post("/api/v1/instances", &body).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
    let (_, problem) = api.post("/api/v1/instances", &new("svn", "https://a.example", "t")).await;
    assert_eq!(problem["errors"][0]["allowed"], json!(["stub"]));
}

#[tokio::test]
async fn a_refusing_tracker_is_a_finding_of_the_test_and_not_an_error() {
    let api = Api::new();
    let path = "/api/v1/instances/00000000-0000-0000-0000-000000000005/test";
    let (status, test) = api.post(path, "").await;
    assert_eq!(status, 200, "{test}");
    assert_eq!((&test["connected"], &test["account"]), (&json!(false), &json!(null)));
    let problem = &test["problems"][0];
    assert_eq!((&problem["code"], &problem["upstream_status"]), (&json!("source_unauthorized"), &json!(401)));
    assert!(problem["hint"].as_str().unwrap().contains("PATCH"), "{problem}");
}

#[tokio::test]
async fn a_second_run_names_the_first() {
    let api = Api::new();
    let (status, problem) =
        api.post("/api/v1/instances/00000000-0000-0000-0000-000000000005/sync", "{}").await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("run_active")));
    assert_eq!(problem["run_id"], RUN.to_string());
}

#[tokio::test]
async fn a_run_has_the_promised_shape() {
    let (status, run) = Api::new().get(&format!("/api/v1/runs/{RUN}")).await;
    assert_eq!(status, 200);
    assert_eq!(run["progress"], json!({"done": 250, "estimate": 1000, "rate": 25.0, "eta_s": 30}));
    assert_eq!(
        (&run["kind"], &run["state"], &run["error"]),
        (&json!("backfill"), &json!("queued"), &json!(null))
    );
    for count in ["upserted", "unchanged", "tombstoned", "failed", "comments", "transitions"] {
        assert_eq!(run["counts"][count], 0, "{count}");
    }
}

#[tokio::test]
async fn filters_narrow_the_list_and_a_cursor_goes_on_where_the_page_ended() {
    let api = Api::new();
    let keys = |list: &serde_json::Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["source_key"].as_str().unwrap().to_owned()).collect()
    };
    let filter =
        "status=in_progress&type=bug&project=acme%2Fcore&limit=2&updated_since=2026-01-02T04:04:05%2B01:00";
    let (status, first) = api.get(&format!("/api/v1/work-items?{filter}")).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(keys(&first), ["acme/core#3", "acme/core#2"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let (status, second) = api.get(&format!("/api/v1/work-items?{filter}&cursor={cursor}")).await;
    assert_eq!((status.as_u16(), &second["next_cursor"]), (200, &json!(null)));
    assert_eq!(keys(&second), ["acme/core#1"]);
    let (_, all) = api.get("/api/v1/work-items").await;
    assert_eq!(keys(&all).len(), 5);
}

#[tokio::test]
async fn every_wrong_query_parameter_is_an_error_that_says_what_is_known() {
    let api = Api::new();
    for (query, pointer) in [
        ("tenant_id=other", "/tenant_id"),
        ("status=open", "/status"),
        ("type=Bug", "/type"),
        ("instance=core", "/instance"),
        ("updated_since=yesterday", "/updated_since"),
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=x", "/limit"),
        ("cursor=abc", "/cursor"),
        ("include_deleted=1", "/include_deleted"),
        ("project=", "/project"),
        ("limit=1&limit=2", "/limit"),
    ] {
        let (status, problem) = api.get(&format!("/api/v1/work-items?{query}")).await;
        assert_eq!(status, 422, "{query}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{query}: {problem}");
    }
    let (_, problem) = api.get("/api/v1/work-items?nope=1").await;
    assert!(
        problem["errors"][0]["allowed"].as_array().unwrap().contains(&json!("updated_since")),
        "{problem}"
    );
    let (_, problem) = api.get("/api/v1/runs?state=done").await;
    assert_eq!(problem["errors"][0]["allowed"].as_array().unwrap().len(), 7);
    assert_eq!(api.get("/api/v1/instances?project=x").await.0, 422);
}

#[tokio::test]
async fn faults_of_ours_and_panics_say_nothing_of_the_inside() {
    let api = Api::new();
    api.world.break_down("instances.list", Fault::Internal("syntax error in select secret from credentials"));
    let (status, problem) = api.get("/api/v1/instances").await;
    assert_eq!((status.as_u16(), &problem["code"]), (500, &json!("internal")));
    assert!(!problem.to_string().contains("select"), "{problem}");
    api.world.break_down("work_items.list", Fault::Panic("a bug with the secret c4nary"));
    let (status, problem) = api.get("/api/v1/work-items").await;
    assert_eq!((status.as_u16(), &problem["code"]), (500, &json!("internal")));
    assert!(!problem.to_string().contains("c4nary"));
}

#[tokio::test]
async fn readiness_lists_what_is_wrong_and_liveness_does_not_ask() {
    let api = Api::new();
    let anonymous = |path: &str| Request::builder().uri(path.to_owned());
    let (response, ready) = api.send(anonymous("/readyz"), Body::empty()).await;
    assert_eq!((response.status(), &ready["ready"]), (StatusCode::OK, &json!(true)));
    api.world.fall_ill("cannot be reached: start PostgreSQL");
    let (response, ready) = api.send(anonymous("/readyz"), Body::empty()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(
        ready["checks"][0],
        json!({"name": "database", "ok": false, "problem": "cannot be reached: start PostgreSQL"})
    );
    for path in ["/livez", "/metrics", "/docs", "/openapi.json"] {
        let (response, _) = api.send(anonymous(path), Body::empty()).await;
        assert_eq!(response.status(), 200, "{path}");
    }
}
