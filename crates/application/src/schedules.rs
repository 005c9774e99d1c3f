//! Syncing by itself: when each instance is due, and starting what is.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use domain::{InstanceId, RequestId, RunKind, Schedule, Scope, TenantId};
use futures::StreamExt;
use tracing::{info, warn};

use crate::ports::{Clock, DueRun, Ids, InstanceStore, ScheduleStore, Sources};
use crate::sync::SyncService;
use crate::{Ctx, Error};

/// How long one process has for starting a run that it took; then it is due again.
const LEASE: Duration = Duration::from_secs(60);
/// Runs taken at once.
const BATCH: i64 = 50;
/// Runs started at once.
const AT_ONCE: usize = 4;
/// After what a reference hint points at the next sync looks; others that come until then are covered by it.
const SOON: TimeDelta = TimeDelta::seconds(30);
/// How long a new instance is not compared by itself: its first backfill has just read everything.
const UNCOMPARED_AT_FIRST: Duration = Duration::from_secs(12 * 60 * 60);

/// What an admin says about an instance's schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleChange {
    /// Start nothing by itself.
    pub paused: bool,
    /// From one sync's start to the next one's.
    pub interval: Duration,
    /// The time of day, UTC, of the comparison.
    pub reconcile_at: Option<NaiveTime>,
    /// At most so many percent of the interval later.
    pub jitter_percent: u8,
}

/// Use cases around schedules.
pub struct ScheduleService {
    store: Arc<dyn ScheduleStore>,
    instances: Arc<dyn InstanceStore>,
    sync: Arc<SyncService>,
    sources: Sources,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

impl ScheduleService {
    /// Puts the service together.
    pub fn new(
        store: Arc<dyn ScheduleStore>,
        instances: Arc<dyn InstanceStore>,
        sync: Arc<SyncService>,
        sources: Sources,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Self {
        Self { store, instances, sync, sources, clock, ids }
    }

    /// An instance's schedule: the usual one of its source until somebody changes it.
    pub async fn get(&self, ctx: &Ctx, id: InstanceId) -> Result<Schedule, Error> {
        ctx.require(Scope::InstancesRead)?;
        let instance = self.instances.find(ctx, id).await?.ok_or_else(|| unknown(id))?;
        match self.store.find(ctx, id).await? {
            Some(schedule) => Ok(schedule),
            None => Ok(self.usual(id, instance.source.as_str())),
        }
    }

    /// Replaces an instance's schedule. The next runs are counted from now.
    pub async fn replace(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        change: &ScheduleChange,
    ) -> Result<Schedule, Error> {
        ctx.require(Scope::InstancesWrite)?;
        ctx.require_every_project()?;
        let ScheduleChange { paused, interval, reconcile_at, jitter_percent } = *change;
        let mut schedule = Schedule {
            paused,
            interval,
            reconcile_at,
            jitter_percent,
            next_sync_at: None,
            next_reconcile_at: None,
        };
        schedule.check()?;
        self.set_out(&mut schedule, Duration::ZERO);
        match self.store.put(ctx, id, &schedule).await? {
            true => Ok(schedule),
            false => Err(unknown(id)),
        }
    }

    /// Something besides items changed at the source: the next sync comes soon.
    pub async fn sync_soon(&self, ctx: &Ctx, id: InstanceId) -> Result<(), Error> {
        Ok(self.store.make_due(ctx, id, self.clock.now() + SOON).await?)
    }

    /// Something is known to be missing: the next sync comes at once.
    pub async fn sync_now(&self, ctx: &Ctx, id: InstanceId) -> Result<(), Error> {
        Ok(self.store.make_due(ctx, id, self.clock.now()).await?)
    }

    /// Gives a schedule to instances of all tenants that have none.
    pub async fn give_missing(&self) -> Result<(), Error> {
        for (tenant, instance, source) in self.store.without_schedule(BATCH).await? {
            let mut schedule = self.usual(instance, source.as_str());
            self.set_out(&mut schedule, UNCOMPARED_AT_FIRST);
            self.store.give(&self.ctx(tenant), instance, &schedule).await?;
        }
        Ok(())
    }

    /// Starts what is due, of all tenants; how many runs were started.
    pub async fn start_due(&self) -> Result<usize, Error> {
        let mut started = 0;
        loop {
            let due = self.store.claim_due(BATCH, LEASE).await?;
            let taken = due.len();
            let starting = futures::stream::iter(due).map(|run| self.start(run)).buffer_unordered(AT_ONCE);
            started += starting.filter(|started| std::future::ready(*started)).count().await;
            if taken < usize::try_from(BATCH).unwrap_or(usize::MAX) {
                return Ok(started);
            }
        }
    }

    /// For each source, for how long the instance that waits longest has not been synced with success.
    pub async fn longest_lags(&self) -> Result<Vec<(String, Duration)>, Error> {
        Ok(self.store.longest_lags().await?)
    }

    /// Whether it was started. What was not is due again when the lease is over.
    async fn start(&self, DueRun { tenant, instance, kind }: DueRun) -> bool {
        let ctx = self.ctx(tenant);
        let run = match kind {
            RunKind::Reconcile => self.sync.start_reconcile(&ctx, instance, false).await,
            _ => self.sync.start_sync(&ctx, instance).await,
        };
        let noted = match run {
            Ok(run) => {
                info!(instance.id = %instance, run.id = %run, kind = kind.as_str(), "Run {run} was due");
                self.note(&ctx, instance, kind).await.map(|()| true)
            }
            // Somebody was faster, or it is not connected any more.
            Err(Error::RunActive { .. } | Error::Conflict { .. } | Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        noted.unwrap_or_else(|error| {
            warn!(instance.id = %instance, error = &error as &dyn std::error::Error, "A run that is due was not started");
            false
        })
    }

    async fn note(&self, ctx: &Ctx, instance: InstanceId, kind: RunKind) -> Result<(), Error> {
        let Some(schedule) = self.store.find(ctx, instance).await? else { return Ok(()) };
        let next = match kind {
            RunKind::Reconcile => schedule.reconcile_after(self.clock.now(), self.chance()),
            _ => Some(schedule.sync_after(self.clock.now(), self.chance())),
        };
        Ok(self.store.started(ctx, instance, kind, next).await?)
    }

    fn set_out(&self, schedule: &mut Schedule, uncompared: Duration) {
        let now: DateTime<Utc> = self.clock.now();
        schedule.next_sync_at = Some(schedule.sync_after(now, self.chance()));
        schedule.next_reconcile_at = schedule.reconcile_after(now + uncompared, self.chance());
    }

    fn usual(&self, instance: InstanceId, source: &str) -> Schedule {
        let adapter = self.sources.get(&domain::SourceKind::new(source));
        // An instance whose adapter is gone cannot be synced anyway.
        let interval = adapter.map_or(Duration::from_secs(300), |adapter| adapter.sync_interval());
        Schedule::usual(instance, interval)
    }

    /// From 0 to 1.
    fn chance(&self) -> f64 {
        let mut random = [0u8; 2];
        self.ids.fill(&mut random);
        f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX)
    }

    fn ctx(&self, tenant: TenantId) -> Ctx {
        Ctx::system(tenant, "schedule", RequestId::new(self.ids.uuid()))
    }
}

impl std::fmt::Debug for ScheduleService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScheduleService")
    }
}

fn unknown(id: InstanceId) -> Error {
    Error::not_found(format!("the instance {id}"))
}

#[cfg(test)]
mod tests {
    use domain::{Allowed, Grant, ProjectKey};

    use super::*;
    use crate::testing::{INSTANCE, Memory, TENANT};

    #[tokio::test]
    async fn who_is_narrowed_to_projects_does_not_say_when_their_instance_is_read() {
        let schedules = Memory::new().services().schedules;
        let change = ScheduleChange {
            paused: true,
            interval: Duration::from_secs(600),
            reconcile_at: None,
            jitter_percent: 0,
        };
        let mut ctx = Ctx::system(TENANT, "test", RequestId::new(uuid::Uuid::nil()));
        assert!(schedules.replace(&ctx, INSTANCE, &change).await.is_ok_and(|schedule| schedule.paused));
        let project: ProjectKey = "ENG".parse().unwrap();
        ctx.grant =
            Arc::new(Grant { projects_read: Allowed::from_list(Some([project])), ..Grant::default() });
        let refused = schedules.replace(&ctx, INSTANCE, &change).await.unwrap_err();
        assert!(matches!(refused, Error::Exceeds { .. }), "{refused}");
    }
}
