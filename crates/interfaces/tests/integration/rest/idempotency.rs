//! `Idempotency-Key` as a client meets it. Security requirement 64.

use application::testing::Fault;
use http::{Response, StatusCode};
use serde_json::Value;

use super::Api;

const BODY: &str = r#"{"source": "stub", "name": "Once", "base_url": "https://tracker.example",
    "credentials": {"kind": "token", "token": "t"}}"#;

async fn post(api: &Api, path: &str, key: &str, body: &str) -> (Response<()>, Value) {
    let request = api.request("POST", path).header("content-type", "application/json");
    api.send(request.header("idempotency-key", key), body.to_owned()).await
}

async fn instances(api: &Api) -> usize {
    api.get("/api/v1/instances").await.1["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer_and_has_no_second_effect() {
    let api = Api::new();
    let before = instances(&api).await;
    let (first, body) = post(&api, "/api/v1/instances", "k-1", BODY).await;
    assert_eq!(first.status(), StatusCode::CREATED, "{body}");
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let reordered = r#"{"name":"Once","credentials":{"token":"t","kind":"token"},
        "base_url":"https://tracker.example","source":"stub"}"#;
    for same in [BODY, reordered] {
        let (again, replayed) = post(&api, "/api/v1/instances", "k-1", same).await;
        assert_eq!((again.status(), &replayed), (StatusCode::CREATED, &body));
        assert_eq!(again.headers()["idempotency-replayed"], "true");
        for kept in ["location", "content-type"] {
            assert_eq!(again.headers()[kept], first.headers()[kept], "{kept}");
        }
    }
    assert_eq!(instances(&api).await, before + 1);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let api = Api::new();
    post(&api, "/api/v1/instances", "k", BODY).await;
    let other = BODY.replace("Once", "Twice");
    for (path, body) in [("/api/v1/instances", other.as_str()), ("/api/v1/instances?x=1", BODY)] {
        let (refused, problem) = post(&api, path, "k", body).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert_eq!(problem["code"], "idempotency_mismatch");
    }
    // Keys belong to a route: elsewhere the same text is another key.
    let (elsewhere, problem) = post(&api, "/api/v1/runs/x/cancel", "k", "").await;
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND, "{problem}");
}

#[tokio::test]
async fn a_request_that_is_being_served_is_not_served_twice() {
    let api = Api::new();
    api.world.break_down("instances.insert", Fault::Hang);
    let mut first = Box::pin(post(&api, "/api/v1/instances", "k", BODY));
    for _ in 0..20 {
        assert!(futures::poll!(first.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    let (second, problem) = post(&api, "/api/v1/instances", "k", BODY).await;
    assert_eq!(second.status(), StatusCode::CONFLICT, "{problem}");
    assert_eq!(
        (&problem["code"], &problem["retry_after_ms"]),
        (&"idempotency_in_flight".into(), &1000.into())
    );
    assert_eq!(second.headers()["retry-after"], "1");
    // The first goes away: the key is free.
    drop(first);
    api.world.repair();
    let (third, body) = post(&api, "/api/v1/instances", "k", BODY).await;
    assert_eq!(third.status(), StatusCode::CREATED, "{body}");
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused_before_anything_is_done() {
    let api = Api::new();
    let before = instances(&api).await;
    for key in ["", "two words", &"x".repeat(256)] {
        let (refused, problem) = post(&api, "/api/v1/instances", key, BODY).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{key}");
        assert_eq!(problem["code"], "idempotency_key_malformed");
    }
    let twice = api.request("POST", "/api/v1/instances").header("idempotency-key", "a");
    let (refused, _) = api.send(twice.header("idempotency-key", "b"), BODY).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(instances(&api).await, before);
}

#[tokio::test]
async fn a_final_refusal_is_kept_and_a_passing_failure_is_not() {
    let api = Api::new();
    let unknown = "/api/v1/instances/018f0000-0000-7000-8000-000000000000/sync";
    let (first, told) = post(&api, unknown, "final", "{}").await;
    let (again, replayed) = post(&api, unknown, "final", "{}").await;
    assert_eq!((first.status().as_u16(), again.status().as_u16()), (404, 404), "{told}");
    assert_eq!((again.headers()["idempotency-replayed"].as_bytes(), told), (&b"true"[..], replayed));

    api.world.break_down("instances.insert", Fault::Unavailable);
    let (failed, problem) = post(&api, "/api/v1/instances", "passing", BODY).await;
    assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert!(failed.headers().contains_key("retry-after"));
    api.world.repair();
    let (served, body) = post(&api, "/api/v1/instances", "passing", BODY).await;
    assert_eq!(served.status(), StatusCode::CREATED, "{body}");
    assert!(!served.headers().contains_key("idempotency-replayed"));
}

#[tokio::test]
async fn a_corrected_body_goes_under_the_key_of_the_refused_one() {
    let api = Api::new();
    let before = instances(&api).await;
    for (wrong, status) in [
        ("{", 400),
        (r#"{"name": 5}"#, 422),
        // Of the right shape, and refused by the use case.
        (&BODY.replace("stub", "no-such-source"), 422),
    ] {
        let key = format!("corrected after {wrong}").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let (refused, problem) = post(&api, "/api/v1/instances", &key, wrong).await;
        assert_eq!(refused.status().as_u16(), status, "{wrong}: {problem}");
        let name = BODY.replace("Once", &format!("Once after {}", wrong.len()));
        let (served, body) = post(&api, "/api/v1/instances", &key, &name).await;
        assert_eq!(served.status(), StatusCode::CREATED, "{wrong}: {body}");
        let (again, replayed) = post(&api, "/api/v1/instances", &key, &name).await;
        assert_eq!((again.headers()["idempotency-replayed"].as_bytes(), replayed), (&b"true"[..], body));
    }
    let unread = api.request("POST", "/api/v1/instances").header("idempotency-key", "media-type");
    let (refused, problem) = api.send(unread, BODY).await;
    assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{problem}");
    let (served, body) = post(&api, "/api/v1/instances", "media-type", BODY).await;
    assert_eq!(served.status(), StatusCode::CREATED, "{body}");
    assert_eq!(instances(&api).await, before + 4);
}

#[tokio::test]
async fn an_answer_that_could_not_be_kept_is_not_given() {
    let api = Api::new();
    api.world.break_down("idempotency.finish", Fault::Unavailable);
    let (lost, problem) = post(&api, "/api/v1/instances", "k", BODY).await;
    assert_eq!(lost.status(), StatusCode::SERVICE_UNAVAILABLE, "{problem}");
}

#[tokio::test]
async fn keys_of_another_caller_are_other_keys_and_a_stranger_has_none() {
    let api = Api::new();
    let (_, mine) = post(&api, "/api/v1/instances", "k", BODY).await;
    let other = Api { key: api.world.key(&[domain::Scope::Admin]), ..api };
    let (served, theirs) = post(&other, "/api/v1/instances", "k", &BODY.replace("Once", "Other")).await;
    assert_eq!(served.status(), StatusCode::CREATED, "{theirs}");
    assert_ne!(mine["id"], theirs["id"]);
    let stranger =
        http::Request::builder().method("POST").uri("/api/v1/instances").header("idempotency-key", "k");
    let (refused, _) = other.send(stranger, BODY).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_post_of_the_description_takes_the_header_and_tells_how_it_fails() {
    let description = serde_json::to_value(patchbay_interfaces::admin::openapi::description()).unwrap();
    let mut posts = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        let Some(post) = item.get("post").filter(|_| path.starts_with("/api/")) else { continue };
        posts += 1;
        let parameters = post["parameters"].as_array().unwrap();
        assert!(
            parameters.iter().any(|one| one["name"] == "Idempotency-Key" && one["in"] == "header"),
            "{path}"
        );
        for status in ["400", "409", "422"] {
            assert!(
                post["responses"][status]["description"].as_str().unwrap().contains("Idempotency-Key"),
                "{path}"
            );
        }
    }
    assert!(posts >= 5, "only {posts} routes");
}
