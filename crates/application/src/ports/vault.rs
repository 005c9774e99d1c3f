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

    /// HMAC-SHA-256 of an API key's secret under the installation's pepper.
    fn key_mac(&self, secret: &SecretString) -> [u8; 32];
}
