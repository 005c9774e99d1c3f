//! When instances are synced by themselves.

use std::time::Duration;

use application::Ctx;
use application::ports::{DueRun, ScheduleStore, StoreError};
use async_trait::async_trait;
use chrono::{DateTime, NaiveTime, Utc};
use domain::{AuditAction, AuditEntry, InstanceId, RunKind, Schedule, SourceKind, TenantId};
use uuid::Uuid;

use super::audit::AuditChain;
use super::db::{Db, store_error};

const UPDATED: AuditAction = AuditAction::new("schedule.update");

/// [`ScheduleStore`] over PostgreSQL.
#[derive(Debug, Clone)]
pub struct PgSchedules {
    db: Db,
    audit: AuditChain,
}

impl PgSchedules {
    /// Uses these connections, and puts changes on this record.
    pub fn new(db: Db, audit: AuditChain) -> Self {
        Self { db, audit }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    paused: bool,
    interval_s: i32,
    reconcile_at: Option<NaiveTime>,
    jitter_percent: i16,
    next_sync_at: Option<DateTime<Utc>>,
    next_reconcile_at: Option<DateTime<Utc>>,
}

impl From<Row> for Schedule {
    fn from(row: Row) -> Self {
        Self {
            paused: row.paused,
            interval: Duration::from_secs(u64::try_from(row.interval_s).unwrap_or_default()),
            reconcile_at: row.reconcile_at,
            // The table allows 0 to 50.
            jitter_percent: u8::try_from(row.jitter_percent).unwrap_or_default(),
            next_sync_at: row.next_sync_at,
            next_reconcile_at: row.next_reconcile_at,
        }
    }
}

/// Of a checked schedule, at most a day.
fn seconds(interval: Duration) -> i32 {
    i32::try_from(interval.as_secs()).unwrap_or(i32::MAX)
}

#[async_trait]
impl ScheduleStore for PgSchedules {
    async fn find(&self, ctx: &Ctx, instance: InstanceId) -> Result<Option<Schedule>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        let row: Option<Row> = sqlx::query_as(
            "select paused, interval_s, reconcile_at, jitter_percent, next_sync_at, next_reconcile_at
             from sync_schedules where tenant_id = $1 and instance_id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        Ok(row.map(Into::into))
    }

    async fn put(&self, ctx: &Ctx, instance: InstanceId, schedule: &Schedule) -> Result<bool, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        let put = sqlx::query(
            "insert into sync_schedules (tenant_id, instance_id, paused, interval_s, reconcile_at, jitter_percent,
                 next_sync_at, next_reconcile_at, updated_at)
             select i.tenant_id, i.id, $3, $4, $5, $6, $7, $8, now()
             from source_instances i where i.tenant_id = $1 and i.id = $2
             on conflict (tenant_id, instance_id) do update set
                 paused = excluded.paused, interval_s = excluded.interval_s, reconcile_at = excluded.reconcile_at,
                 jitter_percent = excluded.jitter_percent, next_sync_at = excluded.next_sync_at,
                 next_reconcile_at = excluded.next_reconcile_at, updated_at = excluded.updated_at",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(schedule.paused)
        .bind(seconds(schedule.interval))
        .bind(schedule.reconcile_at)
        .bind(i16::from(schedule.jitter_percent))
        .bind(schedule.next_sync_at)
        .bind(schedule.next_reconcile_at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        if put.rows_affected() == 0 {
            return Ok(false);
        }
        let entry = AuditEntry::ok(UPDATED)
            .to("instance", instance)
            .with("interval_s", schedule.interval.as_secs())
            .with("paused", schedule.paused);
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        Ok(true)
    }

    async fn give(&self, ctx: &Ctx, instance: InstanceId, schedule: &Schedule) -> Result<(), StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        sqlx::query(
            "insert into sync_schedules (tenant_id, instance_id, paused, interval_s, reconcile_at, jitter_percent,
                 next_sync_at, next_reconcile_at, updated_at)
             select i.tenant_id, i.id, $3, $4, $5, $6, $7, $8, now()
             from source_instances i where i.tenant_id = $1 and i.id = $2
             on conflict (tenant_id, instance_id) do nothing",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(schedule.paused)
        .bind(seconds(schedule.interval))
        .bind(schedule.reconcile_at)
        .bind(i16::from(schedule.jitter_percent))
        .bind(schedule.next_sync_at)
        .bind(schedule.next_reconcile_at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }

    async fn make_due(&self, ctx: &Ctx, instance: InstanceId, at: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        sqlx::query(
            "update sync_schedules set next_sync_at = $3
             where tenant_id = $1 and instance_id = $2 and (next_sync_at is null or next_sync_at > $3)",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }

    async fn started(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        kind: RunKind,
        next: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        sqlx::query(
            "update sync_schedules set next_sync_at = case when $3 then next_sync_at else $4 end,
                 next_reconcile_at = case when $3 then $4 else next_reconcile_at end
             where tenant_id = $1 and instance_id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(kind == RunKind::Reconcile)
        .bind(next)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }

    async fn claim_due(&self, limit: i64, lease: Duration) -> Result<Vec<DueRun>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let rows: Vec<(Uuid, Uuid, String)> =
            sqlx::query_as("select tenant_id, instance_id, kind from public.claim_due_syncs($1, $2)")
                .bind(limit)
                .bind(lease.as_secs_f64())
                .fetch_all(&mut *tx)
                .await
                .map_err(store_error)?;
        tx.commit().await.map_err(store_error)?;
        rows.into_iter()
            .map(|(tenant, instance, kind)| {
                let kind = RunKind::parse(&kind)
                    .ok_or_else(|| StoreError::Internal(format!("unknown run kind {kind}").into()))?;
                Ok(DueRun { tenant: TenantId::new(tenant), instance: InstanceId::new(instance), kind })
            })
            .collect()
    }

    async fn without_schedule(
        &self,
        limit: i64,
    ) -> Result<Vec<(TenantId, InstanceId, SourceKind)>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let rows: Vec<(Uuid, Uuid, String)> = sqlx::query_as(
            "select tenant_id, instance_id, source from public.instances_without_schedule($1)",
        )
        .bind(limit)
        .fetch_all(&mut *tx)
        .await
        .map_err(store_error)?;
        Ok(rows
            .into_iter()
            .map(|(tenant, instance, source)| {
                (TenantId::new(tenant), InstanceId::new(instance), SourceKind::new(source))
            })
            .collect())
    }

    async fn longest_lags(&self) -> Result<Vec<(String, Duration)>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let rows: Vec<(String, f64)> = sqlx::query_as("select source, lag_s from public.sync_lags()")
            .fetch_all(&mut *tx)
            .await
            .map_err(store_error)?;
        let lag = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Ok(rows.into_iter().map(|(source, seconds)| (source, lag(seconds))).collect())
    }
}
