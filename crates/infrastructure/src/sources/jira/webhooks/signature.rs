//! Whether a delivery is Jira's.

use application::ports::{Clock, Delivery, Refusal};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::Sha256;

use crate::clock::SystemClock;

/// Of webhooks that an admin set up with a secret.
const SIGNATURE: &str = "x-hub-signature";
/// Of webhooks that an OAuth app registered.
const AUTHORIZATION: &str = "authorization";
/// How far Atlassian's clock and ours may be apart, in seconds.
const SKEW: i64 = 60;
const LONGEST_TOKEN: usize = 8 * 1024;

#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

/// Verifies the signature of the body or the token that comes with it, each in constant time.
pub(super) fn verify(delivery: &Delivery<'_>, secrets: &[SecretString]) -> Result<(), Refusal> {
    let has = |name: &str| delivery.headers.iter().any(|(header, _)| header == name);
    if has(SIGNATURE) {
        let signature = delivery.header(SIGNATURE).ok_or(Refusal::Unsigned)?;
        return signed(signature, delivery.body, secrets);
    }
    let authorization = delivery.header(AUTHORIZATION).ok_or(Refusal::Unsigned)?;
    let (scheme, token) = authorization.trim().split_once(' ').ok_or(Refusal::Unsigned)?;
    if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("jwt") {
        return Err(Refusal::Unsigned);
    }
    by_token(token.trim(), secrets)
}

/// `sha256=<hex>`, as WebSub signs.
fn signed(signature: &str, body: &[u8], secrets: &[SecretString]) -> Result<(), Refusal> {
    // Jira signs with SHA-256 unless told otherwise; weaker methods are not taken.
    let digits = signature.trim().strip_prefix("sha256=").ok_or(Refusal::Forged)?;
    let signature = hex::decode(digits).map_err(|_| Refusal::Forged)?;
    let holds = secrets.iter().any(|secret| {
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
            .is_ok_and(|mac| mac.chain_update(body).verify_slice(&signature).is_ok())
    });
    if holds { Ok(()) } else { Err(Refusal::Forged) }
}

/// A JSON web token under the app's secret. It vouches for the sender and not for the body, which is a hint only.
fn by_token(token: &str, secrets: &[SecretString]) -> Result<(), Refusal> {
    if token.len() > LONGEST_TOKEN {
        return Err(Refusal::Forged);
    }
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = secrets.iter().find_map(|secret| {
        let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
        jsonwebtoken::decode::<Claims>(token, &key, &validation).ok()
    });
    let Some(claims) = claims else { return Err(Refusal::Forged) };
    // Seconds since 1970 are exact in this form for as long as it matters.
    #[expect(clippy::cast_precision_loss, reason = "times of this age are exact")]
    let now = (SystemClock.now().timestamp() - SKEW) as f64;
    if claims.claims.exp > now { Ok(()) } else { Err(Refusal::Forged) }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn secrets(all: &[&str]) -> Vec<SecretString> {
        all.iter().map(|&secret| SecretString::from(secret)).collect()
    }

    fn check(headers: &[(&str, &str)], body: &[u8], known: &[&str]) -> Result<(), Refusal> {
        let headers: Vec<(String, String)> =
            headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        verify(&Delivery { headers: &headers, body }, &secrets(known))
    }

    /// The example of <https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks>.
    const SAMPLE: &str = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";

    #[test]
    fn a_signature_is_of_this_body_under_a_secret_that_holds() {
        let secret = "It's a Secret to Everybody";
        assert_eq!(check(&[(SIGNATURE, SAMPLE)], b"Hello World!", &["new", secret]), Ok(()));
        assert_eq!(check(&[(SIGNATURE, SAMPLE)], b"Hello World?", &[secret]), Err(Refusal::Forged));
        assert_eq!(check(&[(SIGNATURE, SAMPLE)], b"Hello World!", &[]), Err(Refusal::Forged));
        assert_eq!(check(&[(SIGNATURE, "sha1=00")], b"", &[secret]), Err(Refusal::Forged));
        assert_eq!(check(&[], b"Hello World!", &[secret]), Err(Refusal::Unsigned));
        let twice = [(SIGNATURE, SAMPLE), (SIGNATURE, SAMPLE)];
        assert_eq!(check(&twice, b"Hello World!", &[secret]), Err(Refusal::Unsigned));
    }

    fn token(secret: &str, exp: i64, algorithm: Algorithm) -> String {
        let claims = json!({"iss": "app", "iat": exp - 180, "exp": exp});
        encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    #[test]
    fn a_token_is_under_the_apps_secret_and_not_over() {
        let now = SystemClock.now().timestamp();
        let bearer = |token: String| format!("Bearer {token}");
        let by = |value: &str| check(&[(AUTHORIZATION, value)], b"{}", &["client-secret"]);
        assert_eq!(by(&bearer(token("client-secret", now + 120, Algorithm::HS256))), Ok(()));
        assert_eq!(by(&format!("JWT {}", token("client-secret", now + 120, Algorithm::HS256))), Ok(()));
        assert_eq!(by(&bearer(token("other", now + 120, Algorithm::HS256))), Err(Refusal::Forged));
        assert_eq!(by(&bearer(token("client-secret", now - 120, Algorithm::HS256))), Err(Refusal::Forged));
        assert_eq!(by(&bearer(token("client-secret", now + 120, Algorithm::HS512))), Err(Refusal::Forged));
        // Header {"alg":"none"}: signed by nobody.
        let unsigned = "eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.".to_owned();
        assert_eq!(by(&bearer(unsigned)), Err(Refusal::Forged));
        assert_eq!(by("Basic YTpi"), Err(Refusal::Unsigned));
    }

    proptest! {
        #[test]
        fn nothing_but_a_signature_passes(value in "\\PC{0,80}", body: Vec<u8>, token: bool) {
            let name = if token { AUTHORIZATION } else { SIGNATURE };
            prop_assert!(check(&[(name, &value)], &body, &["secret"]).is_err());
        }
    }
}
