//! What was done, by whom and when: putting it on the record, reading it, and checking that nobody changed it.

use std::io;
use std::sync::Arc;

use domain::{AuditEntry, AuditHead, AuditOutcome, AuditRecord, Scope};
use futures::stream::BoxStream;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::ports::{AuditFilter, AuditLog, AuditVerdict, ListPage, Listing, StoreError};
use crate::{Ctx, Error};

/// Use cases around the audit log.
pub struct AuditService {
    log: Arc<dyn AuditLog>,
    /// Whether reads go on the record; changes and refusals always do.
    reads: bool,
}

/// Records on their way out, and the end of the chain as it was when the export began.
pub struct AuditExport {
    /// `None` when the tenant has no records.
    pub head: Option<AuditHead>,
    /// Oldest first. An error ends it.
    pub records: BoxStream<'static, Result<AuditRecord, StoreError>>,
}

impl AuditService {
    /// Puts the service together.
    pub fn new(log: Arc<dyn AuditLog>) -> Self {
        Self { log, reads: true }
    }

    /// Leaves tool calls and template runs that succeed or fail off the record. Refusals stay on it.
    #[must_use]
    pub fn without_reads(mut self) -> Self {
        self.reads = false;
        self
    }

    /// Whether reads go on the record.
    pub fn keeps_reads(&self) -> bool {
        self.reads
    }

    /// Puts something on the record that is no change: a read, a refusal, a decision on a sign-in.
    ///
    /// [`Error::Unavailable`] when it cannot be kept; the caller then refuses what was asked.
    pub async fn note(&self, ctx: &Ctx, entry: AuditEntry) -> Result<(), Error> {
        Ok(self.log.note(ctx, entry).await?)
    }

    /// Puts a read on the record, unless the installation keeps none; refusals are kept all the same.
    pub async fn note_read(&self, ctx: &Ctx, entry: AuditEntry) -> Result<(), Error> {
        if self.reads || entry.outcome == AuditOutcome::Denied { self.note(ctx, entry).await } else { Ok(()) }
    }

    /// Newest first.
    pub async fn list(
        &self,
        ctx: &Ctx,
        filter: &AuditFilter,
        page: &ListPage,
    ) -> Result<Listing<AuditRecord>, Error> {
        ctx.require(Scope::AuditRead)?;
        ctx.require_unnarrowed()?;
        Ok(self.log.list(ctx, filter, page).await?)
    }

    /// Everything the filter matches, as of now.
    pub async fn export(&self, ctx: &Ctx, filter: AuditFilter) -> Result<AuditExport, Error> {
        ctx.require(Scope::AuditRead)?;
        ctx.require_unnarrowed()?;
        let head = self.log.head(ctx).await?;
        let records = self.log.export(ctx, filter, head.map_or(0, |head| head.seq));
        Ok(AuditExport { head, records })
    }

    /// Looks the tenant's chain through. `expected` is a head that was kept from an earlier time.
    pub async fn verify(&self, ctx: &Ctx, expected: Option<&AuditHead>) -> Result<AuditVerdict, Error> {
        ctx.require(Scope::AuditRead)?;
        ctx.require_unnarrowed()?;
        Ok(self.log.verify(ctx, expected).await?)
    }
}

impl std::fmt::Debug for AuditService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditService").field("reads", &self.reads).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AuditExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditExport").field("head", &self.head).finish_non_exhaustive()
    }
}

/// SHA-256 of the arguments as JSON without blanks, the names of every object in order: the same arguments have the
/// same digest, however they were written.
pub fn arguments_digest(arguments: &Map<String, Value>) -> [u8; 32] {
    let mut hash = Hashing(Sha256::new());
    // Hashing never fails, and JSON values always serialize.
    let _ = write_object(&mut hash, arguments);
    hash.0.finalize().into()
}

struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_object(out: &mut Hashing, map: &Map<String, Value>) -> io::Result<()> {
    let mut names: Vec<&String> = map.keys().collect();
    // Sorted already, unless some crate of the build makes serde_json keep the order of arrival.
    names.sort_unstable();
    out.0.update(b"{");
    for (i, name) in names.into_iter().enumerate() {
        if i > 0 {
            out.0.update(b",");
        }
        serde_json::to_writer(&mut *out, name)?;
        out.0.update(b":");
        write_value(out, map.get(name).unwrap_or(&Value::Null))?;
    }
    out.0.update(b"}");
    Ok(())
}

fn write_value(out: &mut Hashing, value: &Value) -> io::Result<()> {
    match value {
        Value::Object(map) => write_object(out, map),
        Value::Array(items) => {
            out.0.update(b"[");
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.0.update(b",");
                }
                write_value(out, item)?;
            }
            out.0.update(b"]");
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Ok(serde_json::to_writer(out, value)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(value: &Value) -> [u8; 32] {
        arguments_digest(value.as_object().expect("an object"))
    }

    #[test]
    fn the_order_and_spacing_of_arguments_make_no_difference() {
        let one: Value =
            serde_json::from_str(r#"{"b": {"y": [1, {"d": 1, "c": 2}], "x": null}, "a": "t"}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"a":"t","b":{"x":null,"y":[1,{"c":2,"d":1}]}}"#).unwrap();
        assert_eq!(digest(&one), digest(&two));
    }

    #[test]
    fn it_is_the_digest_of_the_plain_text() {
        let expected: [u8; 32] = Sha256::digest(br#"{"limit":50,"project":"a/b","q":"\"x\""}"#).into();
        assert_eq!(digest(&json!({"project": "a/b", "q": "\"x\"", "limit": 50})), expected);
    }

    #[test]
    fn any_other_argument_makes_another_digest() {
        let mut seen = std::collections::BTreeSet::new();
        for arguments in [
            json!({}),
            json!({"a": 1}),
            json!({"a": "1"}),
            json!({"a": [1]}),
            json!({"a": [[1]]}),
            json!({"a": {"a": 1}}),
            json!({"aa": 1}),
            json!({"a": null}),
            json!({"a": [1, 2]}),
            json!({"a": [2, 1]}),
        ] {
            assert!(seen.insert(digest(&arguments)), "{arguments} has the digest of another");
        }
    }
}
