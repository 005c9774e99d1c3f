//! The audit log: one chain of records per tenant, each hashed with the one before under the installation's key, so
//! that an edit, a deletion or a swap inside the chain shows.

mod chain;
mod draft;
mod list;
mod queue;
mod verify;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ports::{AuditFilter, AuditLog, AuditVerdict, ListPage, Listing, StoreError};
use async_trait::async_trait;
use domain::{AuditEntry, AuditHead, AuditRecord};
use futures::stream::BoxStream;

use super::db::Db;
pub use chain::AuditChain;
use queue::Queue;
pub use queue::{AuditQueueBounds, describe_metrics};

/// [`AuditLog`] over PostgreSQL. Reads wait in a queue of bounded size for one writer, which stores them in batches.
pub struct PgAuditLog {
    db: Db,
    chain: AuditChain,
    queue: Arc<Queue>,
}

impl PgAuditLog {
    /// Starts the writer, on the runtime of the caller.
    pub fn start(db: Db, chain: AuditChain) -> Self {
        Self::with_bounds(db, chain, AuditQueueBounds::default())
    }

    /// Starts the writer of a queue of this size.
    pub fn with_bounds(db: Db, chain: AuditChain, bounds: AuditQueueBounds) -> Self {
        let queue = Queue::start(db.clone(), chain.clone(), bounds);
        Self { db, chain, queue }
    }

    /// Takes nothing more and waits until everything in the queue is stored. Answers how many records are not, when
    /// that takes longer than `within`.
    pub async fn close(&self, within: Duration) -> usize {
        self.queue.close(within).await
    }
}

impl Drop for PgAuditLog {
    fn drop(&mut self) {
        self.queue.stop();
    }
}

impl fmt::Debug for PgAuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgAuditLog")
    }
}

#[async_trait]
impl AuditLog for PgAuditLog {
    async fn note(&self, ctx: &Ctx, entry: AuditEntry) -> Result<(), StoreError> {
        self.queue.note(ctx, &entry).await
    }

    async fn list(
        &self,
        ctx: &Ctx,
        filter: &AuditFilter,
        page: &ListPage,
    ) -> Result<Listing<AuditRecord>, StoreError> {
        list::newest_first(&self.db, ctx, filter, page).await
    }

    async fn head(&self, ctx: &Ctx) -> Result<Option<AuditHead>, StoreError> {
        list::head(&self.db, ctx).await
    }

    fn export(
        &self,
        ctx: &Ctx,
        filter: AuditFilter,
        last: i64,
    ) -> BoxStream<'static, Result<AuditRecord, StoreError>> {
        list::oldest_first(self.db.clone(), ctx.clone(), filter, last)
    }

    async fn verify(&self, ctx: &Ctx, expected: Option<&AuditHead>) -> Result<AuditVerdict, StoreError> {
        verify::verify(&self.db, &self.chain, ctx, expected).await
    }
}
