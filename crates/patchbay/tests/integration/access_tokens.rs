//! Access tokens at an MCP server, signed with real keys that a real HTTP server publishes: the right ones pass, and
//! every way of being wrong that we know of does not.

mod doors;
mod step_up;
mod wrong;

use crate::issuer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use application::Services;
use application::ports::{Clock, Identity, MemberStore, NewInvitation};
use application::testing::{Memory, TENANT, moment};
use axum::Router;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use domain::{InvitationId, RequestId, Role, Scope};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use infrastructure::egress::{EgressClient, EgressPolicy};
use infrastructure::identity::{AccessTokens, Jwks, KeyAges};
use interfaces::mcp::{McpConfig, sql};
use issuer::{EC, ED, Issuer, OTHER_RSA, Pair, RSA, SMALL_RSA};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const RESOURCE: &str = "https://mcp.example/mcp";

struct World {
    issuer: Arc<Issuer>,
    router: Router,
}

impl World {
    async fn new() -> Self {
        Self::with(KeyAges::default()).await
    }

    async fn with(ages: KeyAges) -> Self {
        Self::of(&Memory::new(), ages, Role::Viewer, sql::router).await
    }

    /// One server, of which alice is a member in this role.
    async fn of(
        memory: &Arc<Memory>,
        ages: KeyAges,
        role: Role,
        server: fn(&Services, &McpConfig) -> Router,
    ) -> Self {
        let issuer = Issuer::start().await;
        join(memory, &issuer.url, "alice", role).await;
        let http = EgressClient::new(EgressPolicy::of_operator()).unwrap();
        let clock: Arc<dyn Clock> = memory.clone();
        let tokens = AccessTokens::new(Jwks::with_ages(http, &issuer.url, ages), clock);
        let services = Services {
            sign_in: Arc::new(memory.sign_in_with(None, Some(Arc::new(tokens)))),
            ..memory.services()
        };
        Self { issuer, router: server(&services, &config()) }
    }

    /// What a good token says.
    fn claims(&self) -> Value {
        let now = moment().timestamp();
        json!({"iss": self.issuer.url, "sub": "alice", "aud": RESOURCE, "client_id": "a client", "jti": "1",
            "iat": now, "exp": now + 300, "scope": "mcp:sql"})
    }

    /// A good token but for these claims; null takes one out.
    fn token(&self, changes: &Value) -> String {
        signed(
            &json!({"typ": "at+jwt", "alg": "RS256", "kid": "rsa"}),
            &changed(self.claims(), changes),
            &RSA,
        )
    }

    async fn send(&self, request: http::request::Builder) -> (Response<()>, Value) {
        self.send_body(request, r#"{"name":"sql_get_freshness","arguments":{}}"#.into()).await
    }

    async fn send_body(&self, request: http::request::Builder, body: String) -> (Response<()>, Value) {
        let request = request
            .method("POST")
            .header("host", "mcp.example")
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(parts, ()), serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn present(&self, token: &str) -> (Response<()>, Value) {
        self.send(Request::builder().uri("/tools/invoke").header("authorization", format!("Bearer {token}")))
            .await
    }

    async fn status(&self, token: &str) -> StatusCode {
        self.present(token).await.0.status()
    }
}

fn config() -> McpConfig {
    McpConfig {
        public_url: None,
        resource: RESOURCE.parse().unwrap(),
        allowed_origins: Vec::new(),
        sse: false,
        shutdown: CancellationToken::new(),
    }
}

/// Makes a person of this issuer a member of the first tenant.
async fn join(memory: &Memory, issuer: &str, subject: &str, role: Role) {
    let identity = Identity {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        email: format!("{subject}@example.com"),
        email_verified: true,
        name: None,
    };
    memory.sign_in(&identity).await.unwrap();
    let user = memory.memberships(issuer, subject).await.unwrap().unwrap();
    let ctx = application::Ctx::system(TENANT, "a test", RequestId::new(uuid::Uuid::nil()));
    let invitation = NewInvitation {
        id: InvitationId::new(uuid::Uuid::from_u128(77)),
        mac: [7; 32],
        email: identity.email,
        role,
        created_at: moment(),
        expires_at: moment() + TimeDelta::hours(1),
    };
    memory.invite(&ctx, &invitation).await.unwrap();
    assert!(memory.accept_invitation(&ctx, invitation.id, &user).await.unwrap());
}

fn changed(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(name)),
            value => object[name] = value.clone(),
        }
    }
    object
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// Signs exactly this head and these claims.
fn signed(head: &Value, claims: &Value, key: &Pair) -> String {
    let algorithm = head["alg"].as_str().unwrap().parse().unwrap();
    signed_text(&format!("{}.{}", encoded(head), encoded(claims)), &key.private, algorithm)
}

fn signed_text(message: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

#[tokio::test]
async fn good_tokens_of_every_accepted_algorithm_and_form_pass() {
    let world = World::new().await;
    let claims = world.claims();
    for (kid, algorithm, key) in [
        ("rsa", "RS256", &*RSA),
        ("rsa", "RS384", &*RSA),
        ("rsa", "RS512", &*RSA),
        ("rsa", "PS256", &*RSA),
        ("rsa", "PS512", &*RSA),
        ("only-384", "RS384", &*RSA),
        ("ec", "ES256", &*EC),
        ("ed", "EdDSA", &*ED),
    ] {
        let token = signed(&json!({"typ": "at+jwt", "alg": algorithm, "kid": kid}), &claims, key);
        let (response, answer) = world.present(&token).await;
        assert_eq!(response.status(), 200, "{algorithm}: {answer}");
    }
    for typ in ["AT+JWT", "application/at+jwt", "JWT", "jwt"] {
        let token = signed(&json!({"typ": typ, "alg": "RS256", "kid": "rsa"}), &claims, &RSA);
        assert_eq!(world.status(&token).await, 200, "{typ}");
    }
    let now = moment().timestamp();
    for changes in [
        json!({"aud": [RESOURCE]}),
        json!({"aud": ["https://other.example", RESOURCE]}),
        json!({"scope": null, "scp": ["mcp:sql", "openid"]}),
        json!({"scope": "openid mcp:sql unknown:word"}),
        json!({"client_id": null, "azp": "a client"}),
        json!({"iat": null, "jti": null}),
        // Security requirement 71: clocks may be a minute apart.
        json!({"exp": now - 59}),
        json!({"nbf": now + 60}),
        json!({"iat": now + 60}),
        json!({"exp": (now + 10) as f64 + 0.5}),
    ] {
        let (response, answer) = world.present(&world.token(&changes)).await;
        assert_eq!(response.status(), 200, "{changes}: {answer}");
    }
}

// Security requirements 24, 25 and 27.
#[tokio::test]
async fn a_token_counts_in_its_header_only_and_opens_no_more_than_membership_and_scopes() {
    let world = World::new().await;
    let good = world.token(&json!({}));
    let uri = |query: &str| Request::builder().uri(format!("/tools/invoke{query}"));
    let bearer = format!("Bearer {good}");
    for (what, request) in [
        ("in the query", uri(&format!("?access_token={good}"))),
        (
            "in the query, beside the header",
            uri(&format!("?access_token={good}")).header("authorization", &bearer),
        ),
        ("in another scheme", uri("").header("authorization", format!("DPoP {good}"))),
        ("in two headers", uri("").header("authorization", &bearer).header("authorization", &bearer)),
        ("in a cookie", uri("").header("cookie", format!("__Host-patchbay={good}"))),
        ("nowhere", uri("")),
    ] {
        let (response, problem) = world.send(request).await;
        assert_eq!(response.status(), 401, "{what}: {problem}");
    }
    for (changes, code) in [
        (json!({"sub": "stranger"}), "no_membership"),
        (json!({"sub": "Alice"}), "no_membership"),
        (json!({"scope": "openid profile"}), "forbidden"),
        (json!({"scope": null}), "forbidden"),
        (json!({"scope": "MCP:SQL"}), "forbidden"),
        (json!({"scope": "audit:read"}), "forbidden"),
        (json!({"scope": "items:read"}), "forbidden"),
    ] {
        let (response, problem) = world.present(&world.token(&changes)).await;
        assert_eq!(
            (response.status().as_u16(), problem["code"].as_str()),
            (403, Some(code)),
            "{changes}: {problem}"
        );
        let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
        let step_up = "Bearer error=\"insufficient_scope\", scope=\"mcp:sql\", \
             resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource/mcp\"";
        assert_eq!(challenge, (code == "forbidden").then_some(step_up), "{changes}");
    }
    // What the token says of tenants means nothing.
    let claimed = world.token(&json!({"tenant": "globex", "tenant_id": "2", "tid": "2", "org_id": "globex"}));
    assert_eq!(world.status(&claimed).await, 200);
    let other = uri("").header("authorization", &bearer).header("patchbay-tenant", "globex");
    let (response, problem) = world.send(other).await;
    assert_eq!(
        (response.status().as_u16(), problem["code"].as_str()),
        (403, Some("choose_tenant")),
        "{problem}"
    );
}

// Security requirement 33 and row 20 of the fault table.
#[tokio::test]
async fn keys_roll_without_a_failed_request_and_unread_keys_let_nobody_in() {
    let ages = KeyAges {
        ask_again_after: Duration::from_secs(1),
        fresh_for: Duration::from_millis(500),
        good_for: Duration::from_secs(4),
    };
    let world = World::with(ages).await;
    let becomes = async |token: &str, wanted: u16, what: &str| {
        for _ in 0..400 {
            if world.status(token).await == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{what}: still {}", world.status(token).await);
    };
    let down = |is: bool| world.issuer.down.store(is, Ordering::Relaxed);
    down(true);
    let good = world.token(&json!({}));
    let (response, problem) = world.present(&good).await;
    assert_eq!(
        (response.status().as_u16(), problem["code"].as_str()),
        (503, Some("identity_provider_unavailable"))
    );
    assert!(response.headers().contains_key("retry-after"));
    down(false);
    becomes(&good, 200, "the issuer is back").await;

    // A new key is used as soon as its id turns up.
    let head = json!({"typ": "at+jwt", "alg": "RS256", "kid": "next"});
    let rolled = signed(&head, &world.claims(), &OTHER_RSA);
    world.issuer.keys.lock().unwrap().push(OTHER_RSA.named("next", &json!({"use": "sig"})));
    becomes(&rolled, 200, "the new key").await;
    assert_eq!(world.status(&good).await, 200, "the old one goes on");

    // A key that is withdrawn stops working once the keys were read again in the background.
    world.issuer.keys.lock().unwrap().retain(|key| key["kid"] != "next");
    becomes(&rolled, 401, "the withdrawn key").await;

    // Without the issuer what is known goes on working, but not for ever.
    assert_eq!(world.status(&good).await, 200);
    down(true);
    assert_eq!(world.status(&good).await, 200);
    becomes(&good, 503, "keys too old").await;
    down(false);
    becomes(&good, 200, "the issuer is back again").await;
}
