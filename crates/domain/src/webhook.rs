//! What a tracker tells of its own accord. It is a hint where to look, never taken for the truth.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What a delivery points at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Hint {
    /// An item that is new, changed or gone: read it.
    Item {
        /// What [`crate::record::ItemRecord::source_id`] is, where told.
        source_id: Option<String>,
        /// What its `ref_key` is, where told.
        ref_key: Option<String>,
        /// Its key, where told: `ENG-42`, `owner/repo#12`.
        key: Option<String>,
    },
    /// A worklog that the tracker says is gone.
    WorklogGone {
        /// The source's id.
        source_id: String,
    },
    /// A comment that the tracker says is gone.
    CommentGone {
        /// What [`crate::record::CommentRecord::kind`] is.
        kind: String,
        /// The source's id.
        source_id: String,
    },
    /// Something else of a project, a board or a sprint: the next sync reads it, and should come soon.
    Reference,
}

/// Distinct hints.
pub type Hints = BTreeSet<Hint>;

/// Whether deliveries of an instance come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookState {
    /// None came yet, and whether the tracker knows where to send them is not known.
    Pending,
    /// The tracker sends them.
    Active,
    /// The tracker does not, or refused to go on; the problem says why.
    Failing,
}

impl WebhookState {
    /// The stored and served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Failing => "failing",
        }
    }

    /// Reads a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Failing].into_iter().find(|state| state.as_str() == text)
    }
}

/// A delivery and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookDelivery {
    /// Its id here.
    pub id: uuid::Uuid,
    /// What a repeated delivery is recognised by.
    pub delivery_id: String,
    /// The tracker's name of what happened.
    pub event: String,
    /// Where it points.
    pub hints: Hints,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// When it was applied, or found to hold nothing to apply.
    pub applied_at: Option<DateTime<Utc>>,
    /// How often applying it failed.
    pub attempts: i32,
    /// Why it is not applied, or why nothing of it was.
    pub problem: Option<String>,
}

/// How often a delivery is tried before it is given up and the next sync has to find what it pointed at.
pub const MOST_ATTEMPTS: i32 = 10;

impl WebhookDelivery {
    /// What came of it: `waiting`, `applied`, `skipped` or `failed`.
    pub fn outcome(&self) -> &'static str {
        match (self.applied_at, &self.problem) {
            (Some(_), None) => "applied",
            (Some(_), Some(_)) => "skipped",
            (None, _) if self.attempts >= MOST_ATTEMPTS => "failed",
            (None, _) => "waiting",
        }
    }
}
