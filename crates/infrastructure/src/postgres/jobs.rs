//! The job queue: `graphile_worker` behind our port.
//!
//! The queue's tables belong to a role of their own. The application enqueues through functions of that
//! role, inside its own transactions, so a job exists exactly when what it is about does.

use std::sync::Arc;
use std::time::Duration;

use application::ports::{Job, JobHandler, JobOutcome, JobQueue, QueueStats, StoreError};
use application::slots;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{InstanceId, RunId, TenantId};
use graphile_worker::{
    IntoTaskHandlerResult, JobRecovery, JobRecoveryResult, TaskHandler, WorkerContext, WorkerOptions,
};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::db::{Db, Tx, store_error};

/// How the queue watches over its workers.
#[derive(Debug, Clone, Copy)]
pub struct QueueSettings {
    /// How often a worker tells that it lives.
    pub heartbeat: Duration,
    /// After what silence its jobs go to others.
    pub dead_after: Duration,
    /// How often a worker looks for jobs; a notification wakes it earlier.
    pub poll: Duration,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            dead_after: Duration::from_secs(60),
            // At the crate's default of 1 s a backlog drains at one job a second and slot.
            poll: Duration::from_millis(100),
        }
    }
}

/// Between two attempts to get the job queue back.
const AGAIN: Duration = Duration::from_secs(1);

/// Attempts of a job whose slice could not be noted, with waits growing up to hours.
const MAX_ATTEMPTS: i32 = 25;
/// How often permanently failed jobs and empty queues are cleared away.
const HOUSEKEEPING: Duration = Duration::from_secs(60 * 60);

/// [`JobQueue`] on `graphile_worker`.
#[derive(Debug, Clone)]
pub struct GraphileQueue {
    db: Db,
    settings: QueueSettings,
}

impl GraphileQueue {
    /// Uses these connections.
    pub fn new(db: Db, settings: QueueSettings) -> Self {
        Self { db, settings }
    }
}

/// Enqueues the next slice of a run as part of a transaction; replaces one that is waiting.
pub(super) async fn enqueue_slice(
    tx: &mut Tx,
    tenant: TenantId,
    instance: InstanceId,
    run: RunId,
    run_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    enqueue_in_tx(tx, &Job::SyncSlice { tenant, instance, run }, run_at).await
}

/// Enqueues the applying of what webhooks told as part of a transaction: at once, or, at a time, for what failed before.
pub(super) async fn enqueue_hints(
    tx: &mut Tx,
    tenant: TenantId,
    instance: InstanceId,
    run_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    let retry = run_at.is_some();
    enqueue_in_tx(tx, &Job::ApplyHints { tenant, instance, retry }, run_at).await
}

async fn enqueue_in_tx(tx: &mut Tx, job: &Job, run_at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
    // One job of a queue at a time.
    let (queue, key, urgency) = match job {
        Job::SyncSlice { instance, run, .. } => (format!("inst:{instance}"), key(*run), slots::SYNC),
        Job::ApplyHints { instance, retry, .. } => {
            let again = if *retry { ":again" } else { "" };
            (format!("hints:{instance}"), format!("hints:{instance}{again}"), slots::HINTS)
        }
        Job::DeleteTenant { deletion } => {
            (format!("deletion:{deletion}"), deletion_key(*deletion), slots::WHOLE)
        }
    };
    let run = match job {
        Job::SyncSlice { run, .. } => Some(run.as_uuid()),
        Job::ApplyHints { .. } | Job::DeleteTenant { .. } => None,
    };
    let payload =
        serde_json::to_value(Task(job.clone())).map_err(|error| StoreError::Internal(Box::new(error)))?;
    // How urgent a run is depends on its kind. One that is not there, or not of this transaction's tenant, is as urgent as
    // a sync of what changed.
    sqlx::query(
        "select public.enqueue_job($1, $2::json, $3, $4, $5, $6, coalesce(
             (select case r.kind when 'incremental' then $7 else $9 end from sync_runs r
              where r.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid and r.id = $8), $7))",
    )
        .bind(Task::IDENTIFIER)
        .bind(payload.to_string())
        .bind(queue)
        .bind(run_at)
        .bind(MAX_ATTEMPTS)
        .bind(key)
        .bind(urgency)
        .bind(run)
        .bind(slots::WHOLE)
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(store_error)
}

/// Removes a waiting job of the run as part of a transaction.
pub(super) async fn remove_in_tx(tx: &mut Tx, run: RunId) -> Result<(), StoreError> {
    sqlx::query("select public.remove_job($1)")
        .bind(key(run))
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(store_error)
}

/// Enqueues the next slice of every unfinished run of a tenant as part of a transaction; replaces those that wait.
pub(super) async fn enqueue_unfinished(tx: &mut Tx, tenant: TenantId) -> Result<(), StoreError> {
    // The payload is that of `Job::SyncSlice`; tests/integration/tenants.rs lets a worker read it.
    sqlx::query(
        "select public.enqueue_job($2, json_build_object('kind', 'sync_slice', 'tenant', r.tenant_id, 'instance',
             r.instance_id, 'run', r.id), 'inst:' || r.instance_id, r.resume_at, $3, 'run:' || r.id,
             case r.kind when 'incremental' then $4 else $5 end)
         from sync_runs r where r.tenant_id = $1 and r.state in ('queued', 'running', 'waiting') order by r.id",
    )
    .bind(tenant.as_uuid())
    .bind(Task::IDENTIFIER)
    .bind(MAX_ATTEMPTS)
    .bind(slots::SYNC)
    .bind(slots::WHOLE)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// Enqueues the removal of a tenant's rows as part of a transaction.
pub(super) async fn enqueue_deletion(
    tx: &mut Tx,
    deletion: Uuid,
    run_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    enqueue_in_tx(tx, &Job::DeleteTenant { deletion }, run_at).await
}

/// Removes the waiting job of a deletion as part of a transaction.
pub(super) async fn remove_deletion(tx: &mut Tx, deletion: Uuid) -> Result<(), StoreError> {
    sqlx::query("select public.remove_job($1)")
        .bind(deletion_key(deletion))
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(store_error)
}

fn deletion_key(deletion: Uuid) -> String {
    format!("deletion:{deletion}")
}

fn key(run: RunId) -> String {
    format!("run:{run}")
}

/// A job as the crate stores it.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Task(Job);

/// What a job needs, handed to it by the crate.
#[derive(Clone)]
struct Handling {
    handler: Arc<dyn JobHandler>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Handling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handling")
    }
}

impl TaskHandler for Task {
    const IDENTIFIER: &'static str = "patchbay";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let Some(handling) = ctx.get_ext::<Handling>() else {
            return Err("the worker was started without a handler".to_owned());
        };
        match handling.handler.handle(self.0, handling.stop.clone()).await {
            JobOutcome::Done => Ok(()),
            JobOutcome::Retry(why) => Err(why),
        }
    }
}

#[async_trait]
impl JobQueue for GraphileQueue {
    async fn enqueue(&self, job: &Job, run_at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        let mut tx = self.db.system_tx().await?;
        enqueue_in_tx(&mut tx, job, run_at).await?;
        tx.commit().await.map_err(store_error)
    }

    async fn remove(&self, run: RunId) -> Result<(), StoreError> {
        let mut tx = self.db.system_tx().await?;
        remove_in_tx(&mut tx, run).await?;
        tx.commit().await.map_err(store_error)
    }

    async fn run_worker(
        &self,
        handler: Arc<dyn JobHandler>,
        concurrency: usize,
        grace: Duration,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        let mut begun = false;
        loop {
            let worked = self.work(handler.clone(), concurrency, grace, stop.clone(), &mut begun).await;
            match worked {
                _ if stop.is_cancelled() => return worked,
                // It never worked: that is for the operator to mend.
                Err(error) if !begun => return Err(error),
                Err(error) => warn!(error = %error, "The worker lost the job queue; trying again"),
                Ok(()) => warn!("The worker ended by itself; starting it again"),
            }
            // The queue's crate takes connections itself, and cannot try another password.
            self.db.check_passwords(0).await;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    async fn most_urgent(&self) -> Result<Option<i32>, StoreError> {
        // A job whose queue is at work waits for that, not for a slot.
        let urgency: Option<i16> = sqlx::query_scalar(
            "select j.priority from graphile_worker._private_jobs j
             left join graphile_worker._private_job_queues q on q.id = j.job_queue_id
             where j.is_available and j.run_at <= now() and (q.id is null or q.is_available)
             order by j.priority limit 1",
        )
        .fetch_optional(self.db.queue_pool())
        .await
        .map_err(store_error)?;
        Ok(urgency.map(i32::from))
    }

    async fn raise_overdue(&self, longer_than: Duration) -> Result<(), StoreError> {
        sqlx::query(
            "update graphile_worker._private_jobs set priority = $1
             where id = (
                 select j.id from graphile_worker._private_jobs j
                 left join graphile_worker._private_job_queues q on q.id = j.job_queue_id
                 where j.is_available and j.run_at <= now() - $2 and (q.id is null or q.is_available)
                   and not exists (select from graphile_worker._private_jobs r
                                   where r.is_available and r.run_at <= now() and r.priority <= $1)
                 order by j.run_at limit 1 for update of j skip locked)",
        )
        .bind(i16::try_from(slots::OVERDUE).unwrap_or(i16::MIN))
        .bind(longer_than)
        .execute(self.db.queue_pool())
        .await
        .map(drop)
        .map_err(store_error)
    }

    async fn stats(&self) -> Result<QueueStats, StoreError> {
        let row = sqlx::query(
            "select count(*) filter (where locked_at is null and run_at <= now() and attempts < max_attempts) as ready,
                 count(*) filter (where locked_at is null and run_at > now() and attempts < max_attempts) as scheduled,
                 count(*) filter (where locked_at is not null) as running
             from graphile_worker._private_jobs",
        )
        .fetch_one(self.db.queue_pool())
        .await
        .map_err(store_error)?;
        Ok(QueueStats {
            ready: row.try_get("ready").map_err(store_error)?,
            scheduled: row.try_get("scheduled").map_err(store_error)?,
            running: row.try_get("running").map_err(store_error)?,
        })
    }
}

impl GraphileQueue {
    /// Does jobs until it is asked to stop, or the database fails in a way that the queue's crate does not get over.
    /// Notes in `begun` that the queue was there.
    async fn work(
        &self,
        handler: Arc<dyn JobHandler>,
        concurrency: usize,
        grace: Duration,
        stop: CancellationToken,
        begun: &mut bool,
    ) -> Result<(), StoreError> {
        let internal = |error: Box<dyn std::error::Error + Send + Sync>| StoreError::Internal(error);
        let worker = WorkerOptions::default()
            .pg_pool(self.db.queue_pool().clone())
            .schema("graphile_worker")
            .concurrency(concurrency)
            .poll_interval(self.settings.poll)
            .heartbeat_interval(self.settings.heartbeat)
            .sweep_interval(self.settings.dead_after / 2)
            .sweep_threshold(self.settings.dead_after)
            .recovery_delay(Duration::ZERO)
            // Without this a recovered job gets its attempt back, and one that kills its process never ends.
            .on(JobRecovery, |_| async { JobRecoveryResult::FailWithBackoff })
            .listen_os_shutdown_signals(false)
            .shutdown_signal(stop.clone().cancelled_owned())
            .shutdown_grace_period(grace)
            .add_extension(Handling { handler, stop: stop.clone() })
            .define_job::<Task>()
            .init()
            .await
            .map_err(|error| internal(Box::new(error)))?;
        *begun = true;
        info!(concurrency, "Worker started");
        let housekeeping = self.clone().housekeep();
        tokio::select! {
            result = worker.run() => result.map_err(|error| internal(Box::new(error))),
            () = housekeeping => Ok(()),
        }
    }

    /// Clears away what the queue leaves behind, for ever. A slice that died after its commit leaves a job that
    /// counts as permanently failed; the reason of a real failure stands in `sync_runs`.
    async fn housekeep(self) {
        loop {
            tokio::time::sleep(HOUSEKEEPING).await;
            let utils =
                graphile_worker::WorkerUtils::new(self.db.queue_pool().clone(), "graphile_worker".to_owned());
            let tasks = [
                graphile_worker::worker_utils::types::CleanupTask::DeletePermanentlyFailedJobs,
                graphile_worker::worker_utils::types::CleanupTask::GcJobQueues,
            ];
            match utils.cleanup(&tasks).await {
                Ok(()) => {}
                Err(error) => warn!(%error, "The job queue could not be cleaned; trying again in an hour"),
            }
        }
    }
}
