use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{InstanceId, RunId, TenantId};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::StoreError;

/// A piece of durable work. Carries ids only: what to do stands in our own tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Job {
    /// The next slice of a run.
    SyncSlice {
        /// Whose run.
        tenant: TenantId,
        /// The instance: its jobs run one at a time.
        instance: InstanceId,
        /// The run.
        run: RunId,
    },
    /// Applying what webhooks told.
    ApplyHints {
        /// Whose instance.
        tenant: TenantId,
        /// The instance: its deliveries are applied one batch at a time.
        instance: InstanceId,
        /// Whether it is for deliveries that failed before: those wait, while new ones are applied at once.
        retry: bool,
    },
    /// Removing the rows of a tenant. Names the deletion and not the tenant, of whom no trace is to stay in the queue.
    DeleteTenant {
        /// The deletion.
        deletion: Uuid,
    },
}

/// What became of a job.
#[derive(Debug)]
pub enum JobOutcome {
    /// Done, or its continuation is enqueued already.
    Done,
    /// To be tried again later, with growing waits.
    Retry(String),
}

/// Does jobs.
#[async_trait]
pub trait JobHandler: Send + Sync {
    /// Does one. `stop` fires when the process is asked to end: finish the page and return.
    async fn handle(&self, job: Job, stop: CancellationToken) -> JobOutcome;
}

/// What waits in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Due now and not taken.
    pub ready: i64,
    /// Waiting for their time.
    pub scheduled: i64,
    /// In work.
    pub running: i64,
}

/// Durable jobs. Enqueueing inside a store's transaction is the store's own affair (see `postgres/jobs.rs`).
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Enqueues a job; one with the same run replaces the waiting one.
    async fn enqueue(&self, job: &Job, run_at: Option<DateTime<Utc>>) -> Result<(), StoreError>;

    /// Removes a waiting job of the run.
    async fn remove(&self, run: RunId) -> Result<(), StoreError>;

    /// Works until `stop` fires, then lets running jobs finish for up to `grace`.
    async fn run_worker(
        &self,
        handler: Arc<dyn JobHandler>,
        concurrency: usize,
        grace: Duration,
        stop: CancellationToken,
    ) -> Result<(), StoreError>;

    /// The number of the most urgent job that could run now, if a slot were free; less is more urgent.
    async fn most_urgent(&self) -> Result<Option<i32>, StoreError>;

    /// Puts the job that has been ready for longest before all others when that is longer than this. One at a time, so
    /// that the urgent ones keep their order.
    async fn raise_overdue(&self, longer_than: Duration) -> Result<(), StoreError>;

    /// What waits.
    async fn stats(&self) -> Result<QueueStats, StoreError>;
}
