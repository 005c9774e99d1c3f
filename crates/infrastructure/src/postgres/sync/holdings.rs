//! What hangs on items by their own ids: labels, and the projects that hold them.

use std::collections::HashMap;

use application::ports::StoreError;
use domain::record::{HomeRecord, ItemRecord};
use uuid::Uuid;

use super::columns::column;
use super::items::Changed;
use super::pages::Target;
use crate::postgres::db::{Tx, store_error};

const REMOVE_LABELS: &str =
    "delete from work_item_labels l where l.tenant_id = $1 and l.work_item_id = any($2)
    and not exists (select 1 from unnest($3::uuid[], $4::text[]) as u (id, label)
                    where u.id = l.work_item_id and u.label = l.label)";
const ADD_LABELS: &str = "insert into work_item_labels (tenant_id, work_item_id, label)
    select $1, u.id, u.label from unnest($2::uuid[], $3::text[]) as u (id, label)
    on conflict do nothing";
const REMOVE_HOMES: &str = "delete from work_item_homes h where h.tenant_id = $1 and h.work_item_id = any($2)
    and not exists (select 1 from unnest($3::uuid[], $4::text[]) as u (id, project_source_id)
                    where u.id = h.work_item_id and u.project_source_id = h.project_source_id)";
const WRITE_HOMES: &str =
    "insert into work_item_homes as h (tenant_id, work_item_id, project_source_id, project_key, section)
    select $1, u.* from unnest($2::uuid[], $3::text[], $4::text[], $5::text[])
        as u (id, project_source_id, project_key, section)
    on conflict (tenant_id, work_item_id, project_source_id) do update set project_key = excluded.project_key,
        section = excluded.section
    where (h.project_key, h.section) is distinct from (excluded.project_key, excluded.section)";

/// Brings them to what the written items have. `any_stored`: some of the items were here before.
pub(super) async fn write(
    tx: &mut Tx,
    to: &Target<'_>,
    changed: &Changed<'_>,
    ids: &HashMap<String, Uuid>,
    any_stored: bool,
) -> Result<(), StoreError> {
    let tenant = to.ctx.tenant.as_uuid();
    let (labeled, labels) = owned(changed, ids, |item| &item.labels, |label| label.as_str());
    let (held, homes) = owned(changed, ids, |item| &item.homes, |home| home.project_source_id.as_str());
    let labels = column(&labels, |label| label.as_str());
    let projects = column(&homes, |home| home.project_source_id.as_str());
    if any_stored {
        let written: Vec<Uuid> = ids.values().copied().collect();
        for (statement, owners, kept) in
            [(REMOVE_LABELS, &labeled, &labels), (REMOVE_HOMES, &held, &projects)]
        {
            let query = sqlx::query(statement).bind(tenant).bind(&written).bind(owners).bind(kept);
            query.execute(&mut **tx).await.map_err(store_error)?;
        }
    }
    if !labels.is_empty() {
        let query = sqlx::query(ADD_LABELS).bind(tenant).bind(&labeled).bind(&labels);
        query.execute(&mut **tx).await.map_err(store_error)?;
    }
    if !homes.is_empty() {
        let query = sqlx::query(WRITE_HOMES)
            .bind(tenant)
            .bind(&held)
            .bind(&projects)
            .bind(column(&homes, |home: &&HomeRecord| home.project_key.as_str()))
            .bind(column(&homes, |home| home.section.as_deref()));
        query.execute(&mut **tx).await.map_err(store_error)?;
    }
    Ok(())
}

/// Owner and value of everything of a kind that the written items have, each once.
fn owned<'a, T>(
    changed: &Changed<'a>,
    ids: &HashMap<String, Uuid>,
    of: impl Fn(&'a ItemRecord) -> &'a Vec<T>,
    key: impl Fn(&'a T) -> &'a str,
) -> (Vec<Uuid>, Vec<&'a T>) {
    let mut all: Vec<(Uuid, &'a T)> = changed
        .iter()
        .filter_map(|(item, _)| Some((*ids.get(&item.source_id)?, *item)))
        .flat_map(|(id, item)| of(item).iter().map(move |value| (id, value)))
        .collect();
    all.sort_by(|a, b| (a.0, key(a.1)).cmp(&(b.0, key(b.1))));
    all.dedup_by(|later, first| (later.0, key(later.1)) == (first.0, key(first.1)));
    all.into_iter().unzip()
}
