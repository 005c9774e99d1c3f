//! Taking in a delivery: whom it is for, whether it is signed, and storing it before it is answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::{Hint, Hints};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{WebhookSecrets, WebhookService};
use crate::Error;
use crate::ports::{
    Delivery, KnownWebhook, NewDelivery, Received, Refusal, SecretRef, SourceAdapter, StoreError,
};

/// How long token and secrets of an instance are remembered: a storm reads them once.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Most instances remembered at once.
const MOST_REMEMBERED: usize = 1_000;
/// Bodies larger than this are verified off the threads that serve requests.
const LARGE: usize = 64 * 1024;
/// Most distinct hints of a delivery that are looked at one by one: as many as are read at once. What has more is left
/// to the next sync as a whole.
const MOST_HINTS: usize = 100;
/// Longest texts of a delivery that are kept.
const LONGEST_ID: usize = 200;
const LONGEST_EVENT: usize = 100;
/// How often secrets are tried to be added while others are.
const ADD_ATTEMPTS: usize = 10;

/// A delivery as it came in.
#[derive(Debug)]
pub struct Incoming {
    /// The source that its address names.
    pub source: String,
    /// The token that its address names.
    pub token: SecretString,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body, to the byte.
    pub body: Vec<u8>,
}

/// What the tracker is answered, beside that all is well.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Headers of the answer.
    pub headers: Vec<(&'static str, String)>,
    /// What it was: `stored`, `repeated` or `handshake`.
    pub outcome: &'static str,
}

/// Why a delivery was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// Nobody has that token.
    #[error("there is no such address")]
    Unknown,
    /// It is not signed as it should be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The tenant is not served at the moment.
    #[error("the tenant is not served at the moment")]
    NotServed,
    /// It could not be stored.
    #[error("the delivery could not be stored")]
    Failed(#[source] Error),
}

impl From<StoreError> for IntakeError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Whom a token is of, opened.
#[derive(Debug)]
pub(super) struct Opened {
    known: KnownWebhook,
    secrets: Vec<SecretString>,
}

/// What is remembered of tokens.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<[u8; 32], Remembered>>);

/// Since when, and what.
type Remembered = (Instant, Arc<Opened>);

impl Known {
    fn get(&self, digest: &[u8; 32]) -> Option<Arc<Opened>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).filter(|(since, _)| since.elapsed() < REMEMBERED).map(|(_, opened)| opened.clone())
    }

    fn put(&self, digest: [u8; 32], opened: Arc<Opened>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_REMEMBERED {
            known.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
        }
        if known.len() < MOST_REMEMBERED {
            known.insert(digest, (Instant::now(), opened));
        }
    }

    pub(super) fn forget(&self, digest: &[u8; 32]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }
}

/// What a token is looked up by: the token itself is not compared, so no time tells how much of it was right.
pub(super) fn digest(token: &SecretString) -> [u8; 32] {
    Sha256::digest(token.expose_secret().as_bytes()).into()
}

impl WebhookService {
    /// Verifies a delivery and stores it. Once this returns, it is on disk.
    pub async fn take_in(&self, incoming: Incoming) -> Result<Answer, IntakeError> {
        let digest = digest(&incoming.token);
        let remembered = self.known.get(&digest);
        let fresh = remembered.is_none();
        let opened = match remembered {
            Some(opened) => opened,
            None => self.look_up(&digest).await?,
        };
        let incoming = Arc::new(incoming);
        let (received, opened) = match self.verify(&incoming, &opened).await {
            // The secrets may have changed a moment ago.
            Err(IntakeError::Refused(refusal)) if !fresh => {
                let again = self.look_up(&digest).await?;
                if again.known == opened.known {
                    return Err(refusal.into());
                }
                (self.verify(&incoming, &again).await?, again)
            }
            other => (other?, opened),
        };
        match received {
            Received::Handshake { secret, headers } => {
                self.add_secret(&digest, &secret).await?;
                Ok(Answer { headers, outcome: "handshake" })
            }
            Received::Verified { delivery_id, event, hints } => {
                let delivery = NewDelivery {
                    tenant: opened.known.tenant,
                    instance: opened.known.instance,
                    id: self.parts.ids.uuid(),
                    delivery_id: fit_id(delivery_id),
                    event: event.chars().filter(|c| *c != '\0').take(LONGEST_EVENT).collect(),
                    hints: fit_hints(hints),
                    received_at: self.parts.clock.now(),
                };
                let new = self.parts.store.store(delivery).await?;
                Ok(Answer { headers: Vec::new(), outcome: if new { "stored" } else { "repeated" } })
            }
        }
    }

    async fn look_up(&self, digest: &[u8; 32]) -> Result<Arc<Opened>, IntakeError> {
        let known = self.parts.store.find_by_token(digest).await?.ok_or(IntakeError::Unknown)?;
        let secrets = self.open(&known).await?.secrets;
        let opened = Arc::new(Opened { known, secrets });
        // A registration that is under way adds secrets.
        if opened.known.handshake_open {
            self.known.forget(digest);
        } else {
            self.known.put(*digest, opened.clone());
        }
        Ok(opened)
    }

    async fn open(&self, known: &KnownWebhook) -> Result<WebhookSecrets, IntakeError> {
        let ctx = self.system(known.tenant);
        let place = SecretRef::Webhook(known.instance);
        let plaintext = self.parts.vault.open(&ctx, place, &known.sealed).await?;
        WebhookSecrets::from_plaintext(&plaintext)
            .ok_or_else(|| StoreError::Internal("stored webhook secrets have an unknown form".into()).into())
    }

    async fn verify(&self, incoming: &Arc<Incoming>, opened: &Arc<Opened>) -> Result<Received, IntakeError> {
        let known = &opened.known;
        if known.source.as_str() != incoming.source {
            return Err(IntakeError::Unknown);
        }
        if !known.served {
            return Err(IntakeError::NotServed);
        }
        let adapter = self.parts.sources.get(&known.source).ok_or(IntakeError::Unknown)?.clone();
        let received = if incoming.body.len() > LARGE {
            let (incoming, opened) = (incoming.clone(), opened.clone());
            tokio::task::spawn_blocking(move || receive(adapter.as_ref(), &incoming, &opened))
                .await
                .map_err(|error| StoreError::Internal(Box::new(error)))??
        } else {
            receive(adapter.as_ref(), incoming, opened)?
        };
        match received {
            // Whoever knows the address could make up a secret and sign with it.
            Received::Handshake { .. } if !known.handshake_open => Err(Refusal::Unsigned.into()),
            received => Ok(received),
        }
    }

    /// Adds a secret to those that hold, whoever adds others at the same moment.
    async fn add_secret(&self, digest: &[u8; 32], secret: &SecretString) -> Result<(), IntakeError> {
        for _ in 0..ADD_ATTEMPTS {
            let known = self.parts.store.find_by_token(digest).await?.ok_or(IntakeError::Unknown)?;
            let mut secrets = self.open(&known).await?;
            secrets.add(secret.clone(), WebhookSecrets::MOST);
            let ctx = self.system(known.tenant);
            let place = SecretRef::Webhook(known.instance);
            let sealed = self.parts.vault.seal(&ctx, place, &secrets.to_plaintext()).await?;
            if self.parts.store.replace_secrets(&ctx, known.instance, &known.sealed, &sealed).await? {
                self.known.forget(digest);
                return Ok(());
            }
        }
        Err(IntakeError::Failed(Error::Unavailable(StoreError::Conflict("another secret"))))
    }
}

fn receive(
    adapter: &dyn SourceAdapter,
    incoming: &Incoming,
    opened: &Opened,
) -> Result<Received, IntakeError> {
    let webhooks = adapter.webhooks().ok_or(IntakeError::Unknown)?;
    let delivery = Delivery { headers: &incoming.headers, body: &incoming.body };
    Ok(webhooks.receive(&delivery, &opened.secrets)?)
}

/// What is too long or odd to be an id is told apart by its digest.
fn fit_id(id: String) -> String {
    if (1..=LONGEST_ID).contains(&id.len()) && !id.contains('\0') {
        return id;
    }
    let digest = Sha256::digest(id.as_bytes());
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn fit_hints(hints: Hints) -> Hints {
    let odd = |text: &str| text.contains('\0') || text.len() > LONGEST_ID;
    let is_odd = |hint: &Hint| match hint {
        Hint::Item { source_id, ref_key, key } => {
            [source_id, ref_key, key].into_iter().flatten().any(|text| odd(text))
        }
        Hint::WorklogGone { source_id } => odd(source_id),
        Hint::CommentGone { kind, source_id } => odd(kind) || odd(source_id),
        Hint::Reference => false,
    };
    if hints.len() > MOST_HINTS || hints.iter().any(is_odd) { Hints::from([Hint::Reference]) } else { hints }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_cannot_be_stored_are_told_apart_by_their_digest() {
        assert_eq!(fit_id("72d3162e-cc78-11e3-81ab-4c9367dc0958".into()).len(), 36);
        let long = |last: char| fit_id("x".repeat(300) + &last.to_string());
        assert_ne!(long('a'), long('b'));
        assert_eq!(long('a').len(), 7 + 64);
        assert!(fit_id("a\0b".into()).starts_with("sha256:"));
        assert!(fit_id(String::new()).starts_with("sha256:"));
    }

    #[test]
    fn a_delivery_that_points_at_too_much_is_left_to_the_next_sync() {
        let item = |n: usize| Hint::Item { source_id: Some(n.to_string()), ref_key: None, key: None };
        let few: Hints = (0..100).map(item).collect();
        assert_eq!(fit_hints(few.clone()), few);
        assert_eq!(fit_hints((0..101).map(item).collect()), Hints::from([Hint::Reference]));
        let odd = Hint::WorklogGone { source_id: "1\0".into() };
        assert_eq!(fit_hints(Hints::from([odd])), Hints::from([Hint::Reference]));
    }
}
