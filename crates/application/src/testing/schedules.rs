//! Schedules. Nothing is ever due: the time stands still.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{InstanceId, RunKind, Schedule, SourceKind, TenantId};

use super::Memory;
use crate::Ctx;
use crate::ports::{DueRun, ScheduleStore, StoreError};

impl Memory {
    fn has_instance(&self, ctx: &Ctx, id: InstanceId) -> bool {
        self.state().instances.iter().any(|(tenant, row, _)| *tenant == ctx.tenant && row.id == id)
    }
}

#[async_trait]
impl ScheduleStore for Memory {
    async fn find(&self, ctx: &Ctx, instance: InstanceId) -> Result<Option<Schedule>, StoreError> {
        self.reach("schedules.find").await?;
        let found = self.has_instance(ctx, instance);
        Ok(self.state().schedules.get(&instance).filter(|_| found).cloned())
    }

    async fn put(&self, ctx: &Ctx, instance: InstanceId, schedule: &Schedule) -> Result<bool, StoreError> {
        self.reach("schedules.put").await?;
        let found = self.has_instance(ctx, instance);
        if found {
            self.state().schedules.insert(instance, schedule.clone());
        }
        Ok(found)
    }

    async fn give(&self, ctx: &Ctx, instance: InstanceId, schedule: &Schedule) -> Result<(), StoreError> {
        self.reach("schedules.give").await?;
        if self.has_instance(ctx, instance) {
            self.state().schedules.entry(instance).or_insert_with(|| schedule.clone());
        }
        Ok(())
    }

    async fn make_due(&self, ctx: &Ctx, instance: InstanceId, at: DateTime<Utc>) -> Result<(), StoreError> {
        self.reach("schedules.make_due").await?;
        if self.has_instance(ctx, instance)
            && let Some(schedule) = self.state().schedules.get_mut(&instance)
        {
            schedule.next_sync_at = Some(schedule.next_sync_at.map_or(at, |next| next.min(at)));
        }
        Ok(())
    }

    async fn started(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        kind: RunKind,
        next: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        self.reach("schedules.started").await?;
        if self.has_instance(ctx, instance)
            && let Some(schedule) = self.state().schedules.get_mut(&instance)
        {
            match kind {
                RunKind::Reconcile => schedule.next_reconcile_at = next,
                _ => schedule.next_sync_at = next,
            }
        }
        Ok(())
    }

    async fn claim_due(&self, _: i64, _: Duration) -> Result<Vec<DueRun>, StoreError> {
        self.reach("schedules.claim_due").await?;
        Ok(Vec::new())
    }

    async fn without_schedule(&self, _: i64) -> Result<Vec<(TenantId, InstanceId, SourceKind)>, StoreError> {
        self.reach("schedules.without_schedule").await?;
        let state = self.state();
        let bare = state.instances.iter().filter(|(_, row, _)| !state.schedules.contains_key(&row.id));
        Ok(bare.map(|(tenant, row, _)| (*tenant, row.id, row.source.clone())).collect())
    }

    async fn longest_lags(&self) -> Result<Vec<(String, Duration)>, StoreError> {
        self.reach("schedules.longest_lags").await?;
        Ok(Vec::new())
    }
}
