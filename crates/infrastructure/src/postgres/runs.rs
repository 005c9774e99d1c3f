//! Runs: starting, taking over, letting go, ending, listing.

use application::Ctx;
use application::ports::{
    DeadLetter, Finish, ListCursor, ListPage, Listing, NewRun, ProjectRef, RunFilter, Slice, SliceKey,
    StoreError, StreamState,
};
use chrono::{DateTime, Utc};
use domain::{
    AuditAction, AuditEntry, AuditOutcome, Cursor, InstanceId, InstanceStatus, Run, RunCounts, RunError,
    RunId, RunKind, RunState, StreamName,
};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{QueryBuilder, Row};

use super::audit::AuditChain;
use super::db::{Db, Tx, store_error, unique_violation};
use super::sync::{hold, refresh_metrics};
use super::{credentials, instances, jobs};

const STARTED: AuditAction = AuditAction::new("run.start");
const CANCELLED: AuditAction = AuditAction::new("run.cancel");
const ENDED: AuditAction = AuditAction::new("run.end");

const COLUMNS: &str = "id, instance_id, kind, state, stream, done, estimate, upserted, unchanged, tombstoned, failed,
    comments, transitions, requests, error_code, error_hint, resume_at, cancel_requested_at is not null as cancelled,
    created_at, started_at, finished_at";

fn read(row: &PgRow) -> Result<Run, sqlx::Error> {
    let unknown = |what: &str, value: &str| sqlx::Error::Decode(format!("unknown {what} {value}").into());
    let (kind, state) = (row.try_get::<&str, _>("kind")?, row.try_get::<&str, _>("state")?);
    let error = match (row.try_get("error_code")?, row.try_get("error_hint")?) {
        (Some(code), Some(hint)) => Some(RunError { code, hint }),
        _ => None,
    };
    Ok(Run {
        id: RunId::new(row.try_get("id")?),
        instance_id: InstanceId::new(row.try_get("instance_id")?),
        kind: RunKind::parse(kind).ok_or_else(|| unknown("run kind", kind))?,
        state: RunState::parse(state).ok_or_else(|| unknown("run state", state))?,
        done: row.try_get("done")?,
        estimate: row.try_get("estimate")?,
        counts: RunCounts {
            upserted: row.try_get("upserted")?,
            unchanged: row.try_get("unchanged")?,
            tombstoned: row.try_get("tombstoned")?,
            failed: row.try_get("failed")?,
            comments: row.try_get("comments")?,
            transitions: row.try_get("transitions")?,
            requests: row.try_get("requests")?,
        },
        stream: row.try_get::<Option<String>, _>("stream")?.map(StreamName::new),
        error,
        resume_at: row.try_get("resume_at")?,
        cancel_requested: row.try_get("cancelled")?,
        created_at: row.try_get("created_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

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

async fn find_in(tx: &mut Tx, ctx: &Ctx, run: RunId) -> Result<Option<Run>, StoreError> {
    let mut query = QueryBuilder::new("select ");
    query.push(COLUMNS).push(" from sync_runs where tenant_id = ").push_bind(ctx.tenant.as_uuid());
    query.push(" and id = ").push_bind(run.as_uuid());
    let row = query.build().fetch_optional(&mut **tx).await.map_err(store_error)?;
    row.as_ref().map(read).transpose().map_err(store_error)
}

pub(super) async fn find(db: &Db, ctx: &Ctx, run: RunId) -> Result<Option<Run>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    find_in(&mut tx, ctx, run).await
}

pub(super) async fn list(
    db: &Db,
    ctx: &Ctx,
    filter: &RunFilter,
    page: &ListPage,
) -> Result<Listing<Run>, StoreError> {
    let mut query = QueryBuilder::new("select ");
    query.push(COLUMNS).push(" from sync_runs where tenant_id = ").push_bind(ctx.tenant.as_uuid());
    if let Some(instance) = filter.instance {
        query.push(" and instance_id = ").push_bind(instance.as_uuid());
    }
    if let Some(state) = filter.state {
        query.push(" and state = ").push_bind(state.as_str());
    }
    if let Some(after) = &page.cursor {
        // Ids are UUIDv7: their order is the order of creation.
        query.push(" and id < ").push_bind(after.id);
    }
    query.push(" order by id desc limit ").push_bind(page.limit + 1);
    let mut tx = db.tenant_read(ctx).await?;
    let rows = query.build().fetch_all(&mut *tx).await.map_err(store_error)?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(store_error)?;
    Ok(listing(items, page.limit, |run| ListCursor { after: String::new(), id: run.id.as_uuid() }))
}

/// Cuts off the row that was read to see whether there are more.
fn listing<T>(mut items: Vec<T>, limit: i64, position: impl Fn(&T) -> ListCursor) -> Listing<T> {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(position);
    Listing { items, next }
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

pub(super) async fn begin_slice(
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
pub(super) async fn wait_for_tenant(tx: &mut Tx, ctx: &Ctx, run: RunId) -> Result<(), StoreError> {
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

pub(super) async fn set_projects(
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

pub(super) async fn suspend(
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

pub(super) async fn finish(
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

pub(super) async fn should_stop(db: &Db, ctx: &Ctx, key: &SliceKey) -> Result<bool, StoreError> {
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

pub(super) async fn dead_letters(
    db: &Db,
    ctx: &Ctx,
    run: RunId,
    page: &ListPage,
) -> Result<Listing<DeadLetter>, StoreError> {
    let mut query = QueryBuilder::new(
        "select id, run_id, stream, source_id, error, created_at from sync_dead_letters where tenant_id = ",
    );
    query.push_bind(ctx.tenant.as_uuid()).push(" and run_id = ").push_bind(run.as_uuid());
    if let Some(after) = &page.cursor {
        query.push(" and id < ").push_bind(after.id);
    }
    query.push(" order by id desc limit ").push_bind(page.limit + 1);
    let mut tx = db.tenant_read(ctx).await?;
    let rows = query.build().fetch_all(&mut *tx).await.map_err(store_error)?;
    let items = rows
        .iter()
        .map(|row| {
            Ok(DeadLetter {
                id: row.try_get("id")?,
                run_id: RunId::new(row.try_get("run_id")?),
                stream: row.try_get("stream")?,
                source_id: row.try_get("source_id")?,
                error: row.try_get("error")?,
                created_at: row.try_get("created_at")?,
            })
        })
        .collect::<Result<Vec<_>, sqlx::Error>>()
        .map_err(store_error)?;
    Ok(listing(items, page.limit, |letter| ListCursor { after: String::new(), id: letter.id }))
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
