//! An issuer that gives out whatever a test puts into it, and keys to sign with.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::rand_core::OsRng;
use serde_json::{Value, json};

/// A key pair.
pub(crate) struct Pair {
    pub(crate) private: EncodingKey,
    pub(crate) public: Value,
}

impl Pair {
    fn new(private: EncodingKey, algorithm: Algorithm) -> Self {
        let mut public = serde_json::to_value(Jwk::from_encoding_key(&private, algorithm).unwrap()).unwrap();
        // The kind of key says enough; tests add what they are about.
        public.as_object_mut().unwrap().remove("alg");
        Self { private, public }
    }

    fn rsa(bits: usize) -> Self {
        let key = rsa::RsaPrivateKey::new(&mut OsRng, bits).unwrap();
        Self::new(EncodingKey::from_rsa_der(key.to_pkcs1_der().unwrap().as_bytes()), Algorithm::RS256)
    }

    /// The public half under this id, with more said about it.
    pub(crate) fn named(&self, kid: &str, more: &Value) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = json!(kid);
        for (name, value) in more.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }
}

pub(crate) static RSA: LazyLock<Pair> = LazyLock::new(|| Pair::rsa(2048));
pub(crate) static OTHER_RSA: LazyLock<Pair> = LazyLock::new(|| Pair::rsa(2048));
pub(crate) static SMALL_RSA: LazyLock<Pair> = LazyLock::new(|| Pair::rsa(1024));
pub(crate) static EC: LazyLock<Pair> = LazyLock::new(|| {
    use p256::pkcs8::EncodePrivateKey;
    let key = p256::SecretKey::random(&mut OsRng).to_pkcs8_der().unwrap();
    Pair::new(EncodingKey::from_ec_der(key.as_bytes()), Algorithm::ES256)
});
pub(crate) static ED: LazyLock<Pair> = LazyLock::new(|| {
    use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes};
    let key = ed25519_dalek::SigningKey::generate(&mut OsRng);
    let der = KeypairBytes { secret_key: key.to_bytes(), public_key: None }.to_pkcs8_der().unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    Pair {
        private: EncodingKey::from_ed_der(der.as_bytes()),
        public: json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
    }
});

/// A running issuer.
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) keys: Mutex<Vec<Value>>,
    pub(crate) down: AtomicBool,
    pub(crate) asked: AtomicUsize,
    /// What the token endpoint answers next.
    pub(crate) token_answer: Mutex<Value>,
    /// Further words of the description.
    pub(crate) says: Mutex<Value>,
    /// What the token endpoint was sent last.
    pub(crate) code_sent: Mutex<String>,
}

impl Issuer {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Arc::new(Self {
            url,
            keys: Mutex::new(vec![
                RSA.named("rsa", &json!({"use": "sig"})),
                EC.named("ec", &json!({})),
                ED.named("ed", &json!({})),
                RSA.named("only-384", &json!({"alg": "RS384"})),
                RSA.named("for-encryption", &json!({"use": "enc"})),
                SMALL_RSA.named("small", &json!({"use": "sig"})),
                json!({"kty": "oct", "kid": "secret", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}),
                json!({"kty": "something new", "kid": "new"}),
            ]),
            down: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            token_answer: Mutex::default(),
            says: Mutex::new(json!({})),
            code_sent: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/jwks", get(keys))
            .route("/token", post(token))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }
}

async fn describe(State(issuer): State<Arc<Issuer>>) -> Response {
    let url = &issuer.url;
    let mut description = json!({
        "issuer": url,
        "jwks_uri": format!("{url}/jwks"),
        "authorization_endpoint": format!("{url}/auth"),
        "token_endpoint": format!("{url}/token"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
    });
    for (name, value) in issuer.says.lock().unwrap().as_object().unwrap() {
        description[name] = value.clone();
    }
    answer(&issuer, &description)
}

async fn token(State(issuer): State<Arc<Issuer>>, sent: String) -> Response {
    *issuer.code_sent.lock().unwrap() = sent;
    let told = issuer.token_answer.lock().unwrap().clone();
    answer(&issuer, &told)
}

async fn keys(State(issuer): State<Arc<Issuer>>) -> Response {
    issuer.asked.fetch_add(1, Ordering::Relaxed);
    let keys = issuer.keys.lock().unwrap().clone();
    answer(&issuer, &json!({"keys": keys}))
}

fn answer(issuer: &Issuer, body: &Value) -> Response {
    match issuer.down.load(Ordering::Relaxed) {
        true => StatusCode::BAD_GATEWAY.into_response(),
        false => ([(CONTENT_TYPE, "application/json")], body.to_string()).into_response(),
    }
}
