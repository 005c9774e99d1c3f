//! Mapping anew what is stored: reading objects as received, and writing what they are mapped to now.

use std::collections::HashMap;

use application::Ctx;
use application::ports::{CommitOutcome, KeptItem, PageCommit, RawObject, SliceKey, StoreError};
use domain::record::{ItemDefaults, ItemRecord};
use domain::{FieldRole, InstanceId, Mappings, PriorityNorm, RunCounts, StatusNorm, StreamName, TypeNorm};
use serde_json::value::RawValue;
use sqlx::Row;
use uuid::Uuid;

use super::columns::column;
use super::pages::{self, Held, Moved, Target, hold};
use super::{digest, text};
use crate::postgres::db::{Db, Tx, store_error};

/// How much is read at once, as it is stored: compressed. One object is read whatever its size.
const BYTES: i64 = 4 << 20;

/// Live items behind `after` in the order of their ids at the source, each with the latest object received of it.
pub(super) async fn kept(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
    after: &str,
    limit: i64,
) -> Result<Vec<KeptItem>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    // The streams are found by leaps through the key; there are few. In each, an item's object is looked up by the whole
    // key: without its stream, every look-up would read the instance.
    let rows = sqlx::query(
        "with recursive streams (stream) as (
             (select stream from raw_objects where tenant_id = $1 and instance_id = $2 order by stream limit 1)
             union all
             select (select r.stream from raw_objects r where r.tenant_id = $1 and r.instance_id = $2
                     and r.stream > s.stream order by r.stream limit 1)
             from streams s where s.stream is not null
         )
         select source_id, ref_key, stream, payload from (
             select k.*, sum(k.bytes) over (order by k.source_id) - k.bytes as before from (
                 select w.source_id, w.ref_key, r.stream, r.payload, pg_column_size(r.payload) as bytes
                 from work_items w cross join lateral (
                     select f.stream, f.payload from streams s cross join lateral (
                         select o.stream, o.payload, o.fetched_at from raw_objects o
                         where o.tenant_id = $1 and o.instance_id = $2 and o.stream = s.stream
                             and o.source_id = w.source_id limit 1) f
                     order by f.fetched_at desc limit 1) r
                 where w.tenant_id = $1 and w.instance_id = $2 and w.deleted_at is null and w.source_id > $3
                 order by w.source_id limit $4) k
         ) p where p.before < $5 order by source_id",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(after)
    .bind(limit)
    .bind(BYTES)
    .fetch_all(&mut *tx)
    .await
    .map_err(store_error)?;
    rows.iter()
        .map(|row| {
            let source_id: String = row.try_get("source_id")?;
            let payload: sqlx::types::Json<Box<RawValue>> = row.try_get("payload")?;
            Ok(KeptItem {
                ref_key: row.try_get("ref_key")?,
                raw: RawObject {
                    stream: StreamName::new(row.try_get::<String, _>("stream")?),
                    source_id,
                    payload: payload.0,
                },
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(store_error)
}

/// Writes what a page of items is mapped to now, and moves the run on.
pub(super) async fn commit(
    db: &Db,
    ctx: &Ctx,
    key: &SliceKey,
    mut page: PageCommit,
    ref_keys: &[String],
    mappings: &Mappings,
) -> Result<CommitOutcome, StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    let Held { cancel_requested, suspended } = hold(&mut tx, ctx, key).await?;
    let to = Target { ctx, key, fetched_at: page.fetched_at, stream: page.stream.stream.as_str() };
    text::clean_records(&mut page.records);
    let upserted =
        items(&mut tx, &to, &mut page.records.items, &page.records.item_defaults, mappings).await?;
    let counts = RunCounts {
        upserted,
        unchanged: i64::try_from(page.records.items.len()).unwrap_or(i64::MAX) - upserted,
        failed: i64::try_from(page.records.unmapped.len()).unwrap_or(i64::MAX),
        transitions: transitions(&mut tx, &to, ref_keys, mappings).await?,
        ..RunCounts::default()
    };
    pages::dead_letters(&mut tx, &to, &page.records.unmapped).await?;
    let moved = Moved { stream: &page.stream, counts, pending: 0, end_slice: page.end_slice, suspended };
    pages::advance(&mut tx, &to, &moved).await?;
    tx.commit().await.map_err(store_error)?;
    pages::count(&counts);
    Ok(CommitOutcome { counts, cancel_requested, suspended })
}

/// Writes only what mappings decide, and only where it differs: all else is as it was received. Returns how many differed.
async fn items(
    tx: &mut Tx,
    to: &Target<'_>,
    items: &mut Vec<ItemRecord>,
    defaults: &HashMap<String, ItemDefaults>,
    mappings: &Mappings,
) -> Result<i64, StoreError> {
    if items.is_empty() {
        return Ok(0);
    }
    items.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    items.dedup_by(|later, first| later.source_id == first.source_id);
    let ids = ids(tx, to, items).await?;
    let said = |item: &ItemRecord| defaults.get(&item.source_id);
    let given = |role| mappings.field(role).is_some();
    // A field that has a role by the adapter's own rules may be found by its definition only, which is not at hand here:
    // then what is stored stays.
    let result = sqlx::query(
        "update work_items t set changed_in = pg_current_xact_id()::text::bigint,
             status_norm = u.status_norm, status_original = u.status_original, type_norm = u.type_norm,
             type_original = u.type_original, priority_norm = u.priority_norm,
             priority_original = u.priority_original, status_default = u.status_default,
             type_default = u.type_default, priority_default = u.priority_default,
             story_points = case when $18 then u.story_points else coalesce(u.story_points, t.story_points) end,
             start_on = case when $19 then u.start_on else coalesce(u.start_on, t.start_on) end,
             due_on = case when $20 then u.due_on else coalesce(u.due_on, t.due_on) end,
             content_hash = substr(t.content_hash, 1, $21) || u.mapped
         from unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                 $11::text[], $12::text[], $13::float8[], $14::date[], $15::date[], $16::bytea[],
                 $17::timestamptz[])
             as u (id, status_norm, status_original, type_norm, type_original, priority_norm, priority_original,
                 status_default, type_default, priority_default, story_points, start_on, due_on, mapped,
                 updated_at)
         where t.tenant_id = $1 and t.id = any($22) and t.id = u.id and t.instance_id is not distinct from $2
             and t.deleted_at is null
             and u.updated_at >= t.updated_at
             and ((t.status_norm, t.status_original, t.type_norm, t.type_original, t.priority_norm, t.priority_original,
                   t.status_default, t.type_default, t.priority_default)
                  is distinct from
                  (u.status_norm, u.status_original, u.type_norm, u.type_original, u.priority_norm, u.priority_original,
                   u.status_default, u.type_default, u.priority_default)
                  or t.story_points is distinct from
                      case when $18 then u.story_points else coalesce(u.story_points, t.story_points) end
                  or t.start_on is distinct from case when $19 then u.start_on else coalesce(u.start_on, t.start_on) end
                  or t.due_on is distinct from case when $20 then u.due_on else coalesce(u.due_on, t.due_on) end)",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(column(items, |i| ids.get(&i.source_id).copied()))
    .bind(column(items, |i| i.status_norm.as_str()))
    .bind(column(items, |i| i.status_original.as_str()))
    .bind(column(items, |i| i.type_norm.as_str()))
    .bind(column(items, |i| i.type_original.as_str()))
    .bind(column(items, |i| i.priority_norm.as_str()))
    .bind(column(items, |i| i.priority_original.as_deref()))
    .bind(column(items, |i| said(i).map(|d| d.status).filter(|s| *s != i.status_norm).map(StatusNorm::as_str)))
    .bind(column(items, |i| said(i).map(|d| d.item_type).filter(|t| *t != i.type_norm).map(TypeNorm::as_str)))
    .bind(column(items, |i| {
        said(i).map(|d| d.priority).filter(|p| *p != i.priority_norm).map(PriorityNorm::as_str)
    }))
    .bind(column(items, |i| i.story_points))
    .bind(column(items, |i| i.start_on))
    .bind(column(items, |i| i.due_on))
    .bind(column(items, |i| digest::mapped(i).to_vec()))
    .bind(column(items, |i| i.updated_at))
    .bind(given(FieldRole::StoryPoints))
    .bind(given(FieldRole::StartOn))
    .bind(given(FieldRole::DueOn))
    .bind(digest::RECEIVED_BYTES)
    .bind(ids.values().copied().collect::<Vec<Uuid>>())
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;
    Ok(i64::try_from(result.rows_affected()).unwrap_or(i64::MAX))
}

/// The ids of live items by their ids at the source: a look-up by the key for each, as a join of the two reads the whole
/// instance for each while statistics are old.
async fn ids(
    tx: &mut Tx,
    to: &Target<'_>,
    items: &[ItemRecord],
) -> Result<HashMap<String, Uuid>, StoreError> {
    sqlx::query(
        "select u.source_id, k.id from unnest($3::text[]) as u (source_id)
         cross join lateral (select w.id from work_items w where w.tenant_id = $1 and w.instance_id = $2
             and w.source_id = u.source_id and w.deleted_at is null limit 1) k",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(column(items, |i| i.source_id.as_str()))
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?
    .iter()
    .map(|row| Ok((row.try_get("source_id")?, row.try_get("id")?)))
    .collect::<Result<_, sqlx::Error>>()
    .map_err(store_error)
}

/// Reads the statuses in the items' history anew. Returns how many of its entries differed.
async fn transitions(
    tx: &mut Tx,
    to: &Target<'_>,
    ref_keys: &[String],
    mappings: &Mappings,
) -> Result<i64, StoreError> {
    if ref_keys.is_empty() {
        return Ok(0);
    }
    // The instance is compared in a way that no index is looked for by: found by their items alone, they are few.
    let result = sqlx::query(
        "update work_item_transitions t set
             to_norm = coalesce($4 ->> t.to_original, t.to_default, t.to_norm),
             to_default = nullif(coalesce(t.to_default, t.to_norm),
                 coalesce($4 ->> t.to_original, t.to_default, t.to_norm)),
             from_norm = coalesce($4 ->> t.from_original, nullif(coalesce(t.from_default, t.from_norm), '')),
             from_default = case when coalesce($4 ->> t.from_original, nullif(coalesce(t.from_default, t.from_norm), ''))
                 is distinct from nullif(coalesce(t.from_default, t.from_norm), '')
                 then coalesce(t.from_default, t.from_norm, '') end
         where t.tenant_id = $1 and t.instance_id is not distinct from $2 and t.item_ref_key = any($3)
             and (coalesce($4 ->> t.to_original, t.to_default, t.to_norm) <> t.to_norm
                  or coalesce($4 ->> t.from_original, nullif(coalesce(t.from_default, t.from_norm), ''))
                      is distinct from t.from_norm)",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(ref_keys)
    .bind(sqlx::types::Json(&mappings.status))
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;
    Ok(i64::try_from(result.rows_affected()).unwrap_or(i64::MAX))
}
