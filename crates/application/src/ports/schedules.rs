use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{InstanceId, RunKind, Schedule, SourceKind, TenantId};

use super::StoreError;
use crate::Ctx;

/// A run that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueRun {
    /// Whose instance.
    pub tenant: TenantId,
    /// The instance.
    pub instance: InstanceId,
    /// What to start.
    pub kind: RunKind,
}

/// When instances are synced by themselves.
#[async_trait]
pub trait ScheduleStore: Send + Sync {
    /// `None` when the instance has none yet, or does not exist for this tenant.
    async fn find(&self, ctx: &Ctx, instance: InstanceId) -> Result<Option<Schedule>, StoreError>;

    /// Saves a schedule. `false` when the instance does not exist for this tenant.
    async fn put(&self, ctx: &Ctx, instance: InstanceId, schedule: &Schedule) -> Result<bool, StoreError>;

    /// Gives a schedule to an instance that has none; does nothing to one that has.
    async fn give(&self, ctx: &Ctx, instance: InstanceId, schedule: &Schedule) -> Result<(), StoreError>;

    /// Makes the next sync due at this moment, unless it is due earlier.
    async fn make_due(&self, ctx: &Ctx, instance: InstanceId, at: DateTime<Utc>) -> Result<(), StoreError>;

    /// Notes that a run was started, and when the next of its kind is due.
    async fn started(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        kind: RunKind,
        next: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError>;

    /// Takes runs of all tenants that are due, the one that is due longest first: of instances that are connected, not
    /// paused and without an unfinished run, and of tenants that are served. Until `lease` is over nobody else gets
    /// them; a run that was not started by then is due again.
    async fn claim_due(&self, limit: i64, lease: Duration) -> Result<Vec<DueRun>, StoreError>;

    /// Instances of all tenants that have no schedule yet, and their sources.
    async fn without_schedule(
        &self,
        limit: i64,
    ) -> Result<Vec<(TenantId, InstanceId, SourceKind)>, StoreError>;

    /// For each source, for how long the instance that waits longest has not been synced with success.
    async fn longest_lags(&self) -> Result<Vec<(String, Duration)>, StoreError>;
}
