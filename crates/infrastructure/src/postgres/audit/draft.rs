//! A record before it has its place in a chain.

use std::net::IpAddr;

use application::Ctx;
use application::ports::StoreError;
use chrono::{DateTime, SubsecRound, Utc};
use domain::{AuditAction, AuditEntry, AuditOutcome, RequestId};
use uuid::Uuid;

/// Names and ids longer than this are cut: they come from callers.
const LONGEST_TEXT: usize = 200;

/// A record before it has its place. Hundreds wait at a time, filled by threads that go on serving: what they hold pushes
/// other things out of the processor's caches, so all texts are one piece of memory.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: Uuid,
    pub(super) at: DateTime<Utc>,
    pub(super) principal_kind: &'static str,
    pub(super) principal_id: Option<Uuid>,
    pub(super) address: Option<IpAddr>,
    pub(super) request_id: RequestId,
    pub(super) action: AuditAction,
    pub(super) target_kind: Option<&'static str>,
    pub(super) outcome: AuditOutcome,
    pub(super) arguments_digest: Option<[u8; 32]>,
    /// The principal's name, the client, the target's id and the details, one behind the other.
    texts: String,
    /// Where the first three end in it.
    ends: [usize; 3],
    has_client: bool,
}

impl Draft {
    /// What is to be recorded, now.
    pub(super) fn new(ctx: &Ctx, entry: &AuditEntry) -> Result<Self, StoreError> {
        let details =
            serde_json::to_string(&entry.details).map_err(|error| StoreError::Internal(Box::new(error)))?;
        let (name, client) = (ctx.principal.label(), ctx.origin.client.as_deref());
        let before =
            [name, client.unwrap_or_default(), entry.target.as_ref().map_or("", |target| &target.id)];
        let length = before.iter().map(|text| text.len()).sum::<usize>() + details.len();
        let mut texts = String::with_capacity(length);
        let ends = before.map(|text| {
            push_clean(&mut texts, text);
            texts.len()
        });
        texts.push_str(&details);
        Ok(Self {
            id: Uuid::now_v7(),
            at: now(),
            principal_kind: ctx.principal.kind(),
            principal_id: ctx.principal.id(),
            address: ctx.origin.address,
            request_id: ctx.request_id,
            action: entry.action,
            target_kind: entry.target.as_ref().map(|target| target.kind),
            outcome: entry.outcome,
            arguments_digest: entry.arguments_digest,
            texts,
            ends,
            has_client: client.is_some(),
        })
    }

    pub(super) fn principal_name(&self) -> &str {
        &self.texts[..self.ends[0]]
    }

    pub(super) fn client(&self) -> Option<&str> {
        self.has_client.then(|| &self.texts[self.ends[0]..self.ends[1]])
    }

    pub(super) fn target_id(&self) -> Option<&str> {
        self.target_kind.map(|_| &self.texts[self.ends[1]..self.ends[2]])
    }

    /// As JSON.
    pub(super) fn details(&self) -> &str {
        &self.texts[self.ends[2]..]
    }

    /// How much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.texts.capacity()
    }
}

/// Without what PostgreSQL cannot keep, and not longer than needed to recognise it.
fn push_clean(texts: &mut String, text: &str) {
    if text.len() <= LONGEST_TEXT && !text.contains('\0') {
        texts.push_str(text);
    } else {
        texts.extend(text.chars().filter(|&c| c != '\0').take(LONGEST_TEXT));
    }
}

/// To the microsecond, as PostgreSQL keeps it: the hash is over what is read back.
fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "when it went on the record; nothing is decided by it")]
    Utc::now().trunc_subsecs(6)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use application::ctx::Origin;
    use domain::TenantId;

    use super::*;

    fn draft(client: Option<&str>, entry: &AuditEntry) -> Draft {
        let mut ctx = Ctx::system(TenantId::new(Uuid::nil()), "gardener", RequestId::new(Uuid::nil()));
        ctx.origin = Arc::new(Origin { address: None, client: client.map(str::to_owned) });
        Draft::new(&ctx, entry).unwrap()
    }

    #[test]
    fn each_text_is_had_back() {
        let entry = AuditEntry::ok(AuditAction::new("hedge.cut")).to("hedge", "h-1").with("metres", 3);
        let with_all = draft(Some("shears/1"), &entry);
        assert_eq!(
            (with_all.principal_name(), with_all.client(), with_all.target_id(), with_all.details()),
            ("gardener", Some("shears/1"), Some("h-1"), r#"{"metres":3}"#)
        );
        let bare = draft(None, &AuditEntry::ok(AuditAction::new("hedge.look")));
        assert_eq!(
            (bare.principal_name(), bare.client(), bare.target_id(), bare.details()),
            ("gardener", None, None, "{}")
        );
        // Told, though it says nothing.
        assert_eq!(draft(Some(""), &entry).client(), Some(""));
    }

    #[test]
    fn what_postgresql_cannot_keep_is_left_out_and_what_is_long_is_cut() {
        let entry = AuditEntry::ok(AuditAction::new("hedge.cut")).to("hedge", "a\0b");
        let long = "é".repeat(300);
        let draft = draft(Some(&long), &entry);
        assert_eq!(draft.target_id(), Some("ab"));
        assert_eq!(draft.client().unwrap().chars().count(), LONGEST_TEXT);
    }
}
