use async_trait::async_trait;
use domain::{WorkItem, WorkItemFilter, WorkItemId};

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
}
