//! The audit log, of what is noted; the twins of the stores write no records of their changes.

use async_trait::async_trait;
use domain::{AuditEntry, AuditHead, AuditRecord, TenantId};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::instances::page_of;
use super::{Memory, moment};
use crate::Ctx;
use crate::ports::{AuditFilter, AuditLog, AuditVerdict, Ids, ListCursor, ListPage, Listing, StoreError};

impl Memory {
    /// What is on a tenant's record, oldest first.
    pub fn records(&self, tenant: TenantId) -> Vec<AuditRecord> {
        self.state().audit.iter().filter(|(of, _)| *of == tenant).map(|(_, record)| record.clone()).collect()
    }
}

fn matches(filter: &AuditFilter, record: &AuditRecord) -> bool {
    let same = |wanted: &Option<String>, value: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
    };
    let action = filter.action.as_deref().is_none_or(|wanted| {
        record.action == wanted || (wanted.ends_with('.') && record.action.starts_with(wanted))
    });
    let target = record.target.as_ref();
    action
        && filter.principal.is_none_or(|wanted| record.principal_id == Some(wanted))
        && same(&filter.target_kind, target.map(|(kind, _)| kind.as_str()))
        && same(&filter.target_id, target.map(|(_, id)| id.as_str()))
        && same(&filter.outcome, Some(record.outcome.as_str()))
        && filter.since.is_none_or(|since| record.at >= since)
        && filter.until.is_none_or(|until| record.at < until)
}

#[async_trait]
impl AuditLog for Memory {
    async fn note(&self, ctx: &Ctx, entry: AuditEntry) -> Result<(), StoreError> {
        self.reach("audit.note").await?;
        let id = self.uuid();
        let mut state = self.state();
        let seq = state.audit.iter().filter(|(of, _)| *of == ctx.tenant).count() + 1;
        let record = AuditRecord {
            seq: i64::try_from(seq).unwrap_or(i64::MAX),
            id,
            at: moment(),
            principal_kind: ctx.principal.kind().to_owned(),
            principal_id: ctx.principal.id(),
            principal_name: ctx.principal.label().to_owned(),
            client: ctx.origin.client.clone(),
            address: ctx.origin.address,
            request_id: ctx.request_id.as_uuid(),
            action: entry.action.as_str().to_owned(),
            target: entry.target.map(|target| (target.kind.to_owned(), target.id)),
            outcome: entry.outcome.as_str().to_owned(),
            arguments_digest: entry.arguments_digest,
            details: entry.details,
            hash: [0; 32],
        };
        state.audit.push((ctx.tenant, record));
        Ok(())
    }

    async fn list(
        &self,
        ctx: &Ctx,
        filter: &AuditFilter,
        page: &ListPage,
    ) -> Result<Listing<AuditRecord>, StoreError> {
        self.reach("audit.list").await?;
        let mut rows = self.records(ctx.tenant);
        rows.retain(|record| matches(filter, record));
        rows.reverse();
        Ok(page_of(rows, page, |record| ListCursor { after: record.seq.to_string(), id: record.id }))
    }

    async fn head(&self, ctx: &Ctx) -> Result<Option<AuditHead>, StoreError> {
        self.reach("audit.head").await?;
        Ok(self.records(ctx.tenant).last().map(|record| AuditHead { seq: record.seq, hash: record.hash }))
    }

    fn export(
        &self,
        ctx: &Ctx,
        filter: AuditFilter,
        last: i64,
    ) -> BoxStream<'static, Result<AuditRecord, StoreError>> {
        let rows = self.records(ctx.tenant);
        stream::iter(
            rows.into_iter().filter(move |record| record.seq <= last && matches(&filter, record)).map(Ok),
        )
        .boxed()
    }

    async fn verify(&self, ctx: &Ctx, expected: Option<&AuditHead>) -> Result<AuditVerdict, StoreError> {
        let head = self.head(ctx).await?;
        let records = head.map_or(0, |head| head.seq);
        let broken = expected
            .filter(|expected| expected.seq > records)
            .map(|_| (records + 1, "rolled back".to_owned()));
        Ok(AuditVerdict { records, head, broken })
    }
}
