//! The public keys of an issuer, kept and kept fresh. A key that cannot be looked up lets nothing pass.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use application::ports::TokenError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::metadata;
use crate::egress::EgressClient;

/// How long keys are used, and how often the issuer is asked for them.
#[derive(Debug, Clone, Copy)]
pub struct KeyAges {
    /// An unknown key makes us ask again, no more often than this: who makes key ids up cannot use us against the
    /// issuer.
    pub ask_again_after: Duration,
    /// From this age on the keys are read again, while they go on being used.
    pub fresh_for: Duration,
    /// Older keys are not used: an issuer that cannot be reached may have revoked them.
    pub good_for: Duration,
}

impl Default for KeyAges {
    fn default() -> Self {
        Self {
            ask_again_after: Duration::from_secs(30),
            fresh_for: Duration::from_secs(5 * 60),
            good_for: Duration::from_secs(60 * 60),
        }
    }
}

const MOST_KEYS: usize = 100;
const LEAST_RSA_BYTES: usize = 2048 / 8;

const UNKNOWN_KEY: TokenError = TokenError::Invalid(
    "the access token is signed with a key that the authorization server does not publish",
);

/// The keys of one issuer.
#[derive(Debug, Clone)]
pub struct Jwks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: EgressClient,
    issuer: String,
    ages: KeyAges,
    known: RwLock<Known>,
    /// Held by whoever asks the issuer.
    asking: Mutex<()>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    keys: Option<(Arc<KeySet>, Instant)>,
    asked: Option<(Instant, Result<(), String>)>,
}

/// Keys by id; an id may stand for one key of each kind.
#[derive(Debug, Default)]
struct KeySet(HashMap<String, Vec<PublicKey>>);

struct PublicKey {
    fits: &'static [Algorithm],
    /// What the issuer says it is for.
    only: Option<Algorithm>,
    key: Arc<DecodingKey>,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({:?})", self.fits)
    }
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<serde_json::Value>,
}

impl Jwks {
    /// The keys of `issuer`, read when they are first needed.
    pub fn new(http: EgressClient, issuer: impl Into<String>) -> Self {
        Self::with_ages(http, issuer, KeyAges::default())
    }

    /// The same with other ages.
    pub fn with_ages(http: EgressClient, issuer: impl Into<String>, ages: KeyAges) -> Self {
        Self(Arc::new(Inner {
            http,
            issuer: issuer.into(),
            ages,
            known: RwLock::default(),
            asking: Mutex::default(),
        }))
    }

    pub(super) fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The key of this id for this algorithm.
    pub(super) async fn find(&self, kid: &str, algorithm: Algorithm) -> Result<Arc<DecodingKey>, TokenError> {
        let began = Instant::now();
        if let Some((keys, read_at)) = self.usable() {
            if read_at.elapsed() > self.0.ages.fresh_for {
                self.refresh_in_background();
            }
            if let Some(key) = keys.find(kid, algorithm) {
                return Ok(key);
            }
        }
        self.ask(began).await?;
        match self.usable() {
            Some((keys, _)) => keys.find(kid, algorithm).ok_or(UNKNOWN_KEY),
            None => Err(TokenError::Unavailable("they are too old".into())),
        }
    }

    /// Reads the keys now.
    pub(super) async fn probe(&self) -> Result<(), TokenError> {
        self.0.read().await.map(drop).map_err(TokenError::Unavailable)
    }

    fn usable(&self) -> Option<(Arc<KeySet>, Instant)> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.keys.clone().filter(|(_, read_at)| read_at.elapsed() <= self.0.ages.good_for)
    }

    fn last_asked(&self) -> Option<(Instant, Result<(), String>)> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }

    /// Asks the issuer, unless somebody did since `began` or did so a moment ago; then that counts.
    async fn ask(&self, began: Instant) -> Result<(), TokenError> {
        let _asking = self.0.asking.lock().await;
        if let Some((at, outcome)) = self.last_asked()
            && (at >= began || at.elapsed() < self.0.ages.ask_again_after)
        {
            return outcome.map_err(TokenError::Unavailable);
        }
        self.0.refresh().await.map_err(TokenError::Unavailable)
    }

    fn refresh_in_background(&self) {
        let jwks = self.clone();
        tokio::spawn(async move {
            let Ok(_asking) = jwks.0.asking.try_lock() else { return };
            if jwks.last_asked().is_some_and(|(at, _)| at.elapsed() < jwks.0.ages.ask_again_after) {
                return;
            }
            if let Err(error) = jwks.0.refresh().await {
                tracing::warn!(issuer = jwks.0.issuer, %error, "The authorization server's keys cannot be refreshed");
            }
        });
    }
}

impl Inner {
    async fn refresh(&self) -> Result<(), String> {
        let read = self.read().await;
        let now = Instant::now();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let outcome = match read {
            Ok(keys) => {
                known.keys = Some((Arc::new(keys), now));
                Ok(())
            }
            Err(error) => Err(error),
        };
        known.asked = Some((now, outcome.clone()));
        outcome
    }

    async fn read(&self) -> Result<KeySet, String> {
        let uri = metadata::jwks_uri(&self.http, &self.issuer).await?;
        let published: Published = metadata::json(&self.http, &uri).await?;
        let mut keys = KeySet::default();
        // What we cannot use may be meant for others: encryption keys, other algorithms.
        for jwk in published.keys.into_iter().take(MOST_KEYS) {
            if let Some((kid, key)) = serde_json::from_value(jwk).ok().and_then(|jwk| usable_key(&jwk)) {
                keys.0.entry(kid).or_default().push(key);
            }
        }
        Ok(keys)
    }
}

impl KeySet {
    fn find(&self, kid: &str, algorithm: Algorithm) -> Option<Arc<DecodingKey>> {
        self.0.get(kid)?.iter().find(|key| key.is_for(algorithm)).map(|key| key.key.clone())
    }
}

impl PublicKey {
    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.fits.contains(&algorithm) && self.only.is_none_or(|only| only == algorithm)
    }
}

/// A key for checking signatures, with its id; anything else is `None`. A symmetric key in public is no key.
fn usable_key(jwk: &Jwk) -> Option<(String, PublicKey)> {
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|use_| *use_ != PublicKeyUse::Signature)
        || common.key_operations.as_ref().is_some_and(|ops| !ops.contains(&KeyOperations::Verify))
    {
        return None;
    }
    let only = match common.key_algorithm {
        Some(algorithm) => Some(algorithm.to_string().parse().ok()?),
        None => None,
    };
    let fits: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if modulus_bytes(&rsa.n) >= LEAST_RSA_BYTES => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        // Other kinds and curves, small keys, and secrets.
        _ => return None,
    };
    let key = Arc::new(DecodingKey::from_jwk(jwk).ok()?);
    Some((common.key_id.clone()?, PublicKey { fits, only, key }))
}

fn modulus_bytes(n: &str) -> usize {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(n) else { return 0 };
    bytes.len() - bytes.iter().take_while(|byte| **byte == 0).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usable(jwk: serde_json::Value) -> Option<(String, PublicKey)> {
        serde_json::from_value(jwk).ok().and_then(|jwk| usable_key(&jwk))
    }

    #[test]
    fn only_public_keys_for_signatures_of_good_size_are_taken() {
        let n = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xc5u8; bytes]);
        let good = json!({"kty": "RSA", "kid": "a", "use": "sig", "n": n(256), "e": "AQAB"});
        let (kid, key) = usable(good.clone()).unwrap();
        assert!(kid == "a" && key.is_for(Algorithm::RS256) && key.is_for(Algorithm::PS512));
        assert!(!key.is_for(Algorithm::ES256) && !key.is_for(Algorithm::HS256));
        let with = |name: &str, value: serde_json::Value| {
            let mut jwk = good.clone();
            jwk[name] = value;
            usable(jwk)
        };
        let only = with("alg", json!("RS384")).unwrap().1;
        assert!(only.is_for(Algorithm::RS384) && !only.is_for(Algorithm::RS256));
        assert!(with("n", json!(n(128))).is_none(), "1024 bits");
        assert!(with("use", json!("enc")).is_none());
        assert!(with("key_ops", json!(["encrypt"])).is_none());
        assert!(with("alg", json!("RSA-OAEP")).is_none());
        assert!(with("alg", json!("none")).is_none());
        assert!(with("kid", json!(null)).is_none());
        assert!(usable(json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0"})).is_none(), "a secret in public");
        assert!(usable(json!({"kty": "quantum", "kid": "a"})).is_none());
    }
}
