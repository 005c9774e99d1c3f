//! A tool call on the record: who asked which tool or template for what, and how it ended.

use std::sync::Arc;
use std::time::Instant;

use application::Ctx;
use application::audit::{AuditService, arguments_digest};
use domain::{AuditAction, AuditEntry, AuditOutcome};
use http::StatusCode;
use serde_json::{Map, Value};

use super::outcome::{Answer, Failure};

const CALLED: AuditAction = AuditAction::new("tool.call");
const RAN: AuditAction = AuditAction::new("template.run");
const READ: AuditAction = AuditAction::new("resource.read");

/// What is known of a call of a tool before it is made.
pub(super) fn tool(name: &str, arguments: &Map<String, Value>) -> AuditEntry {
    AuditEntry::ok(CALLED).to("tool", name).asked(arguments_digest(arguments))
}

/// What is known of a run of a template before it is made.
pub(super) fn template(name: &str, arguments: &Map<String, Value>) -> AuditEntry {
    AuditEntry::ok(RAN).to("template", name).asked(arguments_digest(arguments))
}

/// What is known of a look at a resource before it is taken.
pub(super) fn resource(uri: &str) -> AuditEntry {
    AuditEntry::ok(READ).to("resource", uri)
}

/// A call under way. Dropped before its end, because the client went away, it is recorded as cancelled.
pub(super) struct Record<'a> {
    audit: &'a Arc<AuditService>,
    ctx: &'a Ctx,
    begun: Instant,
    entry: Option<AuditEntry>,
}

impl<'a> Record<'a> {
    pub(super) fn of(audit: &'a Arc<AuditService>, ctx: &'a Ctx, entry: AuditEntry, begun: Instant) -> Self {
        Self { audit, ctx, begun, entry: Some(entry) }
    }

    /// Puts the call on the record.
    pub(super) async fn keep(mut self, outcome: &Result<Answer, Failure>) -> Result<(), Failure> {
        let Some(entry) = self.entry.take() else { return Ok(()) };
        let entry = self.timed(ended(entry, outcome));
        Ok(self.audit.note_read(self.ctx, entry).await?)
    }

    fn timed(&self, entry: AuditEntry) -> AuditEntry {
        entry.with("duration_ms", u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let entry = self.timed(entry.ended(AuditOutcome::Failed).with("code", "cancelled"));
        let (audit, ctx) = (self.audit.clone(), self.ctx.clone());
        runtime.spawn(async move {
            if let Err(error) = audit.note_read(&ctx, entry).await {
                tracing::error!(request.id = %ctx.request_id, %error, "A cancelled call is not on the record");
            }
        });
    }
}

fn ended(entry: AuditEntry, outcome: &Result<Answer, Failure>) -> AuditEntry {
    match outcome {
        Ok(answer) => match answer.size {
            Some(size) => {
                entry.with("rows", size.rows).with("bytes", size.bytes).with("truncated", size.truncated)
            }
            None => entry,
        },
        Err(Failure::UnknownTool(_)) => entry.ended(AuditOutcome::Denied).with("code", "unknown_tool"),
        // The call that brings the answer is the one that does something.
        Err(Failure::Ask(_)) => entry.with("asked", true),
        Err(Failure::Internal) => entry.ended(AuditOutcome::Failed).with("code", "internal"),
        Err(Failure::Tool(error)) => {
            let refused = matches!(
                error.status,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
            );
            let outcome = if refused { AuditOutcome::Denied } else { AuditOutcome::Failed };
            entry.ended(outcome).with("code", error.body.code)
        }
    }
}
