//! The audit log as the application role writes it, and as somebody who may write everything tampers with it.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "statements of the tests' own making"
)]

use crate::support;

mod changes;
mod queue;
mod reading;
mod tampering;

use std::time::Duration;

use application::Ctx;
use application::ports::{AuditFilter, AuditLog, AuditVerdict, ListPage};
use domain::{AuditAction, AuditEntry, AuditRecord};
use futures::TryStreamExt;
use patchbay_infrastructure::postgres::{AuditQueueBounds, PgAuditLog};
use support::TestDb;

pub(crate) const CALL: AuditAction = AuditAction::new("tool.call");

/// What a tool call leaves.
pub(crate) fn call(n: usize) -> AuditEntry {
    AuditEntry::ok(CALL)
        .to("tool", format_args!("tool_{n}"))
        .asked([7; 32])
        .with("rows", n)
        .with("duration_ms", 3)
}

impl TestDb {
    /// A log whose writer does not linger.
    pub(crate) fn log(&self) -> PgAuditLog {
        self.log_with(AuditQueueBounds { linger: Duration::from_millis(5), ..AuditQueueBounds::default() })
    }

    pub(crate) fn log_with(&self, bounds: AuditQueueBounds) -> PgAuditLog {
        PgAuditLog::with_bounds(self.db.clone(), self.audit(), bounds)
    }

    pub(crate) async fn verdict(&self, ctx: &Ctx) -> AuditVerdict {
        self.log().verify(ctx, None).await.unwrap()
    }
}

/// A context whose reads wait for their record.
pub(crate) fn strict(ctx: &Ctx) -> Ctx {
    Ctx { strict_audit: true, ..ctx.clone() }
}

/// Every record of the tenant, oldest first.
pub(crate) async fn records(log: &PgAuditLog, ctx: &Ctx) -> Vec<AuditRecord> {
    log.export(ctx, AuditFilter::default(), i64::MAX).try_collect().await.unwrap()
}

pub(crate) async fn newest(log: &PgAuditLog, ctx: &Ctx, filter: &AuditFilter) -> Vec<AuditRecord> {
    log.list(ctx, filter, &ListPage { limit: 200, cursor: None }).await.unwrap().items
}

/// Waits until it is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    for _ in 0..1_000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within 10 s");
}
