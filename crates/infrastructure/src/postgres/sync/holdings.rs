//! What hangs on items by their own ids: labels, and the projects that hold them.

use std::collections::HashMap;

use application::ports::StoreError;
use domain::record::HomeRecord;
use uuid::Uuid;

use super::items::Changed;
use super::pages::Target;
use crate::postgres::db::{Tx, store_error};

/// Brings them to what the written items have. `any_stored`: some of the items were here before.
pub(super) async fn write(
    tx: &mut Tx,
    to: &Target<'_>,
    changed: &Changed<'_>,
    ids: &HashMap<String, Uuid>,
    any_stored: bool,
) -> Result<(), StoreError> {
    if any_stored {
        remove_labels(tx, to, changed, ids).await?;
        remove_homes(tx, to, changed, ids).await?;
    }
    add_labels(tx, to, changed, ids).await?;
    write_homes(tx, to, changed, ids).await
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

/// Owner and project of every home of the written items, each once.
fn homes<'a>(changed: &Changed<'a>, ids: &HashMap<String, Uuid>) -> (Vec<Uuid>, Vec<&'a HomeRecord>) {
    let mut all: Vec<(Uuid, &HomeRecord)> = changed
        .iter()
        .filter_map(|(item, _)| Some((ids.get(&item.source_id)?, item)))
        .flat_map(|(id, item)| item.homes.iter().map(|home| (*id, home)))
        .collect();
    fn key<'h>((id, home): &(Uuid, &'h HomeRecord)) -> (Uuid, &'h str) {
        (*id, &home.project_source_id)
    }
    all.sort_by(|a, b| key(a).cmp(&key(b)));
    all.dedup_by(|later, first| key(later) == key(first));
    all.into_iter().unzip()
}

/// Takes the written items out of the projects that no longer hold them.
async fn remove_homes(
    tx: &mut Tx,
    to: &Target<'_>,
    changed: &Changed<'_>,
    ids: &HashMap<String, Uuid>,
) -> Result<(), StoreError> {
    let (owners, homes) = homes(changed, ids);
    sqlx::query(
        "delete from work_item_homes h where h.tenant_id = $1 and h.work_item_id = any($2)
         and not exists (select 1 from unnest($3::uuid[], $4::text[]) as u (id, project_source_id)
                         where u.id = h.work_item_id and u.project_source_id = h.project_source_id)",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(ids.values().copied().collect::<Vec<Uuid>>())
    .bind(&owners)
    .bind(homes.iter().map(|home| home.project_source_id.as_str()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// Puts the written items into the projects that hold them.
async fn write_homes(
    tx: &mut Tx,
    to: &Target<'_>,
    changed: &Changed<'_>,
    ids: &HashMap<String, Uuid>,
) -> Result<(), StoreError> {
    let (owners, homes) = homes(changed, ids);
    if owners.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into work_item_homes as h (tenant_id, work_item_id, project_source_id, project_key, section)
         select $1, u.* from unnest($2::uuid[], $3::text[], $4::text[], $5::text[])
             as u (id, project_source_id, project_key, section)
         on conflict (tenant_id, work_item_id, project_source_id) do update set project_key = excluded.project_key,
             section = excluded.section
         where (h.project_key, h.section) is distinct from (excluded.project_key, excluded.section)",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(&owners)
    .bind(homes.iter().map(|home| home.project_source_id.as_str()).collect::<Vec<_>>())
    .bind(homes.iter().map(|home| home.project_key.as_str()).collect::<Vec<_>>())
    .bind(homes.iter().map(|home| home.section.as_deref()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}
