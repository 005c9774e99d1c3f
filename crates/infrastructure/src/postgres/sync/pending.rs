//! Items that changed and whose details are still to be read.

use std::collections::HashMap;

use application::Ctx;
use application::ports::{PendingItem, PendingItems, ProjectRef, StoreError};
use domain::{InstanceId, WorkItemId};
use serde_json::Value;
use sqlx::Row;
use uuid::Uuid;

use super::digest;
use super::items::Changed;
use super::pages::Target;
use crate::postgres::db::{Db, Tx, store_error};

/// Where a note says of which content of the item it tells.
const OF_CONTENT: &str = "of_content";

/// Notes whose details are to be read, and what the adapter noted of them. Returns how many did not wait before.
pub(super) async fn enter(
    tx: &mut Tx,
    to: &Target<'_>,
    changed: &Changed<'_>,
    ids: &HashMap<String, Uuid>,
    noted: &HashMap<String, Value>,
) -> Result<i64, StoreError> {
    let (owners, notes): (Vec<Uuid>, Vec<Option<Value>>) = changed
        .iter()
        .filter(|(item, _)| item.has_details)
        .filter_map(|(item, hash)| {
            Some((*ids.get(&item.source_id)?, noted.get(&item.source_id).map(|note| of_content(note, hash))))
        })
        .unzip();
    if owners.is_empty() {
        return Ok(0);
    }
    sqlx::query_scalar(
        "with entered as (
             insert into work_item_details_pending as p (tenant_id, instance_id, work_item_id, entered_at, noted)
             select $1, $2, u.id, $5, u.noted from unnest($3::uuid[], $4::jsonb[]) as u (id, noted)
             on conflict (tenant_id, instance_id, work_item_id) do update set noted = excluded.noted
             returning p.xmax = 0 as is_new)
         select count(*) from entered where is_new",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(&owners)
    .bind(notes)
    .bind(to.fetched_at)
    .fetch_one(&mut **tx)
    .await
    .map_err(store_error)
}

/// The note, and of which content of the item it tells. A worker of an earlier version, which knows of no notes, may write
/// the item anew amid a deploy and leave the note of before.
fn of_content(note: &Value, hash: &[u8]) -> Value {
    let mut note = note.clone();
    let received = usize::try_from(digest::RECEIVED_BYTES).unwrap_or(usize::MAX).min(hash.len());
    if let Value::Object(note) = &mut note {
        note.insert(OF_CONTENT.to_owned(), hex::encode(&hash[..received]).into());
    }
    note
}

/// Takes off the list what has been read.
pub(super) async fn done(tx: &mut Tx, to: &Target<'_>, ref_keys: &[String]) -> Result<(), StoreError> {
    if ref_keys.is_empty() {
        return Ok(());
    }
    // Two statements: the server looks a list that it is given up in an index; one that it has found itself it compares
    // with row after row. The offset keeps it a look-up for each key, and the instance is compared in a way that no index is
    // looked for by: while there are no statistics, reading the whole instance seems to cost no more than one look-up.
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select t.id from unnest($3::text[]) as u (ref_key)
         cross join lateral (
             select w.id from work_items w
             where w.tenant_id = $1 and w.instance_id is not distinct from $2 and w.ref_key = u.ref_key offset 0) t",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(ref_keys)
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?;
    sqlx::query(
        "delete from work_item_details_pending
         where tenant_id = $1 and instance_id = $2 and work_item_id = any ($3)",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(ids)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// Items whose details are not read yet, by their id, which is how the list's key has them: in any other order each call
/// would read all that wait. A note of other content than the item has now is left out, so that everything is asked for.
pub(super) async fn list(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
    after: Option<WorkItemId>,
    limit: usize,
) -> Result<PendingItems, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    // Items are looked up for those on the list alone, not for all that wait. Each has one: they go with their instance only.
    let rows = sqlx::query(
        "select w.id, w.source_id, w.ref_key, w.source_key, w.project_source_id, w.project_key,
             w.type_norm,
             case when p.noted ->> $5 = encode(substr(w.content_hash, 1, $6), 'hex') then p.noted - $5 end as noted
         from (select work_item_id, noted from work_item_details_pending
               where tenant_id = $1 and instance_id = $2 and work_item_id > $4
               order by work_item_id limit $3) p
         cross join lateral (
             select * from work_items i where i.tenant_id = $1 and i.id = p.work_item_id limit 1) w
         order by p.work_item_id",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    // No item has the id of zeros.
    .bind(after.map_or(Uuid::nil(), |item| item.as_uuid()))
    .bind(OF_CONTENT)
    .bind(digest::RECEIVED_BYTES)
    .fetch_all(&mut *tx)
    .await
    .map_err(store_error)?;
    let last = rows.last().map(|row| row.try_get("id").map(WorkItemId::new));
    let items = rows.iter().map(|row| {
        Ok(PendingItem {
            source_id: row.try_get("source_id")?,
            ref_key: row.try_get("ref_key")?,
            source_key: row.try_get("source_key")?,
            project: ProjectRef {
                source_id: row.try_get("project_source_id")?,
                key: row.try_get("project_key")?,
            },
            is_pull_request: row.try_get::<&str, _>("type_norm")? == domain::TypeNorm::PullRequest.as_str(),
            noted: row.try_get("noted")?,
        })
    });
    let items = items.collect::<Result<_, sqlx::Error>>().map_err(store_error)?;
    Ok(PendingItems { items, last: last.transpose().map_err(store_error)? })
}
