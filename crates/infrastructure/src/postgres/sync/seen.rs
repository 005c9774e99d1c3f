//! What a comparison needs: the ids that the source lists, and how they differ from what is stored.

use application::Ctx;
use application::ports::{
    CommitOutcome, Comparison, IdCommit, ItemAddress, ProjectRef, SliceKey, StoreError,
};
use domain::{RunCounts, RunError, StreamName};
use serde_json::json;
use sqlx::Row;

use super::pages::{self, Held, Moved, Target, hold};
use crate::postgres::db::{Db, store_error};

pub(super) async fn commit(
    db: &Db,
    ctx: &Ctx,
    key: &SliceKey,
    page: IdCommit,
) -> Result<CommitOutcome, StoreError> {
    let mut tx = db.bulk_tx(ctx).await?;
    let Held { cancel_requested, suspended } = hold(&mut tx, ctx, key).await?;
    pages::keep_instance(&mut tx, ctx, key.instance).await?;
    let IdCommit { mut ids, first, stream, requests, fetched_at, end_slice } = page;
    if first {
        sqlx::query(
            "delete from sync_seen_ids where tenant_id = $1 and instance_id = $2 and project_source_id = $3",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(key.instance.as_uuid())
        .bind(&stream.project)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    }
    ids.sort_by(|a, b| (&a.source_id, b.updated_at).cmp(&(&b.source_id, a.updated_at)));
    ids.dedup_by(|later, earlier| later.source_id == earlier.source_id);
    sqlx::query(
        "insert into sync_seen_ids (tenant_id, instance_id, project_source_id, source_id, updated_at, source_key)
         select $1, $2, $3, u.* from unnest($4::text[], $5::timestamptz[], $6::text[]) u (source_id, updated_at, source_key)
         on conflict (tenant_id, instance_id, project_source_id, source_id) do update set
             updated_at = greatest(sync_seen_ids.updated_at, excluded.updated_at)",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.instance.as_uuid())
    .bind(&stream.project)
    .bind(ids.iter().map(|id| id.source_id.as_str()).collect::<Vec<_>>())
    .bind(ids.iter().map(|id| id.updated_at).collect::<Vec<_>>())
    .bind(ids.iter().map(|id| id.key.as_deref()).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;
    let counts = RunCounts { requests, ..RunCounts::default() };
    let to = Target { ctx, key, fetched_at, stream: stream.stream.as_str() };
    let moved = Moved { stream: &stream, counts, pending: 0, end_slice, suspended };
    pages::advance(&mut tx, &to, &moved).await?;
    tx.commit().await.map_err(store_error)?;
    Ok(CommitOutcome { counts, cancel_requested, suspended })
}

pub(super) async fn compare(
    db: &Db,
    ctx: &Ctx,
    key: &SliceKey,
    project: &str,
) -> Result<Comparison, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    let row = sqlx::query(
        "with seen as (
             select source_id from sync_seen_ids
             where tenant_id = $1 and instance_id = $2 and project_source_id = $3
         ), stored as (
             select source_id from work_items
             where tenant_id = $1 and instance_id = $2 and project_source_id = $3 and deleted_at is null
         )
         select (select count(*) from seen) as listed, (select count(*) from stored) as stored,
             (select count(*) from stored left join seen using (source_id) where seen.source_id is null) as unlisted",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.instance.as_uuid())
    .bind(project)
    .fetch_one(&mut *tx)
    .await
    .map_err(store_error)?;
    Ok(Comparison {
        listed: row.try_get("listed").map_err(store_error)?,
        stored: row.try_get("stored").map_err(store_error)?,
        unlisted: row.try_get("unlisted").map_err(store_error)?,
    })
}

pub(super) async fn differences(
    db: &Db,
    ctx: &Ctx,
    key: &SliceKey,
    project: &str,
    after: &str,
    unlisted: bool,
    limit: i64,
) -> Result<Vec<ItemAddress>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    let rows = sqlx::query(
        "with seen as (
             select source_id, source_key as listed_key, updated_at from sync_seen_ids
             where tenant_id = $1 and instance_id = $2 and project_source_id = $3 and source_id > $4
         ), stored as (
             select source_id, ref_key, source_key, updated_at from work_items
             where tenant_id = $1 and instance_id = $2 and project_source_id = $3 and deleted_at is null
                 and source_id > $4
         )
         select source_id, stored.ref_key, coalesce(stored.source_key, seen.listed_key) as source_key from stored full join seen using (source_id)
         where stored.source_key is null or $5 and seen.source_id is null or seen.updated_at > stored.updated_at
         order by source_id limit $6",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.instance.as_uuid())
    .bind(project)
    .bind(after)
    .bind(unlisted)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await
    .map_err(store_error)?;
    rows.iter()
        .map(|row| {
            Ok(ItemAddress {
                source_id: row.try_get("source_id")?,
                ref_key: row.try_get("ref_key")?,
                key: row.try_get("source_key")?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(store_error)
}

pub(super) async fn skip_project(
    db: &Db,
    ctx: &Ctx,
    key: &SliceKey,
    stream: &StreamName,
    project: &ProjectRef,
    why: &RunError,
) -> Result<(), StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    hold(&mut tx, ctx, key).await?;
    // What this pass has seen so far is not to move the watermark: it did not see everything.
    sqlx::query(
        "update sync_streams set complete = true, cursor = null, pass_watermark = null
         where tenant_id = $1 and instance_id = $2 and stream = $3 and project_source_id = $4 and run_id = $5",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.instance.as_uuid())
    .bind(stream.as_str())
    .bind(&project.source_id)
    .bind(key.run.as_uuid())
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;
    let entry = json!([{
        "source_id": project.source_id, "key": project.key, "code": why.code, "hint": why.hint,
    }]);
    sqlx::query(
        "update sync_runs set skipped = skipped || $3 where tenant_id = $1 and id = $2 and not skipped @> $3",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(key.run.as_uuid())
    .bind(entry)
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;
    tx.commit().await.map_err(store_error)
}
