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

    /// The sealed credential. `None` when the instance does not exist for this tenant.
    async fn credential(&self, ctx: &Ctx, id: InstanceId) -> Result<Option<Sealed>, StoreError>;
}
