//! The words of an instance's stored items.

use application::Ctx;
use application::ports::{FoundField, FoundWord, StoreError, Vocabulary};
use domain::InstanceId;
use sqlx::Row;

use crate::postgres::db::{Tx, store_error};

pub(super) async fn read(tx: &mut Tx, ctx: &Ctx, instance: InstanceId) -> Result<Vocabulary, StoreError> {
    // The items are read once for all kinds. Words of the history that no item has any more come after them.
    let rows = sqlx::query(
        "with found as (
             select v.kind, v.original, v.norm, count(*) as items
             from work_items w cross join lateral (values
                 ('status', w.status_original, coalesce(w.status_default, w.status_norm)),
                 ('resolution', w.resolution_original, coalesce(w.status_default, w.status_norm)),
                 ('type', w.type_original, coalesce(w.type_default, w.type_norm)),
                 ('priority', w.priority_original, coalesce(w.priority_default, w.priority_norm))
             ) as v (kind, original, norm)
             where w.tenant_id = $1 and w.instance_id = $2 and w.deleted_at is null and v.original is not null
             group by v.kind, v.original, v.norm
             union all
             select 'status', t.to_original, coalesce(t.to_default, t.to_norm), 0
             from work_item_transitions t where t.tenant_id = $1 and t.instance_id = $2
             group by t.to_original, coalesce(t.to_default, t.to_norm)
         ), words as (
             select f.kind, f.original, sum(f.items)::bigint as items, array_agg(distinct f.norm) as norms,
                 array_agg(f.norm order by f.items desc, f.norm) filter (where f.items > 0) as of_items
             from found f group by f.kind, f.original
         ), ranked as (
             select *, row_number() over (partition by kind order by items desc, original) as place from words
         )
         select kind, original, items, coalesce(of_items, norms) as norms from ranked
         where place <= 1000 order by kind, place",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?;
    let mut vocabulary = Vocabulary::default();
    for row in &rows {
        let word = FoundWord {
            original: row.try_get("original").map_err(store_error)?,
            items: row.try_get("items").map_err(store_error)?,
            defaults: row.try_get("norms").map_err(store_error)?,
        };
        match row.try_get("kind").map_err(store_error)? {
            "status" => vocabulary.status.push(word),
            "resolution" => vocabulary.resolution.push(word),
            "type" => vocabulary.item_type.push(word),
            _ => vocabulary.priority.push(word),
        }
    }
    vocabulary.fields = fields(tx, ctx, instance).await?;
    Ok(vocabulary)
}

async fn fields(tx: &mut Tx, ctx: &Ctx, instance: InstanceId) -> Result<Vec<FoundField>, StoreError> {
    sqlx::query(
        "select source_id, name, field_type from custom_fields where tenant_id = $1 and instance_id = $2
         order by name, source_id limit 5000",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?
    .iter()
    .map(|row| {
        Ok(FoundField {
            source_id: row.try_get("source_id")?,
            name: row.try_get("name")?,
            field_type: row.try_get("field_type")?,
        })
    })
    .collect::<Result<_, sqlx::Error>>()
    .map_err(store_error)
}
