//! Access tokens: JWTs as RFC 9068 wants them. Refused unless every word holds.

use std::sync::Arc;

use application::ports::{Clock, TokenError, TokenVerifier, VerifiedToken};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use jsonwebtoken::{Algorithm, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::jwks::Jwks;

/// How far the issuer's clock and ours may be apart, in seconds.
const SKEW: i64 = 60;
const MOST_TOKEN: usize = 12 * 1024;
const MOST_HEADER: usize = 2 * 1024;
const MOST_NAME: usize = 255;

/// Checks the access tokens of one authorization server.
pub struct AccessTokens {
    jwks: Jwks,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessTokens({})", self.jwks.issuer())
    }
}

/// The head of a token. Fields that change the meaning of the rest are read so that they can be refused.
#[derive(Deserialize)]
struct Head {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
    b64: Option<serde_json::Value>,
    zip: Option<serde_json::Value>,
    enc: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: OneOrMany,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    scope: Option<OneOrMany>,
    scp: Option<OneOrMany>,
    client_id: Option<String>,
    azp: Option<String>,
    // Of ID tokens, logout tokens and tokens bound to a key that we do not ask proof of.
    nonce: Option<serde_json::Value>,
    at_hash: Option<serde_json::Value>,
    c_hash: Option<serde_json::Value>,
    events: Option<serde_json::Value>,
    cnf: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn has(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }

    fn words(&self) -> Vec<String> {
        let split = |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match self {
            Self::One(one) => split(one),
            Self::Many(many) => many.clone(),
        }
    }
}

impl AccessTokens {
    /// Takes tokens that are signed with these keys.
    pub fn new(jwks: Jwks, clock: Arc<dyn Clock>) -> Self {
        Self { jwks, clock }
    }

    fn check(&self, claims: &Claims, audience: &str) -> Result<(), TokenError> {
        let now = self.clock.now().timestamp() as f64;
        let skew = SKEW as f64;
        if claims.iss != self.jwks.issuer() {
            return Err(TokenError::Invalid("the access token is from another issuer"));
        }
        if !claims.aud.has(audience) {
            return Err(TokenError::Invalid(
                "the access token was made for another audience, not for this server",
            ));
        }
        // Written so that NaN is refused, too.
        if !(claims.exp.is_finite() && now < claims.exp + skew) {
            return Err(TokenError::Invalid("the access token has expired"));
        }
        if !claims.nbf.is_none_or(|nbf| nbf <= now + skew) {
            return Err(TokenError::Invalid("the access token is not valid yet"));
        }
        if !claims.iat.is_none_or(|iat| iat <= now + skew) {
            return Err(TokenError::Invalid("the access token was issued in the future"));
        }
        let of_another_kind = [&claims.nonce, &claims.at_hash, &claims.c_hash, &claims.events];
        if of_another_kind.into_iter().any(Option::is_some) {
            return Err(TokenError::Invalid("this is an ID token; send an access token"));
        }
        if claims.cnf.is_some() {
            return Err(TokenError::Invalid("the access token is bound to a key; send a plain bearer token"));
        }
        let bad_name =
            |name: &str| name.is_empty() || name.len() > MOST_NAME || name.chars().any(char::is_control);
        if bad_name(&claims.sub) {
            return Err(TokenError::Invalid("the access token names nobody"));
        }
        Ok(())
    }
}

#[async_trait]
impl TokenVerifier for AccessTokens {
    fn issuer(&self) -> &str {
        self.jwks.issuer()
    }

    async fn verify(&self, token: &SecretString, audience: &str) -> Result<VerifiedToken, TokenError> {
        let text = token.expose_secret();
        let head = head(text)?;
        let algorithm = algorithm(&head)?;
        let kid = head.kid.ok_or(TokenError::Invalid("the access token names no key (kid)"))?;
        let key = self.jwks.find(&kid, algorithm).await?;
        // Only the signature is checked there; the claims are checked here, by our clock and to the letter.
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(text, &key, &validation)
            .map_err(|error| {
                TokenError::Invalid(match error.kind() {
                    jsonwebtoken::errors::ErrorKind::InvalidSignature => {
                        "the access token's signature is wrong"
                    }
                    jsonwebtoken::errors::ErrorKind::Json(_) => {
                        "the access token lacks a claim (iss, sub, aud, exp), or has one of the wrong type"
                    }
                    _ => "the access token is damaged",
                })
            })?
            .claims;
        self.check(&claims, audience)?;
        let expires_at = DateTime::from_timestamp(claims.exp as i64, 0)
            .ok_or(TokenError::Invalid("the access token has expired"))?;
        let scopes = claims.scope.or(claims.scp).map(|scopes| scopes.words()).unwrap_or_default();
        Ok(VerifiedToken {
            issuer: claims.iss,
            subject: claims.sub,
            client_id: claims.client_id.or(claims.azp),
            scopes,
            expires_at,
        })
    }

    async fn probe(&self) -> Result<(), TokenError> {
        self.jwks.probe().await
    }
}

/// Reads the head of something that has the form of a token.
fn head(token: &str) -> Result<Head, TokenError> {
    const MALFORMED: TokenError = TokenError::Invalid(
        "this is neither an API key nor an access token of the form header.payload.signature",
    );
    if token.len() > MOST_TOKEN {
        return Err(TokenError::Invalid("the access token is too long"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [head, payload, signature] = parts[..] else { return Err(MALFORMED) };
    let base64url = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if payload.is_empty()
        || head.len() > MOST_HEADER
        || ![head, payload, signature].into_iter().all(base64url)
    {
        return Err(MALFORMED);
    }
    let json = URL_SAFE_NO_PAD.decode(head).map_err(|_| MALFORMED)?;
    serde_json::from_slice(&json).map_err(|_| MALFORMED)
}

/// The algorithm, if it is one of those with a public key and the token is of the right kind.
fn algorithm(head: &Head) -> Result<Algorithm, TokenError> {
    if head.crit.is_some() || head.b64.is_some() || head.zip.is_some() || head.enc.is_some() {
        return Err(TokenError::Invalid("the access token asks for an extension that is not supported"));
    }
    let kind = head.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
    if !matches!(kind.trim_start_matches("application/"), "at+jwt" | "jwt") {
        return Err(TokenError::Invalid("the token is not of the type at+jwt or JWT"));
    }
    match head.alg.as_str() {
        "RS256" => Ok(Algorithm::RS256),
        "RS384" => Ok(Algorithm::RS384),
        "RS512" => Ok(Algorithm::RS512),
        "PS256" => Ok(Algorithm::PS256),
        "PS384" => Ok(Algorithm::PS384),
        "PS512" => Ok(Algorithm::PS512),
        "ES256" => Ok(Algorithm::ES256),
        "ES384" => Ok(Algorithm::ES384),
        "EdDSA" => Ok(Algorithm::EdDSA),
        _ => Err(TokenError::Invalid("the access token is signed by an algorithm that is not accepted")),
    }
}
