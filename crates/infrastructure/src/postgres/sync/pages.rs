//! Writing one page: objects, stream position, counts, progress and continuation in one transaction.

use application::Ctx;
use application::ports::{CommitOutcome, PageCommit, SliceKey, StoreError, StreamCommit};
use domain::{InstanceId, RunCounts};

use super::text::{clean, clean_records};
use super::{comments, details, items, reference};
use crate::postgres::db::{Db, Tx, store_error};
use crate::postgres::{jobs, runs};

/// What every statement of a page needs.
pub(super) struct Target<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) key: &'a SliceKey,
    pub(super) fetched_at: chrono::DateTime<chrono::Utc>,
    pub(super) stream: &'a str,
}

pub(super) async fn commit(
    db: &Db,
    ctx: &Ctx,
    key: &SliceKey,
    page: PageCommit,
) -> Result<CommitOutcome, StoreError> {
    let mut tx = db.bulk_tx(ctx).await?;
    let Held { cancel_requested, suspended } = hold(&mut tx, ctx, key).await?;
    keep_instance(&mut tx, ctx, key.instance).await?;
    let PageCommit { records, stream, requests, fetched_at, end_slice } = page;
    let to = Target { ctx, key, fetched_at, stream: stream.stream.as_str() };
    let (mut counts, pending) = write(&mut tx, &to, records).await?;
    counts.requests = requests;
    let moved = Moved { stream: &stream, counts, pending, end_slice, suspended };
    let mut tx = tx.checked().await.map_err(store_error)?;
    advance(&mut tx, &to, &moved).await?;
    tx.commit().await.map_err(store_error)?;
    count(&counts);
    Ok(CommitOutcome { counts, cancel_requested, suspended })
}

/// Writes a page's objects: what was written, and how many more items wait for their details than before.
pub(super) async fn write(
    tx: &mut Tx,
    to: &Target<'_>,
    mut records: domain::PageRecords,
) -> Result<(RunCounts, i64), StoreError> {
    clean_records(&mut records);
    reference::write(tx, to, &mut records).await?;
    let written =
        items::write(tx, to, &mut records.items, &records.item_defaults, &records.details_noted).await?;
    comments::keep_only(tx, to, &records.comments, &records.comments_of).await?;
    comments::remove(tx, to, &records.comments_gone).await?;
    let mut counts = RunCounts {
        upserted: written.upserted,
        unchanged: written.unchanged,
        tombstoned: items::tombstone(tx, to, &records.gone).await?,
        failed: i64::try_from(records.unmapped.len()).unwrap_or(i64::MAX),
        comments: comments::write(tx, to, &mut records.comments).await?,
        transitions: 0,
        requests: 0,
    };
    counts.transitions = details::write(tx, to, &mut records).await?;
    dead_letters(tx, to, &records.unmapped).await?;
    Ok((counts, written.pending - i64::try_from(records.details_done.len()).unwrap_or(i64::MAX)))
}

/// How a run moves on with a page.
pub(super) struct Moved<'a> {
    pub(super) stream: &'a StreamCommit,
    pub(super) counts: RunCounts,
    /// How many more items wait for their details.
    pub(super) pending: i64,
    pub(super) end_slice: bool,
    pub(super) suspended: bool,
}

/// Moves the stream's position, the run's counts and progress, and at the end of a slice enqueues the continuation.
pub(super) async fn advance(tx: &mut Tx, to: &Target<'_>, moved: &Moved<'_>) -> Result<(), StoreError> {
    let (ctx, key, fetched_at) = (to.ctx, to.key, to.fetched_at);
    let Moved { stream, counts, pending, end_slice, suspended } = moved;

    sqlx::query(
        "insert into sync_streams as s (tenant_id, instance_id, stream, project_source_id, run_id, cursor, complete,
             pass_watermark, watermark, validator, done, estimate, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, case when $7 then $8 end, $9, $10, $11, $12)
         on conflict (tenant_id, instance_id, stream, project_source_id) do update set
             run_id = excluded.run_id, cursor = excluded.cursor, complete = excluded.complete,
             pass_watermark = case when s.run_id = excluded.run_id
                 then greatest(s.pass_watermark, excluded.pass_watermark) else excluded.pass_watermark end,
             watermark = case when excluded.complete then coalesce(
                     case when s.run_id = excluded.run_id
                         then greatest(s.pass_watermark, excluded.pass_watermark) else excluded.pass_watermark end,
                     s.watermark)
                 else s.watermark end,
             validator = coalesce(excluded.validator, s.validator),
             done = case when s.run_id = excluded.run_id then s.done else 0 end + excluded.done,
             estimate = coalesce(excluded.estimate, case when s.run_id = excluded.run_id then s.estimate end),
             updated_at = excluded.updated_at",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.instance.as_uuid())
    .bind(stream.stream.as_str())
    .bind(&stream.project)
    .bind(key.run.as_uuid())
    .bind(stream.cursor.as_ref().map(|cursor| &cursor.0))
    .bind(stream.complete)
    .bind(stream.watermark)
    .bind(&stream.validator)
    .bind(stream.seen)
    .bind(stream.estimate)
    .bind(fetched_at)
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;

    sqlx::query(
        "update sync_runs r set
             stream = $4, done = r.done + $5, failures = 0,
             upserted = r.upserted + $6, unchanged = r.unchanged + $7, tombstoned = r.tombstoned + $8,
             failed = r.failed + $9, comments = r.comments + $10, transitions = r.transitions + $11,
             requests = r.requests + $12,
             estimate = greatest(r.done + $5, coalesce(
                 (select sum(greatest(coalesce(s.estimate, s.done), s.done)) from sync_streams s
                  where s.tenant_id = $1 and s.instance_id = $3 and s.run_id = $2), 0)
                 + greatest(r.estimate_pending + $13, 0)),
             estimate_pending = greatest(r.estimate_pending + $13, 0),
             state = case when $14 then 'queued' else r.state end
         where r.tenant_id = $1 and r.id = $2",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.run.as_uuid())
    .bind(key.instance.as_uuid())
    .bind(stream.stream.as_str())
    .bind(stream.seen)
    .bind(counts.upserted)
    .bind(counts.unchanged)
    .bind(counts.tombstoned)
    .bind(counts.failed)
    .bind(counts.comments)
    .bind(counts.transitions)
    .bind(counts.requests)
    .bind(pending)
    .bind(end_slice)
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;

    if *suspended {
        runs::wait_for_tenant(tx, ctx, key.run).await?;
    } else if *end_slice {
        jobs::enqueue_slice(tx, ctx.tenant, key.instance, key.run, None).await?;
    }
    Ok(())
}

/// Tells operators.
pub(super) fn count(counts: &RunCounts) {
    for (outcome, items) in
        [("upserted", counts.upserted), ("unchanged", counts.unchanged), ("failed", counts.failed)]
    {
        metrics::counter!("sync_items_total", "outcome" => outcome).increment(items.unsigned_abs());
    }
}

/// What a run's holder must know.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(in crate::postgres) struct Held {
    /// Someone asked to cancel it.
    pub(in crate::postgres) cancel_requested: bool,
    /// Its tenant is suspended.
    pub(in crate::postgres) suspended: bool,
}

/// Locks the run and checks that it is still ours.
pub(in crate::postgres) async fn hold(tx: &mut Tx, ctx: &Ctx, key: &SliceKey) -> Result<Held, StoreError> {
    let held: Option<Held> = sqlx::query_as(
        "select cancel_requested_at is not null as cancel_requested,
             not exists (select from tenants t where t.id = $1 and t.status = 'active') as suspended
         from sync_runs where tenant_id = $1 and id = $2 and fence = $3 and state = 'running' for update",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.run.as_uuid())
    .bind(key.fence)
    .fetch_optional(&mut **tx)
    .await
    .map_err(store_error)?;
    held.ok_or(StoreError::Fenced)
}

/// Keeps the instance from being deleted until the end. Run, then instance, as who deletes it locks them: the references to
/// it are checked at the end only, when the two would wait for each other.
pub(super) async fn keep_instance(tx: &mut Tx, ctx: &Ctx, instance: InstanceId) -> Result<(), StoreError> {
    sqlx::query("select from source_instances where tenant_id = $1 and id = $2 for key share")
        .bind(ctx.tenant.as_uuid())
        .bind(instance.as_uuid())
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(store_error)
}

/// Keeps what could not be mapped, once per object, so that it is seen and can be mapped later.
pub(super) async fn dead_letters(
    tx: &mut Tx,
    to: &Target<'_>,
    unmapped: &[domain::Unmapped],
) -> Result<(), StoreError> {
    for letter in unmapped {
        sqlx::query(
            "insert into sync_dead_letters (tenant_id, id, instance_id, run_id, stream, source_id, error, raw, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict (tenant_id, instance_id, stream, source_id)
             do update set run_id = excluded.run_id, error = excluded.error, raw = excluded.raw",
        )
        .bind(to.ctx.tenant.as_uuid())
        .bind(uuid::Uuid::now_v7())
        .bind(to.key.instance.as_uuid())
        .bind(to.key.run.as_uuid())
        .bind(letter.stream.as_str())
        .bind(clean(&letter.source_id))
        .bind(clean(&letter.error))
        .bind(clean(&letter.raw))
        .bind(to.fetched_at)
        .execute(&mut **tx)
        .await
        .map_err(store_error)?;
    }
    Ok(())
}
