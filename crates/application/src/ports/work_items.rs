use async_trait::async_trait;
use domain::{InstanceId, WorkItem, WorkItemFilter, WorkItemId};

use super::{ListPage, Listing, StoreError};
use crate::Ctx;

/// The normalized data of a tenant.
#[async_trait]
pub trait WorkItemStore: Send + Sync {
    /// Newest change first. Bodies are not read.
    async fn list(
        &self,
        ctx: &Ctx,
        filter: &WorkItemFilter,
        page: &ListPage,
    ) -> Result<Listing<WorkItem>, StoreError>;

    /// With its body. `None` when it does not exist for this tenant.
    async fn find(&self, ctx: &Ctx, id: WorkItemId) -> Result<Option<WorkItem>, StoreError>;

    /// The item that people call so now, with its body. `None` when there is none, or it was deleted at its source.
    async fn find_by_key(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        key: &str,
    ) -> Result<Option<WorkItem>, StoreError>;
}
