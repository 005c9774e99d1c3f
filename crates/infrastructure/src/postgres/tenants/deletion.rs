//! The end of a tenant. Each step is one transaction that holds the row of the proof, so that it may be done by several
//! at once, and again after a crash.

use std::collections::BTreeMap;

use application::Ctx;
use application::ports::{Deletion, StoreError, TenantTable};
use chrono::{DateTime, Utc};
use domain::{AuditEntry, RequestId, Slug, TenantId};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::{DELETED, catalog};
use crate::postgres::audit::AuditChain;
use crate::postgres::db::{Db, Tx, store_error};
use crate::postgres::jobs;

const COLUMNS: &str =
    "select id, deleted_tenant, slug, requested_by, requested_at, finished_at, removed, residue
     from tenant_deletions ";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    deleted_tenant: Uuid,
    slug: String,
    requested_by: String,
    requested_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    removed: Option<Json<BTreeMap<String, i64>>>,
    residue: Option<Json<BTreeMap<String, i64>>>,
}

impl TryFrom<Row> for Deletion {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            tenant: TenantId::new(row.deleted_tenant),
            slug: row
                .slug
                .parse()
                .map_err(|error| StoreError::Internal(Box::<domain::Invalid>::new(error)))?,
            requested_by: row.requested_by,
            requested_at: row.requested_at,
            finished_at: row.finished_at,
            removed: row.removed.map(|removed| removed.0).unwrap_or_default(),
            residue: row.residue.map(|residue| residue.0),
        })
    }
}

/// A transaction in the context of the tenant that goes.
async fn begin_tx(db: &Db, deletion: &Deletion) -> Result<Tx, StoreError> {
    db.tenant_tx(&Ctx::system(deletion.tenant, "deletion", RequestId::new(deletion.id))).await
}

/// Keeps others from the same step. Whether there is still something to do; never for a tenant that is in use.
async fn hold(tx: &mut Tx, deletion: &Deletion) -> Result<bool, StoreError> {
    let held: Option<i32> = sqlx::query_scalar(
        "select 1 from tenant_deletions d where d.id = $1 and d.deleted_tenant = $2 and d.finished_at is null
             and not exists (select from tenants t where t.id = $2 and t.status <> 'deleting')
         for update of d",
    )
    .bind(deletion.id)
    .bind(deletion.tenant.as_uuid())
    .fetch_optional(&mut **tx)
    .await
    .map_err(store_error)?;
    Ok(held.is_some())
}

/// Adds rows to the proof.
async fn count(tx: &mut Tx, deletion: &Deletion, place: &str, rows: i64) -> Result<(), StoreError> {
    if rows == 0 {
        return Ok(());
    }
    sqlx::query(
        "update tenant_deletions set removed = coalesce(removed, '{}')
             || jsonb_build_object($2::text, coalesce((removed ->> $2)::bigint, 0) + $3)
         where id = $1",
    )
    .bind(deletion.id)
    .bind(place)
    .bind(rows)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

fn rows(affected: u64) -> i64 {
    i64::try_from(affected).unwrap_or(i64::MAX)
}

pub(super) async fn request(
    db: &Db,
    audit: &AuditChain,
    ctx: &Ctx,
    id: Uuid,
    run_at: Option<DateTime<Utc>>,
) -> Result<Option<Deletion>, StoreError> {
    let mut tx = db.tenant_tx(ctx).await?;
    let slug: Option<String> = sqlx::query_scalar("select slug from tenants where id = $1 for update")
        .bind(ctx.tenant.as_uuid())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
    let Some(slug) = slug else { return Ok(None) };
    let under_way: Option<Uuid> = sqlx::query_scalar(
        "select id from tenant_deletions where deleted_tenant = $1 and finished_at is null",
    )
    .bind(ctx.tenant.as_uuid())
    .fetch_optional(&mut *tx)
    .await
    .map_err(store_error)?;
    let id = match under_way {
        Some(id) => id,
        None => {
            sqlx::query(
                "with marked as (update tenants set status = 'deleting',
                     suspended_at = coalesce(suspended_at, now()) where id = $2)
                 insert into tenant_deletions (id, deleted_tenant, slug, requested_by) values ($1, $2, $3, $4)",
            )
            .bind(id)
            .bind(ctx.tenant.as_uuid())
            .bind(&slug)
            .bind(ctx.principal.label())
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
            audit.record(&mut tx, ctx, &AuditEntry::ok(DELETED).to("tenant", ctx.tenant)).await?;
            id
        }
    };
    jobs::enqueue_deletion(&mut tx, id, run_at).await?;
    let deletion = find_in(&mut tx, id).await?;
    tx.commit().await.map_err(store_error)?;
    Ok(deletion)
}

async fn find_in(tx: &mut Tx, id: Uuid) -> Result<Option<Deletion>, StoreError> {
    let mut query = sqlx::QueryBuilder::new(COLUMNS);
    query.push("where id = ").push_bind(id);
    let row: Option<Row> = query.build_query_as().fetch_optional(&mut **tx).await.map_err(store_error)?;
    row.map(Deletion::try_from).transpose()
}

pub(super) async fn find(db: &Db, id: Uuid) -> Result<Option<Deletion>, StoreError> {
    let mut tx = db.system_tx().await?;
    find_in(&mut tx, id).await
}

pub(super) async fn latest_of(db: &Db, slug: &Slug) -> Result<Option<Deletion>, StoreError> {
    let mut tx = db.system_tx().await?;
    let mut query = sqlx::QueryBuilder::new(COLUMNS);
    query.push("where slug = ").push_bind(slug.as_str()).push(" order by requested_at desc, id desc limit 1");
    let row: Option<Row> = query.build_query_as().fetch_optional(&mut *tx).await.map_err(store_error)?;
    row.map(Deletion::try_from).transpose()
}

/// Shreds first: from here on nobody can open what was sealed for the tenant, in backups either. Runs get a new fence,
/// which waits for a page that is being written and voids all later ones.
pub(super) async fn begin(db: &Db, deletion: &Deletion) -> Result<(), StoreError> {
    let mut tx = begin_tx(db, deletion).await?;
    if !hold(&mut tx, deletion).await? {
        return Ok(());
    }
    let tenant = deletion.tenant.as_uuid();
    let keys = sqlx::query("delete from tenant_data_keys where tenant_id = $1")
        .bind(tenant)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    count(&mut tx, deletion, "tenant_data_keys", rows(keys.rows_affected())).await?;
    sqlx::query(
        "update sync_runs set state = 'cancelled', fence = fence + 1, resume_at = null
         where tenant_id = $1 and state in ('queued', 'running', 'waiting')",
    )
    .bind(tenant)
    .execute(&mut *tx)
    .await
    .map_err(store_error)?;
    sqlx::query("select public.remove_tenant_jobs()").execute(&mut *tx).await.map_err(store_error)?;
    let people: i64 = sqlx::query_scalar("select public.forget_members()")
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
    count(&mut tx, deletion, "users", people).await?;
    let sign_ins = sqlx::query("delete from sign_in_states where tenant_slug = $1")
        .bind(deletion.slug.as_str())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    count(&mut tx, deletion, "sign_in_states", rows(sign_ins.rows_affected())).await?;
    tx.commit().await.map_err(store_error)
}

pub(super) async fn remove_rows(
    db: &Db,
    deletion: &Deletion,
    table: &TenantTable,
    limit: i64,
) -> Result<i64, StoreError> {
    let mut tx = begin_tx(db, deletion).await?;
    if !hold(&mut tx, deletion).await? {
        return Ok(0);
    }
    let removed = rows(catalog::delete_some(&mut tx, table, deletion.tenant.as_uuid(), limit).await?);
    count(&mut tx, deletion, &table.0, removed).await?;
    tx.commit().await.map_err(store_error)?;
    Ok(removed)
}

/// The application may not take anything off the record, so the log goes with its tenant: by a trigger, as its owner.
pub(super) async fn remove_tenant(db: &Db, deletion: &Deletion) -> Result<(), StoreError> {
    let mut tx = begin_tx(db, deletion).await?;
    if !hold(&mut tx, deletion).await? {
        return Ok(());
    }
    let tenant = deletion.tenant.as_uuid();
    let (records, heads): (i64, i64) = sqlx::query_as(
        "select (select count(*) from audit_log where tenant_id = $1),
                (select count(*) from audit_heads where tenant_id = $1)",
    )
    .bind(tenant)
    .fetch_one(&mut *tx)
    .await
    .map_err(store_error)?;
    let gone = sqlx::query("delete from tenants where id = $1")
        .bind(tenant)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
    count(&mut tx, deletion, "audit_log", records).await?;
    count(&mut tx, deletion, "audit_heads", heads).await?;
    count(&mut tx, deletion, "tenants", rows(gone.rows_affected())).await?;
    tx.commit().await.map_err(store_error)
}

pub(super) async fn look(db: &Db, deletion: &Deletion) -> Result<Deletion, StoreError> {
    let mut tx = begin_tx(db, deletion).await?;
    if hold(&mut tx, deletion).await? {
        let mut residue: BTreeMap<String, i64> =
            sqlx::query_as::<_, (String, i64)>("select place, remaining from public.tenant_residue()")
                .fetch_all(&mut *tx)
                .await
                .map_err(store_error)?
                .into_iter()
                .collect();
        let (jobs_left, sign_ins): (i64, i64) = sqlx::query_as(
            "select public.remove_tenant_jobs(), (select count(*) from sign_in_states where tenant_slug = $1)",
        )
        .bind(deletion.slug.as_str())
        .fetch_one(&mut *tx)
        .await
        .map_err(store_error)?;
        residue.insert("job_queue".to_owned(), jobs_left);
        residue.insert("sign_in_states".to_owned(), sign_ins);
        let clean = residue.values().all(|&rows| rows == 0);
        let residue: Value = residue.into_iter().map(|(place, rows)| (place, Value::from(rows))).collect();
        sqlx::query(
            "update tenant_deletions set residue = $2, finished_at = case when $3 then now() end where id = $1",
        )
        .bind(deletion.id)
        .bind(residue)
        .bind(clean)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        if clean {
            jobs::remove_deletion(&mut tx, deletion.id).await?;
        }
    }
    let found = find_in(&mut tx, deletion.id).await?;
    tx.commit().await.map_err(store_error)?;
    found.ok_or_else(|| StoreError::Internal("the record of a deletion is gone".into()))
}
