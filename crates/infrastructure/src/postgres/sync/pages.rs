//! Writing one page: objects, stream position, counts, progress and continuation in one transaction.

use application::Ctx;
use application::ports::{CommitOutcome, PageCommit, SliceKey, StoreError};
use domain::RunCounts;

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
    let mut tx = db.tenant_tx(ctx).await?;
    let Held { cancel_requested, suspended } = hold(&mut tx, ctx, key).await?;
    let PageCommit { mut records, stream, requests, fetched_at, end_slice } = page;
    let to = Target { ctx, key, fetched_at, stream: stream.stream.as_str() };

    reference::write(&mut tx, &to, &mut records).await?;
    let written = items::write(&mut tx, &to, &mut records.items).await?;
    let mut counts = RunCounts {
        upserted: written.upserted,
        unchanged: written.unchanged,
        tombstoned: items::tombstone(&mut tx, &to, &records.gone).await?,
        failed: i64::try_from(records.unmapped.len()).unwrap_or(i64::MAX),
        comments: comments::write(&mut tx, &to, &mut records.comments).await?,
        transitions: 0,
        requests,
    };
    counts.transitions = details::write(&mut tx, &to, &mut records).await?;
    dead_letters(&mut tx, &to, &records.unmapped).await?;

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
    .bind(stream.cursor.map(|cursor| cursor.0))
    .bind(stream.complete)
    .bind(stream.watermark)
    .bind(stream.validator)
    .bind(stream.seen)
    .bind(stream.estimate)
    .bind(fetched_at)
    .execute(&mut *tx)
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
    .bind(written.pending - i64::try_from(records.details_done.len()).unwrap_or(i64::MAX))
    .bind(end_slice)
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;

    if suspended {
        runs::wait_for_tenant(&mut tx, ctx, key.run).await?;
    } else if end_slice {
        jobs::enqueue_slice(&mut tx, ctx.tenant, key.instance, key.run, None).await?;
    }
    tx.commit().await.map_err(store_error)?;
    for (outcome, items) in
        [("upserted", counts.upserted), ("unchanged", counts.unchanged), ("failed", counts.failed)]
    {
        metrics::counter!("sync_items_total", "outcome" => outcome).increment(items.unsigned_abs());
    }
    Ok(CommitOutcome { counts, cancel_requested, suspended })
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

/// Keeps what could not be mapped, once per object, so that it is seen and can be mapped later.
async fn dead_letters(tx: &mut Tx, to: &Target<'_>, unmapped: &[domain::Unmapped]) -> Result<(), StoreError> {
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

/// PostgreSQL refuses NUL in text. Adapters remove it; what could not be mapped comes as it is.
fn clean(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}
