//! What comes back from an OpenID provider: the right ID token signs its person in, every wrong one nobody.

use crate::issuer;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use application::ports::{Clock, Identity, IdentityError, IdentityProvider, ReturnedSignIn};
use application::testing::{Memory, moment};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use infrastructure::egress::{EgressClient, EgressPolicy};
use infrastructure::identity::{OidcClient, OidcProvider};
use issuer::{EC, Issuer, OTHER_RSA, Pair, RSA};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use url::Url;

struct World {
    issuer: Arc<Issuer>,
    provider: OidcProvider,
}

impl World {
    async fn new() -> Self {
        let issuer = Issuer::start().await;
        let clock: Arc<dyn Clock> = Memory::new();
        let client = OidcClient {
            issuer: issuer.url.clone(),
            id: "patchbay".into(),
            secret: Some("a client's secret".to_owned().into()),
        };
        let http = EgressClient::new(EgressPolicy::of_operator()).unwrap();
        let provider = OidcProvider::new(http, client, clock).unwrap();
        Self { issuer, provider }
    }

    fn claims(&self) -> Value {
        let now = moment().timestamp();
        json!({"iss": self.issuer.url, "sub": "alice", "aud": "patchbay", "iat": now, "exp": now + 300,
            "nonce": "the-nonce", "email": "alice@example.com", "email_verified": true, "name": "Alice"})
    }

    fn give(&self, id_token: &str) {
        *self.issuer.token_answer.lock().unwrap() =
            json!({"access_token": "opaque", "token_type": "Bearer", "expires_in": 60, "id_token": id_token});
    }

    async fn finish(&self, told: Option<&str>) -> Result<Identity, IdentityError> {
        let returned = ReturnedSignIn {
            code: "the-code".to_owned().into(),
            issuer: told.map(str::to_owned),
            nonce: "the-nonce".into(),
            pkce_verifier: "the-verifier-which-is-long-enough-to-be-one".to_owned().into(),
        };
        self.provider.finish(&redirect_uri(), returned).await
    }

    async fn finish_with(&self, id_token: &str) -> Result<Identity, IdentityError> {
        self.give(id_token);
        self.finish(None).await
    }
}

fn redirect_uri() -> Url {
    "https://patchbay.example/auth/callback".parse().unwrap()
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
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

fn signed(kid: &str, algorithm: &str, claims: &Value, key: &EncodingKey) -> String {
    let head = json!({"alg": algorithm, "kid": kid});
    let message = format!("{}.{}", encoded(&head), encoded(claims));
    let algorithm: Algorithm = algorithm.parse().unwrap();
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn by(key: &Pair, claims: &Value) -> String {
    signed("rsa", "RS256", claims, &key.private)
}

// Security requirement 42.
#[tokio::test]
async fn a_browser_is_sent_off_with_state_nonce_and_pkce() {
    let world = World::new().await;
    let begin = async || world.provider.begin(&redirect_uri(), &"the-state".to_owned().into()).await.unwrap();
    let (begun, again) = (begin().await, begin().await);
    let url = &begun.authorization_url;
    assert!(url.as_str().starts_with(&format!("{}/auth?", world.issuer.url)), "{url}");
    let pair = |name: &str| url.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned();
    assert_eq!(pair("response_type"), "code");
    assert_eq!(pair("client_id"), "patchbay");
    assert_eq!(pair("redirect_uri"), redirect_uri().as_str());
    assert_eq!((pair("state").as_str(), pair("code_challenge_method").as_str()), ("the-state", "S256"));
    assert_eq!(pair("nonce"), begun.nonce);
    assert_ne!(begun.nonce, again.nonce);
    assert_eq!(world.issuer.asked.load(Ordering::Relaxed), 1, "the description is kept for a while");
}

#[tokio::test]
async fn a_good_id_token_signs_its_person_in() {
    let world = World::new().await;
    let now = moment().timestamp();
    for changes in [
        json!({}),
        json!({"aud": ["patchbay"]}),
        json!({"azp": "patchbay"}),
        // Security requirement 71.
        json!({"exp": now - 59}),
        json!({"iat": now + 60}),
    ] {
        let person = world.finish_with(&by(&RSA, &changed(world.claims(), &changes))).await;
        let person = person.unwrap_or_else(|error| panic!("{changes}: {error}"));
        assert_eq!((person.subject.as_str(), person.email.as_str()), ("alice", "alice@example.com"));
        assert!(person.email_verified && person.issuer == world.issuer.url);
    }
    world.give(&signed("ec", "ES256", &world.claims(), &EC.private));
    assert!(world.finish(Some(&world.issuer.url.clone())).await.is_ok(), "ES256, with RFC 9207");
    let sent = world.issuer.code_sent.lock().unwrap().clone();
    for part in ["grant_type=authorization_code", "code=the-code", "code_verifier=the-verifier"] {
        assert!(sent.contains(part), "{sent} lacks {part}");
    }
}

// Security requirement 65.
#[tokio::test]
async fn no_wrong_id_token_signs_anybody_in() {
    let world = World::new().await;
    let claims = world.claims();
    let now = moment().timestamp();
    let modulus = URL_SAFE_NO_PAD.decode(RSA.public["n"].as_str().unwrap()).unwrap();
    let payload = encoded(&claims);
    let mut tokens: Vec<(String, String)> = vec![
        ("no signature", format!("{}.{payload}.", encoded(&json!({"alg": "none"})))),
        ("another key under a known id", by(&OTHER_RSA, &claims)),
        ("an unknown key", signed("unknown", "RS256", &claims, &OTHER_RSA.private)),
        (
            "the client's secret",
            signed("rsa", "HS256", &claims, &EncodingKey::from_secret(b"a client's secret")),
        ),
        ("the public key as a secret", signed("rsa", "HS256", &claims, &EncodingKey::from_secret(&modulus))),
        ("no token", String::new()),
        ("no JWT", "abc".to_owned()),
    ]
    .into_iter()
    .map(|(what, token)| (what.to_owned(), token))
    .collect();
    for changes in [
        json!({"iss": "https://evil.example"}),
        json!({"iss": format!("{}/", world.issuer.url)}),
        json!({"iss": null}),
        json!({"aud": "somebody else"}),
        json!({"aud": ["patchbay", "somebody else"]}),
        json!({"aud": null}),
        json!({"azp": "somebody else"}),
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"exp": now - 61}),
        json!({"exp": null}),
        json!({"iat": now + 61}),
        json!({"iat": null}),
        json!({"sub": null}),
        json!({"email": null}),
        json!({"email": "nobody"}),
        json!({"email": "a\u{0}@example.com"}),
    ] {
        tokens.push((changes.to_string(), by(&RSA, &changed(claims.clone(), &changes))));
    }
    for (what, token) in tokens {
        // One without a claim that every ID token has is no ID token: the provider does not answer as one should.
        let ended = world.finish_with(&token).await;
        assert!(ended.is_err(), "{what}: {ended:?}");
    }
    world.give(&by(&RSA, &claims));
    for other in ["https://evil.example", "", &format!("{}/", world.issuer.url)] {
        assert!(world.finish(Some(other)).await.is_err(), "{other}");
    }
    *world.issuer.says.lock().unwrap() = json!({"authorization_response_iss_parameter_supported": true});
    assert!(world.finish(None).await.is_err(), "the issuer promised to name itself");
    assert!(world.finish(Some(&world.issuer.url.clone())).await.is_ok());
}

#[tokio::test]
async fn a_provider_that_is_away_or_is_none_is_told_from_one_that_refuses() {
    let world = World::new().await;
    world.give(&by(&RSA, &world.claims()));
    for says in [
        json!({"issuer": "https://evil.example"}),
        json!({"jwks_uri": "http://169.254.169.254/latest/meta-data"}),
        json!({"token_endpoint": "http://10.0.0.1/token"}),
        json!({"code_challenge_methods_supported": ["plain"]}),
    ] {
        *world.issuer.says.lock().unwrap() = says.clone();
        let ended = world.finish(None).await;
        assert!(matches!(ended, Err(IdentityError::Unavailable(_))), "{says}: {ended:?}");
    }
    *world.issuer.says.lock().unwrap() = json!({});
    assert!(world.finish(None).await.is_ok());
    world.issuer.down.store(true, Ordering::Relaxed);
    assert!(matches!(world.finish(None).await, Err(IdentityError::Unavailable(_))));
}
