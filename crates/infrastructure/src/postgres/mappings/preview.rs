//! What other mappings would do to what is stored, worked out where it is stored.

use application::Ctx;
use application::ports::{MappingPreview, NormChange, RoleChange, StoreError};
use domain::{FieldRole, InstanceId, Mappings, PriorityNorm, StatusNorm, TypeNorm};
use sqlx::Row;

use super::Words;
use crate::postgres::db::{Tx, store_error};

pub(super) async fn read(
    tx: &mut Tx,
    ctx: &Ctx,
    instance: InstanceId,
    now: &Mappings,
    then: &Mappings,
) -> Result<MappingPreview, StoreError> {
    let (items, changes) = changes(tx, ctx, instance, then).await?;
    let transitions = transitions(tx, ctx, instance, then).await?;
    let fields = fields(tx, ctx, instance, now, then).await?;
    Ok(MappingPreview { items, changes, transitions, fields })
}

/// How many items would change, and how.
async fn changes(
    tx: &mut Tx,
    ctx: &Ctx,
    instance: InstanceId,
    then: &Mappings,
) -> Result<(i64, Vec<NormChange>), StoreError> {
    let status = Words::of(&then.status, StatusNorm::as_str);
    let resolution = Words::of(&then.resolution, StatusNorm::as_str);
    let item_type = Words::of(&then.item_type, TypeNorm::as_str);
    let priority = Words::of(&then.priority, PriorityNorm::as_str);
    // The order in which a word wins is that of domain::Mappings::apply.
    let rows = sqlx::query(
        "with changes as materialized (
             select w.id, w.source_key, w.updated_at, v.field, v.before, v.after
             from work_items w
             left join unnest($3::text[], $4::text[]) as sm (original, norm) on sm.original = w.status_original
             left join unnest($5::text[], $6::text[]) as rm (original, norm) on rm.original = w.resolution_original
             left join unnest($7::text[], $8::text[]) as tm (original, norm) on tm.original = w.type_original
             left join unnest($9::text[], $10::text[]) as pm (original, norm) on pm.original = w.priority_original
             cross join lateral (values
                 ('status', w.status_norm, coalesce(rm.norm, sm.norm, w.status_default, w.status_norm)),
                 ('type', w.type_norm, coalesce(tm.norm, w.type_default, w.type_norm)),
                 ('priority', w.priority_norm, coalesce(pm.norm, w.priority_default, w.priority_norm))
             ) as v (field, before, after)
             where w.tenant_id = $1 and w.instance_id = $2 and w.deleted_at is null and v.before <> v.after
         )
         select c.field, c.before, c.after, count(*) as items,
             (array_agg(c.source_key order by c.updated_at desc, c.id))[1:10] as examples,
             (select count(distinct id) from changes) as all_items
         from changes c group by c.field, c.before, c.after order by items desc, c.field, c.before, c.after",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(&status.originals)
    .bind(&status.norms)
    .bind(&resolution.originals)
    .bind(&resolution.norms)
    .bind(&item_type.originals)
    .bind(&item_type.norms)
    .bind(&priority.originals)
    .bind(&priority.norms)
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?;
    let items = rows.first().map_or(Ok(0), |row| row.try_get("all_items")).map_err(store_error)?;
    let changes = rows
        .iter()
        .map(|row| {
            Ok(NormChange {
                field: row.try_get("field")?,
                from: row.try_get("before")?,
                to: row.try_get("after")?,
                items: row.try_get("items")?,
                examples: row.try_get("examples")?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(store_error)?;
    Ok((items, changes))
}

/// How many status changes of live items would be read in another way.
async fn transitions(
    tx: &mut Tx,
    ctx: &Ctx,
    instance: InstanceId,
    then: &Mappings,
) -> Result<i64, StoreError> {
    // The item is looked up by its own index for each that differs: as a join, it may read the instance for each.
    sqlx::query_scalar(
        "select count(*) from work_item_transitions t
         where t.tenant_id = $1 and t.instance_id = $2
             and (coalesce($3 ->> t.to_original, t.to_default, t.to_norm) <> t.to_norm
                  or coalesce($3 ->> t.from_original, nullif(coalesce(t.from_default, t.from_norm), ''))
                      is distinct from t.from_norm)
             and (select true from work_items w where w.tenant_id = $1 and w.ref_key = t.item_ref_key
                  and w.instance_id is not distinct from $2 and w.deleted_at is null limit 1)",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(sqlx::types::Json(&then.status))
    .fetch_one(&mut **tx)
    .await
    .map_err(store_error)
}

/// Fields whose role would change, and the items that have a value in them.
async fn fields(
    tx: &mut Tx,
    ctx: &Ctx,
    instance: InstanceId,
    now: &Mappings,
    then: &Mappings,
) -> Result<Vec<RoleChange>, StoreError> {
    let mut changed: Vec<(&str, Option<FieldRole>)> = Vec::new();
    for (field, role) in then.fields.iter().filter(|(field, role)| now.fields.get(*field) != Some(*role)) {
        changed.push((field, Some(*role)));
    }
    for field in now.fields.keys().filter(|field| !then.fields.contains_key(*field)) {
        changed.push((field, None));
    }
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "select u.ord, count(w.id) as items,
             coalesce((array_agg(w.source_key order by w.updated_at desc, w.id) filter (where w.id is not null))[1:10],
                 '{}') as examples
         from unnest($3::text[]) with ordinality as u (source_id, ord)
         left join custom_fields c on c.tenant_id = $1 and c.instance_id = $2 and c.source_id = u.source_id
         left join work_items w on w.tenant_id = $1 and w.instance_id = $2 and w.deleted_at is null
             and jsonb_typeof(w.custom_fields -> c.name) <> 'null'
         group by u.ord order by u.ord",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .bind(changed.iter().map(|(field, _)| *field).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await
    .map_err(store_error)?;
    changed
        .into_iter()
        .zip(&rows)
        .map(|((source_id, role), row)| {
            Ok(RoleChange {
                source_id: source_id.to_owned(),
                role,
                items: row.try_get("items")?,
                examples: row.try_get("examples")?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(store_error)
}
