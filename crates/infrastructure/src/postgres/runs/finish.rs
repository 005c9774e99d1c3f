//! The end of a run.

use application::Ctx;
use application::ports::{Finish, SliceKey, StoreError};
use chrono::{DateTime, Utc};
use domain::{
    AuditAction, AuditEntry, AuditOutcome, InstanceId, InstanceStatus, RunError, RunKind, RunState,
};
use serde_json::Value;
use sqlx::Row;

use super::{event, start_due_remap};
use crate::postgres::audit::AuditChain;
use crate::postgres::db::{Db, Tx, store_error};
use crate::postgres::sync::{hold, refresh_metrics};

const ENDED: AuditAction = AuditAction::new("run.end");

pub(in crate::postgres) async fn finish(
    db: &Db,
    audit: &AuditChain,
    ctx: &Ctx,
    key: &SliceKey,
    finish: &Finish,
) -> Result<(), StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    hold(&mut tx, ctx, key).await?;
    let skipped: Value = sqlx::query_scalar("select skipped from sync_runs where tenant_id = $1 and id = $2")
        .bind(ctx.tenant.as_uuid())
        .bind(key.run.as_uuid())
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
    let incomplete = incomplete(finish, &skipped);
    let finish = incomplete.as_ref().unwrap_or(finish);
    let row = sqlx::query(
        "update sync_runs r set finished_at = now(), resume_at = null, error_code = $4, error_hint = $5,
             estimate = case when $3 = 'succeeded' then r.done else r.estimate end,
             state = case when $3 = 'succeeded' and exists (select 1 from sync_dead_letters d
                 where d.tenant_id = $1 and d.instance_id = r.instance_id and d.run_id = r.id)
                 then 'partial' else $3 end
         where r.tenant_id = $1 and r.id = $2
         returning r.state, r.kind, r.started_at, r.upserted + r.tombstoned + r.transitions > 0 as wrote",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.run.as_uuid())
    .bind(finish.state.as_str())
    .bind(finish.error.as_ref().map(|error| &error.code))
    .bind(finish.error.as_ref().map(|error| &error.hint))
    .fetch_one(&mut *tx)
    .await
    .map_err(store_error)?;
    let state: String = row.try_get("state").map_err(store_error)?;
    let kind: String = row.try_get("kind").map_err(store_error)?;
    // A comparison or a new mapping reads nothing that is new, and who left out a project is not up to date.
    let reads = [RunKind::Backfill, RunKind::Incremental].iter().any(|reading| reading.as_str() == kind);
    if reads && incomplete.is_none() && matches!(finish.state, RunState::Succeeded | RunState::Partial) {
        sqlx::query(
            "update source_instances set synced_at = $3,
                 backfilled_at = case when $4 = 'backfill' or backfilled_at is null then $3 else backfilled_at end
             where tenant_id = $1 and id = $2",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(key.instance.as_uuid())
        .bind(row.try_get::<Option<DateTime<Utc>>, _>("started_at").map_err(store_error)?)
        .bind(&kind)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    }
    if row.try_get("wrote").map_err(store_error)? {
        refresh_metrics(&mut tx, ctx, key.instance).await?;
    }
    if let Some(status) = finish.instance_status {
        set_status(&mut tx, ctx, key.instance, status).await?;
    }
    let message = finish.error.as_ref().map_or("The run ended", |error| &error.hint);
    event(&mut tx, ctx, key.run, &state, message).await?;
    start_due_remap(&mut tx, ctx, key.instance).await?;
    audit.record(&mut tx, ctx, &ended(key, &state, finish)).await?;
    tx.commit().await.map_err(store_error)
}

/// How a run ends that gave up projects and would have succeeded otherwise.
fn incomplete(finish: &Finish, skipped: &Value) -> Option<Finish> {
    let skipped = skipped.as_array().filter(|skipped| !skipped.is_empty())?;
    if finish.state != RunState::Succeeded {
        return None;
    }
    let text =
        |project: &Value, key: &str| project.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let first = skipped.first()?;
    let error = match skipped.len() {
        1 => RunError {
            code: text(first, "code"),
            hint: format!("{}: {}", text(first, "key"), text(first, "hint")),
        },
        count => RunError {
            code: "projects_skipped".into(),
            hint: format!(
                "{count} projects were left as they are. {}: {}",
                skipped.iter().take(10).map(|project| text(project, "key")).collect::<Vec<_>>().join(", "),
                text(first, "hint")
            ),
        },
    };
    Some(Finish { state: RunState::Partial, error: Some(error), ..finish.clone() })
}

/// What goes on the record when a run ends. Hints may name what a tracker said; the code does.
fn ended(key: &SliceKey, state: &str, finish: &Finish) -> AuditEntry {
    let failed = finish.state == RunState::Failed;
    let mut entry = AuditEntry::ok(ENDED)
        .to("run", key.run)
        .ended(if failed { AuditOutcome::Failed } else { AuditOutcome::Ok })
        .with("instance", key.instance.to_string())
        .with("state", state);
    if let Some(error) = &finish.error {
        entry = entry.with("code", error.code.as_str());
    }
    if let Some(status) = finish.instance_status {
        entry = entry.with("instance_status", status.as_str());
    }
    entry
}

async fn set_status(
    tx: &mut Tx,
    ctx: &Ctx,
    instance: InstanceId,
    status: InstanceStatus,
) -> Result<(), StoreError> {
    sqlx::query("update source_instances set status = $3 where tenant_id = $1 and id = $2")
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .bind(status.as_str())
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(store_error)
}
