//! What goes on the record: who did what, to what, and how it ended.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

/// What was done. The text form is stored and served, and stays: `instance.create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AuditAction(&'static str);

impl AuditAction {
    /// Names an action: `<noun>.<verb>`, lower case. Written as a constant, so that no caller makes names up.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What it was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditTarget {
    /// `instance`, `key`, `run`, `template`, `tool`, …
    pub kind: &'static str,
    /// Its id or name.
    pub id: String,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// Done.
    Ok,
    /// Refused: not signed in, no scope, over a limit.
    Denied,
    /// Tried, and failed.
    Failed,
}

impl AuditOutcome {
    /// The stored and served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// One thing to go on the record. Who, when and from where is added from the context.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// What was done.
    pub action: AuditAction,
    /// What to.
    pub target: Option<AuditTarget>,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// SHA-256 of the arguments' canonical JSON: the arguments themselves may hold what must not be kept.
    pub arguments_digest: Option<[u8; 32]>,
    /// Counts and words without secrets or texts of items: `{"rows": 12, "duration_ms": 3}`, `{"code": "forbidden"}`.
    pub details: serde_json::Map<String, serde_json::Value>,
}

impl AuditEntry {
    /// A thing that was done.
    pub fn ok(action: AuditAction) -> Self {
        Self {
            action,
            target: None,
            outcome: AuditOutcome::Ok,
            arguments_digest: None,
            details: serde_json::Map::new(),
        }
    }

    /// Says what it was done to.
    #[must_use]
    pub fn to(mut self, kind: &'static str, id: impl fmt::Display) -> Self {
        self.target = Some(AuditTarget { kind, id: id.to_string() });
        self
    }

    /// Adds a count or a word.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Says how it ended.
    #[must_use]
    pub fn ended(mut self, outcome: AuditOutcome) -> Self {
        self.outcome = outcome;
        self
    }
}

/// A record of the log, as it is read back.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// Its place in the tenant's chain, from 1, without gaps.
    pub seq: i64,
    /// Its id.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// `key`, `user` or `system`.
    pub principal_kind: String,
    /// The key's or person's id.
    pub principal_id: Option<Uuid>,
    /// Their name at that time.
    pub principal_name: String,
    /// The OAuth client or user agent.
    pub client: Option<String>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// The request or job.
    pub request_id: Uuid,
    /// What was done.
    pub action: String,
    /// What to: kind and id.
    pub target: Option<(String, String)>,
    /// `ok`, `denied` or `failed`.
    pub outcome: String,
    /// SHA-256 of the arguments.
    pub arguments_digest: Option<[u8; 32]>,
    /// Counts and words.
    pub details: serde_json::Map<String, serde_json::Value>,
    /// The chain up to and with this record.
    pub hash: [u8; 32],
}
