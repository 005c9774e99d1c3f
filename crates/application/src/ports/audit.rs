use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{AuditEntry, AuditHead, AuditRecord};
use futures::stream::BoxStream;
use uuid::Uuid;

use super::{ListPage, Listing, StoreError};
use crate::Ctx;

/// Which records to read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditFilter {
    /// Of this key or person.
    pub principal: Option<Uuid>,
    /// Of this action, or of all that begin with it when it ends in a dot: `instance.`
    pub action: Option<String>,
    /// About this kind of thing.
    pub target_kind: Option<String>,
    /// About this very thing.
    pub target_id: Option<String>,
    /// `ok`, `denied` or `failed`.
    pub outcome: Option<String>,
    /// From this moment on.
    pub since: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// What looking a tenant's chain through found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerdict {
    /// Records looked at.
    pub records: i64,
    /// The chain's end, to be kept elsewhere: a later check against it shows a rolled-back log. `None` when the tenant
    /// has no records.
    pub head: Option<AuditHead>,
    /// The first place where the chain does not hold, and why.
    pub broken: Option<(i64, String)>,
}

/// The record of a tenant. Changes are written by the stores in the transaction of the change itself; this is for
/// everything else.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Puts a read or a refusal on the record: in a batch, within 250 ms. Waits while the queue is full, and for the
    /// batch itself when the tenant is [strict](Ctx::strict_audit). [`StoreError::Unavailable`] when it cannot be kept.
    async fn note(&self, ctx: &Ctx, entry: AuditEntry) -> Result<(), StoreError>;

    /// Newest first.
    async fn list(
        &self,
        ctx: &Ctx,
        filter: &AuditFilter,
        page: &ListPage,
    ) -> Result<Listing<AuditRecord>, StoreError>;

    /// The end of the tenant's chain. `None` when the tenant has no records.
    async fn head(&self, ctx: &Ctx) -> Result<Option<AuditHead>, StoreError>;

    /// Everything the filter matches up to and with this place, oldest first and without holding it in memory. Records
    /// never change, so that this is one picture however long the reader takes.
    fn export(
        &self,
        ctx: &Ctx,
        filter: AuditFilter,
        last: i64,
    ) -> BoxStream<'static, Result<AuditRecord, StoreError>>;

    /// Looks the tenant's chain through; with `expected`, also whether that record is still there.
    async fn verify(&self, ctx: &Ctx, expected: Option<&AuditHead>) -> Result<AuditVerdict, StoreError>;
}
