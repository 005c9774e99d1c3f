//! Reading items by themselves for the synced copy, within what the syncs of an instance may ask of its tracker.

use std::sync::Arc;

use domain::Instance;

use crate::connections::{Connections, LiveConnection};
use crate::limits::LimitService;
use crate::ports::{Connection, FetchedItems, ItemAddress, SourceAdapter, UpstreamUse};
use crate::{Ctx, Error};

/// Most items read at once: what [`SourceAdapter::fetch_items`] takes.
pub(crate) const MOST_ITEMS: usize = 100;

/// The way to an instance's tracker for work that nobody waits for.
pub(crate) struct ItemReader<'a> {
    pub(crate) connections: &'a Connections,
    pub(crate) limits: &'a LimitService,
    pub(crate) ctx: &'a Ctx,
    pub(crate) instance: &'a Instance,
    pub(crate) adapter: &'a dyn SourceAdapter,
    pub(crate) live: LiveConnection,
}

impl ItemReader<'_> {
    /// Reads up to [`MOST_ITEMS`], with the instance's own words mapped. [`Error::RateLimited`] when the budget of syncs is
    /// used up; then nothing is sent.
    pub(crate) async fn read(&self, items: &[ItemAddress]) -> Result<FetchedItems, Error> {
        let Self { connections, limits, ctx, instance, adapter, live } = self;
        let budget = limits.budget(&adapter.capabilities());
        limits.count_upstream(instance.id, budget, UpstreamUse::Sync).await?;
        let before = live.requests();
        let fetch =
            |connection: Arc<Connection>| async move { adapter.fetch_items(&connection, items).await };
        let fetched = connections.call(ctx, instance, live, fetch).await;
        limits.debit_upstream(instance.id, budget, live.requests() - before).await;
        let mut fetched = fetched?;
        live.current().mappings.apply(&mut fetched.records);
        Ok(fetched)
    }
}
