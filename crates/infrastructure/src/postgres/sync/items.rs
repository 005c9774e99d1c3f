//! Work items: set-wise, and only those that changed.

use std::collections::HashMap;

use application::ports::StoreError;
use domain::record::{GoneRecord, ItemDefaults, ItemRecord};
use domain::{PriorityNorm, StatusNorm, TypeNorm};
use serde_json::Value;
use sqlx::Row;
use uuid::Uuid;

use super::pages::Target;
use super::{digest, holdings, pending};
use crate::postgres::db::{Tx, store_error};

/// Joins the texts of a list for the way to the server; never part of a label or login.
const SEPARATOR: &str = "\u{1f}";

/// What became of a page's items.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) upserted: i64,
    pub(super) unchanged: i64,
    /// Items whose details are now to be read.
    pub(super) pending: i64,
}

pub(super) async fn write(
    tx: &mut Tx,
    to: &Target<'_>,
    items: &mut Vec<ItemRecord>,
    defaults: &HashMap<String, ItemDefaults>,
    noted: &HashMap<String, Value>,
) -> Result<Written, StoreError> {
    if items.is_empty() {
        return Ok(Written::default());
    }
    let count = items.len();
    // Sorted, so that two writers take row locks in one order; of two versions of an item the newer stays.
    items.sort_by(|a, b| (&a.source_id, b.updated_at).cmp(&(&b.source_id, a.updated_at)));
    items.dedup_by(|later, first| later.source_id == first.source_id);
    let hashes: Vec<Vec<u8>> = items.iter().map(digest::of).collect();
    let source_ids: Vec<&str> = items.iter().map(|item| item.source_id.as_str()).collect();

    // The limit keeps it a look-up by the key for each row: a join reads the whole instance while statistics are old.
    let rows = sqlx::query(
        "select u.ord, t.content_hash is not null as stored,
             t.deleted_at is not null or substr(t.content_hash, 1, $5) is distinct from substr(u.hash, 1, $5) as received
         from unnest($3::text[], $4::bytea[]) with ordinality as u (source_id, hash, ord)
         left join lateral (
             select w.content_hash, w.deleted_at from work_items w
             where w.tenant_id = $1 and w.instance_id = $2 and w.source_id = u.source_id limit 1) t on true
         where t.content_hash is distinct from u.hash or t.deleted_at is not null
         order by u.ord",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(&source_ids)
    .bind(&hashes)
    .bind(digest::RECEIVED_BYTES)
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?;
    let mut changed: Vec<(&ItemRecord, &[u8])> = Vec::with_capacity(rows.len());
    // Those that differ at the source; the others are only mapped in another way than before.
    let mut received = Vec::with_capacity(rows.len());
    let mut any_stored = false;
    for row in &rows {
        let ord: i64 = row.try_get("ord").map_err(store_error)?;
        let at = usize::try_from(ord - 1).unwrap_or(usize::MAX);
        let Some((item, hash)) = items.get(at).zip(hashes.get(at)) else { continue };
        changed.push((item, hash));
        if row.try_get("received").map_err(store_error)? {
            received.push((item, hash.as_slice()));
        }
        any_stored |= row.try_get::<bool, _>("stored").map_err(store_error)?;
    }
    if changed.is_empty() {
        return Ok(Written { unchanged: i64::try_from(count).unwrap_or(i64::MAX), ..Written::default() });
    }
    let ids = upsert(tx, to, &changed, defaults).await?;
    raw(tx, to, &received).await?;
    holdings::write(tx, to, &changed, &ids, any_stored).await?;
    clear_dead_letters(tx, to, &changed).await?;
    let pending = pending::enter(tx, to, &received, &ids, noted).await?;
    let upserted = ids.len();
    Ok(Written {
        upserted: i64::try_from(upserted).unwrap_or(i64::MAX),
        unchanged: i64::try_from(count - upserted).unwrap_or(i64::MAX),
        pending,
    })
}

/// Items to be written, with their digests.
pub(super) type Changed<'a> = [(&'a ItemRecord, &'a [u8])];

/// Writes the changed ones; returns the ids by the source's id. An older version than the stored one is left out.
async fn upsert(
    tx: &mut Tx,
    to: &Target<'_>,
    changed: &Changed<'_>,
    defaults: &HashMap<String, ItemDefaults>,
) -> Result<HashMap<String, Uuid>, StoreError> {
    fn column<'a, T>(changed: &'a Changed<'a>, of: impl Fn(&'a ItemRecord) -> T) -> Vec<T> {
        changed.iter().map(|(item, _)| of(item)).collect()
    }
    let ids: Vec<Uuid> = changed.iter().map(|_| Uuid::now_v7()).collect();
    let join = |texts: Vec<&str>| texts.join(SEPARATOR);
    let said = |item: &ItemRecord| defaults.get(&item.source_id);
    let rows = sqlx::query(
        "insert into work_items as t (tenant_id, instance_id, source, synced_at, id, source_id, ref_key, source_key,
             project_source_id, project_key, type_norm, type_original, status_norm, status_original,
             resolution_original, priority_norm, priority_original, title, body, assignee, assignees,
             assignee_source_ids, reporter, reporter_source_id, labels, milestone, milestone_source_id,
             parent_ref_key, due_on, url, custom_fields, created_at, updated_at, resolved_at, content_hash,
             status_category, start_on, story_points, estimate_s, spent_s, remaining_s, status_default, type_default,
             priority_default)
         select $1, $2, (select source from source_instances where tenant_id = $1 and id = $2), $3,
             u.id, u.source_id, u.ref_key, u.source_key, u.project_source_id, u.project_key, u.type_norm,
             u.type_original, u.status_norm, u.status_original, u.resolution_original, u.priority_norm,
             u.priority_original, u.title, u.body, nullif(split_part(u.assignees, $4, 1), ''),
             string_to_array(u.assignees, $4), string_to_array(u.assignee_source_ids, $4), u.reporter,
             u.reporter_source_id, string_to_array(u.labels, $4), u.milestone, u.milestone_source_id,
             u.parent_ref_key, u.due_on, u.url, u.custom_fields::jsonb, u.created_at, u.updated_at, u.resolved_at,
             u.hash, u.status_category, u.start_on, u.story_points, u.estimate_s, u.spent_s, u.remaining_s,
             u.status_default, u.type_default, u.priority_default
         from unnest($5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                 $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
                 $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[],
                 $26::text[], $27::text[], $28::date[], $29::text[], $30::text[], $31::timestamptz[],
                 $32::timestamptz[], $33::timestamptz[], $34::bytea[], $35::text[], $36::date[], $37::float8[],
                 $38::bigint[], $39::bigint[], $40::bigint[], $41::text[], $42::text[], $43::text[])
             as u (id, source_id, ref_key, source_key, project_source_id, project_key, type_norm, type_original,
                 status_norm, status_original, resolution_original, priority_norm, priority_original, title, body,
                 assignees, assignee_source_ids, reporter, reporter_source_id, labels, milestone,
                 milestone_source_id, parent_ref_key, due_on, url, custom_fields, created_at, updated_at,
                 resolved_at, hash, status_category, start_on, story_points, estimate_s, spent_s, remaining_s,
                 status_default, type_default, priority_default)
         on conflict (tenant_id, instance_id, source_id) do update set
             ref_key = excluded.ref_key, source_key = excluded.source_key,
             project_source_id = excluded.project_source_id, project_key = excluded.project_key,
             type_norm = excluded.type_norm, type_original = excluded.type_original,
             status_norm = excluded.status_norm, status_original = excluded.status_original,
             resolution_original = excluded.resolution_original, priority_norm = excluded.priority_norm,
             priority_original = excluded.priority_original, title = excluded.title, body = excluded.body,
             assignee = excluded.assignee, assignees = excluded.assignees,
             assignee_source_ids = excluded.assignee_source_ids, reporter = excluded.reporter,
             reporter_source_id = excluded.reporter_source_id, labels = excluded.labels,
             milestone = excluded.milestone, milestone_source_id = excluded.milestone_source_id,
             parent_ref_key = excluded.parent_ref_key, due_on = excluded.due_on, url = excluded.url,
             custom_fields = excluded.custom_fields, created_at = excluded.created_at,
             updated_at = excluded.updated_at, resolved_at = excluded.resolved_at,
             content_hash = excluded.content_hash, status_category = excluded.status_category,
             start_on = excluded.start_on, story_points = excluded.story_points, estimate_s = excluded.estimate_s,
             spent_s = excluded.spent_s, remaining_s = excluded.remaining_s,
             status_default = excluded.status_default, type_default = excluded.type_default,
             priority_default = excluded.priority_default, synced_at = excluded.synced_at, deleted_at = null,
             delete_reason = null, delete_proof = null, changed_in = excluded.changed_in
         where excluded.updated_at >= t.updated_at
         returning t.id, t.source_id",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(SEPARATOR)
    .bind(&ids)
    .bind(column(changed, |i| i.source_id.as_str()))
    .bind(column(changed, |i| i.ref_key.as_str()))
    .bind(column(changed, |i| i.source_key.as_str()))
    .bind(column(changed, |i| i.project_source_id.as_str()))
    .bind(column(changed, |i| i.project_key.as_str()))
    .bind(column(changed, |i| i.type_norm.as_str()))
    .bind(column(changed, |i| i.type_original.as_str()))
    .bind(column(changed, |i| i.status_norm.as_str()))
    .bind(column(changed, |i| i.status_original.as_str()))
    .bind(column(changed, |i| i.resolution_original.as_deref()))
    .bind(column(changed, |i| i.priority_norm.as_str()))
    .bind(column(changed, |i| i.priority_original.as_deref()))
    .bind(column(changed, |i| i.title.as_str()))
    .bind(column(changed, |i| i.body.as_deref()))
    .bind(column(changed, |i| join(i.assignees.iter().map(|user| user.name.as_str()).collect())))
    .bind(column(changed, |i| join(i.assignees.iter().map(|user| user.source_id.as_str()).collect())))
    .bind(column(changed, |i| i.reporter.as_ref().map(|user| user.name.as_str())))
    .bind(column(changed, |i| i.reporter.as_ref().map(|user| user.source_id.as_str())))
    .bind(column(changed, |i| join(i.labels.iter().map(String::as_str).collect())))
    .bind(column(changed, |i| i.milestone.as_deref()))
    .bind(column(changed, |i| i.milestone_source_id.as_deref()))
    .bind(column(changed, |i| i.parent_ref_key.as_deref()))
    .bind(column(changed, |i| i.due_on))
    .bind(column(changed, |i| i.url.as_str()))
    .bind(column(changed, |i| i.custom_fields.to_string()))
    .bind(column(changed, |i| i.created_at))
    .bind(column(changed, |i| i.updated_at))
    .bind(column(changed, |i| i.resolved_at))
    .bind(changed.iter().map(|(_, hash)| *hash).collect::<Vec<&[u8]>>())
    .bind(column(changed, |i| i.status_category.as_deref()))
    .bind(column(changed, |i| i.start_on))
    .bind(column(changed, |i| i.story_points))
    .bind(column(changed, |i| i.estimate_s))
    .bind(column(changed, |i| i.spent_s))
    .bind(column(changed, |i| i.remaining_s))
    .bind(column(changed, |i| said(i).map(|d| d.status).filter(|s| *s != i.status_norm).map(StatusNorm::as_str)))
    .bind(column(changed, |i| said(i).map(|d| d.item_type).filter(|t| *t != i.type_norm).map(TypeNorm::as_str)))
    .bind(column(changed, |i| {
        said(i).map(|d| d.priority).filter(|p| *p != i.priority_norm).map(PriorityNorm::as_str)
    }))
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?;
    rows.iter()
        .map(|row| Ok((row.try_get("source_id")?, row.try_get("id")?)))
        .collect::<Result<_, sqlx::Error>>()
        .map_err(store_error)
}

/// Keeps the objects as received.
async fn raw(tx: &mut Tx, to: &Target<'_>, changed: &Changed<'_>) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into raw_objects (tenant_id, instance_id, stream, source_id, payload, fetched_at)
         select $1, $2, $3, u.source_id, u.payload::json, $6 from unnest($4::text[], $5::text[]) as u (source_id, payload)
         on conflict (tenant_id, instance_id, stream, source_id)
         do update set payload = excluded.payload, fetched_at = excluded.fetched_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.stream)
    .bind(changed.iter().map(|(item, _)| item.source_id.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|(item, _)| item.raw.get()).collect::<Vec<_>>())
    .bind(to.fetched_at)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// An object that can be mapped now is no dead letter any more.
async fn clear_dead_letters(tx: &mut Tx, to: &Target<'_>, changed: &Changed<'_>) -> Result<(), StoreError> {
    sqlx::query(
        "delete from sync_dead_letters
         where tenant_id = $1 and instance_id = $2 and stream = $3 and source_id = any($4)",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.stream)
    .bind(changed.iter().map(|(item, _)| item.source_id.as_str()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// Marks items that are proved to be gone. Returns how many were not marked before.
pub(super) async fn tombstone(tx: &mut Tx, to: &Target<'_>, gone: &[GoneRecord]) -> Result<i64, StoreError> {
    if gone.is_empty() {
        return Ok(0);
    }
    let result = sqlx::query(
        "update work_items t set deleted_at = $3, delete_reason = u.reason, delete_proof = u.proof,
             changed_in = pg_current_xact_id()::text::bigint
         from unnest($4::text[], $5::text[], $6::text[]) as u (ref_key, reason, proof)
         where t.tenant_id = $1 and t.instance_id = $2 and t.ref_key = u.ref_key and t.deleted_at is null",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(gone.iter().map(|g| g.item_ref_key.as_str()).collect::<Vec<_>>())
    .bind(gone.iter().map(|g| g.reason).collect::<Vec<_>>())
    .bind(gone.iter().map(|g| g.proof.as_str()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;
    Ok(i64::try_from(result.rows_affected()).unwrap_or(i64::MAX))
}
