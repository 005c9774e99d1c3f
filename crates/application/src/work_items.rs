//! Reading the normalized data.

use std::sync::Arc;

use domain::{Scope, WorkItem, WorkItemFilter, WorkItemId};

use crate::ports::{ListPage, Listing, WorkItemStore};
use crate::{Ctx, Error};

/// Use cases around work items.
pub struct WorkItemService {
    store: Arc<dyn WorkItemStore>,
}

impl WorkItemService {
    /// Puts the service together.
    pub fn new(store: Arc<dyn WorkItemStore>) -> Self {
        Self { store }
    }

    /// Newest change first; bodies are left out.
    pub async fn list(
        &self,
        ctx: &Ctx,
        filter: &WorkItemFilter,
        page: &ListPage,
    ) -> Result<Listing<WorkItem>, Error> {
        ctx.require(Scope::ItemsRead)?;
        Ok(self.store.list(ctx, filter, page).await?)
    }

    /// One item with its body.
    pub async fn get(&self, ctx: &Ctx, id: WorkItemId) -> Result<WorkItem, Error> {
        ctx.require(Scope::ItemsRead)?;
        self.store.find(ctx, id).await?.ok_or_else(|| Error::not_found(format!("the work item {id}")))
    }
}

impl std::fmt::Debug for WorkItemService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WorkItemService")
    }
}
