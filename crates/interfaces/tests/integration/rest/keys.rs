//! Keys, members and invitations over HTTP.

use application::testing::INSTANCE;
use domain::Scope;
use serde_json::{Value, json};

use super::{Api, Body};

impl Api {
    async fn with_body(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.request(method, path).header("content-type", "application/json");
        let (response, json) = self.send(request, body.to_string()).await;
        (response.status().as_u16(), json)
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        let (response, json) = self.send(self.request("DELETE", path), Body::empty()).await;
        (response.status().as_u16(), json)
    }

    /// The same server, called with another key.
    fn as_key(&self, key: &Value) -> Self {
        let key = key["key"].as_str().unwrap().to_owned();
        Self { world: self.world.clone(), router: self.router.clone(), key }
    }
}

// Security requirements 58 and 59.
#[tokio::test]
async fn a_key_is_shown_once_and_works_as_it_was_asked_for() {
    let api = Api::new();
    let grant =
        json!({"instances": [INSTANCE], "projects_read": ["a/b"], "templates": [], "toolsets": ["sql"]});
    let wanted = json!({"name": "ci", "kind": "assistant", "scopes": ["instances:read", "keys:write"], "grant": grant,
                        "expires_at": "2026-02-02T03:04:05Z"});
    let request = api.request("POST", "/api/v1/keys").header("content-type", "application/json");
    let (response, made) = api.send(request, wanted.to_string()).await;
    assert_eq!(response.status(), 201, "{made}");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let path = response.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(path, format!("/api/v1/keys/{}", made["id"].as_str().unwrap()));

    let narrow = api.as_key(&made);
    let (_, me) = narrow.get("/api/v1/me").await;
    assert_eq!((&me["grant"], &me["scopes"]), (&made["grant"], &wanted["scopes"]));
    assert_eq!(me["grant"]["projects_write"], Value::Null);
    assert_eq!(me["key"], json!({"kind": "assistant", "expires_at": "2026-02-02T03:04:05Z"}));

    let (_, listed) = api.get("/api/v1/keys").await;
    let (_, read) = api.get(&path).await;
    let secret = made["key"].as_str().unwrap();
    assert!(!listed.to_string().contains(secret) && !read.to_string().contains(secret));
    assert_eq!((listed["items"].as_array().unwrap().len(), &read["name"]), (2, &json!("ci")));
    // What is wider than the caller's own key is not there for it.
    let (_, seen) = narrow.get("/api/v1/keys").await;
    assert_eq!(seen["items"].as_array().unwrap().len(), 1);

    assert_eq!(api.delete(&path).await.0, 204);
    assert_eq!(api.delete(&path).await.0, 204, "safe to repeat");
    assert_eq!(narrow.get("/api/v1/me").await.0, 401);
    let unknown = "/api/v1/keys/00000000-0000-7000-8000-00000000abcd";
    assert_eq!((api.delete(unknown).await.0, api.get(unknown).await.0.as_u16()), (404, 404));
}

#[tokio::test]
async fn more_than_the_callers_own_rights_is_refused_with_a_code_of_its_own() {
    let api = Api::new();
    let body = |scopes: Value, grant: Value| json!({"name": "x", "scopes": scopes, "grant": grant});
    let narrow = json!({"instances": [INSTANCE]});
    let (_, made) = api
        .with_body("POST", "/api/v1/keys", body(json!(["keys:write", "instances:write"]), narrow.clone()))
        .await;
    let own = api.as_key(&made);
    let (status, problem) =
        own.with_body("POST", "/api/v1/keys", body(json!(["audit:read"]), narrow.clone())).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
    let (status, problem) =
        own.with_body("POST", "/api/v1/keys", body(json!(["keys:write"]), json!({}))).await;
    assert_eq!((status, &problem["code"]), (403, &json!("exceeds_own_rights")), "{problem}");
    let instance = json!({"source": "stub", "name": "new", "credentials": {"kind": "token", "token": "t"}});
    let (status, problem) = own.with_body("POST", "/api/v1/instances", instance).await;
    assert_eq!((status, &problem["code"]), (403, &json!("exceeds_own_rights")), "{problem}");
    for (bad, pointer) in [
        (json!({"toolsets": ["x"]}), "/grant/toolsets/0"),
        (json!({"projects_read": ["ok", "it's"]}), "/grant/projects_read/1"),
        (json!({"templates": ["Drop Table"]}), "/grant/templates"),
        (json!({"instances": ["00000000-0000-7000-8000-00000000abcd"]}), "/grant/instances"),
    ] {
        let (status, problem) = api.with_body("POST", "/api/v1/keys", body(json!(["items:read"]), bad)).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
}

#[tokio::test]
async fn a_rotated_key_has_a_successor_and_both_work() {
    let api = Api::new();
    let (_, first) =
        api.with_body("POST", "/api/v1/keys", json!({"name": "x", "scopes": ["items:read"]})).await;
    let path = format!("/api/v1/keys/{}/rotate", first["id"].as_str().unwrap());
    let (status, second) = api.with_body("POST", &path, json!({"overlap_s": 60})).await;
    assert_eq!((status, &second["rotated_from"]), (201, &first["id"]), "{second}");
    for key in [&first, &second] {
        assert_eq!(api.as_key(key).get("/api/v1/me").await.0, 200);
    }
    let (status, problem) = api.with_body("POST", &path, json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
    let (status, problem) = api.with_body("POST", &path, json!({"overlap_s": 2_592_001})).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/overlap_s")), "{problem}");
}

#[tokio::test]
async fn an_invitation_is_shown_once_and_can_be_taken_back() {
    let mut api = Api::new();
    let wanted = json!({"email": "Ada@Example.com", "role": "admin"});
    let (status, made) = api.with_body("POST", "/api/v1/invitations", wanted.clone()).await;
    assert_eq!(
        (status, &made["email"], &made["role"]),
        (201, &json!("ada@example.com"), &json!("admin")),
        "{made}"
    );
    assert_eq!(made["expires_at"], "2026-01-09T03:04:05Z");
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("pbi_") && token.len() == 68, "{token}");
    if let Some(link) = made["link"].as_str() {
        assert!(link.ends_with(&format!("/auth/login?invitation={token}")), "{link}");
    }
    let (_, listed) = api.get("/api/v1/invitations").await;
    assert!(listed.to_string().contains("ada@example.com") && !listed.to_string().contains(token));
    let path = format!("/api/v1/invitations/{}", made["id"].as_str().unwrap());
    assert_eq!((api.delete(&path).await.0, api.delete(&path).await.0), (204, 404));
    for (field, bad) in
        [("email", json!("nobody")), ("role", json!("king")), ("expires_in_s", json!(2_592_001))]
    {
        let mut body = wanted.clone();
        body[field] = bad;
        let (status, problem) = api.with_body("POST", "/api/v1/invitations", body).await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!(format!("/{field}"))),
            "{problem}"
        );
    }
    api.key = api.world.key(&[Scope::MembersWrite]);
    let (status, problem) = api.with_body("POST", "/api/v1/invitations", wanted).await;
    assert_eq!((status, &problem["code"]), (403, &json!("exceeds_own_rights")), "{problem}");
}

// Security requirement 9.
#[tokio::test]
async fn members_that_are_not_there_are_not_found() {
    let api = Api::new();
    let (status, listed) = api.get("/api/v1/members").await;
    assert_eq!((status.as_u16(), &listed["items"]), (200, &json!([])));
    let path = "/api/v1/members/00000000-0000-7000-8000-00000000abcd";
    assert_eq!(api.delete(path).await.0, 404);
    assert_eq!(api.with_body("PATCH", path, json!({"role": "viewer"})).await.0, 404);
    let (status, problem) = api.with_body("PATCH", path, json!({"role": "king"})).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/role")), "{problem}");
}
