//! The life of a run: started, cancelled, gone on with in slices, ended.

mod finish;
mod listing;
mod slice;

use application::Ctx;
use application::ports::{NewRun, StoreError};
use domain::{AuditAction, AuditEntry, InstanceId, Run, RunId, RunKind, RunState};
use sqlx::Row;

pub(super) use self::finish::finish;
use self::listing::find_in;
pub(super) use self::listing::{dead_letters, find, list};
pub(super) use self::slice::{begin_slice, set_projects, should_stop, suspend, wait_for_tenant};
use super::audit::AuditChain;
use super::db::{Db, Tx, store_error, unique_violation};
use super::jobs;

const STARTED: AuditAction = AuditAction::new("run.start");
const CANCELLED: AuditAction = AuditAction::new("run.cancel");

pub(super) async fn start(db: &Db, audit: &AuditChain, ctx: &Ctx, run: &NewRun) -> Result<(), StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    let inserted = sqlx::query(
        "insert into sync_runs (tenant_id, id, instance_id, kind, confirm_removals, state)
         values ($1, $2, $3, $4, $5, 'queued')",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(run.id.as_uuid())
    .bind(run.instance_id.as_uuid())
    .bind(run.kind.as_str())
    .bind(run.confirm_removals)
    .execute(&mut *tx)
    .await;
    match inserted {
        Err(error) if unique_violation(&error, "sync_runs_one_active") => {
            return Err(StoreError::Conflict("an unfinished run"));
        }
        Err(error)
            if error.as_database_error().is_some_and(|database| database.is_foreign_key_violation()) =>
        {
            return Err(StoreError::Conflict("the removal of the instance"));
        }
        other => other.map_err(store_error)?,
    };
    event(&mut tx, ctx, run.id, "queued", "The run waits for a worker").await?;
    jobs::enqueue_slice(&mut tx, ctx.tenant, run.instance_id, run.id, None).await?;
    let entry = AuditEntry::ok(STARTED)
        .to("run", run.id)
        .with("instance", run.instance_id.to_string())
        .with("kind", run.kind.as_str());
    audit.record(&mut tx, ctx, &entry).await?;
    tx.commit().await.map_err(store_error)
}

/// Locks the unfinished run of an instance, if there is one, so that it does not end meanwhile.
pub(super) async fn lock_active(tx: &mut Tx, ctx: &Ctx, instance: InstanceId) -> Result<(), StoreError> {
    sqlx::query(
        "select from sync_runs where tenant_id = $1 and instance_id = $2 and state in ('queued', 'running', 'waiting')
         for update",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// Starts a run that maps anew what is stored. `false` while another run of the instance is unfinished.
pub(super) async fn start_remap(
    tx: &mut Tx,
    ctx: &Ctx,
    instance: InstanceId,
    run: RunId,
) -> Result<bool, StoreError> {
    let inserted = sqlx::query(
        "insert into sync_runs (tenant_id, id, instance_id, kind, state) values ($1, $2, $3, $4, 'queued')
         on conflict (tenant_id, instance_id) where state in ('queued', 'running', 'waiting') do nothing",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(run.as_uuid())
    .bind(instance.as_uuid())
    .bind(RunKind::Remap.as_str())
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    event(tx, ctx, run, "queued", "The run waits for a worker").await?;
    jobs::enqueue_slice(tx, ctx.tenant, instance, run, None).await?;
    Ok(true)
}

/// Mappings that were changed while a run was under way, which may have used the old ones, are applied once it has ended.
async fn start_due_remap(tx: &mut Tx, ctx: &Ctx, instance: InstanceId) -> Result<(), StoreError> {
    let due = sqlx::query(
        "update source_instances set remap_due = false where tenant_id = $1 and id = $2 and remap_due",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;
    if due.rows_affected() > 0 {
        start_remap(tx, ctx, instance, RunId::new(uuid::Uuid::now_v7())).await?;
    }
    Ok(())
}

pub(super) async fn active_run(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
) -> Result<Option<RunId>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    let row = sqlx::query(
        "select id from sync_runs
         where tenant_id = $1 and instance_id = $2 and state in ('queued', 'running', 'waiting')",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .fetch_optional(&mut *tx)
    .await
    .map_err(store_error)?;
    row.map(|row| row.try_get("id").map(RunId::new)).transpose().map_err(store_error)
}

pub(super) async fn request_cancel(
    db: &Db,
    audit: &AuditChain,
    ctx: &Ctx,
    id: RunId,
) -> Result<Option<Run>, StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    let asked = sqlx::query(
        "update sync_runs set cancel_requested_at = coalesce(cancel_requested_at, now())
         where tenant_id = $1 and id = $2 and state in ('queued', 'running', 'waiting')",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(id.as_uuid())
    .execute(&mut *tx)
    .await
    .map_err(store_error)?
    .rows_affected()
        > 0;
    // Nobody works at a queued or waiting run: it can end here. Its job finds it ended and does nothing.
    let ended = sqlx::query(
        "update sync_runs set state = 'cancelled', finished_at = now(), resume_at = null, error_code = null,
             error_hint = null
         where tenant_id = $1 and id = $2 and state in ('queued', 'waiting')",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(id.as_uuid())
    .execute(&mut *tx)
    .await
    .map_err(store_error)?
    .rows_affected()
        > 0;
    if ended {
        event(&mut tx, ctx, id, "cancelled", "The run was cancelled").await?;
        jobs::remove_in_tx(&mut tx, id).await?;
    }
    let run = find_in(&mut tx, ctx, id).await?;
    if let Some(run) = run.as_ref().filter(|_| ended) {
        start_due_remap(&mut tx, ctx, run.instance_id).await?;
    }
    if let Some(run) = run.as_ref().filter(|run| run.state == RunState::Running) {
        // Whoever works at it ends it within a page. Should nobody do so any more, this job does.
        jobs::enqueue_slice(&mut tx, ctx.tenant, run.instance_id, id, None).await?;
    }
    // Of a run that had ended already, nothing changes.
    if asked {
        audit.record(&mut tx, ctx, &AuditEntry::ok(CANCELLED).to("run", id).with("ended", ended)).await?;
    }
    tx.commit().await.map_err(store_error)?;
    Ok(run)
}

/// Adds to the run's history.
async fn event(tx: &mut Tx, ctx: &Ctx, run: RunId, kind: &str, message: &str) -> Result<(), StoreError> {
    sqlx::query(
        "insert into sync_run_events (tenant_id, run_id, seq, kind, message)
         select $1, $2, coalesce(max(seq), 0) + 1, $3, $4 from sync_run_events where tenant_id = $1 and run_id = $2",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(run.as_uuid())
    .bind(kind)
    .bind(message)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}
