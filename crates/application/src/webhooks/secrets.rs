//! The secrets of an instance's webhooks, as they are sealed.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The unguessable part of the address, and what deliveries are signed with, newest first.
#[derive(Debug, Clone)]
pub struct WebhookSecrets {
    /// The token.
    pub token: SecretString,
    /// What holds now.
    pub secrets: Vec<SecretString>,
}

#[derive(Serialize)]
struct Written<'a> {
    token: &'a str,
    secrets: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Read {
    token: SecretString,
    secrets: Vec<SecretString>,
}

impl WebhookSecrets {
    /// Most that are kept: a tracker with one for each project tells as many as there are projects.
    pub const MOST: usize = 200;

    /// Puts a secret first. The oldest are forgotten beyond a number.
    pub fn add(&mut self, secret: SecretString, most: usize) {
        self.secrets.retain(|known| known.expose_secret() != secret.expose_secret());
        self.secrets.insert(0, secret);
        self.secrets.truncate(most.min(Self::MOST));
    }

    pub(super) fn to_plaintext(&self) -> Zeroizing<Vec<u8>> {
        let written = Written {
            token: self.token.expose_secret(),
            secrets: self.secrets.iter().map(ExposeSecret::expose_secret).collect(),
        };
        // Two fields of text always serialize.
        Zeroizing::new(serde_json::to_vec(&written).unwrap_or_default())
    }

    pub(super) fn from_plaintext(plaintext: &[u8]) -> Option<Self> {
        let Read { token, secrets } = serde_json::from_slice(plaintext).ok()?;
        Some(Self { token, secrets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(secrets: &WebhookSecrets) -> Vec<&str> {
        secrets.secrets.iter().map(ExposeSecret::expose_secret).collect()
    }

    #[test]
    fn secrets_come_back_in_their_order_and_the_oldest_go_first() {
        let mut secrets = WebhookSecrets { token: "t".into(), secrets: Vec::new() };
        for secret in ["a", "b", "c", "b"] {
            secrets.add(secret.into(), 2);
        }
        let back = WebhookSecrets::from_plaintext(&secrets.to_plaintext()).unwrap();
        assert_eq!(all(&back), ["b", "c"]);
        assert_eq!(back.token.expose_secret(), "t");
        assert!(!format!("{back:?}").contains("\"b\""));
        assert!(WebhookSecrets::from_plaintext(b"{}").is_none());
    }
}
