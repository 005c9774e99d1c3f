//! The life of tenants: their state, their export, their end.

mod catalog;
mod deletion;
mod export;

use std::sync::Arc;

use application::Ctx;
use application::ports::{Deletion, ExportLine, StoreError, TenantStore, TenantTable};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{AuditAction, AuditEntry, Slug, Tenant, TenantId, TenantStatus};
use futures::stream::BoxStream;
use tokio::sync::Semaphore;
use uuid::Uuid;

pub use self::catalog::{EXPORTED_BYTES, WITHHELD};
use super::audit::AuditChain;
use super::db::{Db, Tx, store_error};
use super::jobs;

const SUSPENDED: AuditAction = AuditAction::new("tenant.suspend");
const RESUMED: AuditAction = AuditAction::new("tenant.resume");
const UPDATED: AuditAction = AuditAction::new("tenant.update");
const EXPORTED: AuditAction = AuditAction::new("tenant.export");
const DELETED: AuditAction = AuditAction::new("tenant.delete");

/// Exports at once in this process: each holds a connection, and the database's horizon, for as long as it lasts.
const MOST_EXPORTS: usize = 2;

/// [`TenantStore`] over PostgreSQL.
#[derive(Debug, Clone)]
pub struct PgTenants {
    db: Db,
    audit: AuditChain,
    exports: Arc<Semaphore>,
}

impl PgTenants {
    /// Uses these connections, and puts changes on this record.
    pub fn new(db: Db, audit: AuditChain) -> Self {
        Self { db, audit, exports: Arc::new(Semaphore::new(MOST_EXPORTS)) }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    slug: String,
    status: String,
    strict_audit: bool,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Tenant {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: TenantId::new(row.id),
            slug: row
                .slug
                .parse()
                .map_err(|error| StoreError::Internal(Box::<domain::Invalid>::new(error)))?,
            status: TenantStatus::parse(&row.status)
                .ok_or_else(|| StoreError::Internal("unknown tenant status".into()))?,
            strict_audit: row.strict_audit,
            created_at: row.created_at,
        })
    }
}

async fn find(tx: &mut Tx, ctx: &Ctx) -> Result<Option<Tenant>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("select id, slug, status, strict_audit, created_at from tenants where id = $1")
            .bind(ctx.tenant.as_uuid())
            .fetch_optional(&mut **tx)
            .await
            .map_err(store_error)?;
    row.map(Tenant::try_from).transpose()
}

#[async_trait]
impl TenantStore for PgTenants {
    async fn list(&self) -> Result<Vec<Tenant>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let rows: Vec<Row> =
            sqlx::query_as("select id, slug, status, strict_audit, created_at from public.list_tenants()")
                .fetch_all(&mut *tx)
                .await
                .map_err(store_error)?;
        rows.into_iter().map(Tenant::try_from).collect()
    }

    async fn by_slug(&self, slug: &Slug) -> Result<Option<Tenant>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let row: Option<Row> =
            sqlx::query_as("select id, slug, status, strict_audit, created_at from public.find_tenant($1)")
                .bind(slug.as_str())
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_error)?;
        row.map(Tenant::try_from).transpose()
    }

    async fn find(&self, ctx: &Ctx) -> Result<Option<Tenant>, StoreError> {
        let mut tx = self.db.tenant_read(ctx).await?;
        find(&mut tx, ctx).await
    }

    async fn set_status(&self, ctx: &Ctx, status: TenantStatus) -> Result<Option<Tenant>, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        let changed = sqlx::query(
            "update tenants set status = $2, suspended_at = case when $2 = 'suspended' then now() end
             where id = $1 and status not in ($2, 'deleting')",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(status.as_str())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?
        .rows_affected()
            > 0;
        let tenant = find(&mut tx, ctx).await?;
        if changed {
            let action = match status {
                TenantStatus::Active => {
                    // Runs that met the suspension have no job any more; the others get theirs replaced.
                    jobs::enqueue_unfinished(&mut tx, ctx.tenant).await?;
                    RESUMED
                }
                TenantStatus::Suspended | TenantStatus::Deleting => SUSPENDED,
            };
            self.audit.record(&mut tx, ctx, &AuditEntry::ok(action).to("tenant", ctx.tenant)).await?;
            tx.commit().await.map_err(store_error)?;
        }
        Ok(tenant)
    }

    async fn set_strict_audit(&self, ctx: &Ctx, strict: bool) -> Result<Option<Tenant>, StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        sqlx::query("update tenants set strict_audit = $2 where id = $1")
            .bind(ctx.tenant.as_uuid())
            .bind(strict)
            .execute(&mut *tx)
            .await
            .map_err(store_error)?;
        let tenant = find(&mut tx, ctx).await?;
        let entry = AuditEntry::ok(UPDATED).to("tenant", ctx.tenant).with("strict_audit", strict);
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        Ok(tenant)
    }

    async fn request_deletion(
        &self,
        ctx: &Ctx,
        id: Uuid,
        run_at: Option<DateTime<Utc>>,
    ) -> Result<Option<Deletion>, StoreError> {
        deletion::request(&self.db, &self.audit, ctx, id, run_at).await
    }

    async fn deletion(&self, id: Uuid) -> Result<Option<Deletion>, StoreError> {
        deletion::find(&self.db, id).await
    }

    async fn deletion_of(&self, slug: &Slug) -> Result<Option<Deletion>, StoreError> {
        deletion::latest_of(&self.db, slug).await
    }

    async fn begin_removal(&self, deletion: &Deletion) -> Result<(), StoreError> {
        deletion::begin(&self.db, deletion).await
    }

    async fn tables(&self) -> Result<Vec<TenantTable>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        catalog::removable(&mut tx).await
    }

    async fn remove_rows(
        &self,
        deletion: &Deletion,
        table: &TenantTable,
        limit: i64,
    ) -> Result<i64, StoreError> {
        deletion::remove_rows(&self.db, deletion, table, limit).await
    }

    async fn remove_tenant(&self, deletion: &Deletion) -> Result<(), StoreError> {
        deletion::remove_tenant(&self.db, deletion).await
    }

    async fn look_for_residue(&self, deletion: &Deletion) -> Result<Deletion, StoreError> {
        deletion::look(&self.db, deletion).await
    }

    async fn export(
        &self,
        ctx: &Ctx,
    ) -> Result<BoxStream<'static, Result<ExportLine, StoreError>>, StoreError> {
        export::begin(&self.db, &self.audit, &self.exports, ctx).await
    }
}
