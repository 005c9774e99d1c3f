//! Where a caller goes on in a live list: opaque, signed, and good for one caller, instance and question.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Cursor, InstanceId, Invalid};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::Ctx;
use crate::ports::{MacPurpose, Vault};

/// The form of what follows. Cursors of another form are refused.
const FORM: u8 = 1;
/// How long one can be used: as long as those of templates. Trackers keep theirs for a week.
const LASTS: TimeDelta = TimeDelta::hours(24);
const MAC: usize = 32;
const EXPIRY: usize = 8;
/// The most characters of one. Jira's tokens take some hundreds.
pub(super) const MOST: usize = 4_096;

/// What a cursor belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) instance: InstanceId,
    pub(super) tool: &'static str,
    /// Whatever else was asked for.
    pub(super) asked: &'a str,
}

pub(super) struct LiveCursors {
    vault: Arc<dyn Vault>,
}

impl LiveCursors {
    pub(super) fn new(vault: Arc<dyn Vault>) -> Self {
        Self { vault }
    }

    /// `None` when the position is too long to be carried about.
    pub(super) fn seal(
        &self,
        ctx: &Ctx,
        question: Question<'_>,
        position: &Cursor,
        now: DateTime<Utc>,
    ) -> Option<String> {
        self.seal_until(ctx, question, position, now + LASTS)
    }

    /// As [`Self::seal`], good until then.
    pub(super) fn seal_until(
        &self,
        ctx: &Ctx,
        question: Question<'_>,
        position: &Cursor,
        expires: DateTime<Utc>,
    ) -> Option<String> {
        let mut bytes = vec![FORM];
        bytes.extend(expires.timestamp().to_be_bytes());
        bytes.extend(serde_json::to_vec(position).ok()?);
        bytes.extend(self.mac(ctx, question, &bytes));
        Some(URL_SAFE_NO_PAD.encode(bytes)).filter(|text| text.len() <= MOST)
    }

    /// The same words whatever is wrong with it, so that trying teaches nothing.
    pub(super) fn open(
        &self,
        ctx: &Ctx,
        question: Question<'_>,
        cursor: &str,
        now: DateTime<Utc>,
    ) -> Result<Cursor, Invalid> {
        self.read(ctx, question, cursor, now).ok_or_else(|| {
            Invalid::one(
                "/cursor",
                "is not of this question and caller, or has expired: start again without it",
            )
        })
    }

    /// `None` whatever is wrong with it.
    pub(super) fn read(
        &self,
        ctx: &Ctx,
        question: Question<'_>,
        cursor: &str,
        now: DateTime<Utc>,
    ) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (signed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        let expected = self.mac(ctx, question, signed);
        // In constant time: all bytes are looked at, whichever differ.
        if expected.iter().zip(mac).fold(0, |differences, (a, b)| differences | (a ^ b)) != 0 {
            return None;
        }
        let (form, rest) = signed.split_first()?;
        let (expires, position) = rest.split_at_checked(EXPIRY)?;
        let expires = i64::from_be_bytes(expires.try_into().ok()?);
        if *form != FORM || expires <= now.timestamp() {
            return None;
        }
        serde_json::from_slice(position).ok()
    }

    fn mac(&self, ctx: &Ctx, question: Question<'_>, signed: &[u8]) -> [u8; MAC] {
        let mut digest = Sha256::new();
        let (tenant, instance) = (ctx.tenant.to_string(), question.instance.to_string());
        let principal = ctx.principal.id().map(|id| id.to_string()).unwrap_or_default();
        for part in [
            tenant.as_bytes(),
            principal.as_bytes(),
            instance.as_bytes(),
            question.tool.as_bytes(),
            question.asked.as_bytes(),
            signed,
        ] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let digest = URL_SAFE_NO_PAD.encode(digest.finalize());
        self.vault.mac(MacPurpose::LiveCursor, &SecretString::from(digest))
    }
}

#[cfg(test)]
mod tests {
    use domain::{KeyId, Principal, RequestId, Scopes, TenantId};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Memory, moment};

    fn ctx(tenant: u128, key: u128) -> Ctx {
        let key = Principal::Key { id: KeyId::new(Uuid::from_u128(key)), name: "k".into() };
        let scopes = Scopes::new([domain::Scope::McpJiraRead]).unwrap();
        Ctx::new(TenantId::new(Uuid::from_u128(tenant)), key, scopes, RequestId::new(Uuid::nil()))
    }

    #[test]
    fn a_cursor_is_good_for_its_caller_instance_and_question_and_for_a_day() {
        let cursors = LiveCursors::new(Memory::new());
        let question =
            Question { instance: InstanceId::new(Uuid::from_u128(5)), tool: "search", asked: "a = b" };
        let position = Cursor(json!({"token": "t"}));
        let sealed = cursors.seal(&ctx(1, 1), question, &position, moment()).unwrap();
        let open = |ctx: &Ctx, question, later| cursors.open(ctx, question, &sealed, moment() + later);
        let none = TimeDelta::zero();
        assert_eq!(open(&ctx(1, 1), question, none).unwrap(), position);
        let elsewhere = Question { instance: InstanceId::new(Uuid::from_u128(6)), ..question };
        assert!(open(&ctx(2, 1), question, none).is_err());
        assert!(open(&ctx(1, 2), question, none).is_err());
        assert!(open(&ctx(1, 1), elsewhere, none).is_err());
        assert!(open(&ctx(1, 1), Question { asked: "a = c", ..question }, none).is_err());
        assert!(open(&ctx(1, 1), Question { tool: "projects", ..question }, none).is_err());
        assert!(open(&ctx(1, 1), question, TimeDelta::hours(24)).is_err());
        assert!(cursors.open(&ctx(1, 1), question, "made up", moment()).is_err());
        let long = Cursor(json!("x".repeat(MOST)));
        assert_eq!(cursors.seal(&ctx(1, 1), question, &long, moment()), None);
    }
}
