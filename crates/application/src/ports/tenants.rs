use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Slug, Tenant, TenantId, TenantStatus};
use futures::stream::BoxStream;
use uuid::Uuid;

use super::StoreError;
use crate::Ctx;

/// The deletion of a tenant: what was asked, how far it is, and in the end the proof that nothing stayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Its id.
    pub id: Uuid,
    /// Whose rows are removed.
    pub tenant: TenantId,
    /// The tenant's short name; free again once it is gone.
    pub slug: Slug,
    /// Who asked for it.
    pub requested_by: String,
    /// When.
    pub requested_at: DateTime<Utc>,
    /// When the last look found nothing; `None` as long as rows are being removed.
    pub finished_at: Option<DateTime<Utc>>,
    /// Rows removed so far, by table.
    pub removed: BTreeMap<String, i64>,
    /// Rows found afterwards, by place that was looked at: each is zero when it is finished.
    pub residue: Option<BTreeMap<String, i64>>,
}

/// A table with rows of tenants, as the catalog names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TenantTable(pub String);

/// One line of an export, without the line end.
pub type ExportLine = String;

/// The life of tenants: their state, their export, their end. All but [`export`](Self::export) is for operators and for
/// the worker, or names the tenant of the context only.
#[async_trait]
pub trait TenantStore: Send + Sync {
    /// Every tenant of the installation, by slug. For operators.
    async fn list(&self) -> Result<Vec<Tenant>, StoreError>;

    /// `None` when there is no such tenant. For operators.
    async fn by_slug(&self, slug: &Slug) -> Result<Option<Tenant>, StoreError>;

    /// The tenant of the context.
    async fn find(&self, ctx: &Ctx) -> Result<Option<Tenant>, StoreError>;

    /// Makes an active tenant suspended or a suspended one active, with its audit record. A tenant that becomes active
    /// has a job for each of its unfinished runs again. `None` when there is no such tenant; one that is being deleted
    /// stays that.
    async fn set_status(&self, ctx: &Ctx, status: TenantStatus) -> Result<Option<Tenant>, StoreError>;

    /// Says whether reads wait for their audit record.
    async fn set_strict_audit(&self, ctx: &Ctx, strict: bool) -> Result<Option<Tenant>, StoreError>;

    /// Marks the tenant as being deleted, which refuses everything of it, and enqueues the job that removes its rows for
    /// `run_at`. Asked again, answers the deletion that is under way. `None` when there is no such tenant.
    async fn request_deletion(
        &self,
        ctx: &Ctx,
        id: Uuid,
        run_at: Option<DateTime<Utc>>,
    ) -> Result<Option<Deletion>, StoreError>;

    /// `None` when there is none of that id.
    async fn deletion(&self, id: Uuid) -> Result<Option<Deletion>, StoreError>;

    /// The latest deletion of a tenant of this slug, finished or not.
    async fn deletion_of(&self, slug: &Slug) -> Result<Option<Deletion>, StoreError>;

    /// Ends what may still write: its data keys are gone, its runs belong to nobody, its waiting jobs are removed. Safe to
    /// repeat.
    async fn begin_removal(&self, deletion: &Deletion) -> Result<(), StoreError>;

    /// The tables whose rows are removed one batch at a time, in an order that leaves no reference behind.
    async fn tables(&self) -> Result<Vec<TenantTable>, StoreError>;

    /// Removes at most `limit` rows of a table and adds them to the proof, in one transaction. How many it were.
    async fn remove_rows(
        &self,
        deletion: &Deletion,
        table: &TenantTable,
        limit: i64,
    ) -> Result<i64, StoreError>;

    /// Removes the tenant itself and what hangs on it, its audit log included. Safe to repeat.
    async fn remove_tenant(&self, deletion: &Deletion) -> Result<(), StoreError>;

    /// Looks for rows of the tenant everywhere, past row-level security, and writes what it found into the proof. When
    /// that is nothing, the deletion is finished.
    async fn look_for_residue(&self, deletion: &Deletion) -> Result<Deletion, StoreError>;

    /// Everything the tenant has, secrets left out: a line for each row of each table, in one snapshot and without holding
    /// it in memory, and a last one with the counts. The audit record is written before the first line.
    /// [`StoreError::Unavailable`] when enough exports run already.
    async fn export(
        &self,
        ctx: &Ctx,
    ) -> Result<BoxStream<'static, Result<ExportLine, StoreError>>, StoreError>;
}
