//! A slice of a run: a worker takes the run over, and lets it go.

use application::Ctx;
use application::ports::{ProjectRef, Slice, SliceKey, StoreError, StreamState};
use chrono::{DateTime, Utc};
use domain::{AuditEntry, Cursor, InstanceId, RunError, RunId, StreamName};
use serde_json::Value;
use sqlx::Row;

use super::event;
use super::listing::find_in;
use crate::postgres::audit::AuditChain;
use crate::postgres::db::{Db, Tx, store_error};
use crate::postgres::sync::hold;
use crate::postgres::{credentials, instances, jobs};

pub(in crate::postgres) async fn begin_slice(
    db: &Db,
    audit: &AuditChain,
    ctx: &Ctx,
    id: RunId,
) -> Result<Option<Slice>, StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    let row = sqlx::query(
        // The tenant is locked against being resumed meanwhile: a run that is put aside here is one that the resuming
        // sees, and enqueues again.
        "update sync_runs r set state = case when before.active then 'running' else r.state end,
             fence = r.fence + 1, resume_at = null, error_code = null, error_hint = null,
             started_at = case when before.active then coalesce(r.started_at, now()) else r.started_at end
         from (select s.id, s.state, s.started_at, t.status = 'active' as active
               from sync_runs s join tenants t on t.id = s.tenant_id
               where s.tenant_id = $1 and s.id = $2 for update of s for share of t) before
         where r.tenant_id = $1 and r.id = before.id and before.state in ('queued', 'running', 'waiting')
         returning r.fence, r.instance_id, r.projects, r.failures, r.confirm_removals, r.skipped, before.state as before,
             before.started_at is null as first, before.active",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(id.as_uuid())
    .fetch_optional(&mut *tx)
    .await
    .map_err(store_error)?;
    let Some(row) = row else { return Ok(None) };
    if !row.try_get("active").map_err(store_error)? {
        wait_for_tenant(&mut tx, ctx, id).await?;
        tx.commit().await.map_err(store_error)?;
        return Ok(None);
    }
    let key = SliceKey {
        run: id,
        instance: InstanceId::new(row.try_get("instance_id").map_err(store_error)?),
        fence: row.try_get("fence").map_err(store_error)?,
    };
    let projects: Value = row.try_get("projects").map_err(store_error)?;
    let failures = row.try_get("failures").map_err(store_error)?;
    let confirm_removals = row.try_get("confirm_removals").map_err(store_error)?;
    let skipped: Value = row.try_get("skipped").map_err(store_error)?;
    if row.try_get("first").map_err(store_error)? {
        event(&mut tx, ctx, id, "running", "A worker took the run").await?;
    } else if row.try_get::<&str, _>("before").map_err(store_error)? == "waiting" {
        event(&mut tx, ctx, id, "running", "The run goes on").await?;
    }
    let Some(run) = find_in(&mut tx, ctx, id).await? else { return Ok(None) };
    let Some(instance) = instances::find_in(&mut tx, ctx, key.instance).await? else { return Ok(None) };
    let Some(credential) = credentials::find_in(&mut tx, ctx, key.instance).await? else { return Ok(None) };
    let streams = streams(&mut tx, ctx, key.instance).await?;
    let entry = AuditEntry::ok(instances::CREDENTIAL_USED)
        .to("instance", key.instance)
        .with("run", id.to_string())
        .with("slice", key.fence);
    audit.record(&mut tx, ctx, &entry).await?;
    tx.commit().await.map_err(store_error)?;
    let projects = projects_from(&projects);
    let skipped = projects_from(&skipped).into_iter().map(|project| project.source_id).collect();
    Ok(Some(Slice { key, run, instance, credential, projects, streams, failures, confirm_removals, skipped }))
}

/// Puts a run aside until its tenant is resumed, which enqueues it again. Not a failure of the source, and counted as none.
pub(in crate::postgres) async fn wait_for_tenant(
    tx: &mut Tx,
    ctx: &Ctx,
    run: RunId,
) -> Result<(), StoreError> {
    const WHY: &str = "The tenant is suspended; the run goes on when an operator resumes it";
    sqlx::query(
        "update sync_runs set state = 'waiting', resume_at = null, error_code = 'tenant_suspended', error_hint = $3
         where tenant_id = $1 and id = $2",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(run.as_uuid())
    .bind(WHY)
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;
    event(tx, ctx, run, "waiting", WHY).await
}

async fn streams(tx: &mut Tx, ctx: &Ctx, instance: InstanceId) -> Result<Vec<StreamState>, StoreError> {
    sqlx::query(
        "select stream, project_source_id, run_id, cursor, complete, pass_watermark, watermark, validator
         from sync_streams where tenant_id = $1 and instance_id = $2",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?
    .iter()
    .map(|row| {
        Ok(StreamState {
            stream: StreamName::new(row.try_get::<String, _>("stream")?),
            project: row.try_get("project_source_id")?,
            run: row.try_get::<Option<_>, _>("run_id")?.map(RunId::new),
            cursor: row.try_get::<Option<Value>, _>("cursor")?.map(Cursor),
            complete: row.try_get("complete")?,
            pass_watermark: row.try_get("pass_watermark")?,
            watermark: row.try_get("watermark")?,
            validator: row.try_get("validator")?,
        })
    })
    .collect::<Result<_, sqlx::Error>>()
    .map_err(store_error)
}

fn projects_from(value: &Value) -> Vec<ProjectRef> {
    let text = |project: &Value, key| project.get(key).and_then(Value::as_str).map(str::to_owned);
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|project| {
            Some(ProjectRef { source_id: text(project, "source_id")?, key: text(project, "key")? })
        })
        .collect()
}

pub(in crate::postgres) async fn set_projects(
    db: &Db,
    ctx: &Ctx,
    key: &SliceKey,
    projects: &[ProjectRef],
) -> Result<(), StoreError> {
    let value: Value =
        projects.iter().map(|p| serde_json::json!({"source_id": p.source_id, "key": p.key})).collect();
    let mut tx = db.tenant_tx(ctx).await?;
    hold(&mut tx, ctx, key).await?;
    sqlx::query("update sync_runs set projects = $3 where tenant_id = $1 and id = $2")
        .bind(ctx.tenant.as_uuid())
        .bind(key.run.as_uuid())
        .bind(value)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    tx.commit().await.map_err(store_error)
}

pub(in crate::postgres) async fn suspend(
    db: &Db,
    ctx: &Ctx,
    key: &SliceKey,
    resume_at: DateTime<Utc>,
    why: Option<&RunError>,
    requests: i64,
) -> Result<(), StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    let cancel_requested = hold(&mut tx, ctx, key).await?.cancel_requested;
    // A cancelled run does not wait for the tracker first: its next slice ends it at once.
    let resume_at = if cancel_requested { None } else { Some(resume_at) };
    sqlx::query(
        "update sync_runs set state = case when $4::text is null then 'queued' else 'waiting' end, resume_at = $3,
             error_code = $4, error_hint = $5, requests = requests + $6,
             failures = failures + case when $4 = 'source_unavailable' then 1 else 0 end
         where tenant_id = $1 and id = $2",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.run.as_uuid())
    .bind(resume_at)
    .bind(why.map(|why| &why.code))
    .bind(why.map(|why| &why.hint))
    .bind(requests)
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;
    if let Some(why) = why {
        event(&mut tx, ctx, key.run, "waiting", &why.hint).await?;
    }
    jobs::enqueue_slice(&mut tx, ctx.tenant, key.instance, key.run, resume_at).await?;
    tx.commit().await.map_err(store_error)
}

pub(in crate::postgres) async fn should_stop(db: &Db, ctx: &Ctx, key: &SliceKey) -> Result<bool, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    let ours = sqlx::query(
        "select 1 from sync_runs where tenant_id = $1 and id = $2 and fence = $3 and state = 'running'
             and cancel_requested_at is null",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.run.as_uuid())
    .bind(key.fence)
    .fetch_optional(&mut *tx)
    .await
    .map_err(store_error)?;
    Ok(ours.is_none())
}
