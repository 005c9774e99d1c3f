//! Time booked on items: set-wise, and only what changed.

use application::ports::StoreError;
use domain::record::WorklogRecord;

use super::columns::{column, id, name};
use super::pages::Target;
use crate::postgres::db::{Tx, store_error};

/// Writes new and changed ones.
pub(super) async fn write(
    tx: &mut Tx,
    to: &Target<'_>,
    worklogs: &mut Vec<WorklogRecord>,
) -> Result<(), StoreError> {
    if worklogs.is_empty() {
        return Ok(());
    }
    worklogs.sort_by(|a, b| (&a.source_id, b.updated_at).cmp(&(&b.source_id, a.updated_at)));
    worklogs.dedup_by(|later, first| later.source_id == first.source_id);
    sqlx::query(
        "insert into worklogs (tenant_id, instance_id, synced_at, source_id, item_ref_key, author, author_source_id,
             started_at, seconds, comment, created_at, updated_at)
         select $1, $2, $3, u.* from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
                 $9::bigint[], $10::text[], $11::timestamptz[], $12::timestamptz[])
             as u (source_id, item_ref_key, author, author_source_id, started_at, seconds, comment, created_at, updated_at)
         where 0 = (select count(*) from worklogs t where t.tenant_id = $1 and t.instance_id = $2
             and t.source_id = u.source_id
             and (t.item_ref_key, t.author, t.author_source_id, t.started_at, t.seconds, t.comment, t.updated_at)
                 is not distinct from
                 (u.item_ref_key, u.author, u.author_source_id, u.started_at, u.seconds, u.comment, u.updated_at))
         on conflict (tenant_id, instance_id, source_id) do update set item_ref_key = excluded.item_ref_key,
             author = excluded.author, author_source_id = excluded.author_source_id, started_at = excluded.started_at,
             seconds = excluded.seconds, comment = excluded.comment, created_at = excluded.created_at,
             updated_at = excluded.updated_at, synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(column(worklogs, |w| w.source_id.as_str()))
    .bind(column(worklogs, |w| w.item_ref_key.as_str()))
    .bind(column(worklogs, |w| name(w.author.as_ref())))
    .bind(column(worklogs, |w| id(w.author.as_ref())))
    .bind(column(worklogs, |w| w.started_at))
    .bind(column(worklogs, |w| w.seconds))
    .bind(column(worklogs, |w| w.comment.as_deref()))
    .bind(column(worklogs, |w| w.created_at))
    .bind(column(worklogs, |w| w.updated_at))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// Removes those the source says are deleted.
pub(super) async fn remove(tx: &mut Tx, to: &Target<'_>, gone: &[String]) -> Result<(), StoreError> {
    if gone.is_empty() {
        return Ok(());
    }
    sqlx::query("delete from worklogs where tenant_id = $1 and instance_id = $2 and source_id = any($3)")
        .bind(to.ctx.tenant.as_uuid())
        .bind(to.key.instance.as_uuid())
        .bind(gone)
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(store_error)
}
