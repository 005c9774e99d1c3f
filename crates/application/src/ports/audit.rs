use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{AuditEntry, AuditRecord};
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
    /// The last record's place and hash, to be kept elsewhere: a later check against it shows a rolled-back log.
    pub head: Option<(i64, [u8; 32])>,
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

    /// Everything the filter matches, oldest first, in one snapshot and without holding it in memory.
    fn export(&self, ctx: &Ctx, filter: AuditFilter) -> BoxStream<'static, Result<AuditRecord, StoreError>>;

    /// Looks the tenant's chain through.
    async fn verify(&self, ctx: &Ctx) -> Result<AuditVerdict, StoreError>;
}
