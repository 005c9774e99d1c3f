use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Credential, Hints};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::{Connection, SourceError};

/// A delivery as it came in.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Its headers, names in lower case. A name that came twice is here twice.
    pub headers: &'a [(String, String)],
    /// Its body, to the byte.
    pub body: &'a [u8],
}

impl Delivery<'_> {
    /// A header's value; `None` when there is none, or more than one.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        let value = found.next()?;
        found.next().is_none().then_some(value.1.as_str())
    }
}

/// What a delivery is.
#[derive(Debug)]
pub enum Received {
    /// The tracker makes itself known: store this secret, and answer with these headers.
    Handshake {
        /// What later deliveries are signed with.
        secret: SecretString,
        /// Headers of the answer.
        headers: Vec<(&'static str, String)>,
    },
    /// Signed as it should be.
    Verified {
        /// What a repeated delivery is recognised by.
        delivery_id: String,
        /// The tracker's name of what happened.
        event: String,
        /// Where to look.
        hints: Hints,
    },
}

/// Why a delivery is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No signature, or not exactly one.
    #[error("the delivery is not signed")]
    Unsigned,
    /// The signature is not of this body under this secret.
    #[error("the signature is wrong")]
    Forged,
    /// Signed, but not what the tracker's documentation promises.
    #[error("the delivery cannot be read")]
    Malformed,
}

/// How an instance's webhooks are set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registration {
    /// What the tracker calls them; for renewal and removal.
    pub remote: Value,
    /// When the tracker lets them lapse.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Webhooks of one kind of tracker.
#[async_trait]
pub trait SourceWebhooks: Send + Sync {
    /// Whether the product can set them up with this credential. Otherwise an admin does, by [`Self::steps`].
    fn registers(&self, credential: &Credential) -> bool;

    /// What deliveries are signed with where the tracker signs with a secret of the credential instead of one of ours.
    fn given_secret(&self, _credential: &Credential) -> Option<SecretString> {
        None
    }

    /// What an admin does at the tracker to have deliveries sent to `target`, signed with `secret` (which is shown
    /// beside the steps, not in them). One step a line, exact to the menu and the field.
    fn steps(&self, connection: &Connection, target: &Url) -> Vec<String>;

    /// Sets them up, or again after `previous` was lost. Takes over what is there for the same target.
    async fn register(
        &self,
        connection: &Connection,
        target: &Url,
        secret: &SecretString,
        previous: Option<&Registration>,
    ) -> Result<Registration, SourceError>;

    /// Looks whether they are there still and puts off their lapse.
    async fn renew(
        &self,
        connection: &Connection,
        target: &Url,
        registration: &Registration,
    ) -> Result<Registration, SourceError>;

    /// Takes them away. Done already is done.
    async fn unregister(
        &self,
        connection: &Connection,
        registration: &Registration,
    ) -> Result<(), SourceError>;

    /// Verifies a delivery in constant time on its raw bytes, and reads where it points. `secrets` are those that hold
    /// now, the newest first; none before a handshake.
    fn receive(&self, delivery: &Delivery<'_>, secrets: &[SecretString]) -> Result<Received, Refusal>;
}
