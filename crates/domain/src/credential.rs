//! What Patchbay signs in to a tracker with.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

/// A credential of an instance. Never printed, never serialized except into the vault.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Credential {
    /// A bearer token: GitHub personal access token, Asana token.
    Token {
        /// The token.
        token: SecretString,
    },
    /// A Data Center personal access token, sent as bearer.
    Pat {
        /// The token.
        token: SecretString,
    },
    /// An account's e-mail address and API token: Jira Cloud.
    Basic {
        /// The account.
        email: String,
        /// The token.
        token: SecretString,
    },
    /// An OAuth 2.0 grant, whose access token is renewed as it expires.
    #[serde(rename = "oauth")]
    OAuth(Box<OAuthGrant>),
    /// A GitHub App; tokens of its installations are made from its key as they are needed.
    GithubApp {
        /// The app's client id, or its number.
        app_id: String,
        /// Its private key, PEM.
        private_key: SecretString,
    },
}

/// An OAuth 2.0 grant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuthGrant {
    /// Sent as bearer.
    pub access_token: SecretString,
    /// What a new access token is asked for with; without one the grant ends with its access token. Some servers give a
    /// new one each time (rotation).
    #[serde(default)]
    pub refresh_token: Option<SecretString>,
    /// When the access token expires, where the server told.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// The client it was given to.
    pub client_id: String,
    /// The client's secret, for confidential clients.
    #[serde(default)]
    pub client_secret: Option<SecretString>,
    /// The authorization server's token endpoint; the source's own where absent.
    #[serde(default)]
    pub token_url: Option<Url>,
}

impl OAuthGrant {
    /// Whether the access token expires within this time.
    pub fn expires_within(&self, now: DateTime<Utc>, time: TimeDelta) -> bool {
        self.expires_at.is_some_and(|at| at <= now + time)
    }
}

impl Credential {
    /// The name of the kind, as in the API.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Pat { .. } => "pat",
            Self::Basic { .. } => "basic",
            Self::OAuth(_) => "oauth",
            Self::GithubApp { .. } => "github_app",
        }
    }

    /// The form that goes into the vault: JSON, wiped from memory when dropped.
    pub fn to_plaintext(&self) -> Zeroizing<Vec<u8>> {
        let json = match self {
            Self::Token { token } => serde_json::json!({"kind": "token", "token": token.expose_secret()}),
            Self::Pat { token } => serde_json::json!({"kind": "pat", "token": token.expose_secret()}),
            Self::Basic { email, token } => {
                serde_json::json!({"kind": "basic", "email": email, "token": token.expose_secret()})
            }
            Self::OAuth(grant) => serde_json::json!({
                "kind": "oauth",
                "access_token": grant.access_token.expose_secret(),
                "refresh_token": grant.refresh_token.as_ref().map(ExposeSecret::expose_secret),
                "expires_at": grant.expires_at,
                "client_id": grant.client_id,
                "client_secret": grant.client_secret.as_ref().map(ExposeSecret::expose_secret),
                "token_url": grant.token_url,
            }),
            Self::GithubApp { app_id, private_key } => {
                serde_json::json!({"kind": "github_app", "app_id": app_id, "private_key": private_key.expose_secret()})
            }
        };
        Zeroizing::new(json.to_string().into_bytes())
    }

    /// Reads what [`Self::to_plaintext`] wrote; `None` when it is something else.
    pub fn from_plaintext(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_survives_the_vault_form_and_is_not_printed() {
        let credential =
            Credential::Basic { email: "a@example.com".into(), token: "s3cret-value".to_owned().into() };
        let back = Credential::from_plaintext(&credential.to_plaintext()).unwrap();
        let Credential::Basic { email, token } = &back else { panic!("kind changed") };
        assert_eq!((email.as_str(), token.expose_secret()), ("a@example.com", "s3cret-value"));
        assert!(!format!("{back:?}").contains("s3cret"));
    }

    #[test]
    fn a_grant_survives_the_vault_form() {
        let json = r#"{"kind":"oauth","access_token":"a","refresh_token":"r","expires_at":"2026-01-01T00:00:00Z","client_id":"c"}"#;
        let credential: Credential = serde_json::from_str(json).unwrap();
        let back = Credential::from_plaintext(&credential.to_plaintext()).unwrap();
        let Credential::OAuth(grant) = &back else { panic!("kind changed") };
        assert_eq!(grant.refresh_token.as_ref().map(ExposeSecret::expose_secret), Some("r"));
        assert!(grant.expires_within("2025-12-31T23:59:00Z".parse().unwrap(), TimeDelta::minutes(2)));
        assert!(grant.client_secret.is_none());
    }
}
