use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Instance, InstanceId};

use super::{ListPage, Listing, Sealed, StoreError};
use crate::Ctx;

/// Configured connections of a tenant.
#[async_trait]
pub trait InstanceStore: Send + Sync {
    /// Saves a new instance and its sealed credential in one transaction.
    ///
    /// [`StoreError::Conflict`] when the tenant already has one of that slug.
    async fn insert(&self, ctx: &Ctx, instance: &Instance, credential: &Sealed) -> Result<(), StoreError>;

    /// `None` when it does not exist for this tenant.
    async fn find(&self, ctx: &Ctx, id: InstanceId) -> Result<Option<Instance>, StoreError>;

    /// Newest first.
    async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Instance>, StoreError>;

    /// Those the caller reaches, by slug, as they were at most a second ago: for what asks at every call. The first
    /// thousand; what is written through this store shows at once.
    async fn recent(&self, ctx: &Ctx) -> Result<Arc<[Instance]>, StoreError>;

    /// Writes name, base URL, settings, status and `updated_at`, and the credential when one is given.
    /// `false` when it does not exist for this tenant.
    async fn update(
        &self,
        ctx: &Ctx,
        instance: &Instance,
        credential: Option<&Sealed>,
    ) -> Result<bool, StoreError>;

    /// Removes the instance with its credential, runs, and everything synced through it. `false` when it
    /// does not exist for this tenant. [`StoreError::Conflict`] is not used: an unfinished run is ended by the removal.
    async fn delete(&self, ctx: &Ctx, id: InstanceId) -> Result<bool, StoreError>;

    /// The credential as it is stored. `None` when the instance does not exist for this tenant.
    async fn credential(&self, ctx: &Ctx, id: InstanceId) -> Result<Option<StoredCredential>, StoreError>;

    /// Has the credential renewed while nobody else can change it, and stores what came of it before anybody else sees
    /// it. Whoever waited finds what the one before left. A refusal makes the instance ask for a new credential; none is
    /// ever taken away. Nothing happens when the instance does not exist for this tenant.
    async fn renew_credential(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        renewer: &dyn CredentialRenewer,
    ) -> Result<(), StoreError>;
}

/// A credential as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// The credential.
    pub sealed: Sealed,
    /// Goes up each time it is replaced.
    pub version: i64,
    /// What came of the last renewal of this version.
    pub refresh: RefreshState,
    /// How long ago that was.
    pub refreshed_ago: Option<Duration>,
}

/// What came of the last renewal of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshState {
    /// It was renewed, or never had to be.
    Ok,
    /// Whether the token endpoint answered is not known.
    Unknown,
    /// The token endpoint refused: no renewal will succeed.
    Refused,
}

impl RefreshState {
    /// The stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }

    /// Reads a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ok, Self::Unknown, Self::Refused].into_iter().find(|state| state.as_str() == text)
    }
}

/// What a [`CredentialRenewer`] made of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing was sent.
    Kept,
    /// This is the new one.
    Replaced(Sealed),
    /// It was asked for, and there is no usable answer.
    Unknown,
    /// It was asked for, and refused for good.
    Refused,
}

/// Renews one credential.
#[async_trait]
pub trait CredentialRenewer: Send + Sync {
    /// Decides and does it. The credential is locked meanwhile.
    async fn renew(&self, held: &StoredCredential) -> Renewal;
}
