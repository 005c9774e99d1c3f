//! What goes on the record: who did what, to what, and how it ended.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::Invalid;

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
    /// All outcomes.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Denied, Self::Failed];

    /// Reads a stored or served name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

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

    /// Adds the digest of its arguments.
    #[must_use]
    pub fn asked(mut self, arguments_digest: [u8; 32]) -> Self {
        self.arguments_digest = Some(arguments_digest);
        self
    }

    /// Says how it ended.
    #[must_use]
    pub fn ended(mut self, outcome: AuditOutcome) -> Self {
        self.outcome = outcome;
        self
    }
}

/// The end of a tenant's chain: the last record's place and hash. Kept elsewhere, it shows later whether the log was
/// rolled back. As text `<place>:<hash in hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// The last record's place.
    pub seq: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl AuditHead {
    /// The hash in hex.
    pub fn hash_hex(&self) -> String {
        hex(&self.hash)
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash_hex())
    }
}

impl FromStr for AuditHead {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::one("/head", "must be of the form <place>:<hash>, as `patchbay audit verify` prints it")
        };
        let (seq, hash) = text.trim().split_once(':').ok_or_else(wrong)?;
        let seq: i64 = seq.parse().ok().filter(|&seq| seq > 0).ok_or_else(wrong)?;
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hash[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self { seq, hash: bytes })
    }
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        text
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let head = AuditHead { seq: 12, hash: std::array::from_fn(|i| u8::try_from(i * 7).unwrap_or(255)) };
        assert_eq!(head.to_string().parse::<AuditHead>().unwrap(), head);
        let good = "1:".to_owned() + &"0f".repeat(32);
        assert_eq!(good.parse::<AuditHead>().unwrap().hash, [15; 32]);
        for bad in ["", "1", "1:", "0:00", ":00", "1:zz", "-1:00", &good[..65], &(good.clone() + "0"), "1:é"]
        {
            assert!(bad.parse::<AuditHead>().is_err(), "{bad} was accepted");
        }
    }
}
