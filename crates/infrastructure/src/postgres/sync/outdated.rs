//! Which of the items that were seen at the source are stored as they were before.

use application::Ctx;
use application::ports::{ItemAddress, StoreError};
use chrono::{DateTime, Utc};
use domain::InstanceId;

use crate::postgres::db::{Db, store_error};

pub(super) async fn find(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
    seen: &[(String, DateTime<Utc>)],
) -> Result<Option<Vec<ItemAddress>>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    // One row that says whether anything is to be stored, and then the items. The limit keeps it a look-up by the key
    // for each; a key that was given to another item after its own was deleted is that other one's.
    let rows: Vec<(Option<String>, Option<String>, Option<String>)> = sqlx::query_as(
        "with open as (
             select from tenants t where t.id = $1 and t.status = 'active' and exists (
                 select from sync_runs r where r.tenant_id = $1 and r.instance_id = $2
                     and r.kind in ('backfill', 'incremental') and r.state in ('succeeded', 'partial'))
         )
         select null, null, null from open
         union all
         select s.key, t.source_id, t.ref_key
         from open, unnest($3::text[], $4::timestamptz[]) as s (key, updated_at)
         left join lateral (
             select w.source_id, w.ref_key, w.updated_at, w.deleted_at from work_items w
             where w.tenant_id = $1 and w.instance_id = $2 and w.source_key = s.key
             order by w.deleted_at nulls first limit 1) t on true
         where t.source_id is null or t.deleted_at is not null or t.updated_at < s.updated_at",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    // PostgreSQL's text holds no NUL and refuses one as an error.
    .bind(seen.iter().map(|(key, _)| key.replace('\0', "")).collect::<Vec<_>>())
    .bind(seen.iter().map(|(_, updated_at)| *updated_at).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await
    .map_err(store_error)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let items = rows.into_iter().filter(|(key, ..)| key.is_some());
    Ok(Some(items.map(|(key, source_id, ref_key)| ItemAddress { source_id, ref_key, key }).collect()))
}
