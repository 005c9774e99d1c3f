//! What Patchbay signs in to a tracker with.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
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
}

impl Credential {
    /// The name of the kind, as in the API.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Pat { .. } => "pat",
            Self::Basic { .. } => "basic",
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
}
