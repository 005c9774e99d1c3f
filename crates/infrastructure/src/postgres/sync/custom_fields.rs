//! Definitions of custom fields: set-wise, and only what changed.

use application::ports::StoreError;
use domain::record::CustomFieldRecord;

use super::columns::column;
use super::pages::Target;
use crate::postgres::db::{Tx, store_error};

pub(super) async fn write(
    tx: &mut Tx,
    to: &Target<'_>,
    fields: &mut Vec<CustomFieldRecord>,
) -> Result<(), StoreError> {
    if fields.is_empty() {
        return Ok(());
    }
    fields.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    fields.dedup_by(|later, first| later.source_id == first.source_id);
    sqlx::query(
        "insert into custom_fields (tenant_id, instance_id, synced_at, source_id, name, field_type)
         select $1, $2, $3, u.* from unnest($4::text[], $5::text[], $6::text[]) as u (source_id, name, field_type)
         where 0 = (select count(*) from custom_fields t where t.tenant_id = $1 and t.instance_id = $2
             and t.source_id = u.source_id and t.name = u.name and t.field_type = u.field_type)
         on conflict (tenant_id, instance_id, source_id) do update set name = excluded.name,
             field_type = excluded.field_type, synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(column(fields, |f| f.source_id.as_str()))
    .bind(column(fields, |f| f.name.as_str()))
    .bind(column(fields, |f| f.field_type.as_str()))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}
