//! Signing in with a browser, its session, changes by cookie, and access tokens on the API.

use std::time::Duration;

use application::testing::{Fault, OTHER_TENANT, RUN, TENANT};
use axum::body::Body;
use domain::{Role, Scope};
use futures::StreamExt;
use http::{HeaderMap, Request, StatusCode};
use patchbay_interfaces::admin::openapi::description;
use patchbay_interfaces::admin::scoped::OPEN;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::Api;

const ORIGIN: &str = "https://patchbay.example";
const API: &str = "https://patchbay.example/api/v1";

/// A browser: keeps cookies, and says which page asks.
struct Browser<'a> {
    api: &'a Api,
    cookies: Vec<(String, String)>,
    csrf: Option<String>,
}

impl<'a> Browser<'a> {
    fn new(api: &'a Api) -> Self {
        Self { api, cookies: Vec::new(), csrf: None }
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) -> (StatusCode, HeaderMap, Value) {
        let jar: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", jar.join("; "))
            .header("origin", ORIGIN)
            .header("sec-fetch-site", "same-origin")
            .header("user-agent", "a browser");
        if let Some(csrf) = &self.csrf {
            request = request.header("x-csrf-token", csrf);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let (response, json) = self.api.send(request, body.to_owned()).await;
        for line in response.headers().get_all("set-cookie") {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        (response.status(), response.headers().clone(), json)
    }

    /// Begins a sign-in; the state that the identity provider sends back.
    async fn begin(&mut self, query: &str) -> String {
        let (status, headers, problem) = self.send("GET", &format!("/auth/login{query}"), "").await;
        assert_eq!(status, 303, "{problem}");
        let to: url::Url = headers["location"].to_str().unwrap().parse().unwrap();
        let pair = |wanted: &str| to.query_pairs().find(|(name, _)| name == wanted).unwrap().1.into_owned();
        assert_eq!(pair("redirect_uri"), format!("{ORIGIN}/auth/callback"));
        pair("state")
    }

    async fn finish(&mut self, state: &str, name: &str) -> (StatusCode, HeaderMap, Value) {
        self.send("GET", &format!("/auth/callback?state={state}&code={name}&session_state=x"), "").await
    }

    async fn sign_in(&mut self, name: &str, query: &str) -> (StatusCode, HeaderMap, Value) {
        let state = self.begin(query).await;
        self.finish(&state, name).await
    }

    /// Signs in and takes the page's token from `/me`.
    async fn signed_in(api: &'a Api, name: &str, query: &str) -> Self {
        let mut browser = Browser::new(api);
        let (status, _, problem) = browser.sign_in(name, query).await;
        assert_eq!(status, 303, "{problem}");
        let (_, _, me) = browser.send("GET", "/api/v1/me", "").await;
        browser.csrf = Some(me["session"]["csrf_token"].as_str().unwrap().to_owned());
        browser
    }
}

// Security requirements 42, 60 and 65.
#[tokio::test]
async fn a_member_signs_in_acts_by_cookie_and_signs_out() {
    let api = Api::new();
    let user = api.world.member(TENANT, "alice", Role::Admin);
    let mut browser = Browser::new(&api);
    let (status, headers, _) = browser.sign_in("alice", "?return_to=/docs").await;
    assert_eq!((status.as_u16(), headers["location"].to_str().unwrap()), (303, "/docs"));
    let set: Vec<&str> = headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    let session = set.iter().find(|line| line.starts_with("__Host-patchbay=")).unwrap();
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=43200"] {
        assert!(session.contains(attribute), "{session} lacks {attribute}");
    }
    assert_eq!(headers["referrer-policy"], "no-referrer");

    let (status, _, me) = browser.send("GET", "/api/v1/me", "").await;
    assert_eq!(status, 200, "{me}");
    assert_eq!(me["principal"], json!({"kind": "user", "id": user.to_string(), "name": "alice"}));
    assert_eq!(me["tenant"]["slug"], "acme");
    assert_eq!(me["session"]["tenants"], json!(["acme"]));
    assert_eq!(me["scopes"].as_array().unwrap().len(), Role::Admin.scopes().names().len());

    browser.csrf = Some(me["session"]["csrf_token"].as_str().unwrap().to_owned());
    let stolen = browser.cookies.clone();
    let (status, headers, _) = browser.send("POST", "/auth/logout", "").await;
    assert_eq!(status, 204);
    assert!(headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    browser.cookies = stolen;
    assert_eq!(browser.send("GET", "/api/v1/me", "").await.0, 401, "it is ended on the server");
}

// Security requirement 42.
#[tokio::test]
async fn a_sign_in_is_finished_once_and_in_the_browser_that_began_it() {
    let api = Api::new();
    api.world.member(TENANT, "alice", Role::Viewer);
    let code = |answer: (StatusCode, HeaderMap, Value)| (answer.0.as_u16(), answer.2["code"].clone());
    let expired = (400, json!("sign_in_expired"));

    let mut browser = Browser::new(&api);
    let state = browser.begin("").await;
    let mut other = Browser::new(&api);
    assert_eq!(code(other.finish(&state, "alice").await), expired, "another browser without a cookie");

    let state = browser.begin("").await;
    other.begin("").await;
    assert_eq!(code(other.finish(&state, "alice").await), expired, "another browser's cookie");

    let state = browser.begin("").await;
    let kept = browser.cookies.clone();
    assert_eq!(browser.finish(&state, "alice").await.0, 303);
    browser.cookies = kept;
    assert_eq!(code(browser.finish(&state, "alice").await), expired, "a second time");
    assert_eq!(code(browser.finish(&"0".repeat(64), "alice").await), expired, "a made-up state");
    assert_eq!(code(browser.finish("x", "alice").await), expired);

    let state = browser.begin("").await;
    let foreign = format!("/auth/callback?state={state}&code=alice&iss=https%3A%2F%2Fevil.example");
    assert_eq!(code(browser.send("GET", &foreign, "").await), (403, json!("sign_in_refused")), "RFC 9207");

    let state = browser.begin("").await;
    let refused = format!("/auth/callback?state={state}&error=access_denied&error_description=canary");
    let answer = browser.send("GET", &refused, "").await;
    assert!(!answer.2.to_string().contains("canary"), "{}", answer.2);
    assert_eq!(code(answer), (403, json!("sign_in_refused")));
}

#[tokio::test]
async fn a_sign_in_sends_nobody_to_another_site() {
    let api = Api::new();
    let mut browser = Browser::new(&api);
    for bad in ["//evil.example", "https://evil.example", "/%5Cevil.example", "evil", "/%0d%0aset-cookie:x"] {
        let (status, _, problem) = browser.send("GET", &format!("/auth/login?return_to={bad}"), "").await;
        assert_eq!(
            (status.as_u16(), problem["errors"][0]["pointer"].as_str()),
            (422, Some("/return_to")),
            "{bad}"
        );
    }
}

// Security requirement 60.
#[tokio::test]
async fn a_new_sign_in_gets_a_new_session_and_ends_the_old() {
    let api = Api::new();
    api.world.member(TENANT, "alice", Role::Viewer);
    let mut browser = Browser::signed_in(&api, "alice", "").await;
    let old = browser.cookies.clone();
    assert_eq!(browser.sign_in("alice", "").await.0, 303);
    assert_ne!(
        browser.cookie("__Host-patchbay"),
        old.iter().find(|c| c.0 == "__Host-patchbay").map(|c| c.1.as_str())
    );
    browser.cookies = old;
    assert_eq!(browser.send("GET", "/api/v1/me", "").await.0, 401);
    // A cookie that somebody planted is never taken over.
    browser.cookies = vec![("__Host-patchbay".into(), "a".repeat(64))];
    assert_eq!(browser.sign_in("alice", "").await.0, 303);
    assert_ne!(browser.cookie("__Host-patchbay"), Some("a".repeat(64).as_str()));
}

#[tokio::test]
async fn an_invitation_makes_a_member_of_its_very_addressee_only() {
    let api = Api::new();
    let (status, made) =
        api.post("/api/v1/invitations", r#"{"email":"Bob@Example.com","role":"member"}"#).await;
    assert_eq!(status, 201, "{made}");
    let token = made["token"].as_str().unwrap().to_owned();
    let with = format!("?invitation={token}");
    let code = |answer: (StatusCode, HeaderMap, Value)| (answer.0.as_u16(), answer.2["code"].clone());
    let mut stranger = Browser::new(&api);
    assert_eq!(code(stranger.sign_in("mallory", "").await), (403, json!("no_membership")));
    assert_eq!(code(stranger.sign_in("mallory", &with).await), (403, json!("invitation_not_accepted")));
    assert_eq!(
        code(stranger.sign_in("unverified-bob", &with).await),
        (403, json!("invitation_not_accepted"))
    );
    assert_eq!(
        code(stranger.sign_in("bob", "?invitation=made-up").await),
        (403, json!("invitation_not_accepted"))
    );
    let denied = api.world.records(TENANT);
    let denied: Vec<_> = denied.iter().filter(|record| record.action == "invitation.accept").collect();
    assert_eq!(denied.len(), 2, "refusals into a known tenant are on the record: {denied:?}");
    assert!(
        denied
            .iter()
            .all(|record| record.outcome == "denied" && record.client.as_deref() == Some("a browser"))
    );

    let mut bob = Browser::signed_in(&api, "bob", &with).await;
    let (_, _, me) = bob.send("GET", "/api/v1/me", "").await;
    assert_eq!(me["tenant"]["slug"], "acme");
    assert_eq!(me["scopes"], json!(Role::Member.scopes().names()));
    // Opening the link once more signs in; for anybody else it is used up.
    assert_eq!(bob.sign_in("bob", &with).await.0, 303);
    assert_eq!(code(stranger.sign_in("mallory", &with).await).0, 403);
}

#[tokio::test]
async fn a_member_of_two_tenants_chooses_among_their_own() {
    let api = Api::new();
    api.world.member(TENANT, "carol", Role::Viewer);
    // The same person in the other tenant: by an invitation.
    let key = api.world.key_of(OTHER_TENANT, &[Scope::Admin]);
    let other = Api { key, router: api.router.clone(), world: api.world.clone() };
    let body = r#"{"email":"carol@example.com","role":"admin"}"#;
    let (status, made) = other.post("/api/v1/invitations", body).await;
    assert_eq!(status, 201, "{made}");
    let with = format!("?invitation={}", made["token"].as_str().unwrap());
    let mut browser = Browser::signed_in(&api, "carol", &with).await;
    let (_, _, me) = browser.send("GET", "/api/v1/me", "").await;
    assert_eq!(
        (&me["tenant"]["slug"], &me["session"]["tenants"]),
        (&json!("globex"), &json!(["acme", "globex"]))
    );

    let old = browser.cookies.clone();
    let (status, _, session) = browser.send("POST", "/auth/tenant", r#"{"tenant":"acme"}"#).await;
    assert_eq!((status.as_u16(), &session["tenant"]), (200, &json!("acme")), "{session}");
    let new = std::mem::replace(&mut browser.cookies, old);
    assert_eq!(browser.send("GET", "/api/v1/me", "").await.0, 401, "the session was rotated");
    browser.cookies = new;
    browser.csrf = Some(session["csrf_token"].as_str().unwrap().to_owned());
    assert_eq!(browser.send("GET", "/api/v1/me", "").await.2["tenant"]["slug"], "acme");
    for foreign in ["nowhere", "umbrella"] {
        let body = json!({"tenant": foreign}).to_string();
        let (status, _, problem) = browser.send("POST", "/auth/tenant", &body).await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("choose_tenant")), "{problem}");
        assert_eq!(problem["errors"][0]["allowed"], json!(["acme", "globex"]));
    }
    let (status, _, problem) = Browser::new(&api).sign_in("carol", "?tenant=umbrella").await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("choose_tenant")), "{problem}");
}

// Security requirement 61.
#[tokio::test]
async fn no_route_takes_a_change_by_cookie_from_another_site() {
    let api = Api::new();
    api.world.member(TENANT, "olga", Role::Owner);
    let browser = Browser::signed_in(&api, "olga", "").await;
    let cookie = format!("__Host-patchbay={}", browser.cookie("__Host-patchbay").unwrap());
    let csrf = browser.csrf.clone().unwrap();
    let described = serde_json::to_value(description()).unwrap();
    let mut tried = 0;
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let operations_endpoint = operation["tags"] == json!(["operations"]);
            // Trackers sign what they send; a cookie means nothing there.
            let delivery = path.starts_with("/webhooks/");
            if method == "get" || operations_endpoint || delivery {
                continue;
            }
            assert!(operation["x-required-scope"] != OPEN || path.starts_with("/auth/"), "{method} {path}");
            let path = path.replace("{id}", &RUN.to_string());
            let body = if path == "/auth/tenant" { r#"{"tenant":"acme"}"# } else { "{}" };
            for (what, extra) in [
                ("no token", vec![("origin", ORIGIN)]),
                ("another token", vec![("origin", ORIGIN), ("x-csrf-token", "0")]),
                ("no origin", vec![("x-csrf-token", csrf.as_str())]),
                ("another origin", vec![("origin", "https://evil.example"), ("x-csrf-token", csrf.as_str())]),
                ("origin null", vec![("origin", "null"), ("x-csrf-token", csrf.as_str())]),
                ("another site", vec![("sec-fetch-site", "cross-site"), ("x-csrf-token", csrf.as_str())]),
                ("a subdomain", vec![("sec-fetch-site", "same-site"), ("x-csrf-token", csrf.as_str())]),
            ] {
                let mut request = Request::builder()
                    .method(method.to_uppercase().as_str())
                    .uri(&path)
                    .header("content-type", "application/json")
                    .header("cookie", &cookie);
                for (name, value) in extra {
                    request = request.header(name, value);
                }
                let (response, problem) = api.send(request, body).await;
                assert_eq!(
                    (response.status().as_u16(), problem["code"].as_str()),
                    (403, Some("cross_site")),
                    "{method} {path} with {what}: {problem}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried >= 7 * 12, "only {tried} were tried");
}

// Security requirement 33.
#[tokio::test]
async fn nobody_is_let_in_while_it_cannot_be_found_out_who_they_are() {
    let api = Api::new();
    api.world.member(TENANT, "alice", Role::Viewer);
    let mut browser = Browser::signed_in(&api, "alice", "").await;
    for broken in ["sessions.find", "members.memberships"] {
        api.world.break_down(broken, Fault::Unavailable);
        let (status, _, problem) = browser.send("GET", "/api/v1/me", "").await;
        assert_eq!(status, 503, "{broken}: {problem}");
        api.world.repair();
    }
    let token = api.world.token("alice", API, &["items:read"]);
    for broken in ["tokens.verify", "members.memberships"] {
        api.world.break_down(broken, Fault::Unavailable);
        let (status, problem) = by_token(&api, &token, None).await;
        assert_eq!(status, 503, "{broken}: {problem}");
        api.world.repair();
    }
    for broken in ["provider.begin", "sign_ins.begin"] {
        api.world.break_down(broken, Fault::Unavailable);
        assert_eq!(browser.send("GET", "/auth/login", "").await.0, 503, "{broken}");
        api.world.repair();
    }
    for broken in
        ["sign_ins.take", "provider.finish", "members.sign_in", "members.memberships", "sessions.insert"]
    {
        let state = browser.begin("").await;
        api.world.break_down(broken, Fault::Unavailable);
        let (status, headers, problem) = browser.finish(&state, "alice").await;
        assert_eq!(status, 503, "{broken}: {problem}");
        assert!(headers.get("set-cookie").is_none(), "{broken}");
        api.world.repair();
    }
    api.world.close_sign_ins();
    assert_eq!(browser.send("GET", "/auth/login", "").await.0, 503, "uncounted sign-ins are closed");
    assert_eq!(browser.send("POST", "/auth/logout", "").await.0, 204, "signing out is not");
}

async fn by_token(api: &Api, token: &str, tenant: Option<&str>) -> (StatusCode, Value) {
    let mut request = Request::get("/api/v1/me").header("authorization", format!("Bearer {token}"));
    if let Some(tenant) = tenant {
        request = request.header("patchbay-tenant", tenant);
    }
    let (response, json) = api.send(request, Body::empty()).await;
    (response.status(), json)
}

#[tokio::test]
async fn a_token_allows_what_it_grants_and_the_role_allows_in_the_tenant_of_the_membership() {
    let api = Api::new();
    api.world.member(TENANT, "alice", Role::Viewer);
    let token = |scopes: &[&str]| api.world.token("alice", API, scopes);
    let (status, me) =
        by_token(&api, &token(&["items:read", "instances:write", "openid", "x:y"]), None).await;
    assert_eq!(status, 200, "{me}");
    assert_eq!(me["scopes"], json!(["instances:read", "items:read"]));
    assert_eq!((&me["principal"]["kind"], &me["session"]), (&json!("user"), &Value::Null));
    assert_eq!(by_token(&api, &token(&["items:read"]), Some("acme")).await.0, 200);
    let (status, problem) = by_token(&api, &token(&["items:read"]), Some("globex")).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("choose_tenant")), "{problem}");
    assert_eq!(problem["errors"][0]["allowed"], json!(["acme"]));
    for none in [&["audit:read"][..], &["openid"], &[]] {
        let (status, problem) = by_token(&api, &token(none), None).await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("forbidden")), "{none:?}: {problem}");
    }
    let stranger = api.world.token("nobody", API, &["items:read"]);
    assert_eq!(by_token(&api, &stranger, None).await.1["code"], "no_membership");
    let elsewhere = api.world.token("alice", "https://patchbay.example/mcp", &["items:read"]);
    assert_eq!(by_token(&api, &elsewhere, None).await.0, 401);
    let noted = api.world.records(TENANT);
    let noted: Vec<_> = noted.iter().filter(|record| record.action == "token.present").collect();
    let ends: Vec<&str> = noted.iter().map(|record| record.outcome.as_str()).collect();
    assert_eq!(ends, ["ok", "denied"], "once for each decision, not for each request");
    assert_eq!(noted[0].client.as_deref(), Some("a client"));
}

#[tokio::test]
async fn the_api_tells_clients_where_to_get_tokens() {
    let api = Api::new();
    let (response, _) = api.send(Request::get("/api/v1/me"), Body::empty()).await;
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    let metadata = "https://patchbay.example/.well-known/oauth-protected-resource/api/v1";
    assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
    let (response, json) =
        api.send(Request::get("/.well-known/oauth-protected-resource/api/v1"), Body::empty()).await;
    assert_eq!((response.status().as_u16(), json["resource"].as_str()), (200, Some(API)), "{json}");
}

// Security requirement 32.
#[tokio::test(start_paused = true)]
async fn an_open_stream_ends_with_its_session_and_with_the_membership_behind_its_token() {
    let api = Api::new();
    api.world.member(TENANT, "alice", Role::Viewer);
    api.world.member(TENANT, "olga", Role::Owner);
    let mut browser = Browser::signed_in(&api, "alice", "").await;
    let cookie = format!("__Host-patchbay={}", browser.cookie("__Host-patchbay").unwrap());
    let token = format!("Bearer {}", api.world.token("olga", API, &["instances:read"]));
    let open = async |name: &'static str, value: &str| {
        let request = Request::get(format!("/api/v1/runs/{RUN}/events")).header(name, value);
        let response = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "{name}");
        let mut events = response.into_body().into_data_stream();
        events.next().await.unwrap().unwrap();
        events
    };
    let (mut by_cookie, mut by_token) = (open("cookie", &cookie).await, open("authorization", &token).await);
    assert_eq!(browser.send("POST", "/auth/logout", "").await.0, 204);
    api.world.break_down("tokens.verify", Fault::Internal("the person is gone"));
    for events in [&mut by_cookie, &mut by_token] {
        let last =
            tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap().unwrap();
        assert!(last.starts_with(b"event: error"), "{last:?}");
        assert!(events.next().await.is_none());
    }
}
