use async_trait::async_trait;
use domain::InstanceId;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::StoreError;
use crate::Ctx;

/// What a secret belongs to; bound into its encryption, so that a ciphertext moved elsewhere does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretRef {
    /// The credential of an instance.
    InstanceCredential(InstanceId),
    /// The kept answer to a request with an idempotency key; the SHA-256 of principal, route and key.
    IdempotentAnswer([u8; 32]),
    /// Token and secrets of an instance's webhooks.
    Webhook(InstanceId),
    /// What came of a write to a tracker, by the id of its intent.
    WriteOutcome(uuid::Uuid),
}

/// What a keyed hash is for: the same secret gives another one for each purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacPurpose {
    /// The secret part of an API key.
    ApiKey,
    /// The cookie of a signed-in browser.
    Session,
    /// The token of an invitation.
    Invitation,
    /// The state of a sign-in that is under way.
    SignIn,
    /// What a page must send along with changes it asks for by cookie; made of the cookie.
    Csrf,
    /// The place in a template's rows that a caller is given to go on from.
    TemplateCursor,
    /// The place in a live list that a caller is given to go on from.
    LiveCursor,
    /// A link to a file, which is good for a few minutes without a key.
    FileLink,
}

/// An encrypted secret with its key ids.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Encrypts what must not be stored in clear. AES-256-GCM under a key of the tenant, itself wrapped by the
/// master key.
#[async_trait]
pub trait Vault: Send + Sync {
    /// Encrypts for this tenant and this place.
    async fn seal(&self, ctx: &Ctx, place: SecretRef, plaintext: &[u8]) -> Result<Sealed, StoreError>;

    /// Decrypts. Fails when it was sealed for another tenant or place, or changed since.
    async fn open(
        &self,
        ctx: &Ctx,
        place: SecretRef,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError>;

    /// HMAC-SHA-256 of a random secret under the installation's pepper: what is stored instead of it. Or of the digest of
    /// something that callers keep and must not change.
    fn mac(&self, purpose: MacPurpose, secret: &SecretString) -> [u8; 32];
}
