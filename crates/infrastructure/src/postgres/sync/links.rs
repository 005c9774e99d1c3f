//! Links between items: set-wise, and only what changed.

use application::ports::StoreError;
use domain::record::LinkRecord;

use super::columns::column;
use super::pages::Target;
use crate::postgres::db::{Tx, store_error};

/// Writes them, and removes what else is stored of the items that the page holds completely.
pub(super) async fn write(
    tx: &mut Tx,
    to: &Target<'_>,
    links: &mut Vec<LinkRecord>,
    complete: &[String],
) -> Result<(), StoreError> {
    fn key(l: &LinkRecord) -> [&str; 5] {
        [&l.item_ref_key, l.type_norm, &l.to_key, &l.type_original, &l.source_id]
    }
    links.sort_by(|a, b| key(a).cmp(&key(b)));
    links.dedup_by(|later, first| key(later) == key(first));
    if !complete.is_empty() {
        sqlx::query(
            "delete from links t where t.tenant_id = $1 and t.instance_id = $2 and t.item_ref_key = any($3)
             and not exists (select 1 from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
                 as u (item_ref_key, type_norm, to_key, type_original, source_id)
                 where u.item_ref_key = t.item_ref_key and u.type_norm = t.type_norm and u.to_key = t.to_key
                     and u.type_original = t.type_original and u.source_id = t.source_id)",
        )
        .bind(to.ctx.tenant.as_uuid())
        .bind(to.key.instance.as_uuid())
        .bind(complete)
        .bind(column(links, |l| l.item_ref_key.as_str()))
        .bind(column(links, |l| l.type_norm))
        .bind(column(links, |l| l.to_key.as_str()))
        .bind(column(links, |l| l.type_original.as_str()))
        .bind(column(links, |l| l.source_id.as_str()))
        .execute(&mut **tx)
        .await
        .map_err(store_error)?;
    }
    if links.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into links (tenant_id, instance_id, synced_at, item_ref_key, type_norm, type_original, to_ref_key, to_key,
             to_url, source_id)
         select $1, $2, $3, u.*
         from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
             as u (item_ref_key, type_norm, type_original, to_ref_key, to_key, to_url, source_id)
         where 0 = (select count(*) from links t where t.tenant_id = $1 and t.instance_id = $2
             and t.item_ref_key = u.item_ref_key and t.type_norm = u.type_norm and t.to_key = u.to_key
             and t.type_original = u.type_original and t.source_id = u.source_id and t.to_url = u.to_url
             and t.to_ref_key is not distinct from u.to_ref_key)
         on conflict (tenant_id, instance_id, item_ref_key, type_norm, to_key, type_original, source_id) do update set
             to_ref_key = excluded.to_ref_key, to_url = excluded.to_url, synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(column(links, |l| l.item_ref_key.as_str()))
    .bind(column(links, |l| l.type_norm))
    .bind(column(links, |l| l.type_original.as_str()))
    .bind(column(links, |l| l.to_ref_key.as_deref()))
    .bind(column(links, |l| l.to_key.as_str()))
    .bind(column(links, |l| l.to_url.as_str()))
    .bind(column(links, |l| l.source_id.as_str()))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}
