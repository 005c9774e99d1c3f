//! Limits of the admin server (security requirements 34 and 35).

use application::limits::Quotas;
use application::testing::{INSTANCE, Memory};
use axum::body::Body;
use domain::Quota;
use http::{Request, StatusCode};
use patchbay_interfaces::limits::ClientAddress;

use super::*;

fn within(quotas: Quotas) -> Api {
    let world = Memory::new();
    let router = app_of(world.services_within(quotas));
    let key = world.key(&[Scope::Admin]);
    Api { world, router, key }
}

fn from(path: &str, address: &str) -> http::request::Builder {
    Request::get(path).extension(ClientAddress(address.parse().unwrap()))
}

// Security requirement 34.
#[tokio::test]
async fn an_address_is_counted_before_its_key_is_looked_at() {
    let api = within(Quotas { address: Quota::per(2, 60, 2), ..Quotas::default() });
    for path in ["/api/v1/me", "/api/v1/nowhere"] {
        api.send(from(path, "192.0.2.1"), Body::empty()).await;
    }
    let (refused, problem) = api.send(from("/openapi.json", "192.0.2.1"), Body::empty()).await;
    assert_eq!((refused.status(), &problem["code"]), (StatusCode::TOO_MANY_REQUESTS, &"rate_limited".into()));
    assert_eq!(refused.headers()["ratelimit-policy"], r#""address";q=2;w=60"#);
    assert_eq!(refused.headers()["retry-after"], "30");
    let (other, _) = api.send(from("/api/v1/me", "192.0.2.2"), Body::empty()).await;
    assert_eq!(other.status(), StatusCode::UNAUTHORIZED);
    let (probe, _) = api.send(from("/livez", "192.0.2.1"), Body::empty()).await;
    assert_eq!(probe.status(), StatusCode::OK);
}

// Security requirement 34: also an answer that is an error tells where the limits stand.
#[tokio::test]
async fn every_answer_of_a_signed_in_request_tells_where_the_limits_stand() {
    let api = Api::new();
    for (path, status) in [("/api/v1/me", 200), ("/api/v1/runs/nonsense", 404), ("/api/v1/runs?limit=0", 422)]
    {
        let (answer, _) = api.send(api.request("GET", path), Body::empty()).await;
        assert_eq!(answer.status(), status, "{path}");
        for name in ["ratelimit", "ratelimit-policy"] {
            assert!(answer.headers().contains_key(name), "{path} has no {name}");
        }
    }
}

// Security requirement 34: a tenant's limit is of all of its keys together.
#[tokio::test]
async fn a_tenant_is_limited_whichever_key_is_used() {
    let api = within(Quotas { tenant: Quota::per(2, 60, 2), ..Quotas::default() });
    let other =
        Api { key: api.world.key(&[Scope::ItemsRead]), world: api.world.clone(), router: api.router.clone() };
    assert_eq!(api.get("/api/v1/me").await.0, StatusCode::OK);
    assert_eq!(other.get("/api/v1/me").await.0, StatusCode::OK);
    let (refused, _) = api.send(api.request("GET", "/api/v1/me"), Body::empty()).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["ratelimit-policy"], r#""tenant";q=2;w=60"#);
}

// Security requirement 35: login and token endpoints are closed without Redis.
#[tokio::test]
async fn sign_ins_are_closed_while_nobody_can_count_them() {
    let api = Api::new();
    api.world.close_sign_ins();
    for path in ["/auth/login", "/auth/callback?state=x&code=y"] {
        let (closed, problem) = api.send(from(path, "192.0.2.1"), Body::empty()).await;
        assert_eq!(closed.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(problem["code"], "closed_for_now");
        assert!(closed.headers().contains_key("retry-after"));
    }
    assert_eq!(api.get("/api/v1/me").await.0, StatusCode::OK, "keys work on");
}

// Security requirement 34: the test of an instance is paid from the instance's budget.
#[tokio::test]
async fn the_test_of_an_instance_is_counted_and_refused_when_the_budget_is_used_up() {
    let api = within(Quotas { upstream: Some(Quota::per(1, 3_600, 1)), ..Quotas::default() });
    let path = format!("/api/v1/instances/{}/test", INSTANCE.as_uuid());
    assert_eq!(api.post(&path, "{}").await.0, StatusCode::OK);
    assert_eq!(api.world.upstream_requests(INSTANCE), 1);
    let (status, problem) = api.post(&path, "{}").await;
    assert_eq!((status, &problem["code"]), (StatusCode::TOO_MANY_REQUESTS, &"rate_limited".into()));
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("upstream")), "{problem}");
}
