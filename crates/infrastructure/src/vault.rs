//! Secrets at rest. The master key wraps one data key per tenant; the data key encrypts fields with AES-256-GCM,
//! bound to the tenant and the place they belong to.

mod data_key_rotation;
mod data_keys;
mod deployment;
mod envelope;
mod key_wrapper;
mod master_key;
mod rotation;
mod sealed_columns;
mod shredding;
mod status;
mod transit;

use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ports::{MacPurpose, Sealed, SecretRef, StoreError, Vault};
use async_trait::async_trait;
use domain::TenantId;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

pub use self::data_key_rotation::DataKeysRotated;
use self::data_keys::DataKeys;
pub(crate) use self::deployment::{create as create_deployment_secrets, store_seal_key};
use self::envelope::Header;
pub use self::key_wrapper::MasterKeys;
pub use self::master_key::{MasterKey, MasterKeyError};
pub use self::rotation::{Rotated, TenantKeys};
pub use self::status::{VaultStatus, WrappedBy};
pub use self::transit::{TransitKey, TransitSettings, TransitToken};
use crate::postgres::{AuditChain, Db};

/// Why a secret could not be encrypted or decrypted, or the vault not opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A key in the database was wrapped by another master key.
    #[error(
        "the master key does not open this database's keys: the given have the ids {given}, and one is wrapped by \
         {stored}; set PATCHBAY_MASTER_KEY to the key this installation was set up with, or list that among \
         PATCHBAY_MASTER_KEYS_ACCEPTED until `patchbay vault rotate` has ended"
    )]
    WrongMasterKey {
        /// The ids of the given keys.
        given: String,
        /// The id of the key that is needed.
        stored: String,
    },
    /// A ciphertext does not open: it was changed, or belongs to another tenant or place.
    #[error("the {0} does not open: it was changed, or moved here from another place")]
    Sealed(&'static str),
    /// The data key that a ciphertext names does not exist for this tenant.
    #[error(
        "the data key of a secret is missing: the tenant's keys were destroyed, or the secret is another's"
    )]
    NoDataKey,
    /// The schema lacks the installation's secrets.
    #[error("this database holds no keys yet: run `patchbay migrate`")]
    NotPrepared,
    /// The key service does not answer, or not now; worth another try.
    #[error("{0}")]
    KeyServiceAway(String),
    /// The key service refuses, or its settings are wrong.
    #[error("{0}")]
    KeyServiceRefused(String),
    /// The database failed.
    #[error("the keys could not be read")]
    Store(#[from] StoreError),
    /// Several waited for the same key, and this is why none got it.
    #[error(transparent)]
    Shared(Arc<VaultError>),
}

impl VaultError {
    /// Whether the same may succeed later without anybody changing anything.
    fn is_transient(&self) -> bool {
        match self {
            Self::KeyServiceAway(_) | Self::Store(StoreError::Unavailable(_)) => true,
            Self::Shared(error) => error.is_transient(),
            Self::WrongMasterKey { .. }
            | Self::Sealed(_)
            | Self::NoDataKey
            | Self::NotPrepared
            | Self::KeyServiceRefused(_)
            | Self::Store(_) => false,
        }
    }
}

impl From<VaultError> for StoreError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Store(error) => error,
            error if error.is_transient() => Self::Unavailable(Box::new(error)),
            error => Self::Internal(Box::new(error)),
        }
    }
}

/// How long a data key stays after it was retired, at least. By then no process seals with it any more, and what was
/// sealed with it has been stored: processes keep the current key for one minute.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5 * 60);

/// The vault over PostgreSQL: data keys stand, wrapped, beside the data.
pub struct PgVault {
    db: Db,
    data_keys: DataKeys,
    pepper: Zeroizing<[u8; 32]>,
    audit_chain: AuditChain,
}

impl PgVault {
    /// Opens the installation's keys. Fails when the master keys are not the ones they were made with.
    pub async fn open(db: Db, master: impl Into<MasterKeys>) -> Result<Self, VaultError> {
        let master = master.into();
        let pepper = deployment::load(&db, &master, deployment::PEPPER).await?;
        let audit_chain = AuditChain::new(deployment::load(&db, &master, deployment::AUDIT_CHAIN).await?);
        db.seal_with(seal_key(&pepper));
        Ok(Self { data_keys: DataKeys::new(db.clone(), master), db, pepper, audit_chain })
    }

    /// For the stores that put changes on the record.
    pub fn audit_chain(&self) -> AuditChain {
        self.audit_chain.clone()
    }
}

impl std::fmt::Debug for PgVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgVault")
    }
}

#[async_trait]
impl Vault for PgVault {
    async fn seal(&self, ctx: &Ctx, place: SecretRef, plaintext: &[u8]) -> Result<Sealed, StoreError> {
        let key = self.data_keys.current(ctx).await?;
        let header = Header::new(self.data_keys.kek_id(), key.id);
        let bound = bound_to(ctx.tenant, place);
        Ok(Sealed(envelope::seal(&key.secret, &header, &bound, plaintext)?))
    }

    async fn open(
        &self,
        ctx: &Ctx,
        place: SecretRef,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let (header, body) = Header::split(&sealed.0)?;
        let key = self.data_keys.find(ctx, header.data_key).await?;
        Ok(envelope::open(&key.secret, &header, &bound_to(ctx.tenant, place), body, "secret")?)
    }

    fn mac(&self, purpose: MacPurpose, secret: &SecretString) -> [u8; 32] {
        let purpose: &[u8] = match purpose {
            MacPurpose::ApiKey => b"patchbay api key v1",
            MacPurpose::Session => b"patchbay session v1",
            MacPurpose::Invitation => b"patchbay invitation v1",
            MacPurpose::SignIn => b"patchbay sign-in v1",
            MacPurpose::Csrf => b"patchbay csrf v1",
            MacPurpose::TemplateCursor => b"patchbay template cursor v1",
            MacPurpose::LiveCursor => b"patchbay live cursor v1",
            MacPurpose::FileLink => b"patchbay file link v1",
        };
        hmac(&self.pepper, &[purpose, secret.expose_secret().as_bytes()])
    }
}

/// What the contexts of tenants' own templates are sealed with.
fn seal_key(pepper: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(hmac(pepper, &[b"patchbay template seal v1"]))
}

/// What a ciphertext is bound to, beside its header: `tenant|table|row|field`.
fn bound_to(tenant: TenantId, place: SecretRef) -> String {
    match place {
        SecretRef::InstanceCredential(instance) => format!("{tenant}|credentials|{instance}|sealed"),
        SecretRef::IdempotentAnswer(row) => format!("{tenant}|idempotency_keys|{}|body", hex::encode(row)),
        SecretRef::Webhook(instance) => format!("{tenant}|webhook_subscriptions|{instance}|sealed"),
        SecretRef::WriteOutcome(intent) => format!("{tenant}|write_intents|{intent}|outcome"),
    }
}

/// HMAC-SHA-256 over the parts, each followed by a zero byte.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
        mac.update(&[0]);
    }
    mac.finalize().into_bytes().into()
}
