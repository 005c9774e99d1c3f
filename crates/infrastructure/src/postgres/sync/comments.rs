//! Comments: set-wise, and only those that changed.

use std::collections::HashSet;

use application::ports::StoreError;
use domain::record::CommentRecord;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::pages::Target;
use crate::postgres::db::{Tx, store_error};

/// Writes new and changed comments; returns how many those were.
pub(super) async fn write(
    tx: &mut Tx,
    to: &Target<'_>,
    comments: &mut Vec<CommentRecord>,
) -> Result<i64, StoreError> {
    if comments.is_empty() {
        return Ok(0);
    }
    comments.sort_by(|a, b| (a.kind, &a.source_id, b.updated_at).cmp(&(b.kind, &b.source_id, a.updated_at)));
    comments.dedup_by(|later, first| (later.kind, &later.source_id) == (first.kind, &first.source_id));
    fn column<'a, T>(comments: &'a [CommentRecord], of: impl Fn(&'a CommentRecord) -> T) -> Vec<T> {
        comments.iter().map(of).collect()
    }
    let result = sqlx::query(
        "insert into comments (tenant_id, instance_id, synced_at, id, kind, source_id, item_ref_key, author,
             author_source_id, body, url, path, created_at, updated_at, content_hash)
         select $1, $2, $3, u.* from unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
             $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::bytea[])
             as u (id, kind, source_id, item_ref_key, author, author_source_id, body, url, path, created_at,
                 updated_at, hash)
         where 0 = (select count(*) from comments t where t.tenant_id = $1 and t.instance_id = $2
             and t.kind = u.kind and t.source_id = u.source_id and t.content_hash = u.hash)
         on conflict (tenant_id, instance_id, kind, source_id) do update set
             item_ref_key = excluded.item_ref_key, author = excluded.author,
             author_source_id = excluded.author_source_id, body = excluded.body, url = excluded.url,
             path = excluded.path, created_at = excluded.created_at, updated_at = excluded.updated_at,
             content_hash = excluded.content_hash, synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(column(comments, |_| Uuid::now_v7()))
    .bind(column(comments, |c| c.kind))
    .bind(column(comments, |c| c.source_id.as_str()))
    .bind(column(comments, |c| c.item_ref_key.as_str()))
    .bind(column(comments, |c| c.author.as_ref().map(|user| user.name.as_str())))
    .bind(column(comments, |c| c.author.as_ref().map(|user| user.source_id.as_str())))
    .bind(column(comments, |c| c.body.as_str()))
    .bind(column(comments, |c| c.url.as_str()))
    .bind(column(comments, |c| c.path.as_deref()))
    .bind(column(comments, |c| c.created_at))
    .bind(column(comments, |c| c.updated_at))
    .bind(column(comments, hash))
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;
    Ok(i64::try_from(result.rows_affected()).unwrap_or(i64::MAX))
}

/// Removes comments that are stored of items that the page holds completely, and are not in it.
pub(super) async fn keep_only(
    tx: &mut Tx,
    to: &Target<'_>,
    comments: &[CommentRecord],
    complete: &[String],
) -> Result<(), StoreError> {
    if complete.is_empty() {
        return Ok(());
    }
    // Looked up first, and removed only where there is something to be: while there are no statistics, a `delete` reads
    // all comments of the tenant. The offset keeps it a look-up for each item, and the instance is compared in a way that no
    // index is looked for by: an item's comments are few.
    let stored: Vec<(Uuid, String, String)> = sqlx::query_as(
        "select t.* from unnest($3::text[]) as u (ref_key)
         cross join lateral (
             select c.id, c.kind, c.source_id from comments c
             where c.tenant_id = $1 and c.instance_id is not distinct from $2 and c.item_ref_key = u.ref_key offset 0) t",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(complete)
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?;
    let kept: HashSet<(&str, &str)> = comments.iter().map(|c| (c.kind, c.source_id.as_str())).collect();
    let gone =
        stored.iter().filter(|(_, kind, source_id)| !kept.contains(&(kind.as_str(), source_id.as_str())));
    let gone: Vec<Uuid> = gone.map(|(id, ..)| *id).collect();
    if gone.is_empty() {
        return Ok(());
    }
    sqlx::query("delete from comments where tenant_id = $1 and id = any($2)")
        .bind(to.ctx.tenant.as_uuid())
        .bind(gone)
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(store_error)
}

/// Removes those the source says are deleted.
pub(super) async fn remove(
    tx: &mut Tx,
    to: &Target<'_>,
    gone: &[(&'static str, String)],
) -> Result<(), StoreError> {
    if gone.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "delete from comments t using unnest($3::text[], $4::text[]) as u (kind, source_id)
         where t.tenant_id = $1 and t.instance_id = $2 and t.kind = u.kind and t.source_id = u.source_id",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(gone.iter().map(|(kind, _)| *kind).collect::<Vec<_>>())
    .bind(gone.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

fn hash(comment: &CommentRecord) -> Vec<u8> {
    let mut hasher = Sha256::new();
    let author = comment.author.as_ref();
    for part in [
        comment.item_ref_key.as_str(),
        author.map_or("", |user| &user.source_id),
        author.map_or("", |user| &user.name),
        &comment.body,
        &comment.url,
        comment.path.as_deref().unwrap_or_default(),
    ] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.update(comment.updated_at.timestamp_micros().to_le_bytes());
    hasher.finalize().to_vec()
}
