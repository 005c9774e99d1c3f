//! Access tokens at an MCP server, signed with real keys that a real HTTP server publishes: the right ones pass, and
//! every way of being wrong that we know of does not.

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
        let issuer = Issuer::start().await;
        let memory = Memory::new();
        join(&memory, &issuer.url, "alice", Role::Viewer).await;
        let http = EgressClient::new(EgressPolicy::of_operator()).unwrap();
        let clock: Arc<dyn Clock> = memory.clone();
        let tokens = AccessTokens::new(Jwks::with_ages(http, &issuer.url, ages), clock);
        let services = Services {
            sign_in: Arc::new(memory.sign_in_with(None, Some(Arc::new(tokens)))),
            ..memory.services()
        };
        Self { issuer, router: sql::router(&services, &config()) }
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
        let request = request
            .method("POST")
            .header("host", "mcp.example")
            .header("content-type", "application/json")
            .body(Body::from(r#"{"name":"sql_get_freshness","arguments":{}}"#))
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

// Security requirement 25.
#[tokio::test]
async fn every_wrong_token_is_refused_with_a_challenge() {
    let world = World::new().await;
    let good = world.token(&json!({}));
    assert_eq!(world.status(&good).await, 200);
    let claims = world.claims();
    let now = moment().timestamp();
    let [head, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let headed = |changes: Value, key: &Pair| {
        let head = changed(json!({"typ": "at+jwt", "alg": "RS256", "kid": "rsa"}), &changes);
        signed(&head, &claims, key)
    };
    let unsigned =
        |alg: &str| format!("{}.{payload}.", encoded(&json!({"typ": "at+jwt", "alg": alg, "kid": "rsa"})));
    let hmac = |kid: &str, secret: &[u8]| {
        let head = encoded(&json!({"typ": "at+jwt", "alg": "HS256", "kid": kid}));
        signed_text(&format!("{head}.{payload}"), &EncodingKey::from_secret(secret), Algorithm::HS256)
    };
    let raw = |payload: &str| {
        signed_text(&format!("{head}.{}", URL_SAFE_NO_PAD.encode(payload)), &RSA.private, Algorithm::RS256)
    };
    let modulus = URL_SAFE_NO_PAD.decode(RSA.public["n"].as_str().unwrap()).unwrap();
    let text = claims.to_string();
    let twice = format!("{},\"sub\":\"bob\"}}", text.trim_end_matches('}'));
    let mut tokens: Vec<(String, String)> = vec![
        ("no token at all but two dots", "..".to_owned()),
        ("one part", "abc".to_owned()),
        ("two parts", format!("{head}.{payload}")),
        ("no signature", format!("{head}.{payload}.")),
        ("four parts", format!("{good}.x")),
        ("five parts, as an encrypted token has", format!("{head}.x.{payload}.y.{signature}")),
        ("padding", format!("{head}=.{payload}.{signature}")),
        ("a character outside of base64url", format!("{head}.{payload}+.{signature}")),
        ("a cut signature", format!("{head}.{payload}.{}", &signature[..signature.len() - 4])),
        ("a changed signature", format!("{head}.{payload}.{}AAAA", &signature[..signature.len() - 4])),
        ("other claims under the signature", {
            let other = changed(claims.clone(), &json!({"sub": "bob"}));
            format!("{head}.{}.{signature}", encoded(&other))
        }),
        ("algorithm none", unsigned("none")),
        ("algorithm None", unsigned("None")),
        ("algorithm nOnE", unsigned("nOnE")),
        (
            "no algorithm",
            format!("{}.{payload}.{signature}", encoded(&json!({"typ": "at+jwt", "kid": "rsa"}))),
        ),
        ("HS256 with the public key as secret", hmac("rsa", &modulus)),
        (
            "HS256 with the published text as secret",
            hmac("rsa", RSA.public["n"].as_str().unwrap().as_bytes()),
        ),
        ("HS256 with a secret that is published", hmac("secret", b"secret-secret-secret-secret")),
        ("another key under a known id", headed(json!({}), &OTHER_RSA)),
        ("an unknown key id", headed(json!({"kid": "unknown"}), &RSA)),
        ("no key id", headed(json!({"kid": null}), &RSA)),
        ("an empty key id", headed(json!({"kid": ""}), &RSA)),
        ("a key id that is a path", headed(json!({"kid": "../../../dev/null"}), &RSA)),
        ("a key id that is SQL", headed(json!({"kid": "' or 1=1 --"}), &RSA)),
        ("a key that is too small", headed(json!({"kid": "small"}), &SMALL_RSA)),
        ("a key for encryption", headed(json!({"kid": "for-encryption"}), &RSA)),
        ("a key for another algorithm", headed(json!({"kid": "only-384"}), &RSA)),
        ("a key of another kind", headed(json!({"alg": "ES256"}), &EC)),
        ("a curve's key with an RSA algorithm", headed(json!({"kid": "ec"}), &RSA)),
        ("a key that it brings along", headed(json!({"kid": "mine", "jwk": OTHER_RSA.public}), &OTHER_RSA)),
        ("a key that it brings along, by a known id", headed(json!({"jwk": OTHER_RSA.public}), &OTHER_RSA)),
        ("an address to get the key from", headed(json!({"jku": "https://evil.example/jwks"}), &OTHER_RSA)),
        ("a critical extension", headed(json!({"crit": ["exp"]}), &RSA)),
        ("an unencoded payload", headed(json!({"b64": false}), &RSA)),
        ("a compressed payload", headed(json!({"zip": "DEF"}), &RSA)),
        ("no type", headed(json!({"typ": null}), &RSA)),
        ("the type of a logout token", headed(json!({"typ": "logout+jwt"}), &RSA)),
        ("the type of an ID-JAG", headed(json!({"typ": "oauth-id-jag+jwt"}), &RSA)),
        ("the type of a DPoP proof", headed(json!({"typ": "dpop+jwt"}), &RSA)),
        ("no JSON as head", format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("x"))),
        ("no JSON as payload", raw("x")),
        ("a list as payload", raw("[]")),
        ("a claim given twice", raw(&twice)),
        ("an endless expiry", raw(&text.replace(&format!("\"exp\":{}", now + 300), "\"exp\":1e999"))),
        ("too long", format!("{good}{}", "A".repeat(13_000))),
    ]
    .into_iter()
    .map(|(what, token)| (what.to_owned(), token))
    .collect();
    let long = "x".repeat(300);
    for changes in [
        json!({"iss": null}),
        json!({"iss": "https://evil.example"}),
        json!({"iss": format!("{}/", world.issuer.url)}),
        json!({"iss": world.issuer.url.to_uppercase()}),
        json!({"iss": [world.issuer.url]}),
        json!({"aud": null}),
        json!({"aud": "https://mcp.example"}),
        json!({"aud": "https://mcp.example/mcp/"}),
        json!({"aud": "https://mcp.example/MCP"}),
        json!({"aud": "http://mcp.example/mcp"}),
        json!({"aud": "https://mcp.example:8443/mcp"}),
        json!({"aud": "https://mcp.example/mcp2"}),
        json!({"aud": "https://mcp.example.evil.example/mcp"}),
        json!({"aud": "https://patchbay.example/api/v1"}),
        json!({"aud": "a client"}),
        json!({"aud": []}),
        json!({"aud": ["https://other.example"]}),
        json!({"aud": [[RESOURCE]]}),
        json!({"aud": 1}),
        json!({"exp": null}),
        json!({"exp": now - 60}),
        json!({"exp": now - 3_600}),
        json!({"exp": -1}),
        json!({"exp": (now + 300).to_string()}),
        json!({"nbf": now + 61}),
        json!({"nbf": "soon"}),
        json!({"iat": now + 61}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": long}),
        json!({"sub": "ali\u{0}ce"}),
        json!({"nonce": "n"}),
        json!({"at_hash": "h"}),
        json!({"c_hash": "h"}),
        json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        json!({"cnf": {"jkt": "thumbprint"}}),
    ] {
        tokens.push((changes.to_string(), world.token(&changes)));
    }
    assert!(tokens.len() >= 80, "{}", tokens.len());
    for (what, token) in &tokens {
        let (response, problem) = world.present(token).await;
        assert_eq!(response.status(), 401, "{what}: {problem}");
        let challenge = response.headers()["www-authenticate"].to_str().unwrap();
        assert_eq!(
            challenge,
            "Bearer error=\"invalid_token\", scope=\"mcp:sql\", \
             resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource/mcp\"",
            "{what}"
        );
        assert!(!problem.to_string().contains("alice"), "{what}: {problem}");
        let part = &token[..token.len().min(40)];
        assert!(
            token.len() < 10 || !problem.to_string().contains(part),
            "{what}: the answer repeats the token"
        );
    }
    assert_eq!(world.status(&good).await, 200, "the good one still passes");
    let asked = world.issuer.asked.load(Ordering::Relaxed);
    assert!(asked <= 2, "made-up key ids made us ask the issuer {asked} times");
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

// Security requirement 24.
#[tokio::test]
async fn the_description_stands_at_path_and_root_without_a_credential() {
    let world = World::new().await;
    for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"] {
        let request = Request::get(path).header("host", "mcp.example").body(Body::empty()).unwrap();
        let (parts, body) = world.router.clone().oneshot(request).await.unwrap().into_parts();
        let json: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(parts.status, 200);
        assert_eq!(
            json,
            json!({"resource": RESOURCE, "authorization_servers": [world.issuer.url],
                "scopes_supported": ["mcp:sql"], "bearer_methods_supported": ["header"],
                "resource_name": "Patchbay SQL templates"})
        );
    }
    let request = Request::get("/.well-known/oauth-protected-resource/other").header("host", "mcp.example");
    let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn without_an_authorization_server_an_api_key_is_asked_for() {
    let memory = Memory::new();
    let key = memory.key(&[Scope::McpSql]);
    let services = Services { sign_in: Arc::new(memory.sign_in_with(None, None)), ..memory.services() };
    let world = World { issuer: Issuer::start().await, router: sql::router(&services, &config()) };
    for token in [world.token(&json!({})), "abc".to_owned()] {
        let (response, problem) = world.present(&token).await;
        assert_eq!(response.status(), 401);
        assert!(problem["hint"].as_str().unwrap().contains("API key"), "{problem}");
        assert_eq!(
            response.headers()["www-authenticate"],
            "Bearer error=\"invalid_token\", scope=\"mcp:sql\"",
            "nothing sends a client looking for what is not there"
        );
    }
    assert_eq!(world.status(&key).await, 200, "keys need none");
    let path = "/.well-known/oauth-protected-resource/mcp";
    let request = Request::get(path).header("host", "mcp.example").body(Body::empty()).unwrap();
    let (parts, body) = world.router.clone().oneshot(request).await.unwrap().into_parts();
    let problem: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let told = (parts.status.as_u16(), problem["code"].as_str());
    assert_eq!(told, (404, Some("no_authorization_server")), "{problem}");
}

// Security requirement 28.
#[tokio::test]
async fn host_and_origin_are_checked_on_every_route_and_before_the_credential() {
    let world = World::new().await;
    for path in ["/mcp", "/tools/invoke", "/.well-known/oauth-protected-resource", "/nowhere"] {
        for (what, name, value) in [
            ("another host", "host", "evil.example"),
            ("another origin", "origin", "https://evil.example"),
            ("no origin", "origin", "null"),
            ("another port", "origin", "https://mcp.example:8443"),
        ] {
            let mut request = Request::post(path).header(name, value);
            if name != "host" {
                request = request.header("host", "mcp.example");
            }
            let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), 403, "{path} with {what}");
        }
    }
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
