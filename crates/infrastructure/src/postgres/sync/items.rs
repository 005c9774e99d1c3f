//! Work items: set-wise, and only those that changed.

use std::collections::HashMap;

use application::Ctx;
use application::ports::{PendingItem, ProjectRef, StoreError};
use domain::InstanceId;
use domain::record::{GoneRecord, ItemRecord};
use sha2::{Digest, Sha256};
use sqlx::Row;
use uuid::Uuid;

use super::pages::Target;
use crate::postgres::db::{Db, Tx, store_error};

/// Raised when the mapping of sources changes, so that unchanged objects are mapped anew.
const MAPPING_VERSION: u8 = 1;
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
) -> Result<Written, StoreError> {
    if items.is_empty() {
        return Ok(Written::default());
    }
    let received = items.len();
    // Sorted, so that two writers take row locks in one order; of two versions of an item the newer stays.
    items.sort_by(|a, b| (&a.source_id, b.updated_at).cmp(&(&b.source_id, a.updated_at)));
    items.dedup_by(|later, first| later.source_id == first.source_id);
    let hashes: Vec<Vec<u8>> = items.iter().map(hash).collect();
    let source_ids: Vec<&str> = items.iter().map(|item| item.source_id.as_str()).collect();

    // The limit keeps it a look-up by the key for each row: a join reads the whole instance while statistics are old.
    let rows = sqlx::query(
        "select u.ord, t.content_hash is not null as stored from unnest($3::text[], $4::bytea[]) with ordinality as u (source_id, hash, ord)
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
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?;
    let mut changed = Vec::with_capacity(rows.len());
    let mut any_stored = false;
    for row in &rows {
        let ord: i64 = row.try_get("ord").map_err(store_error)?;
        changed.push(usize::try_from(ord - 1).unwrap_or(usize::MAX));
        any_stored |= row.try_get::<bool, _>("stored").map_err(store_error)?;
    }

    let changed: Vec<(&ItemRecord, &Vec<u8>)> =
        changed.into_iter().filter_map(|i| items.get(i).zip(hashes.get(i))).collect();
    if changed.is_empty() {
        return Ok(Written { unchanged: i64::try_from(received).unwrap_or(i64::MAX), ..Written::default() });
    }
    let ids = upsert(tx, to, &changed).await?;
    raw(tx, to, &changed).await?;
    if any_stored {
        remove_labels(tx, to, &changed, &ids).await?;
    }
    add_labels(tx, to, &changed, &ids).await?;
    clear_dead_letters(tx, to, &changed).await?;
    let pending = pend(tx, to, &changed, &ids).await?;
    let upserted = ids.len();
    Ok(Written {
        upserted: i64::try_from(upserted).unwrap_or(i64::MAX),
        unchanged: i64::try_from(received - upserted).unwrap_or(i64::MAX),
        pending,
    })
}

/// A digest of the object as received and of how it is mapped.
fn hash(item: &ItemRecord) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update([MAPPING_VERSION, u8::from(item.has_details)]);
    hasher.update(item.source_key.as_bytes());
    hasher.update(item.raw.get().as_bytes());
    hasher.finalize().to_vec()
}

type Changed<'a> = [(&'a ItemRecord, &'a Vec<u8>)];

/// Writes the changed ones; returns the ids by the source's id. An older version than the stored one is left out.
async fn upsert(
    tx: &mut Tx,
    to: &Target<'_>,
    changed: &Changed<'_>,
) -> Result<HashMap<String, Uuid>, StoreError> {
    fn column<'a, T>(changed: &'a Changed<'a>, of: impl Fn(&'a ItemRecord) -> T) -> Vec<T> {
        changed.iter().map(|(item, _)| of(item)).collect()
    }
    let ids: Vec<Uuid> = changed.iter().map(|_| Uuid::now_v7()).collect();
    let join = |texts: Vec<&str>| texts.join(SEPARATOR);
    let rows = sqlx::query(
        "insert into work_items as t (tenant_id, instance_id, source, synced_at, id, source_id, ref_key, source_key,
             project_source_id, project_key, type_norm, type_original, status_norm, status_original,
             resolution_original, priority_norm, priority_original, title, body, assignee, assignees,
             assignee_source_ids, reporter, reporter_source_id, labels, milestone, milestone_source_id,
             parent_ref_key, due_on, url, custom_fields, created_at, updated_at, resolved_at, content_hash)
         select $1, $2, (select source from source_instances where tenant_id = $1 and id = $2), $3,
             u.id, u.source_id, u.ref_key, u.source_key, u.project_source_id, u.project_key, u.type_norm,
             u.type_original, u.status_norm, u.status_original, u.resolution_original, u.priority_norm,
             u.priority_original, u.title, u.body, nullif(split_part(u.assignees, $4, 1), ''),
             string_to_array(u.assignees, $4), string_to_array(u.assignee_source_ids, $4), u.reporter,
             u.reporter_source_id, string_to_array(u.labels, $4), u.milestone, u.milestone_source_id,
             u.parent_ref_key, u.due_on, u.url, u.custom_fields::jsonb, u.created_at, u.updated_at, u.resolved_at,
             u.hash
         from unnest($5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                 $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
                 $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[],
                 $26::text[], $27::text[], $28::date[], $29::text[], $30::text[], $31::timestamptz[],
                 $32::timestamptz[], $33::timestamptz[], $34::bytea[])
             as u (id, source_id, ref_key, source_key, project_source_id, project_key, type_norm, type_original,
                 status_norm, status_original, resolution_original, priority_norm, priority_original, title, body,
                 assignees, assignee_source_ids, reporter, reporter_source_id, labels, milestone,
                 milestone_source_id, parent_ref_key, due_on, url, custom_fields, created_at, updated_at,
                 resolved_at, hash)
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
             content_hash = excluded.content_hash, synced_at = excluded.synced_at, deleted_at = null,
             delete_reason = null, delete_proof = null
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
    .bind(changed.iter().map(|(_, hash)| hash.as_slice()).collect::<Vec<&[u8]>>())
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

/// Owner and name of every label of the written items.
fn labels<'a>(changed: &Changed<'a>, ids: &HashMap<String, Uuid>) -> (Vec<Uuid>, Vec<&'a str>) {
    changed
        .iter()
        .filter_map(|(item, _)| Some((ids.get(&item.source_id)?, item)))
        .flat_map(|(id, item)| item.labels.iter().map(|label| (*id, label.as_str())))
        .unzip()
}

/// Takes off the labels that the written items no longer have.
async fn remove_labels(
    tx: &mut Tx,
    to: &Target<'_>,
    changed: &Changed<'_>,
    ids: &HashMap<String, Uuid>,
) -> Result<(), StoreError> {
    let (owners, names) = labels(changed, ids);
    sqlx::query(
        "delete from work_item_labels l where l.tenant_id = $1 and l.work_item_id = any($2)
         and not exists (select 1 from unnest($3::uuid[], $4::text[]) as u (id, label)
                         where u.id = l.work_item_id and u.label = l.label)",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(ids.values().copied().collect::<Vec<Uuid>>())
    .bind(&owners)
    .bind(&names)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// Adds the labels that the written items did not have yet.
async fn add_labels(
    tx: &mut Tx,
    to: &Target<'_>,
    changed: &Changed<'_>,
    ids: &HashMap<String, Uuid>,
) -> Result<(), StoreError> {
    let (owners, names) = labels(changed, ids);
    if owners.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into work_item_labels (tenant_id, work_item_id, label)
         select $1, u.id, u.label from unnest($2::uuid[], $3::text[]) as u (id, label)
         on conflict do nothing",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(&owners)
    .bind(&names)
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

/// Notes whose details are to be read. Returns how many that are.
async fn pend(
    tx: &mut Tx,
    to: &Target<'_>,
    changed: &Changed<'_>,
    ids: &HashMap<String, Uuid>,
) -> Result<i64, StoreError> {
    let owners: Vec<Uuid> = changed
        .iter()
        .filter(|(item, _)| item.has_details)
        .filter_map(|(item, _)| ids.get(&item.source_id).copied())
        .collect();
    if owners.is_empty() {
        return Ok(0);
    }
    let result = sqlx::query(
        "insert into work_item_details_pending (tenant_id, instance_id, work_item_id, entered_at)
         select $1, $2, u.id, $4 from unnest($3::uuid[]) as u (id) on conflict do nothing",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(&owners)
    .bind(to.fetched_at)
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;
    Ok(i64::try_from(result.rows_affected()).unwrap_or(i64::MAX))
}

/// Marks items that are proved to be gone. Returns how many were not marked before.
pub(super) async fn tombstone(tx: &mut Tx, to: &Target<'_>, gone: &[GoneRecord]) -> Result<i64, StoreError> {
    if gone.is_empty() {
        return Ok(0);
    }
    let result = sqlx::query(
        "update work_items t set deleted_at = $3, delete_reason = u.reason, delete_proof = u.proof
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

/// Items whose details are not read yet, oldest entry first.
pub(super) async fn pending(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
    limit: usize,
) -> Result<Vec<PendingItem>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    sqlx::query(
        "select w.source_id, w.ref_key, w.source_key, w.project_source_id, w.project_key, w.type_norm
         from work_item_details_pending p
         join work_items w on w.tenant_id = p.tenant_id and w.id = p.work_item_id
         where p.tenant_id = $1 and p.instance_id = $2
         order by p.entered_at, p.work_item_id limit $3",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *tx)
    .await
    .map_err(store_error)?
    .iter()
    .map(|row| {
        Ok(PendingItem {
            source_id: row.try_get("source_id")?,
            ref_key: row.try_get("ref_key")?,
            source_key: row.try_get("source_key")?,
            project: ProjectRef {
                source_id: row.try_get("project_source_id")?,
                key: row.try_get("project_key")?,
            },
            is_pull_request: row.try_get::<&str, _>("type_norm")? == domain::TypeNorm::PullRequest.as_str(),
        })
    })
    .collect::<Result<_, sqlx::Error>>()
    .map_err(store_error)
}
